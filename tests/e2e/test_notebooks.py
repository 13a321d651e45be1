"""The notebooks run from start to end in an empty folder, and show their figures."""

from __future__ import annotations

import base64
import io
import os
from importlib.resources import files
from pathlib import Path

import nbformat
import pytest
from matplotlib.image import imread
from nbclient import NotebookClient

from tests.e2e.tiny import environment

NOTEBOOKS = Path(str(files("fedasr.simulations") / "notebooks"))
FIGURES = {
    "compare_selection": 4,
    "explore_a_partition": 3,
    "fair_to_whom": 3,
    "read_a_run": 2,
    "what_does_my_model_leak": 4,
}


def run(name: str, folder: Path) -> nbformat.NotebookNode:
    """Execute a notebook in a folder, and return it with its outputs."""
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    where = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, kernel_name="python3", timeout=300, resources=where)
    before = dict(os.environ)
    os.environ.update(environment())
    try:
        client.execute()
    finally:
        os.environ.clear()
        os.environ.update(before)
    return notebook


def pictures(notebook: nbformat.NotebookNode) -> list[bytes]:
    """Return the figures in the outputs of a notebook, as PNG."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    result = [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    return [base64.b64decode(text) for text in result]


def test_every_notebook_is_tested():
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} == set(FIGURES)


@pytest.mark.parametrize("name", FIGURES)
def test_a_notebook_is_committed_without_outputs(name):
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_a_notebook_runs_and_ends_with_figures(tmp_path, name):
    result = pictures(run(name, tmp_path))
    assert len(result) == FIGURES[name]
    for picture in result:
        image = imread(io.BytesIO(picture))
        assert min(image.shape[:2]) > 240  # 1.5 inches
        assert image[..., :3].std() > 0.05  # something is drawn
