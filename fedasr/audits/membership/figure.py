"""True against false positives on logarithmic axes, with the floors and the ledger's ceiling: fit for a phone."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.ticker import FuncFormatter

from fedasr.files import replacing
from fedasr.privacy.audit.ceiling import Ceiling
from fedasr.privacy.audit.roc import curve
from fedasr.results.figures import style
from fedasr.typing import Floats

TICKS = (0.001, 0.01, 0.1, 1.0)
POINTS = 200


@dataclass(frozen=True)
class Line:
    """Scores of one attack."""

    name: str
    scores: Floats
    member: npt.NDArray[np.bool_]
    floor: bool = False


def draw(path: Path, lines: Sequence[Line], ceiling: Ceiling | None, caption: str) -> None:
    """Draw the curves of attacks into a file.

    Args:
        path: ends in ``.png``.
        lines: one an attack.
        ceiling: of the ledger; None: there is none.
        caption: below the axes.
    """
    fig = style.figure(3.6, 4.0)
    ax = style.axes(fig)
    lowest = min([TICKS[0], *(0.5 / max(1, int(np.count_nonzero(~line.member))) for line in lines)])
    grid = np.geomspace(lowest, 1.0, POINTS)
    if ceiling is not None:
        most = ceiling.true_rates(grid)
        ax.fill_between(grid, most, 1.0, color=style.GRID, alpha=0.6, linewidth=0)
        ax.plot(grid, most, color=style.INK, linewidth=1.4, label="the ledger's ceiling")
    ax.plot(grid, grid, color=style.MUTED, linewidth=1.0, linestyle=":", label="random")
    for number, line in enumerate(lines):
        false, true = curve(line.scores, line.member)
        shown = {**style.look(number), "linewidth": 1.0 if line.floor else 1.8}
        if line.floor:
            shown["linestyle"] = "--"
        ax.step(np.maximum(false, lowest), np.maximum(true, lowest), where="post", label=line.name, **shown)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(lowest, 1)
    ax.set_ylim(lowest, 1.05)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
        axis.set_ticks([tick for tick in TICKS if tick >= lowest])
        axis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
    style.name_axes(ax, "False-positive rate", "True-positive rate")
    legend = fig.legend(
        loc="outside lower center",
        frameon=False,
        fontsize=style.LABEL_POINTS,
        labelcolor=style.INK,
        ncols=2,
        title="\n".join(textwrap.wrap(caption, 60)),
        title_fontproperties={"size": 7.5},
    )
    legend.get_title().set_color(style.MUTED)
    with replacing(path) as temporary:
        fig.savefig(temporary, format="png")
