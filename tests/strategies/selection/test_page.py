"""The page about selection: it knows every selector, and its examples run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord

from fedasr.config.schema import SelectionConfig, walk
from fedasr.runtime.executors import SerialExecutor
from fedasr.runtime.grid import LocalGrid
from fedasr.strategies.selection import SELECTORS, make_selector

from . import flower_apps
from .populations import rng, roster

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "selection.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_table_has_every_selector_and_its_keys_exist() -> None:
    table = PAGE.split("## The selectors")[1].split("\n\n")[1].splitlines()[2:]
    assert [line.split("`")[1] for line in table] == list(SELECTORS)
    known = {name for name, _ in walk()}
    for line in table:
        for key in re.findall(r"`([a-z_.*]+)`", line.split("|")[4]):
            assert any(name.startswith(f"selection.{key.removesuffix('*')}") for name in known)


def test_the_example_of_an_own_selector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_selection.py").write_text(EXAMPLES[0], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    selector = make_selector(SelectionConfig(name="my_selection:Newest"))
    chosen = selector.select(1, roster([1, 9, 0, 5]), 2, rng())
    assert chosen.clients.tolist() == [1, 3]
    assert np.isnan(chosen.probabilities).all()


def test_the_example_with_a_flower_strategy() -> None:
    names: dict[str, Any] = {}
    exec(EXAMPLES[1], names)
    grid = LocalGrid(SerialExecutor(flower_apps.app), 20)
    strategy = names["strategy"]
    strategy.strategy.fraction_evaluate = 0.0
    result = strategy.start(grid=grid, initial_arrays=ArrayRecord([np.zeros(2)]), num_rounds=3)
    assert result.arrays is not None
    assert (strategy.selector.last > 0).sum() >= 10
