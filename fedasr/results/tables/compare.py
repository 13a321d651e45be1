"""Compare runs: a table with a row a group, learning curves, and what it took to reach a target."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedasr.errors import InputError, nearest
from fedasr.results.load import Run, completed
from fedasr.results.tables.groups import Group, Runs, group_runs
from fedasr.results.tables.statistics import mean_interval

AXES = {
    "round": ("round",),
    "bytes": ("bytes_up", "bytes_down"),
    "audio_seconds": ("audio_seconds",),
    "simulated_seconds": ("simulated_seconds",),
    "updates": ("clients_replied",),
}
"""The axes of a curve, and the columns of ``rounds`` that each sums up over the rounds (``round`` is as it is)."""

TOTALS = ("clients_replied", "bytes_up", "bytes_down", "audio_seconds", "simulated_seconds")


def compare(runs: Runs, metric: str = "wer") -> pd.DataFrame:
    """Return one row per group of runs that differ only in their seed.

    Args:
        runs: ``Run`` objects or run folders.
        metric: a numeric column of ``rounds``, such as ``wer``, ``cer``, ``loss``.

    Returns:
        ``label``; ``n`` and ``seeds`` counted; the final metric's mean under its own name with ``<metric>_low`` and
        ``<metric>_high``, the 95 % t interval over seeds (NaN for one seed); ``<metric>_best``, the mean over seeds of
        the lowest value; and means over seeds of ``rounds, updates, bytes_up, bytes_down, audio_seconds,
        simulated_seconds`` (NaN without a simulated clock), ``wall_seconds`` and ``gini, jain``, how evenly the clients
        took part; ``unfinished``, how many of the runs did not come to their end. Fractions, bytes, seconds.

    Raises:
        InputError: no runs, a folder is not a run folder, or no run has the metric.
    """
    return table(group_runs(runs), metric)


def table(groups: Sequence[Group], metric: str = "wer") -> pd.DataFrame:
    """Return ``compare`` of runs that are grouped already."""
    check_metric(groups, metric)
    rows = []
    for group in groups:
        final = np.array([run.last(metric) for run in group.runs])
        mean, low, high = mean_interval(final[np.isfinite(final)])
        totals = {name: average([total(run, name) for run in group.runs]) for name in TOTALS}
        totals["updates"] = totals.pop("clients_replied")
        rows.append(
            {
                "label": group.label,
                "n": int(np.isfinite(final).sum()),
                "seeds": group.seeds,
                metric: float(mean),
                f"{metric}_low": float(low),
                f"{metric}_high": float(high),
                f"{metric}_best": average([best(run, metric) for run in group.runs]),
                "rounds": average([completed(run.rounds) for run in group.runs]),
                **totals,
                "wall_seconds": average([wall_seconds(run) for run in group.runs]),
                "gini": average([run.participation.gini for run in group.runs]),
                "jain": average([run.participation.jain for run in group.runs]),
                "unfinished": sum(not run.finished for run in group.runs),
            }
        )
    return pd.DataFrame(rows)


def curves(runs: Runs, metric: str = "wer", x: str = "round") -> pd.DataFrame:
    """Return learning curves: for each group, mean and 95 % t interval over seeds along ``x``.

    Args:
        runs: ``Run`` objects or run folders.
        metric: a numeric column of ``rounds``; rounds without it are left out.
        x: ``round``, or what was spent up to and including a round: ``bytes`` (up and down), ``audio_seconds`` (trained
            on), ``simulated_seconds``, ``updates`` (client updates that arrived).

    Returns:
        A long table ``label, <x>, mean, low, high, n``. Seeds that do not meet at the same ``x`` are interpolated
        linearly, within the range that all of them cover, so that every mean is over the same seeds.

    Raises:
        InputError: an unknown metric or axis, or no run recorded it.
    """
    return curve_table(group_runs(runs), metric, x)


def curve_table(groups: Sequence[Group], metric: str = "wer", x: str = "round") -> pd.DataFrame:
    """Return ``curves`` of runs that are grouped already."""
    check_metric(groups, metric)
    check_axis(x)
    parts = []
    for group in groups:
        lines = [line for run in group.runs if len((line := points(run, metric, x))[0])]
        if not lines:
            continue
        grid, values = align(lines)
        mean, low, high = mean_interval(values)
        parts.append(
            pd.DataFrame({"label": group.label, x: grid, "mean": mean, "low": low, "high": high, "n": len(lines)})
        )
    if not parts:
        raise InputError(f"no round of these runs has '{metric}' yet; wait for the first evaluation")
    return pd.concat(parts, ignore_index=True)


def rounds_to_target(runs: Runs, target: float, metric: str = "wer", x: str = "round") -> pd.DataFrame:
    """Return what it took until the metric was first at or below a target.

    Args:
        runs: ``Run`` objects or run folders.
        target: in the metric's unit; WER is a fraction.
        metric: a column of ``rounds`` where less is better.
        x: the price, one of the axes of ``curves``; rounds by default.

    Returns:
        ``label, n, reached, mean, low, high``: in how many of the ``n`` seeds the target was reached, and the price
        with its 95 % interval. Where a seed did not get there the price is NaN: a mean over the lucky seeds would
        flatter. Rounds without evaluation cannot reach a target.
    """
    return target_table(group_runs(runs), target, metric, x)


def target_table(groups: Sequence[Group], target: float, metric: str = "wer", x: str = "round") -> pd.DataFrame:
    """Return ``rounds_to_target`` of runs that are grouped already."""
    check_metric(groups, metric)
    check_axis(x)
    rows = []
    for group in groups:
        prices = []
        for run in group.runs:
            at, values = points(run, metric, x)
            hits = np.flatnonzero(values <= target)
            prices.append(at[hits[0]] if len(hits) else np.nan)
        mean, low, high = mean_interval(prices)
        rows.append(
            {
                "label": group.label,
                "n": len(prices),
                "reached": int(np.isfinite(prices).sum()),
                "mean": float(mean),
                "low": float(low),
                "high": float(high),
            }
        )
    return pd.DataFrame(rows)


def price_table(groups: Sequence[Group], target: float, metric: str = "wer") -> pd.DataFrame:
    """Return ``rounds_to_target`` along every axis that all runs recorded: ``x`` names it, ``round`` comes first."""
    runs = [run for group in groups for run in group.runs]
    axes = [x for x in AXES if all(recorded(run, x) for run in runs)]
    tables = [target_table(groups, target, metric, x).assign(x=x) for x in axes]
    return pd.concat(tables, ignore_index=True)[["label", "x", "n", "reached", "mean", "low", "high"]]


def points(run: Run, metric: str, x: str = "round") -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return ``x`` and the metric at the rounds of a run that have it."""
    rounds = run.rounds
    values = rounds[metric].to_numpy(np.float64) if metric in rounds else np.full(len(rounds), np.nan)
    there = np.isfinite(values)
    return spent(run, x)[there], values[there]


def spent(run: Run, x: str) -> NDArray[np.float64]:
    """Return ``x`` at each round: the round itself, or what was spent up to its end.

    Raises:
        InputError: the run recorded nothing of it.
    """
    rounds = run.rounds
    if x == "round":
        return rounds["round"].to_numpy(np.float64)
    if not recorded(run, x):
        raise InputError(f"recorded no '{x}'; choose another axis, such as 'round'", where=str(run.path))
    return np.cumsum(rounds[list(AXES[x])].sum(axis=1).to_numpy(np.float64))


def recorded(run: Run, x: str) -> bool:
    """Say whether a run recorded what was spent along an axis; one without a round has nothing to record yet."""
    amounts = run.rounds[list(AXES[x])].fillna(0).to_numpy()
    return not len(amounts) or bool(amounts.any())


def total(run: Run, name: str) -> float:
    """Return the sum of a column over the rounds; NaN for a clock that did not run."""
    amount = float(run.rounds[name].sum())
    return amount if amount or name != "simulated_seconds" else float("nan")


def align(
    lines: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return one grid (points,) and the lines' values on it (lines, points)."""
    low = max(at[0] for at, _ in lines)
    high = min(at[-1] for at, _ in lines)
    if low > high:
        # The lines share no x, as with one evaluation each at different costs: the last points are averaged, x too.
        return np.array([np.mean([at[-1] for at, _ in lines])]), np.array([[values[-1]] for _, values in lines])
    every = np.unique(np.concatenate([at for at, _ in lines]))
    grid = every[(every >= low) & (every <= high)]
    longest = max(len(at) for at, _ in lines)
    if len(grid) > longest:  # the seeds meet nowhere: as many points as they have, evenly, for every point is a mean
        grid = np.linspace(low, high, longest)
    return grid, np.stack([np.interp(grid, at, values) for at, values in lines])


def metrics(groups: Sequence[Group]) -> list[str]:
    """Return the columns that can be compared: numeric ones of any run's rounds."""
    names = dict.fromkeys(
        name
        for group in groups
        for run in group.runs
        for name in run.rounds.columns
        if name != "round" and pd.api.types.is_numeric_dtype(run.rounds[name])
    )
    return [str(name) for name in names]


def check_metric(groups: Sequence[Group], metric: str) -> None:
    """Raise when no run has the metric."""
    known = metrics(groups)
    if metric not in known:
        raise InputError(
            f"no run has a column '{metric}'{nearest(metric, known)}; expected one of: {', '.join(known)}",
            where="metric",
        )


def check_axis(x: str) -> None:
    """Raise when there is no such axis."""
    if x not in AXES:
        raise InputError(f"'{x}' is no axis{nearest(x, AXES)}; expected one of: {', '.join(AXES)}", where="x")


def best(run: Run, metric: str) -> float:
    """Return the lowest value of the metric, NaN where there is none."""
    values = points(run, metric)[1]
    return float(values.min()) if len(values) else run.last(metric)


def wall_seconds(run: Run) -> float:
    """Return how long the run took: the summary's time, which knows the set-up too, else the sum over its rounds."""
    total = run.summary.get("wall_seconds")
    return float(total) if isinstance(total, (int, float)) else float(run.rounds["wall_seconds"].sum())


def average(values: Sequence[float]) -> float:
    """Return the mean of the finite values, NaN where there is none."""
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    return float(finite.mean()) if len(finite) else float("nan")
