"""Exposures of codes, one dot each, beside those by chance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fedasr.files import replacing
from fedasr.privacy.audit.exposure import null_moments
from fedasr.results.figures import style
from fedasr.typing import Floats


def draw(path: Path, shown: Mapping[str, tuple[Floats, Floats]], secrets: int, caption: str) -> None:
    """Draw exposures after and before training into a file.

    Args:
        path: ends in ``.png``.
        shown: of each way of looking, the exposures under the final and under the initial model.
        secrets: how many codes there could have been.
        caption: what the codes are.
    """
    fig = style.figure(3.8, 1.2 + 0.9 * len(shown))
    ax = style.axes(fig)
    most, (mean, _) = math.log2(secrets), null_moments(secrets)
    ax.axvspan(0, math.log2(secrets) - math.log2(max(1.0, 0.05 * secrets)), color=style.GRID, alpha=0.6, linewidth=0)
    ax.axvline(mean, color=style.MUTED, linewidth=1.0, linestyle=":")
    names, places = [], []
    for number, (name, pair) in enumerate(shown.items()):
        ax.text(0.1, 0.3 - number, name, color=style.INK, fontsize=style.LABEL_POINTS, va="bottom")
        for offset, when, bits in ((0.15, "trained", pair[0]), (-0.15, "initial", pair[1])):
            height = offset - number
            scatter = height + 0.1 * (np.arange(len(bits)) % 5 - 2) / 5
            colour = style.SERIES[0] if when == "trained" else style.MUTED
            ax.plot(bits, scatter, "o", markersize=2.6, color=colour, alpha=0.5, markeredgewidth=0)
            ax.plot([bits.mean()], [height], "|", markersize=12, markeredgewidth=2, color=colour)
            names.append(when)
            places.append(height)
    ax.set_yticks(places, names)
    ax.set_ylim(-len(shown) + 0.6, 0.55)
    ax.set_xlim(-0.2, most * 1.03)
    ax.grid(axis="y", visible=False)
    style.name_axes(ax, "Exposure (bits; grey: 95 % by chance)", caption)
    with replacing(path) as temporary:
        fig.savefig(temporary, format="png")
