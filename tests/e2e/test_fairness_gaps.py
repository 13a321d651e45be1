"""The study of gaps in miniature: runs are trained once, and its table, ranks and figure are written."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from fedasr.config import load
from studies.fairness_gaps import (
    ATTRIBUTES,
    BASELINE,
    FIGURE,
    MINIATURE,
    RANKS,
    TABLE,
    TRAININGS,
    config_of,
    folder,
    markdown,
    record,
    search,
    study,
)


@pytest.mark.parametrize("corpus", ATTRIBUTES)
def test_every_training_has_a_valid_config_and_a_folder_of_its_own(
    corpus: str, tmp_path: Path, speech: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if corpus == "sentences" and not (speech / "speechocean762").is_dir():
        pytest.skip("no speechocean762 among the real speech")
    monkeypatch.setenv("FEDASR_DATA", str(speech))
    for training in TRAININGS:
        config = load(config_of(corpus, training, 2, tmp_path))
        assert (config.name, config.seed) == (training, 2)
        assert corpus == "digits" or config.model == load("seed_readers").model
    assert len({folder(tmp_path, corpus, training, 1).name for training in TRAININGS}) == len(TRAININGS)


@pytest.mark.slow
def test_the_study_in_miniature(tmp_path: Path) -> None:
    trainings = (BASELINE, "balanced")
    table, ranks, shown = study(tmp_path, ["digits"], trainings, [1], MINIATURE)
    assert set(table["attribute"]) == set(ATTRIBUTES["digits"])
    assert set(table["label"]) == set(trainings)
    assert ranks.empty  # two models have no ranks
    record(tmp_path / "page", table, ranks, shown)
    assert len(pd.read_csv(tmp_path / "page" / TABLE)) == len(table)
    assert (tmp_path / "page" / RANKS).exists()
    assert (tmp_path / "page" / FIGURE).read_bytes().startswith(b"\x89PNG")
    assert "| digits | gender | balanced |" in markdown(table)
    trained = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/summary.json")}
    again, _, _ = study(tmp_path, ["digits"], trainings, [1], MINIATURE)
    pd.testing.assert_frame_equal(again, table)
    assert {path: path.stat().st_mtime_ns for path in trained} == trained


@pytest.mark.slow
def test_the_search_in_miniature(tmp_path: Path) -> None:
    table = search(tmp_path, MINIATURE, {"AFL": [{"fairness_step": 0.1}]})
    assert "| training | settings | WER | worst device | gap |" in table
    rows = [line.split(" | ") for line in table.splitlines()[2:]]
    assert [row[0].removeprefix("| ") for row in rows] == [BASELINE, "AFL"]
    assert rows[1][1] == "`fairness_step` 0.1"
    for row in rows:
        wer, worst, gap = (float(cell.removesuffix(" |")) for cell in row[2:])
        assert wer <= worst
        assert 0 <= gap <= worst
