import numpy as np
import pandas as pd
import pytest

import fedasr
from fedasr.results.tables.forgetting import average_table, forgetting
from fedasr.results.tables.groups import group_runs
from tests.fedasr.results.run_folders import add_periods, make_run

THREE = [[0.5], [0.4, 0.3], [0.45, 0.28, 0.2]]
"""Period 1 was learned at 0.5 and is at 0.45 in the end; period 2 went from 0.3 to 0.28."""


def test_forgetting_by_hand(tmp_path):
    table = forgetting(add_periods(make_run(tmp_path / "a"), THREE))
    assert list(table["period"]) == [1, 2]  # the last period has had no time to be forgotten
    np.testing.assert_allclose(table["learned"], [0.5, 0.3])
    np.testing.assert_allclose(table["final"], [0.45, 0.28])
    np.testing.assert_allclose(table["forgetting"], [-0.05, -0.02])
    assert table["low"].isna().all()


def test_the_average_is_over_periods_then_seeds(tmp_path):
    worse = [[0.5], [0.4, 0.3], [0.6, 0.4, 0.2]]
    runs = [add_periods(make_run(tmp_path / str(i), seed=i), rates) for i, rates in enumerate((THREE, worse))]
    (row,) = average_table(group_runs(runs)).to_dict("records")
    assert row["forgetting"] == pytest.approx(((-0.05 - 0.02) / 2 + (0.1 + 0.1) / 2) / 2)
    assert row["n"] == 2
    assert row["low"] < row["forgetting"] < row["high"]
    table = forgetting(runs)
    np.testing.assert_allclose(table["forgetting"], [(-0.05 + 0.1) / 2, (-0.02 + 0.1) / 2])


def test_only_the_end_of_a_period_counts(tmp_path):
    run = add_periods(make_run(tmp_path / "a"), THREE)
    table = pd.read_parquet(run / "periods.parquet")
    early = table.assign(round=table["round"] - 2, wer=0.99)
    pd.concat([table, early]).to_parquet(run / "periods.parquet")
    np.testing.assert_allclose(forgetting(run)["forgetting"], [-0.05, -0.02])


def test_future_periods_and_gaps_are_left_out(tmp_path):
    run = add_periods(make_run(tmp_path / "a"), [[0.5, 0.6, 0.7], [0.4, 0.3, 0.5]])  # tested on the future too
    np.testing.assert_allclose(forgetting(run)["forgetting"], [-0.1])
    table = pd.read_parquet(run / "periods.parquet")
    table.loc[(table["period"] == 1) & (table["test_period"] == 1), "wer"] = np.nan
    table.to_parquet(run / "periods.parquet")
    assert forgetting(run).empty


@pytest.mark.parametrize("rates", [[], [[0.5]]])
def test_nothing_to_forget(tmp_path, rates):
    run = make_run(tmp_path / "a")
    if rates:
        add_periods(run, rates)
    assert forgetting(run).empty
    assert average_table(group_runs(run)).empty
    assert len(fedasr.load_run(run).periods) == len(rates)
    assert {"period", "test_period", "wer"} <= set(fedasr.load_run(run).periods.columns)
