"""The examples of docs/flower.md run as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .tiny import ROOT, environment

EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "flower.md").read_text(encoding="utf-8"), re.DOTALL)


def run_example(number: int, folder: Path) -> float:
    """Run an example as a script and return the number that it prints."""
    script = folder / "example.py"
    script.write_text(EXAMPLES[number], encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**environment(), "PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return float(done.stdout.strip("[] \n"))


def test_flowers_fedavg_on_our_grid(tmp_path: Path) -> None:
    """The mean of the targets 0 to 9 is 4.5, and eight rounds halve the distance to it each."""
    assert run_example(0, tmp_path) == pytest.approx(4.5, abs=0.8)


@pytest.mark.slow
def test_our_selector_and_clients_with_flowers_fedavg(tmp_path: Path) -> None:
    assert 0 < run_example(1, tmp_path) < 4, "untrained, the loss is above 4"
