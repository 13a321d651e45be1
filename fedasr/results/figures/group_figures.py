"""Figures that compare groups of runs: a line a group, the mean over its seeds, a band for the 95 % t interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fedasr.results.figures import style
from fedasr.results.tables.compare import average, curve_table
from fedasr.results.tables.deciles import DECILES, decile_table
from fedasr.results.tables.forgetting import forgetting_table
from fedasr.results.tables.groups import Group, title
from fedasr.results.tables.participation import profile
from fedasr.units import axis_label, metric_factor, metric_label

Values = NDArray[np.float64]


class Line(NamedTuple):
    """The line of one group, each of shape (points,); low and high may be NaN."""

    at: Values
    mean: Values
    low: Values
    high: Values


def learning_curves(groups: Sequence[Group], metric: str = "wer", x: str = "round") -> Figure:
    """Draw the metric along ``x``."""
    table = curve_table(groups, metric, x)
    label, divisor = axis_label(x, float(table[x].max()))
    factor = metric_factor(metric)
    lines: list[Line | None] = []
    for group in groups:
        rows = table[table["label"] == group.label]
        values = (factor * rows[name].to_numpy(np.float64) for name in ("mean", "low", "high"))
        lines.append(Line(rows[x].to_numpy(np.float64) / divisor, *values) if len(rows) else None)
    fig = style.figure()
    ax = style.axes(fig)
    style.name_axes(ax, label, metric_label(metric))
    draw(ax, groups, lines, whole=x in ("round", "updates"))
    return fig


def deciles(groups: Sequence[Group]) -> Figure:
    """Draw the final WER by decile of activity."""
    table = decile_table(groups)
    fig = style.figure()
    ax = style.axes(fig)
    style.name_axes(ax, "Tenths of the clients by activity (10: heaviest users)", "Word error rate (%)")
    if not len(table):
        style.nothing(ax, "no run evaluated its clients by activity")
        return fig
    lines: list[Line | None] = []
    for group in groups:
        rows = table[table["label"] == group.label]
        values = (100 * rows[name].to_numpy(np.float64) for name in ("wer", "low", "high"))
        lines.append(Line(rows["decile"].to_numpy(np.float64), *values) if len(rows) else None)
    ax.set_xticks(range(1, DECILES + 1))
    draw(ax, groups, lines)
    return fig


def participation(groups: Sequence[Group]) -> Figure:
    """Draw in how many rounds the clients took part, most frequent first, with each group's Gini coefficient."""
    lines: list[Line | None] = []
    names = []
    for group in groups:
        at, rounds = profile([run.participation for run in group.runs])
        unknown = np.full_like(rounds, np.nan)
        lines.append(Line(100 * at, rounds, unknown, unknown) if np.isfinite(rounds).all() else None)
        names.append(f"{group.short}, Gini {average([run.participation.gini for run in group.runs]):.2f}")
    fig = style.figure()
    ax = style.axes(fig)
    style.name_axes(ax, "Clients, most frequent first (%)", "Rounds taken part in")
    if not any(lines):
        style.nothing(ax, "no client has been selected yet")
        return fig
    ax.set_xlim(0, 100)
    draw(ax, groups, lines, names=names, inside=True, steps=True)
    return fig


def forgetting(groups: Sequence[Group]) -> Figure:
    """Draw the forgetting of each past period: above zero the final model is worse on its speech than it once was."""
    table = forgetting_table(groups)
    fig = style.figure()
    ax = style.axes(fig)
    style.name_axes(ax, "Speech of period", "Forgetting (percentage points)")
    if not len(table):
        style.nothing(ax, "no period has been left behind yet")
        return fig
    lines: list[Line | None] = []
    for group in groups:
        rows = table[table["label"] == group.label]
        values = (100 * rows[name].to_numpy(np.float64) for name in ("forgetting", "low", "high"))
        lines.append(Line(rows["period"].to_numpy(np.float64), *values) if len(rows) else None)
    ax.axhline(0, color=style.MUTED, linewidth=0.8)
    draw(ax, groups, lines, whole=True)
    return fig


def draw(
    ax: Axes,
    groups: Sequence[Group],
    lines: Sequence[Line | None],
    *,
    names: Sequence[str] = (),
    whole: bool = False,
    inside: bool = False,
    steps: bool = False,
) -> None:
    """Draw a line a group where it has one, its interval, its name, and over how many seeds it is.

    Args:
        ax: named axes.
        groups: what the lines are of.
        lines: as many as groups, in the units of the axes.
        names: what to call the lines; by default the groups' short labels.
        whole: the x axis counts.
        inside: write the names into the upper right corner, for lines that fall and meet.
        steps: join the points by steps, without markers.
    """
    counted = {len(group.runs) for group in groups}
    ends = []
    for index, (group, line) in enumerate(zip(groups, lines, strict=True)):
        if line is None:
            continue
        name = names[index] if names else group.short
        name = name if len(counted) == 1 else f"{name} ({len(group.runs)})"
        name = style.literal(name)
        look = style.look(index)
        kind = {"drawstyle": "steps-post"} if steps else style.marker(len(line.at))
        ax.plot(line.at, line.mean, label=name, linewidth=1.8, **look, **kind)
        if len(line.at) > 1:
            # The edges tell bands that overlap apart.
            face, edge = (look["color"], 0.15), (look["color"], 0.5)
            ax.fill_between(line.at, line.low, line.high, facecolor=face, edgecolor=edge, linewidth=0.6)
        elif np.isfinite(line.low).all():
            ax.errorbar(line.at, line.mean, yerr=line.high - line.mean, color=look["color"], linewidth=1.2, capsize=3)
        ends.append((float(line.at[-1]), float(line.mean[-1]), name, str(look["color"])))
    style.from_zero(ax)
    style.whole_numbers(ax, x=whole)
    if len(ends) > 1:
        heading = title(groups).removesuffix("Group")
        if inside:
            style.names_inside(ax, heading)
        else:
            style.name_lines(ax, ends, heading)
    if max(counted) > 1:
        seeds = f"{counted.pop()} seeds" if len(counted) == 1 else "(n) seeds"
        banded = any(line is not None and np.isfinite(line.low).any() for line in lines)
        text = f"mean of {seeds}{', 95 % interval' if banded else ''}"
        style.remark(ax, text)
