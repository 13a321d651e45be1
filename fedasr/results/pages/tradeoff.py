"""An error rate against ε in a file: a figure, a page or a table."""

from __future__ import annotations

import io
import math
from pathlib import Path

import pandas as pd

from fedasr.files import check_suffix
from fedasr.results.figures.tradeoff import draw
from fedasr.results.pages.comparison import SUFFIXES, interval, short_name
from fedasr.results.pages.html import element, figure, page, write
from fedasr.results.pages.html import table as html_table
from fedasr.units import metric_label, metric_text


def text_rows(table: pd.DataFrame, metric: str) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of ``tradeoff`` as people read it."""
    head = ["Mechanism", "ε", "δ", "Neighbour", "Seen by", "Sampling", "Population", "Randomness", short_name(metric),
            "95 % interval", "Seeds"]  # fmt: skip
    body = []
    for row in table.to_dict("records"):
        spent = 0 < row["epsilon"] < math.inf
        body.append(
            [
                row["mechanism"],
                "∞" if row["epsilon"] == math.inf else f"{row['epsilon']:.3g}",
                f"{row['delta']:g}" if spent else "–",
                row["adjacency"] or "–",
                row["seen_by"] or "–",
                row["sampling"] or "–",
                row["population"] or "–",
                row["randomness"] or "–",
                metric_text(metric, row[metric]),
                interval(metric, row[f"{metric}_low"], row[f"{metric}_high"]),
                str(row["n"]),
            ]
        )
    return head, body


def write_tradeoff(table: pd.DataFrame, out: str | Path, metric: str = "wer") -> Path:
    """Write the trade-off as a figure, a page or a table, by the suffix, and return the path.

    Raises:
        InputError: an unknown suffix, or the file cannot be written.
    """
    path = check_suffix(out, SUFFIXES)
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return write(path, table.assign(seeds=table["seeds"].map(lambda s: " ".join(map(str, s)))).to_csv(index=False))
    if suffix == ".html":
        heading = f"{metric_label(metric).removesuffix(' (%)')} against ε"
        about = "Bands and intervals are 95 % t intervals of the mean over seeds. An ε of one unit cannot be compared"
        about += " with an ε of another: a user's covers all that the user said, an example's one utterance. An ε whose"
        about += " randomness is a public seed is a simulation's: it holds against nobody who has the seed."
        body = page(
            heading,
            element("h1", heading),
            element("p", about, class_="muted"),
            element("section", figure(draw(table, metric), heading, "")),
            element("section", html_table(*text_rows(table, metric), text_columns=8)),
        )
        return write(path, body)
    image = io.BytesIO()
    draw(table, metric).savefig(image, format=suffix[1:], dpi=300)
    return write(path, image.getvalue())
