import math

import numpy as np
import pandas as pd
import pytest

import fedasr
from fedasr.results.tables.deciles import deciles
from fedasr.results.tables.statistics import t_quantile
from tests.fedasr.results.run_folders import add_activity, make_run

FALLING = [0.3, 0.28, 0.26, 0.24, 0.22, 0.2, 0.18, 0.16, 0.14, 0.12]


def test_means_and_intervals_over_seeds(tmp_path):
    runs = [
        add_activity(make_run(tmp_path / str(seed), seed=seed), [rate + shift for rate in FALLING])
        for seed, shift in enumerate((0.0, 0.03))
    ]
    table = deciles(runs)
    assert list(table["decile"]) == list(range(1, 11))
    np.testing.assert_allclose(table["wer"], [rate + 0.015 for rate in FALLING])
    half = t_quantile(1) * 0.015  # s / sqrt(2) of two values 0.03 apart
    np.testing.assert_allclose(table["high"] - table["wer"], half)
    assert set(table["n"]) == {2}


def test_the_last_round_counts_and_words_are_pooled(tmp_path):
    run = make_run(tmp_path / "a")
    add_activity(run, [0.9] * 10, at=10)
    rows = [(20, 1, 1, 0.5, 10, 5, 1, 4), (20, 2, 1, 0.0, 90, 0, 9, 36)]  # 5 errors in 100 words
    columns = ["round", "period", "decile", "wer", "words", "errors", "clients", "utterances"]
    late = pd.DataFrame(rows, columns=columns)
    pd.concat([pd.read_parquet(run / "activity.parquet"), late]).to_parquet(run / "activity.parquet")
    table = deciles(run)
    assert list(table["decile"]) == [1]
    assert table["wer"][0] == 0.05
    assert math.isnan(table["low"][0])


def test_a_decile_that_a_seed_lacks_is_a_mean_over_the_others(tmp_path):
    sparse: list[float | None] = [None, *FALLING[1:]]
    runs = [
        add_activity(make_run(tmp_path / str(seed), seed=seed), rates) for seed, rates in enumerate((FALLING, sparse))
    ]
    table = deciles(runs)
    assert list(table["n"]) == [1] + [2] * 9
    assert table["wer"][0] == FALLING[0]


def test_runs_without_activity_have_an_empty_table(tmp_path):
    run = fedasr.load_run(make_run(tmp_path / "a"))
    assert run.activity.empty
    assert {"decile", "wer", "words", "errors"} <= set(run.activity.columns)
    assert deciles([run]).empty


def test_nobody_said_anything(tmp_path):
    run = add_activity(make_run(tmp_path / "a"), [0.1])
    pd.read_parquet(run / "activity.parquet").assign(words=0, errors=0).to_parquet(run / "activity.parquet")
    assert deciles(run).empty


def test_groups_keep_their_labels(tmp_path):
    runs = [add_activity(make_run(tmp_path / name, selection=name), FALLING) for name in ("uniform", "activity")]
    assert list(dict.fromkeys(deciles(runs)["label"])) == ["selection.name=uniform", "selection.name=activity"]
    assert deciles(runs)["wer"].tolist() == pytest.approx(FALLING * 2)
