"""WER by decile of activity: whether the light users of a system are served as well as the heavy ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedasr.results.load import Run
from fedasr.results.tables.groups import Group, Runs, group_runs
from fedasr.results.tables.statistics import mean_interval

DECILES = 10


def deciles(runs: Runs) -> pd.DataFrame:
    """Return the final WER of each tenth of the clients by activity, 1 the lightest users, 10 the heaviest.

    Args:
        runs: ``Run`` objects or run folders; those that differ only in their seed are one group.

    Returns:
        A long table ``label, decile, wer, low, high, n``: mean over the ``n`` seeds that have the decile, with its 95 %
        t interval (NaN for one seed). Empty where no run evaluated its clients by activity.

    Raises:
        InputError: no runs, or a folder is not a run folder.
    """
    return decile_table(group_runs(runs))


def decile_table(groups: Sequence[Group]) -> pd.DataFrame:
    """Return ``deciles`` of runs that are grouped already."""
    rows = []
    for group in groups:
        values = np.array([final(run) for run in group.runs])
        for index in np.flatnonzero(np.isfinite(values).any(axis=0)):
            column = values[:, index]
            there = column[np.isfinite(column)]
            mean, low, high = mean_interval(there)
            rows.append((group.label, int(index) + 1, float(mean), float(low), float(high), len(there)))
    return pd.DataFrame(rows, columns=["label", "decile", "wer", "low", "high", "n"])


def final(run: Run) -> NDArray[np.float64]:
    """Return the WER of each decile after the last round that has them, (10,); NaN where nobody is in a decile."""
    rates = np.full(DECILES, np.nan)
    last = run.activity[run.activity["round"] == run.activity["round"].max()]
    # Pooled over what a decile said, as a WER is; not the mean of its rows.
    totals = last.groupby("decile")[["errors", "words"]].sum()
    totals = totals[totals["words"] > 0]
    rates[totals.index.to_numpy(np.int64) - 1] = (totals["errors"] / totals["words"]).to_numpy(np.float64)
    return rates
