"""How figures look: colours that the colour-blind can tell apart, quiet axes, labels at the lines."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from fedasr.results.figures.colours import GRID as GRID
from fedasr.results.figures.colours import INK as INK
from fedasr.results.figures.colours import MUTED as MUTED
from fedasr.results.figures.colours import SERIES as SERIES

DASHES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D")

DPI = 160
SHOWN_DPI = 100
"""How large a notebook shows an inch, in pixels; it has ``DPI`` to sharpen it with."""
TEXT_POINTS = 9.0
LABEL_POINTS = 8.5
DIRECT_LABELS = 6
LONGEST_LABEL = 30


class NotebookFigure(Figure):
    """A figure that a notebook shows as it is, whether or not ``%matplotlib inline`` was called."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        image = io.BytesIO()
        self.savefig(image, format="png")
        width, height = self.get_size_inches()
        return image.getvalue(), {"width": int(width * SHOWN_DPI), "height": int(height * SHOWN_DPI)}


def figure(width: float = 4.2, height: float = 2.9, pad: float = 0.05) -> Figure:
    """Return an empty figure, in inches; it belongs to no window and no global state."""
    layout = ConstrainedLayoutEngine(w_pad=pad, h_pad=pad)
    return NotebookFigure(figsize=(width, height), dpi=DPI, layout=layout, facecolor="white")


def axes(fig: Figure) -> Axes:
    """Return the one pair of axes of a figure."""
    return quiet(fig.add_subplot())


def quiet(ax: Axes) -> Axes:
    """Take away what carries no data."""
    ax.set_facecolor("none")
    ax.spines[["top", "right"]].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(MUTED)
        ax.spines[side].set_linewidth(0.8)
    ax.tick_params(colors=MUTED, labelcolor=INK, labelsize=LABEL_POINTS, width=0.8, length=3)
    ax.grid(axis="y", color=GRID, linewidth=0.7)
    ax.set_axisbelow(True)
    return ax


def name_axes(ax: Axes, x: str, y: str) -> None:
    """Label the axes; the y label lies flat above the axis, where it is read without turning the head."""
    ax.set_xlabel(x, color=INK, fontsize=TEXT_POINTS)
    ax.set_title(y, loc="left", color=INK, fontsize=TEXT_POINTS, pad=8)


def whole_numbers(ax: Axes, x: bool = True, y: bool = False) -> None:
    """Allow whole numbers only as ticks."""
    if x:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, steps=[1, 2, 5, 10], min_n_ticks=1))
    if y:
        ax.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, steps=[1, 2, 5, 10], min_n_ticks=1))


def from_zero(ax: Axes) -> None:
    """Start the y axis at zero where no line is below: a rate's size is read against it.

    The band of two or three seeds can be many times as wide as the curve is high; it is cut rather than let flatten
    the lines.
    """
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=np.float64) for line in ax.get_lines()])
    if np.nanmin(values) >= 0:
        highest = float(np.nanmax(values))
        ax.set_ylim(0, 1.06 * min(float(ax.dataLim.y1), 1.3 * highest) if highest else 1.0)


def nothing(ax: Axes, why: str) -> None:
    """Say why axes are empty."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.text(0.5, 0.5, why, ha="center", va="center", transform=ax.transAxes, color=MUTED, fontsize=9)


def literal(label: str) -> str:
    """Return a label that matplotlib shows as it is.

    It reads text between dollars as a formula, and leaves a label that begins with ``_`` out of the legend.
    """
    label = label.replace("$", r"\$")
    return f"\N{THIN SPACE}{label}" if label.startswith("_") else label


def look(index: int) -> dict[str, Any]:
    """Return colour and dash of series ``index``; after six colours the dashes change."""
    return {"color": SERIES[index % len(SERIES)], "linestyle": DASHES[index // len(SERIES) % len(DASHES)]}


def point(index: int) -> dict[str, Any]:
    """Return colour and marker of the points of series ``index``; after six colours the markers change."""
    return {"color": SERIES[index % len(SERIES)], "marker": MARKERS[index // len(SERIES) % len(MARKERS)]}


def marker(count: int) -> dict[str, Any]:
    """Return markers for curves of few points; one point without a marker would not be seen at all."""
    return {"marker": "o", "markersize": 3.6} if count <= 24 else {}


def name_lines(ax: Axes, ends: Sequence[tuple[float, float, str, str]], title: str = "") -> None:
    """Write each line's name at its end, in its colour; below the figure where there are many or they are long.

    Args:
        ax: axes whose limits are final.
        ends: (x, y, label, colour) of each line's last point.
        title: what the labels have in common, such as the config key; it stands above the names.
    """
    fig = ax.figure
    assert isinstance(fig, Figure)
    longest = max([len(title), *(len(label) for _, _, label, _ in ends)])
    if len(ends) > DIRECT_LABELS or longest > LONGEST_LABEL:
        columns = 1 if longest > LONGEST_LABEL else 2 if longest > LONGEST_LABEL // 2 else 4
        fig.set_figheight(fig.get_figheight() + 0.2 * (-(-len(ends) // columns) + bool(title)))
        legend = fig.legend(
            loc="outside lower center", frameon=False, fontsize=LABEL_POINTS, labelcolor=INK, title=title or None,
            title_fontproperties={"size": LABEL_POINTS}, ncols=columns,
        )  # fmt: skip
        legend.get_title().set_color(MUTED)
        return
    fig.draw_without_rendering()  # the layout decides how high the axes are
    low, high = ax.get_ylim()
    inches = ax.get_window_extent().height / DPI
    step = (high - low) * LABEL_POINTS * 1.25 / 72 / max(inches, 0.5)
    heights = spread([y for _, y, _, _ in ends], step, low, high)
    right = ax.get_xlim()[1]
    for height, (_, _, label, colour) in zip(heights, ends, strict=True):
        ax.annotate(
            label, (right, height), xytext=(6, 0), textcoords="offset points", va="center", ha="left", color=colour,
            fontsize=LABEL_POINTS, annotation_clip=False,
        )  # fmt: skip
    if title:
        ax.annotate(
            title, (right, max(heights) + step * 1.15), xytext=(6, 0), textcoords="offset points", va="center",
            ha="left", color=MUTED, fontsize=LABEL_POINTS, annotation_clip=False,
        )  # fmt: skip


def names_inside(ax: Axes, title: str = "") -> None:
    """Write the lines' names into the upper right corner of the axes."""
    legend = ax.legend(
        loc="upper right", frameon=False, fontsize=LABEL_POINTS, labelcolor=INK, title=title or None,
        title_fontproperties={"size": LABEL_POINTS}, alignment="left",
    )  # fmt: skip
    legend.get_title().set_color(MUTED)


def remark(ax: Axes, text: str) -> None:
    """Write a remark above the axes on the right, and lift the title over it where both do not fit on one line."""
    right = ax.set_title(text, loc="right", color=MUTED, fontsize=7.5, pad=8)
    fig = ax.figure
    assert isinstance(fig, Figure)
    fig.draw_without_rendering()
    left = ax.get_title(loc="left")
    shown = next(child for child in ax.get_children() if isinstance(child, Text) and child.get_text() == left)
    if left and shown.get_window_extent().x1 > right.get_window_extent().x0 - LABEL_POINTS:
        shown.set_text(f"{left}\n")


def spread(wanted: Sequence[float], step: float, low: float, high: float) -> list[float]:
    """Return heights at least ``step`` apart, near the wanted ones and, as far as they fit, between low and high."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = [0.0] * len(wanted)
    floor = low
    for i in order:
        placed[i] = floor = max(wanted[i], floor)
        floor += step
    ceiling = high
    for i in reversed(order):
        placed[i] = ceiling = min(placed[i], ceiling)
        ceiling -= step
    return placed
