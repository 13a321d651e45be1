"""FedNLP's matrix in miniature: its sweep runs on a partition, and its table comes out."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from fedasr.config import load
from studies import matrix
from studies.matrix import CENTRAL, Cell, markdown, shown


def test_the_gap_is_paired_by_seed() -> None:
    cell = Cell({1: 0.5, 2: 0.4, 3: 0.9}, {1: 0.4, 2: 0.2})
    mean, low, high = cell.gap
    assert mean == pytest.approx(0.15)
    half = math.tan(0.475 * math.pi) * 0.05  # t of one degree of freedom times the standard error of 0.1 and 0.2
    assert (low, high) == (pytest.approx(0.15 - half), pytest.approx(0.15 + half))
    assert shown(cell, "fedavg").startswith("60.0 (40.0–90.0), +15.0 [-48.5, +78.5]")
    assert shown(Cell({1: 0.5}, {1: 0.5}), CENTRAL) == "50.0 (50.0–50.0)"
    assert shown(Cell({1: 0.5}, {1: 0.4}), "fedavg") == "50.0 (50.0–50.0), +10.0", "one seed has no spread"
    assert np.isnan(Cell({1: 0.5}, {2: 0.4}).gap[0])


def test_the_sweep_has_every_strategy_beside_central_training() -> None:
    from fedasr.sweeps.plan import read_plan

    plan = read_plan(matrix.SWEEP)
    assert plan.labels[0] == CENTRAL
    assert {run.seed for run in plan.runs} == {0, 1, 2}
    assert {"fedavg", "fedprox", "fedavgm", "fedadam", "fedyogi", "fedlamb", "fedavg-sgd", "scaffold"} < set(
        plan.labels
    )
    frozen = [run.config.model.frozen for run in plan.runs if "frozen" in run.label]
    assert len(frozen) == 6
    assert all(frozen)


@pytest.mark.parametrize("name", matrix.PARTITIONS)
def test_every_partition_is_a_config(name: str) -> None:
    partition = load("quickstart", {f"data.partition.{key}": value for key, value in matrix.PARTITIONS[name].items()})
    assert partition.data.partition.name == matrix.PARTITIONS[name]["name"]


@pytest.mark.slow
def test_the_study_in_miniature(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure = tmp_path / "figure.png"
    matrix.main(["--out", str(tmp_path), "--miniature", "--partitions", "accent", "--figure", str(figure)])
    head, _, *rows = capsys.readouterr().out.strip().splitlines()
    assert head.endswith("| accent |")
    assert [row.split("|")[1].strip() for row in rows] == ["central", "fedavg", "fedavg-frozen-encoder"]
    assert all("(" in row and "–" in row for row in rows)
    assert figure.stat().st_size > 5_000
    assert len(list((tmp_path / "ctc" / "accent").glob("*-seed*"))) == 6


def test_an_absent_cell_is_a_dash() -> None:
    table = markdown({"iid": {CENTRAL: Cell({0: 0.5}, {0: 0.5})}, "natural": {"fedavg": Cell({0: 0.5}, {})}})
    assert "| central | 50.0 (50.0–50.0) | – |" in table
    assert "| fedavg | – | 50.0 (50.0–50.0) |" in table
