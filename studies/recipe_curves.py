"""Error rates of recipes over the rounds, from recorded tables.

    python -m studies.recipe_curves docs/results/recipes/sentences.csv docs/results/recipes/readers.csv \\
        --figure docs/results/recipes.png

The tables are those that ``studies.recipes`` writes with ``--csv``. Lines are means over the seeds, bands their lowest
and highest.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from fedasr.files import replacing
from fedasr.results.figures import style


def figure(tables: Sequence[pd.DataFrame]) -> Figure:
    """Draw the CER over the rounds: a panel a recipe, a line an arm.

    Args:
        tables: with columns ``recipe``, ``arm``, ``seed``, ``round`` and ``cer``.
    """
    fig = style.figure(4.2 * len(tables), 3.5)
    panels = fig.subplots(1, len(tables), squeeze=False)[0]
    for ax, table in zip(panels, tables, strict=True):
        style.quiet(ax)
        for number, (arm, of_arm) in enumerate(table.groupby("arm", sort=True)):
            cer = of_arm.groupby("round")["cer"].agg(["mean", "min", "max"])
            ax.plot(cer.index, cer["mean"], label=str(arm), **style.look(number))
            ax.fill_between(cer.index, cer["min"], cer["max"], color=style.SERIES[number], alpha=0.15, linewidth=0)
        style.name_axes(ax, "round", f"CER, {table['recipe'].iloc[0]}")
        style.from_zero(ax)
    handles, labels = panels[0].get_legend_handles_labels()
    fig.legend(
        handles, labels, loc="outside lower center", frameon=False, ncols=2,
        fontsize=style.LABEL_POINTS, labelcolor=style.INK,
    )  # fmt: skip
    return fig


def main() -> None:
    """Draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recorded", type=Path, nargs="+")
    parser.add_argument("--figure", type=Path, required=True)
    given = parser.parse_args()
    with replacing(given.figure) as temporary:
        figure([pd.read_csv(path) for path in given.recorded]).savefig(temporary, format="png", dpi=style.DPI)


if __name__ == "__main__":
    main()
