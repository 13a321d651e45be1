"""The figure of an error rate against ε: a line a mechanism."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedasr.results.figures import style
from fedasr.units import metric_factor, metric_label


def draw(table: pd.DataFrame, metric: str = "wer") -> Figure:
    """Draw the metric against ε: a line a mechanism with its interval, dashed without privacy, dotted at ε = 0."""
    fig = style.figure(5.6, 3.4)
    ax = style.axes(fig)
    factor = metric_factor(metric)
    spent = np.isfinite(table["epsilon"]) & (table["epsilon"] > 0)
    private = table[spent]
    names = list(dict.fromkeys(private["mechanism"]))
    ends = []
    for index, name in enumerate(names):
        rows = private[private["mechanism"] == name]
        looks = style.look(index)
        ax.plot(rows["epsilon"], factor * rows[metric], **looks, marker="o", markersize=3.6, label=style.literal(name))
        ax.fill_between(
            rows["epsilon"], factor * rows[f"{metric}_low"], factor * rows[f"{metric}_high"], alpha=0.15,
            color=looks["color"], linewidth=0,
        )  # fmt: skip
        last = rows.iloc[-1]
        ends.append((float(last["epsilon"]), float(factor * last[metric]), name, looks["color"]))
    for _, row in table[~spent].iterrows():
        level = float(factor * row[metric])
        dashes = ":" if row["epsilon"] == 0 else "--"
        ax.axhline(level, color=style.MUTED, linestyle=dashes, linewidth=1, label=row["mechanism"])
        ends.append((math.inf, level, str(row["mechanism"]), style.MUTED))
    scale(ax, private["epsilon"].tolist())
    style.name_axes(ax, "ε" + common_facts(private), metric_label(metric))
    style.from_zero(ax)
    style.name_lines(ax, ends)
    return fig


def scale(ax: Axes, epsilons: Sequence[float]) -> None:
    """Give the axis of ε a logarithmic scale with a tick at each point."""
    if not epsilons:
        return
    ax.set_xscale("log", base=2)
    ticks = sorted({float(f"{epsilon:.2g}") for epsilon in epsilons})
    apart = [tick for at, tick in enumerate(ticks) if not at or tick > 1.25 * ticks[at - 1]]
    ax.set_xticks(apart, [f"{tick:g}" for tick in apart])
    ax.minorticks_off()


def common_facts(private: pd.DataFrame) -> str:
    """Return what all ε of a figure have in common, for the axis."""
    deltas = sorted(set(private["delta"]))
    drawn = sorted(set(private["randomness"]))
    at = [f" at δ = {deltas[0]:g}"] if len(deltas) == 1 else []
    return ",".join([*at, f" {drawn[0]}"]) if len(drawn) == 1 else "".join(at)
