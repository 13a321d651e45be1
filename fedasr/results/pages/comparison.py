"""Write a comparison to a file: a figure for a paper, a page for a colleague, the curve's numbers for a spreadsheet."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from fedasr.files import check_suffix
from fedasr.results.figures import group_figures
from fedasr.results.pages.html import Html, element, figure, page, write
from fedasr.results.pages.html import table as html_table
from fedasr.results.tables.compare import curve_table, price_table, recorded, table
from fedasr.results.tables.deciles import decile_table
from fedasr.results.tables.differences import difference_table
from fedasr.results.tables.forgetting import average_table, forgetting_table
from fedasr.results.tables.groups import Group, title
from fedasr.units import (
    BYTES,
    PERCENT,
    SECONDS,
    Scale,
    data_size,
    duration,
    metric_label,
    metric_text,
    number,
    percent,
    percentage_points,
    suit,
)

SPENT = {
    "round": "Rounds",
    "bytes": "Data sent",
    "audio_seconds": "Audio trained on",
    "simulated_seconds": "Simulated time",
    "updates": "Client updates",
}
SUFFIXES = (".png", ".html", ".csv", ".pdf", ".svg")


def write_comparison(
    groups: Sequence[Group], out: str | Path, metric: str = "wer", x: str = "round", target: float | None = None
) -> Path:
    """Write the comparison of grouped runs, and return its path.

    Args:
        groups: from ``group_runs``.
        out: ``.png``, ``.pdf`` or ``.svg``, the learning curves drawn; ``.csv``, the same curves as a long table
            ``label, <x>, mean, low, high, n``; ``.html``, all figures and tables on one self-contained page.
        metric: a numeric column of ``rounds``.
        x: an axis of ``curves``.
        target: the page also says what it took until the metric was this low.

    Raises:
        InputError: an unknown suffix, metric or axis, or the file cannot be written.
    """
    path = check_suffix(out, SUFFIXES)
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return write(path, curve_table(groups, metric, x).to_csv(index=False))
    if suffix == ".html":
        return write(path, comparison_page(groups, metric, x, target))
    image = io.BytesIO()
    group_figures.learning_curves(groups, metric, x).savefig(image, format=suffix[1:], dpi=300)
    return write(path, image.getvalue())


def comparison_page(groups: Sequence[Group], metric: str, x: str, target: float | None = None) -> str:
    """Return the page: figures, tables, and which runs are in them."""
    rows = table(groups, metric)
    configs = f"{len(groups)} {'config' if len(groups) == 1 else 'configs'}"
    heading = f"{metric_label(metric).removesuffix(' (%)')} of {configs}"
    about = (
        "Runs that differ only in their seed are one row and one line. Intervals are 95 % t intervals of the mean over"
        " seeds; one seed has none."
    )
    members = [
        (group.label, run.seed, run.status, str(run.path), note)
        for group in groups
        for runs, note in ((group.runs, ""), (group.repeats, "repeats a seed: not counted"))
        for run in runs
    ]
    return page(
        heading,
        element("h1", heading),
        element("p", about, class_="muted"),
        element("section", element("div", *page_figures(groups, metric, x), class_="figures")),
        element("section", element("h2", "After the last round"), group_table(groups, *summary_rows(rows, metric))),
        *page_tables(groups, metric, target),
        element("section", element("h2", "Runs"), html_table(("Group", "Seed", "Status", "Folder", ""), members, 5)),
    )


def page_figures(groups: Sequence[Group], metric: str, x: str) -> list[Html]:
    """Return the figures that the runs have something for."""
    curve = group_figures.learning_curves(groups, metric, x)
    figures = [figure(curve, f"{metric_label(metric)} over {x}", "On held-out speech.")]
    if all(recorded(run, "simulated_seconds") for group in groups for run in group.runs) and x != "simulated_seconds":
        clock = group_figures.learning_curves(groups, metric, "simulated_seconds")
        figures.append(
            figure(clock, f"{metric_label(metric)} over simulated time", "By the clock of simulated devices.")
        )
    shared = group_figures.participation(groups)
    figures.append(figure(shared, "Who took part how often", "Gini: 0 when all clients take part alike."))
    if len(decile_table(groups)):
        light_to_heavy = group_figures.deciles(groups)
        figures.append(
            figure(light_to_heavy, "Word error rate by decile of activity", "On held-out speech of the clients.")
        )
    if len(forgetting_table(groups)):
        figures.append(
            figure(
                group_figures.forgetting(groups), "Forgetting of each past period",
                "Word error rate at the end less right after the period; above zero, worse.",
            )
        )  # fmt: skip
    return figures


def page_tables(groups: Sequence[Group], metric: str, target: float | None) -> list[Html]:
    """Return the tables under the first one, each where there is something to tell."""
    sections = []
    name = short_name(metric)
    if len(differences := difference_table(groups, metric)):
        heading = f"{name} less that of '{groups[0].short}', seed by seed"
        sections.append((heading, group_table(groups, *difference_rows(differences, metric))))
    if target is not None:
        heading = f"Until the {name} was {metric_text(metric, target)} or less: mean ± 95 % interval"
        sections.append((heading, group_table(groups, *price_rows(price_table(groups, target, metric)))))
    if len(rates := decile_table(groups)):
        sections.append(
            (
                "Word error rate (%) by tenths of activity, 1 the lightest users",
                group_table(groups, *decile_rows(rates)),
            )
        )
    if len(means := average_table(groups)):
        sections.append(("Forgetting, mean over the past periods", group_table(groups, *forgetting_rows(means))))
    return [element("section", element("h2", heading), body) for heading, body in sections]


def group_table(groups: Sequence[Group], head: list[str], body: list[list[str]]) -> Html:
    """Return a table whose rows are groups, by their short names."""
    short = {group.label: group.short for group in groups}
    return html_table([title(groups), *head[1:]], [[short[label], *cells] for label, *cells in body])


def summary_rows(rows: pd.DataFrame, metric: str) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of the table of groups, as people read it."""
    name = short_name(metric)
    clock = rows["simulated_seconds"].notna().any()
    head = ["Group", "Seeds", name, "95 % interval", f"Best {name}", "Rounds", "Updates", "Sent", "Audio", "Gini"]
    head += ["Simulated"] * bool(clock) + ["Wall time"]
    body = [
        [
            row["label"], str(row["n"]), metric_text(metric, row[metric]),
            interval(metric, row[f"{metric}_low"], row[f"{metric}_high"]), metric_text(metric, row[f"{metric}_best"]),
            number(row["rounds"]), number(row["updates"]), data_size(row["bytes_up"] + row["bytes_down"]),
            duration(row["audio_seconds"]), number(row["gini"], 2),
            *([duration(row["simulated_seconds"])] if clock else []), duration(row["wall_seconds"]),
        ]
        for row in rows.to_dict("records")
    ]  # fmt: skip
    return head, body


def difference_rows(rows: pd.DataFrame, metric: str) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of ``difference_table``."""
    body = [[row["label"], str(row["n"]), *difference_text(metric, row)] for row in rows.to_dict("records")]
    return ["Group", "Seeds", "Difference", "95 % interval"], body


def difference_text(metric: str, row: Mapping[Any, Any]) -> tuple[str, str]:
    """Return a difference and its interval as text, in percentage points where the metric is a rate."""
    say = percentage_points if metric in PERCENT else number
    low, high = row["low"], row["high"]
    return say(row["mean"]), without_spread(low, high) or f"{say(low).removesuffix(' points')} to {say(high)}"


def price_rows(rows: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of ``price_table``: a column an axis."""
    axes = list(dict.fromkeys(rows["x"]))
    cells = {(row["label"], row["x"]): target_text(row, row["x"]) for row in rows.to_dict("records")}
    bare = [[label, *(cells[label, x] for x in axes)] for label in dict.fromkeys(rows["label"])]
    body = [[cell.removesuffix(" rounds").removesuffix(" updates") for cell in row] for row in bare]
    return ["Group", *(SPENT[x] for x in axes)], body


def decile_rows(rows: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of ``decile_table``: a column a decile, in percent."""
    known = sorted(rows["decile"].unique())
    body = []
    for label, of_group in rows.groupby("label", sort=False):
        rates = of_group.set_index("decile")["wer"].reindex(known)
        gap = percentage_points(rates.iloc[0] - rates.iloc[-1]).removesuffix(" points")
        body.append([str(label), *(percent(rate).removesuffix(" %") for rate in rates), gap])
    return ["Group", *map(str, known), f"{known[0]} less {known[-1]}"], body


def forgetting_rows(rows: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of ``average_table``."""
    body = [
        [row["label"], str(row["n"]), *difference_text("wer", {**row, "mean": row["forgetting"]})]
        for row in rows.to_dict("records")
    ]
    return ["Group", "Seeds", "Forgetting", "95 % interval"], body


def short_name(metric: str) -> str:
    """Return the metric's name as a column head."""
    return metric.upper() if metric in ("wer", "cer") else metric


def interval(metric: str, low: float, high: float) -> str:
    """Return an interval as text."""
    text = f"{metric_text(metric, low).removesuffix(' %')} – {metric_text(metric, high)}"
    return without_spread(low, high) or text


def without_spread(low: float, high: float) -> str:
    """Return what to say where seeds have no interval, or one without width, which promises too much; else nothing."""
    if low != low:
        return "–"
    return "all seeds equal" if math.isclose(low, high, rel_tol=1e-9, abs_tol=1e-12) else ""


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
