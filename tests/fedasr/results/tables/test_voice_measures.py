"""Gap and divergence over runs, and whether they rank them alike."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedasr.errors import InputError
from fedasr.results.tables.voice_measures import rank_correlation, voice_measures
from tests.fedasr.results.run_folders import make_run


def compared(folder: Path, gap: float, divergence: float) -> Path:
    """Write a run whose test speech was spoken again by women and by men, 100 words each."""
    run = make_run(folder)
    groups = {
        name: {"words": 100, "errors": errors, "wer": errors / 100, "adjusted": {}}
        for name, errors in (("f", 20), ("m", 20 + round(100 * gap)))
    }
    entry = {
        "attribute": "same speech, other gender", "counterfactual": "gender", "groups": groups, "ratio": {},
        "gap": {"difference": gap}, "regression": {}, "power": {}, "warnings": [], "divergence": {"value": divergence},
    }  # fmt: skip
    (run / "fairness.json").write_text(json.dumps([entry]))
    return run


def test_a_row_a_run(tmp_path: Path) -> None:
    table = voice_measures([compared(tmp_path / "a", 0.1, 0.02)], "gender")
    assert table.iloc[0].tolist() == [str(tmp_path / "a"), 0.25, 0.1, 0.02]


def test_the_correlation_of_ranks(tmp_path: Path) -> None:
    values = [(0.1, 0.01), (0.2, 0.05), (0.3, 0.02), (0.4, 0.30), (0.5, 0.90)]
    runs = [compared(tmp_path / str(number), *pair) for number, pair in enumerate(values)]
    result = rank_correlation(runs, "gender")
    assert result["correlation"] == pytest.approx(0.9)  # 1 − 6·2/(5·24)
    # tanh(artanh .9 ± 1.96·√((1 + .81/2)/2))
    assert result["low"] == pytest.approx(-0.169, abs=1e-3)
    assert result["high"] == pytest.approx(0.9961, abs=1e-3)
    assert rank_correlation(runs[:3], "gender")["n"] == 3


def test_runs_without_the_comparison_are_named(tmp_path: Path) -> None:
    run = compared(tmp_path / "a", 0.1, 0.02)
    with pytest.raises(InputError, match="--counterfactual accent"):
        voice_measures([run], "accent")
    with pytest.raises(InputError, match="three or more"):
        rank_correlation([run], "gender")
