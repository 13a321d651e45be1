"""The progress of a run in a notebook's cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

nbclient = pytest.importorskip("nbclient", reason="the extra 'notebooks' is not installed")
nbformat = pytest.importorskip("nbformat", reason="the extra 'notebooks' is not installed")

CELL = """
from fedasr.runtime.notebook import NotebookWatcher, in_notebook
assert in_notebook()
watcher = NotebookWatcher("1/2 <a>")
watcher.begin("run", 4, 1, 12)
row = {"round": 2, "clients_replied": 3, "clients_failed": 0, "wer": 0.25, "train_loss": 1.5}
watcher.round(row)
watcher.note("left out: 3 utterances")
watcher.end()
"""


@pytest.mark.thorough
def test_a_bar_that_moves_in_one_place(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    done: Any = nbclient.execute(notebook, timeout=120)
    (output,) = [item for item in done.cells[0].outputs if item.output_type == "display_data"]
    picture = output["data"]["text/html"]
    assert '1/2 &lt;a&gt; <progress value="2" max="4">' in picture
    assert "round 2 of 4 · WER 25.0 % · train loss 1.500" in picture
    assert "left out: 3 utterances" in picture


def test_this_is_none() -> None:
    from fedasr.runtime.notebook import in_notebook

    assert not in_notebook()
