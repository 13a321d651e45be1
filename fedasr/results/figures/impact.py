"""What each config does to each group: the change of its WER from the baseline, with its interval over speakers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedasr.results.figures import style

COLUMNS = 3
MOST_LINES = 4
WIDTH, HEIGHT, ROW_HEIGHT = 4.6, 1.1, 0.16
"""Of the figure, in inches: of each attribute, without rows, and for each group of a config."""


def draw(result: Mapping[str, Any]) -> Figure:
    """Draw the changes from the baseline, an attribute a panel, a config a block of rows, a group a colour.

    Args:
        result: of ``assess_impact``.
    """
    attributes = result["attributes"]
    most = max(sum(len(config["groups"]) + 1 for config in one["configs"] if "change" in config) for one in attributes)
    columns = min(len(attributes), COLUMNS)
    lines = math.ceil(len(attributes) / columns)
    fig = style.figure(WIDTH * columns, lines * (HEIGHT + ROW_HEIGHT * max(most, 6)))
    for place, one in enumerate(attributes):
        panel(style.quiet(fig.add_subplot(lines, columns, place + 1)), one)
    return fig


def panel(ax: Axes, one: Mapping[str, Any]) -> None:
    """Draw one attribute."""
    configs = [config for config in one["configs"] if "change" in config]
    names = sorted({name for config in configs for name in config["groups"]})
    style.name_axes(
        ax, f"Change of the word error rate from {style.literal(one['baseline'])} (points)", one["attribute"]
    )
    at, ticks = 0.0, []
    for config in configs:
        top = at
        for index, name in enumerate(names):
            given = config["groups"].get(name, {}).get("change")
            if given is not None:
                line(ax, at, given, style.point(index), name if config is configs[0] else None)
            at += 1
        ticks.append((top + at - 1) / 2)
        at += 1
    ax.axvline(0, color=style.MUTED, linewidth=0.8, zorder=0)
    ax.set_yticks(ticks, [style.literal(wrapped(config["label"])) for config in configs])
    ax.set_ylim(at - 1.5, -0.7)
    ax.grid(visible=False, axis="y")
    ax.grid(axis="x", color=style.GRID, linewidth=0.7)
    ax.legend(fontsize=style.LABEL_POINTS, frameon=False, loc="best", labelcolor=style.INK)


def wrapped(label: str) -> str:
    """Return a label in lines that leave the axes room."""
    return fill(label, style.LONGEST_LABEL, max_lines=MOST_LINES, placeholder=" …")


def line(ax: Axes, at: float, given: Mapping[str, Any], look: Mapping[str, Any], name: str | None) -> None:
    """Draw a change with its interval."""
    value, low, high = (100 * np.array([given[key] for key in ("difference", "low", "high")], np.float64)).tolist()
    ax.hlines([at], [low], [high], color=look["color"], linewidth=1.4)
    label = style.literal(name) if name is not None else None
    ax.plot([value], [at], linestyle="", markersize=4, label=label, **look)
