"""Write a comparison to a file: a figure for a paper, a page for a colleague, the curve's numbers for a spreadsheet."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from fedasr.errors import InputError, nearest
from fedasr.results.compare import curve_table, table
from fedasr.results.groups import Group
from fedasr.results.html import element, figure, page, write
from fedasr.results.html import table as html_table
from fedasr.results.plot import compare_groups
from fedasr.results.units import BYTES, SECONDS, Scale, data_size, duration, metric_label, metric_text, number, suit

IMAGES = (".png", ".pdf", ".svg")
SUFFIXES = (".png", ".html", ".csv", ".pdf", ".svg")


def check_suffix(out: str | Path) -> Path:
    """Return the path of a comparison's file.

    Raises:
        InputError: the suffix says no known format.
    """
    path = Path(out)
    if path.suffix.lower() not in SUFFIXES:
        guess = nearest(path.suffix.lower(), SUFFIXES)
        known = ", ".join(SUFFIXES)
        raise InputError(f"cannot write '{path.suffix}'{guess}; expected one of: {known}", where=str(path))
    return path


def write_comparison(groups: Sequence[Group], out: str | Path, metric: str = "wer", x: str = "round") -> Path:
    """Write the comparison of grouped runs, and return its path.

    Args:
        groups: from ``group_runs``.
        out: ``.png``, ``.pdf`` or ``.svg``, the learning curves drawn; ``.csv``, the same curves as a long table
            ``label, <x>, mean, low, high, n``; ``.html``, the figure and the table on one self-contained page.
        metric: a numeric column of ``rounds``.
        x: an axis of ``curves``.

    Raises:
        InputError: an unknown suffix, metric or axis, or the file cannot be written.
    """
    path = check_suffix(out)
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return write(path, curve_table(groups, metric, x).to_csv(index=False))
    if suffix == ".html":
        return write(path, comparison_page(groups, metric, x))
    target = io.BytesIO()
    compare_groups(groups, metric, x).savefig(target, format=suffix[1:], dpi=300)
    return write(path, target.getvalue())


def comparison_page(groups: Sequence[Group], metric: str, x: str) -> str:
    """Return the page: the figure, the table, and which runs are in it."""
    rows = table(groups, metric)
    configs = f"{len(groups)} {'config' if len(groups) == 1 else 'configs'}"
    title = f"{metric_label(metric).removesuffix(' (%)')} of {configs}"
    members = [
        (group.label, run.seed, run.status, str(run.path), note)
        for group in groups
        for found, note in ((group.runs, ""), (group.repeats, "repeats a seed: not counted"))
        for run in found
    ]
    about = (
        "Runs that differ only in their seed are one row and one line. Intervals are 95 % t intervals of the mean over"
        " seeds; one seed has none."
    )
    curve = figure(compare_groups(groups, metric, x), f"{metric_label(metric)} over {x}")
    return page(
        title,
        element("h1", title),
        element("p", about, class_="muted"),
        element("section", curve),
        element("section", element("h2", "After the last round"), html_table(*summary_rows(rows, metric))),
        element("section", element("h2", "Runs"), html_table(("Group", "Seed", "Status", "Folder", ""), members, 5)),
    )


def summary_rows(rows: pd.DataFrame, metric: str) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of the table of groups, as people read it."""
    name = short_name(metric)
    head = ["Group", "Seeds", name, "95 % interval", f"Best {name}", "Rounds", "Updates", "Sent", "Audio", "Wall time"]
    body = [
        [
            row["label"], str(row["n"]), metric_text(metric, row[metric]),
            interval(metric, row[f"{metric}_low"], row[f"{metric}_high"]), metric_text(metric, row[f"{metric}_best"]),
            number(row["rounds"]), number(row["updates"]), data_size(row["bytes_up"] + row["bytes_down"]),
            duration(row["audio_seconds"]), duration(row["wall_seconds"]),
        ]
        for row in rows.to_dict("records")
    ]  # fmt: skip
    return head, body


def short_name(metric: str) -> str:
    """Return the metric's name as a column head."""
    return metric.upper() if metric in ("wer", "cer") else metric


def interval(metric: str, low: float, high: float) -> str:
    """Return an interval as text."""
    if low != low:
        return "–"
    return f"{metric_text(metric, low).removesuffix(' %')} – {metric_text(metric, high)}"


def target_text(row: Mapping[Any, Any], x: str) -> str:
    """Return what it took to reach a target, a row of ``rounds_to_target``, as text."""
    if row["reached"] < row["n"]:
        return f"{row['reached']} of {row['n']} got there"
    if x in ("round", "updates"):
        scale = Scale(1, "rounds" if x == "round" else "updates")
    else:
        scale = suit(row["mean"], BYTES if x == "bytes" else SECONDS)
    half = (row["high"] - row["mean"]) / scale.divisor
    return f"{number(row['mean'] / scale.divisor)}{'' if half != half else f' ± {number(half, 2)}'} {scale.unit}"
