"""The study of leakage against ε in miniature: its cells run, and its tables and figure come out."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("espeakng_loader", reason='needs the espeak-ng wheel: pip install "fedasr[synth]"')

from studies.leakage import plan, record, row_of
from studies.leakage_cells import CLIPPED, DP_FEDAVG, DP_SGD, FEDAVG, PATE, PLAIN, START, Cell
from studies.leakage_groups import by_other_seeds, groups
from studies.leakage_tables import Study, figure, tables

SMALL = [
    "rounds=1",
    "data.synthetic.speakers=8",
    "data.synthetic.utterances_per_speaker=3",
    "data.synthetic.test_speakers=1",
    "data.synthetic.test_utterances_per_speaker=2",
    "model.channels=[4,4]",
    "model.hidden=4",
    "audit.secrets.codes=2",
    "audit.secrets.repeats=4",
    "client.batch_size=8",
]
CELLS = [Cell("digits", "ctc", START), Cell("digits", "ctc", DP_SGD, 8.0)]


@pytest.mark.slow
def test_the_study_in_miniature(tmp_path: Path) -> None:
    rows = [row_of(cell, tmp_path, SMALL) for cell in CELLS]
    assert not [row["error"] for row in rows if "error" in row]
    start, private = rows
    assert start["calibrated_auc"] == 0.5, "the final model is the initial one"
    assert start["loss_auc"] == start["initial_auc"]
    assert start["noise_exposure"] == start["noise_initial"]
    assert start["exposure_null"] == pytest.approx(1.4, abs=0.1)
    assert start["epsilon"] == math.inf
    assert start["auc_ceiling"] is None
    assert (private["delta"], private["unit"], private["adjacency"]) == (1e-5, "example", "add-remove")
    assert 0 < private["epsilon"] <= 8
    assert private["auc_ceiling"] < 0.95
    assert "CTC shows nothing" in private["codes_reason"]
    written = (tmp_path / CELLS[1].name / "cell.json").read_text()
    assert row_of(CELLS[1], tmp_path, SMALL) == json.loads(written), "a cell that is done is kept"
    record(tmp_path, CELLS, tmp_path / "record")
    study = Study(tmp_path / "record")
    text = tables(study)
    assert "| DP-SGD | 8 | example, add-remove, sampling poisson" in text
    assert "| initial model | ∞ | – | 1 |" in text
    figure(study).savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_a_cell_that_cannot_be_trained_is_a_row_with_its_reason(tmp_path: Path) -> None:
    row = row_of(CELLS[1], tmp_path, ["data.corpus=manifest", "data.manifest=nowhere.csv"])
    assert "nowhere.csv" in row["error"]
    record(tmp_path, CELLS, tmp_path)
    assert "nowhere.csv" in tables(Study(tmp_path))


def test_every_cell_of_the_matrix_is_planned() -> None:
    cells = set(plan())
    for family in ("ctc", "rnnt"):
        for seed in (1, 2, 3):
            for training in (PLAIN, START, FEDAVG, CLIPPED):
                assert Cell("digits", family, training, seed=seed) in cells
            for epsilon in (10.0, 8.0, 4.0, 1.0):
                for training in (DP_SGD, DP_FEDAVG, PATE):
                    assert Cell("digits", family, training, epsilon, seed) in cells
                    assert Cell("commands", family, training, epsilon, seed) in cells


def test_another_seeds_model_tells_nothing_of_the_members_of_one() -> None:
    rng = np.random.default_rng(0)
    tables_of = {}
    for seed in (1, 2):
        member = rng.random(400) < 0.5
        scores = {"score": member + 0.5 * rng.standard_normal(400), "member": member}
        same = {"speaker": [f"s{n // 4}" for n in range(400)], "loss_before": np.arange(400) / 100}
        tables_of[Cell("digits", "ctc", PLAIN, seed=seed)] = pd.DataFrame({**scores, **same})
    result = by_other_seeds(tables_of)
    assert result[["members_of", "model_of"]].to_numpy().tolist() == [[1, 2], [2, 1]]
    assert (result["utterances"] == 400).all()
    assert (result["own"] > 0.85).all()
    assert result["auc"].between(0.4, 0.6).all()


def test_speakers_are_grouped_by_gender_age_and_activity() -> None:
    rows: list[dict[str, Any]] = []
    for number in range(40):
        for member in (True, False):
            child = number % 2
            rows.append(
                {
                    "score": float(member and child),
                    "member": member,
                    "speaker": f"s{number}",
                    "activity": number,
                    "gender": "fm"[number >= 20],
                    "age": 8 if child else 30,
                }
            )
    table = groups({CELLS[1]: pd.DataFrame(rows)}).set_index("group")
    assert table.loc["children", "auc"] == 1.0, "children's utterances alone are told apart"
    assert table.loc["adults", "auc"] == 0.5
    assert table.loc["all", "auc"] == 0.75
    assert table.loc["women and girls", "members"] == table.loc["men and boys", "members"] == 20
    assert "activity decile 10" not in table.index, "with four members it says nothing"
