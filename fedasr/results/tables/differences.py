"""Differences between groups, paired by seed: what both share, such as the population, cancels out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fedasr.results.tables.compare import check_metric
from fedasr.results.tables.groups import Group, Runs, group_runs
from fedasr.results.tables.statistics import mean_interval


def differences(runs: Runs, metric: str = "wer") -> pd.DataFrame:
    """Return by how much each group's final metric differs from the first group's, seed by seed.

    Args:
        runs: ``Run`` objects or run folders; those that differ only in their seed are one group.
        metric: a numeric column of ``rounds``.

    Returns:
        ``label, to, mean, low, high, n`` for every group but the first, which ``to`` names: the mean over the ``n``
        seeds that both have of this group's value less the first group's, with its 95 % t interval (NaN for one seed).

    Raises:
        InputError: no runs, a folder is not a run folder, or no run has the metric.
    """
    groups = group_runs(runs)
    check_metric(groups, metric)
    return difference_table(groups, metric)


def difference_table(groups: Sequence[Group], metric: str = "wer") -> pd.DataFrame:
    """Return ``differences`` of runs that are grouped already."""
    rows = []
    first = {run.seed: run.last(metric) for run in groups[0].runs}
    for group in groups[1:]:
        values = np.array([run.last(metric) - first[run.seed] for run in group.runs if run.seed in first])
        values = values[np.isfinite(values)]
        mean, low, high = map(float, mean_interval(values))
        rows.append((group.label, groups[0].label, mean, low, high, len(values)))
    return pd.DataFrame(rows, columns=["label", "to", "mean", "low", "high", "n"])
