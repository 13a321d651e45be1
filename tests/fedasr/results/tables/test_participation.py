import math

import numpy as np
import pandas as pd
import pytest

import fedasr
from fedasr.results.tables.participation import profile
from tests.fedasr.results.run_folders import make_run


def selected(folder, rounds_of, population=None, seed=0, status="ok"):
    """Return a run whose clients took part in so many rounds each."""
    path = make_run(folder, seed=seed, summary={"clients": population} if population else {})
    rows = [(r + 1, f"c{i}", status) for i, rounds in enumerate(rounds_of) for r in range(rounds)]
    pd.DataFrame(rows, columns=["round", "client", "status"]).to_parquet(path / "clients.parquet")
    return fedasr.load_run(path)


def test_gini_and_jain_of_a_run(tmp_path):
    result = selected(tmp_path / "a", [8], population=4).participation
    assert (result.clients, result.took_part) == (4, 1)
    assert result.gini == pytest.approx(0.75)
    assert result.jain == pytest.approx(0.25)
    assert sorted(result.counts) == [0, 0, 0, 8]
    even = selected(tmp_path / "b", [3, 3, 3]).participation
    assert (even.clients, even.gini, even.jain) == (None, pytest.approx(0), 1)


def test_only_updates_that_arrived_count(tmp_path):
    result = selected(tmp_path / "a", [2, 2], population=2, status="late").participation
    assert result.took_part == 0


def test_before_the_first_selection_there_is_no_index(tmp_path):
    result = fedasr.load_run(make_run(tmp_path / "a", rounds=0)).participation
    assert result.took_part == 0
    assert math.isnan(result.gini)
    assert math.isnan(result.jain)


def test_the_profile_is_the_mean_of_the_sorted_counts(tmp_path):
    runs = [selected(tmp_path / "a", [4, 0, 2, 2], 4), selected(tmp_path / "b", [0, 0, 6, 2], 4, seed=1)]
    at, rounds = profile([run.participation for run in runs], points=5)
    np.testing.assert_allclose(at, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(rounds, [5, 2, 1, 0, 0])


def test_compare_has_a_column_for_each_index(tmp_path):
    table = fedasr.compare([selected(tmp_path / "a", [8], 4), selected(tmp_path / "b", [2, 2, 2, 2], 4, seed=1)])
    assert table["gini"][0] == pytest.approx((0.75 + 0) / 2)
    assert table["jain"][0] == pytest.approx((0.25 + 1) / 2)
