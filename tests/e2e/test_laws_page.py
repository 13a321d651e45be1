"""The examples of docs/own-parts.md and the attack of docs/robust-aggregation.md work as they stand there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import fedasr
import fedasr.testing

from .tiny import ROOT, tiny


def examples(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the parts of both pages into ``mine.py`` and return its folder."""
    tests = [text for text in examples("own-parts.md") if "test_mine.py" in text]
    parts = [text for text in (*examples("own-parts.md"), *examples("robust-aggregation.md")) if text not in tests]
    assert all(len(text.splitlines()) <= 25 for text in parts)
    (tmp_path / "mine.py").write_text("\n".join(parts), encoding="utf-8")
    (tmp_path / "test_mine.py").write_text("\n".join(tests), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    return tmp_path


def test_the_tests_of_the_page_pass(mine: Path) -> None:
    names: dict[str, object] = {}
    exec((mine / "test_mine.py").read_text(encoding="utf-8"), names)
    tests = [value for name, value in names.items() if name.startswith("test_") and callable(value)]
    assert len(tests) == 2
    for test in tests:
        test()


def test_the_attack_of_the_page(mine: Path) -> None:
    from mine import Opposed  # type: ignore[import-not-found]

    fedasr.testing.check_attack(Opposed)
    attack = {"name": "mine:Opposed", "share": 0.5, "options": {"share": 0.8}}
    run = fedasr.run(tiny(rounds=1, attack=attack), out=mine / "run")
    assert (run.clients["status"] == "ok").all()
    assert run.summary["attack"] == "simulated Byzantine clients: 6 of 12 (50 %), mine:Opposed (share 0.8)"
    assert run.summary["attack"] in (mine / "run" / "report.html").read_text(encoding="utf-8")
