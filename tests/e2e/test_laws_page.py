"""The examples of docs/own-parts.md and the attack of docs/robust-aggregation.md work as they stand there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import fedasr
import fedasr.testing

from .tiny import ROOT, tiny


def examples(page: str) -> dict[str, str]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return dict(re.findall(r"```python\n# (\w+)\.py\n(.*?)```", text, re.DOTALL))


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the modules of both pages into a folder on Python's path and return it."""
    modules = {**examples("own-parts.md"), **examples("robust-aggregation.md")}
    for name, text in modules.items():
        assert len(text.splitlines()) <= 25
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_the_tests_of_the_page_pass(beside: Path) -> None:
    names: dict[str, object] = {}
    exec((beside / "test_mine.py").read_text(encoding="utf-8"), names)
    tests = [value for name, value in names.items() if name.startswith("test_") and callable(value)]
    assert len(tests) == 2
    for test in tests:
        test()


def test_the_attack_of_the_page(beside: Path) -> None:
    from opposed import Opposed  # type: ignore[import-not-found]

    fedasr.testing.check_attack(Opposed)
    attack = {"name": "opposed:Opposed", "share": 0.5, "options": {"share": 0.8}}
    run = fedasr.run(tiny(rounds=1, attack=attack), out=beside / "run")
    assert (run.clients["status"] == "ok").all()
    assert run.summary["attack"] == "simulated Byzantine clients: 6 of 12 (50 %), opposed:Opposed (share 0.8)"
    assert run.summary["attack"] in (beside / "run" / "report.html").read_text(encoding="utf-8")
