"""A miniature of the experiments under docs/results: they run, and their tables have the right shape."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from benchmarks.real_speech import RECIPES, measure
from fedasr.config import load
from fedasr.config.loading import find

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted(path.stem for path in (ROOT / "simulations").glob("*.yaml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_config_loads(name: str) -> None:
    assert find(name).stem == name
    assert load(name).name == name


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(RECIPES))
def test_recipe_in_miniature(name: str, speech: Path, tmp_path: Path) -> None:
    table = measure(name, speech, tmp_path / "runs", [0], mini=True)
    rows = [line.split("|")[1:-1] for line in table.splitlines() if line.startswith("| ")][1:]
    assert [row[0].strip() for row in rows] == [
        "seed model only",
        "federated, from the seed model",
        "central, from the seed model",
        "federated, from scratch",
    ]
    for row in rows:
        assert all(math.isfinite(float(cell)) for cell in row[1:])
