"""The study of word error rate against bytes: in miniature it runs, and the page and the figure come out."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from fedasr.config import load
from studies.frontier import (
    ARMS,
    BATCHES,
    MINIATURE,
    MINIATURE_BATCHES,
    MINIATURE_CELLS,
    PARTITIONS,
    SEEDS,
    SPEECH,
    Cell,
    plan,
    record,
    run_all,
)
from studies.frontier_tables import Study, figure, frontier, means, page


@pytest.mark.slow
def test_the_study_in_miniature(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason='needs the espeak-ng wheel: pip install "fedasr[synth]"')
    rows = run_all(tmp_path, MINIATURE_CELLS, smaller=MINIATURE, batches=MINIATURE_BATCHES)
    before = (tmp_path / MINIATURE_CELLS[0].name / "summary.json").stat().st_mtime_ns
    assert run_all(tmp_path, MINIATURE_CELLS, smaller=MINIATURE, batches=MINIATURE_BATCHES) == rows
    assert (tmp_path / MINIATURE_CELLS[0].name / "summary.json").stat().st_mtime_ns == before, (
        "a cell that is done is kept"
    )
    sent = {row["arm"]: (row["rounds"], row["bytes_up"], row["bytes_down"]) for row in rows}
    assert {arm: rounds for arm, (rounds, _, _) in sent.items()} == {
        "every batch": 8,
        "EDEN up": 8,
        "EDEN": 8,
        "GTC, τ = 0.003": 8,
        "BMUF, 50 batches": 4,
    }
    assert sent["EDEN up"][1] == sent["EDEN"][1] < sent["every batch"][1]
    assert sent["EDEN"][2] < sent["EDEN up"][2]
    record(rows, tmp_path / "record")
    study = Study(tmp_path / "record")
    text = page(study, "figure.png")
    assert text.count("\n| ") == 2 + len(MINIATURE_CELLS)
    assert "GTC, τ = 0.003: " in text
    figure(study).savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_every_arm_is_a_config_with_the_same_batches() -> None:
    cells = list(plan())
    assert len(cells) == len(set(cells)) == len(SEEDS) * len(SPEECH) * len(PARTITIONS) * len(ARMS)
    assert len({cell.name for cell in cells}) == len(cells)
    for cell in (cell for cell in cells if cell.seed == 1 and cell.data == "synthetic" and cell.partition == "IID"):
        config = load(cell.config(Path("runs")))
        assert config.rounds * config.client.steps == BATCHES


def test_means_are_paired_by_seed_and_the_frontier_has_what_nothing_beats() -> None:
    rows = [
        {"arm": arm, "seed": seed, "wer": wer, "bytes_up": up, "bytes_down": up, "workers": 2, "megabytes": up / 1e6}
        for arm, up, wers in (
            ("every batch", 8_000_000, (0.1, 0.3)),
            ("EDEN", 1_000_000, (0.2, 0.3)),
            ("sign up", 2_000_000, (0.3, 0.3)),
        )
        for seed, wer in enumerate(wers)
    ]
    arms = means(pd.DataFrame(rows))
    assert arms.loc["EDEN", ["worse", "least", "most", "fewer"]].round(9).tolist() == [0.05, 0.0, 0.1, 8.0]
    assert arms.loc["every batch", "up"] == 4
    assert frontier(arms) == ["EDEN", "every batch"]


def test_cells_are_named_by_what_they_are() -> None:
    assert Cell("real", "by speaker", "EDEN", 2).name == "real-by-speaker-eden-seed2"
