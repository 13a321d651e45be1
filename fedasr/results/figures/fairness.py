"""The word error rates of groups of speakers, each with its interval over speakers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fedasr.results.figures import style

MOST_GROUPS = 20
HEIGHT, ROW_HEIGHT = 0.9, 0.24
"""Of the figure, in inches: without groups, and for each of them."""


def groups(one: Mapping[str, Any]) -> Figure:
    """Draw the groups of a comparison in ``fairness.json``, the worst on top, the first 20.

    Args:
        one: the comparison of an attribute.
    """
    rates = {name: row for name, row in one["groups"].items() if row["wer"] is not None}
    shown = sorted(rates.items(), key=lambda item: -item[1]["wer"])[:MOST_GROUPS]
    fig = style.figure(height=HEIGHT + ROW_HEIGHT * max(len(shown), 3))
    ax = style.axes(fig)
    style.name_axes(ax, "Word error rate (%)", "")
    if not shown:
        style.nothing(ax, "no group has words")
        return fig
    at = np.arange(len(shown))
    wer = np.array([row["wer"] for _, row in shown], np.float64)
    ends = np.array([[row["low"], row["high"]] for _, row in shown], np.float64)  # null becomes NaN: no line is drawn
    colour = style.look(0)["color"]
    ax.hlines(at, 100 * ends[:, 0], 100 * ends[:, 1], color=colour, linewidth=1.4)
    ax.plot(100 * wer, at, "o", color=colour, markersize=5)
    ax.set_yticks(at, [f"{style.literal(name)} ({row['speakers']:.0f})" for name, row in shown])
    ax.set_ylim(len(shown) - 0.5, -0.5)
    ax.set_xlim(left=0)
    ax.grid(visible=False, axis="y")
    ax.grid(axis="x", color=style.GRID, linewidth=0.7)
    return fig
