"""Transcripts with their errors marked."""

from __future__ import annotations

import json
from math import nan
from pathlib import Path

import pandas as pd
import pytest

from fedasr.evaluation.wer import error_counts
from fedasr.results.load import load_run
from fedasr.results.pages.comparison import difference_text, interval
from fedasr.results.pages.report import marked, write_report
from fedasr.results.tables.transcripts import align
from tests.fedasr.results.run_folders import extend, make_run

PAIRS = {
    "substitution": ("turn the light on", "turn a light on", "turn <del>the</del>\u202f→\u202f<ins>a</ins> light on"),
    "deletion": ("turn the light on", "turn light on", "turn <del>the</del> light on"),
    "insertion": ("turn on", "turn it on", "turn <ins>it</ins> on"),
    "all deleted": ("turn on", "", "<del>turn on</del>"),
    "nothing said": ("", "oh yes", "<ins>oh yes</ins>"),
    "correct": ("turn on", "turn on", "turn on"),
    "markup": ("a <b", "a &", "a <del>&lt;b</del>\u202f→\u202f<ins>&amp;</ins>"),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_errors_are_marked(kind: str) -> None:
    said, heard, expected = PAIRS[kind]
    pieces = align(said, heard)
    assert marked(pieces) == f'<span dir="auto" class="transcript">{expected}</span>'
    assert sum(piece.errors for piece in pieces) == error_counts([said], [heard]).word_errors


def test_equal_seeds_have_no_interval_without_width() -> None:
    row = {"mean": 0.0, "low": 0.0, "high": 0.0}
    assert difference_text("wer", row) == ("0.0 points", "all seeds equal")
    assert difference_text("wer", row | {"low": -0.1, "high": 0.1})[1] == "−10.0 to +10.0 points"
    assert interval("wer", 0.25, 0.25 + 1e-17) == "all seeds equal"
    assert interval("wer", 0.25, 0.3) == "25.0 – 30.0 %"
    assert interval("wer", nan, nan) == "–"


def test_nothing_of_nothing() -> None:
    assert align("", "") == []


def test_a_report_shows_the_newest_transcripts(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "a")
    assert "Sample transcripts" not in write_report(folder).read_text(encoding="utf-8")
    for at, heard in ((10, "stop"), (20, "turn <u> on")):
        row = {"round": at, "utterance": 7, "speaker": "s1", "reference": "turn it on", "hypothesis": heard}
        extend(folder / "transcripts.parquet", [row])
    text = write_report(folder).read_text(encoding="utf-8")
    assert "turn <del>it</del>\u202f→\u202f<ins>&lt;u&gt;</ins> on" in text
    assert "after round 20" in text
    assert "<ins>stop</ins>" not in text
    assert "1 of 3" in text
    assert list(load_run(folder).transcripts["round"]) == [10, 20]


def test_groups_have_intervals_where_they_were_recorded(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "a")
    row = {"round": 20, "column": "gender", "value": "f", "wer": 0.2, "utterances": 30}
    pd.DataFrame([row]).to_parquet(folder / "groups.parquet")  # as an earlier version wrote it
    assert "95 % interval" in write_report(folder).read_text(encoding="utf-8")
    row |= {"wer_low": 0.155, "wer_high": 0.26, "speakers": 12}
    pd.DataFrame([row]).to_parquet(folder / "groups.parquet")
    assert "15.5 to 26.0 %" in write_report(folder).read_text(encoding="utf-8")


def test_the_initial_model_is_round_0(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "a")
    assert load_run(folder).initial == {}
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    (folder / "summary.json").write_text(json.dumps(summary | {"initial_wer": 0.75, "initial_cer": 0.5}))
    assert load_run(folder).initial == {"wer": 0.75, "cer": 0.5}
    text = write_report(folder).read_text(encoding="utf-8")
    assert "75.0 % before training" in text
    assert '<td class="number">0</td><td class="number">75.0 %</td><td class="number">50.0 %</td>' in text
