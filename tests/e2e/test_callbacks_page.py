"""The examples of docs/callbacks.md, as a reader would use them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fedasr
from fedasr.references import look_beside

from .tiny import ROOT, tiny

PYTHON = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "callbacks.md").read_text(encoding="utf-8"), re.DOTALL)
MODULES = {found[1]: text for text in PYTHON if (found := re.match(r"# (\w+)\.py\n", text))}


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The modules of the page in the working folder."""
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in MODULES:
        sys.modules.pop(name, None)
    monkeypatch.undo()
    look_beside()


def test_the_callback_is_short_and_ends_a_run(beside: Path) -> None:
    assert len(MODULES["mine"].splitlines()) <= 25
    log = [{"name": "mine:Below", "options": {"goal": 2.0}}]
    result = fedasr.run(tiny(rounds=4, evaluate__every=1, log=log), out=beside / "run")
    assert (result.status, result.summary["rounds"]) == ("done", 2)
    assert result.summary["stopped"].startswith("mine:Below: WER ")


def test_the_strategy_runs(beside: Path) -> None:
    strategy = {"name": "halves:Halves", "options": {"share": 0.3}}
    result = fedasr.run(tiny(rounds=1, strategy=strategy), out=beside / "run")
    assert result.status == "done"
