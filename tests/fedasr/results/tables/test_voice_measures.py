"""Gap and divergence over runs, and whether they rank them alike."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from fedasr.errors import InputError
from fedasr.results.tables.voice_measures import (
    correlate,
    measures,
    rank_correlation,
    rank_correlations,
    spearman,
    voice_measures,
)
from tests.fedasr.results.run_folders import make_run

VALUES = [(0.1, 0.01), (0.2, 0.05), (0.3, 0.02), (0.4, 0.30), (0.5, 0.90), (0.6, 1.50)]


def compared(folder: Path, gap: float, divergence: float, rate: float = 0.002, seed: int = 0) -> Path:
    """Write a run whose test speech was spoken again by women and by men, 100 words each."""
    run = make_run(folder, seed=seed, config={"client.learning_rate": rate})
    groups = {
        name: {"words": 100, "errors": errors, "wer": errors / 100, "adjusted": {}}
        for name, errors in (("f", 20), ("m", 20 + round(100 * gap)))
    }
    entry = {
        "attribute": "same speech, other gender", "counterfactual": "gender", "groups": groups, "ratio": {},
        "gap": {"difference": gap}, "regression": {}, "power": {}, "warnings": [], "divergence": {"value": divergence},
        "kl": {"value": 2 * divergence},
    }  # fmt: skip
    own = {
        **entry, "attribute": "gender", "counterfactual": None, "gap": {"difference": gap / 2},
        "sensitivity": {"value": 3.0 - gap, "ratio": {"value": 1.0}},
    }  # fmt: skip
    (run / "fairness.json").write_text(json.dumps([entry, own]))
    return run


def models(folder: Path, count: int) -> list[Path]:
    return [compared(folder / str(number), *VALUES[number], rate=0.001 * (number + 1)) for number in range(count)]


def test_a_row_a_run(tmp_path: Path) -> None:
    table = voice_measures([compared(tmp_path / "a", 0.1, 0.02)], "gender")
    assert table.iloc[0].tolist() == [str(tmp_path / "a"), 0.25, 0.1, 0.02]
    whole = measures([tmp_path / "a"], "gender").iloc[0]
    assert whole.tolist()[2:] == [0.05, 0.1, 0.02, 0.04, 2.9, 1.0]


def test_the_correlation_of_ranks(tmp_path: Path) -> None:
    runs = models(tmp_path, 5)
    result = rank_correlation(runs, "gender")
    assert result["correlation"] == pytest.approx(0.9)  # 1 − 6·2/(5·24)
    assert (result["models"], result["n"]) == (5, 5)
    assert np.isnan(result["low"])
    assert rank_correlation(runs[:3], "gender")["n"] == 3


def test_each_pair_of_measures_has_its_correlation_and_an_interval_over_models(tmp_path: Path) -> None:
    table = rank_correlations(models(tmp_path, 6), "gender").set_index(["intrinsic", "extrinsic"])
    assert table.loc[("divergence", "voice_gap"), "correlation"] == pytest.approx(1 - 6 * 2 / 210)
    assert table.loc[("kl", "gap"), "correlation"] == pytest.approx(1 - 6 * 2 / 210)
    assert table.loc[("sensitivity", "gap"), "correlation"] == pytest.approx(-1)
    assert np.isnan(table.loc[("sensitivity_ratio", "gap"), "correlation"])  # all alike: no ranks
    low, high = table.loc[("divergence", "gap"), ["low", "high"]]
    assert low < 1 - 6 * 2 / 210 < high <= 1


def test_ranks_of_values_that_count_several_times_are_those_of_the_repeated_values() -> None:
    first, second = np.array([0.3, 0.1, 0.3, 0.9, 0.5]), np.array([4.0, 1.0, 2.0, 2.0, 8.0])
    times = np.array([[1, 1, 1, 1, 1], [0, 2, 1, 3, 1]])
    expected = [spearmanr(np.repeat(first, row), np.repeat(second, row)).statistic for row in times]
    assert spearman(first, second, times.astype(float)) == pytest.approx(expected)


def test_seeds_of_one_config_are_drawn_together() -> None:
    rng = np.random.default_rng(0)
    first = rng.normal(size=8)
    second = first + 0.5 * rng.normal(size=8)
    names = pd.Series([f"m{number}" for number in range(8)])
    alone = correlate(first, second, names)
    tripled = correlate(np.repeat(first, 3), np.repeat(second, 3), names.repeat(3).reset_index(drop=True))
    assert (tripled["models"], tripled["n"]) == (8, 24)
    for end in ("low", "high"):  # three copies of each model say no more than one
        assert tripled[end] == pytest.approx(alone[end], abs=1e-9)


def test_runs_that_differ_in_their_seed_are_one_model(tmp_path: Path) -> None:
    runs = [compared(tmp_path / str(seed), *VALUES[seed], seed=seed) for seed in range(3)]
    with pytest.raises(InputError, match="1 models"):
        rank_correlation(runs, "gender")
    assert rank_correlations(runs, "gender").empty


def test_runs_without_the_comparison_are_named(tmp_path: Path) -> None:
    run = compared(tmp_path / "a", 0.1, 0.02)
    with pytest.raises(InputError, match="--counterfactual accent"):
        voice_measures([run], "accent")
    with pytest.raises(InputError, match="--by accent --intrinsic"):
        measures([run], "accent")
    with pytest.raises(InputError, match="three or more"):
        rank_correlation([run], "gender")
