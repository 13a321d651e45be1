"""Forgetting: how much worse the final model is on the speech of a past period than the model of that time was."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fedasr.results.load import Run
from fedasr.results.tables.groups import Group, Runs, group_runs
from fedasr.results.tables.statistics import mean_interval


def forgetting(runs: Runs) -> pd.DataFrame:
    """Return the forgetting of each past period: WER at the end less WER right after the period, on its speech.

    Args:
        runs: ``Run`` objects or run folders; those that differ only in their seed are one group.

    Returns:
        A long table ``label, period, learned, final, forgetting, low, high, n``: means over the ``n`` seeds of the WER
        right after the period and at the end, and of their difference with its 95 % t interval over seeds (NaN for one
        seed). Fractions; less than zero where the model went on to improve on old speech. The last period has none.

    Raises:
        InputError: no runs, or a folder is not a run folder.
    """
    return forgetting_table(group_runs(runs))


def forgetting_table(groups: Sequence[Group]) -> pd.DataFrame:
    """Return ``forgetting`` of runs that are grouped already."""
    parts = []
    for group in groups:
        tables = [of_run(run) for run in group.runs]
        every = pd.concat(tables, ignore_index=True) if tables else of_run_columns()
        for period, rows in every.groupby("period"):
            mean, low, high = mean_interval(rows["forgetting"])
            parts.append(
                (group.label, period, rows["learned"].mean(), rows["final"].mean(), mean, low, high, len(rows))
            )
    columns = ["label", "period", "learned", "final", "forgetting", "low", "high", "n"]
    kinds = dict.fromkeys(columns[2:7], "float64") | {"period": "int64", "n": "int64"}
    return pd.DataFrame(parts, columns=columns).astype(kinds)


def average_table(groups: Sequence[Group]) -> pd.DataFrame:
    """Return ``label, forgetting, low, high, n``: the mean over past periods, then over seeds with its interval."""
    rows = []
    for group in groups:
        means = np.array([of_run(run)["forgetting"].mean() for run in group.runs])
        means = means[np.isfinite(means)]
        if len(means):
            rows.append((group.label, *map(float, mean_interval(means)), len(means)))
    return pd.DataFrame(rows, columns=["label", "forgetting", "low", "high", "n"])


def of_run(run: Run) -> pd.DataFrame:
    """Return ``period, learned, final, forgetting`` of each past period of a run; empty where there is none."""
    ends = at_period_ends(run)
    if not len(ends):
        return of_run_columns()
    last = ends["period"].max()
    own = ends[ends["period"] == ends["test_period"]].set_index("test_period")["wer"]
    now = ends[ends["period"] == last].set_index("test_period")["wer"]
    past = sorted(period for period in own.index.intersection(now.index) if period < last)
    learned, final = own.loc[past].to_numpy(np.float64), now.loc[past].to_numpy(np.float64)
    return pd.DataFrame({"period": past, "learned": learned, "final": final, "forgetting": final - learned})


def of_run_columns() -> pd.DataFrame:
    """Return the empty table of ``of_run``."""
    return pd.DataFrame({name: pd.Series(dtype="float64") for name in ("period", "learned", "final", "forgetting")})


def at_period_ends(run: Run) -> pd.DataFrame:
    """Return the rows of ``run.periods`` of the last round of each period, where the WER is known."""
    table = run.periods.dropna(subset=["wer"])
    return table[table["round"] == table.groupby("period")["round"].transform("max")]
