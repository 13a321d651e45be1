"""``fedasr compare`` and ``fedasr report``: what runs showed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedasr.cli.common import console, print_json

if TYPE_CHECKING:
    import pandas as pd

    from fedasr.results.tables.groups import Group

COMPARE_EXAMPLE = "Example: fedasr compare runs/uniform-* runs/activity-* --x bytes --target 0.10 --out selection.png"
SPENT = ("rounds", "updates", "bytes_up", "bytes_down", "audio_seconds", "simulated_seconds", "wall_seconds")
LONGEST_NAME = 48
REPORT_EXAMPLE = "Example: fedasr report runs/quickstart --out quickstart.html"


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command("compare", epilog=COMPARE_EXAMPLE)(compare)
    app.command("report", epilog=REPORT_EXAMPLE)(report)


def compare(
    run_dirs: Annotated[list[Path], typer.Argument(metavar="RUN_DIR...", help="Run folders.", show_default=False)],
    metric: Annotated[str, typer.Option(help="A column of rounds.parquet: wer, cer, loss, train_loss, …")] = "wer",
    x: Annotated[
        str, typer.Option(help="Axis of the curve: round, bytes, audio_seconds, simulated_seconds or updates.")
    ] = "round",
    target: Annotated[
        float | None,
        typer.Option(
            help="Also report the rounds, data and time that it took to bring the metric this low.", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write FILE.png, .pdf or .svg (the curves), .html (a page) or .csv (the curves' numbers)."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Compare runs: those that differ only in their seed are one group, with mean and 95 % interval."""
    from fedasr.files import check_suffix
    from fedasr.results.pages.comparison import SUFFIXES, write_comparison
    from fedasr.results.tables.compare import check_axis, curve_table
    from fedasr.results.tables.groups import group_runs

    check_axis(x)
    if out is not None:
        check_suffix(out, SUFFIXES)
    groups = group_runs(run_dirs)
    curve = curve_table(groups, metric, x)
    if out is not None:
        write_comparison(groups, out, metric, x, target)
    if json:
        print_json(as_json(groups, curve, metric, x, target))
    else:
        show(groups, metric, target)
    if out is not None:
        console.print(f"wrote {out}", markup=False)


def report(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A run folder.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(help="The page; by default report.html in the run folder.", show_default=False)
    ] = None,
) -> None:
    """Write the report of a run: one self-contained page that opens without a network."""
    from fedasr.results.pages.report import write_report

    console.print(f"wrote {write_report(run_dir, out)}", markup=False)


def as_json(groups: list[Group], curve: pd.DataFrame, metric: str, x: str, target: float | None) -> dict[str, Any]:
    """Return the comparison as one JSON object."""
    from fedasr.results.tables.compare import price_table, table, target_table
    from fedasr.results.tables.deciles import decile_table
    from fedasr.results.tables.differences import difference_table
    from fedasr.results.tables.forgetting import average_table, forgetting_table

    rows = table(groups, metric)
    reached = target_table(groups, target, metric, x) if target is not None else None
    prices = price_table(groups, target, metric) if target is not None else None
    differences, averages = difference_table(groups, metric), average_table(groups)
    rates, forgotten = decile_table(groups), forgetting_table(groups)
    documents: list[dict[str, Any]] = []
    for index, (group, row) in enumerate(zip(groups, rows.to_dict("records"), strict=True)):
        line = curve[curve["label"] == group.label]
        item = {
            "label": group.label,
            "n": row["n"],
            "seeds": group.seeds,
            "runs": [str(run.path) for run in group.runs],
            "repeats": [str(run.path) for run in group.repeats],
            "mean": row[metric],
            "low": row[f"{metric}_low"],
            "high": row[f"{metric}_high"],
            "best": row[f"{metric}_best"],
            **{name: row[name] for name in SPENT},
            "gini": row["gini"],
            "jain": row["jain"],
            "unfinished": row["unfinished"],
            "difference": next(iter(of_label(differences, group.label)), None),
            "deciles": of_label(rates, group.label),
            "forgetting": {
                **next(iter(of_label(averages, group.label)), {"forgetting": None, "low": None, "high": None, "n": 0}),
                "periods": of_label(forgotten, group.label),
            },
            "curve": {"x": line[x].tolist(), **{name: line[name].tolist() for name in ("mean", "low", "high", "n")}},
        }
        if reached is not None and prices is not None:
            item["target"] = {name: reached[name].iloc[index] for name in ("reached", "n", "mean", "low", "high")}
            item["targets"] = {price.pop("x"): price for price in of_label(prices, group.label)}
        documents.append(item)
    return {"metric": metric, "x": x, "groups": documents}


def of_label(table: pd.DataFrame, label: str) -> list[dict[str, Any]]:
    """Return the rows of a group without its label."""
    rows: list[dict[str, Any]] = table[table["label"] == label].drop(columns="label").to_dict("records")  # type: ignore[assignment]
    return rows


def show(groups: list[Group], metric: str = "wer", target: float | None = None) -> None:
    """Print the comparison as tables, and what a reader must know to trust it."""
    from fedasr.results.pages.comparison import (
        decile_rows,
        difference_rows,
        forgetting_rows,
        interval,
        price_rows,
        short_name,
    )
    from fedasr.results.tables.compare import price_table, table
    from fedasr.results.tables.deciles import decile_table
    from fedasr.results.tables.differences import difference_table
    from fedasr.results.tables.forgetting import average_table
    from fedasr.units import data_size, duration, metric_text, number

    name = short_name(metric)
    rows = table(groups, metric)
    clock = bool(rows["simulated_seconds"].notna().any())
    body = [
        [
            row["label"], str(row["n"]), metric_text(metric, row[metric]),
            interval(metric, row[f"{metric}_low"], row[f"{metric}_high"]), metric_text(metric, row[f"{metric}_best"]),
            number(row["rounds"]), data_size(row["bytes_up"] + row["bytes_down"]), number(row["gini"], 2),
            *([duration(row["simulated_seconds"])] if clock else []), duration(row["wall_seconds"]),
        ]
        for row in rows.to_dict("records")
    ]  # fmt: skip
    head = ["Group", "Seeds", name, "95 % interval", "Best", "Rounds", "Sent", "Gini", *["Simulated"] * clock, "Time"]
    print_table(groups, (head, body))
    if len(differences := difference_table(groups, metric)):
        heading = f"{name} less that of '{groups[0].short}', seed by seed"
        print_table(groups, difference_rows(differences, metric), heading)
    if target is not None:
        heading = f"Until {name} ≤ {metric_text(metric, target)}: mean ± 95 % interval"
        print_table(groups, price_rows(price_table(groups, target, metric)), heading)
    if len(differences := decile_table(groups)):
        print_table(groups, decile_rows(differences), "WER (%) by tenths of activity, 1 the lightest users")
    if len(differences := average_table(groups)):
        print_table(groups, forgetting_rows(differences), "Mean over the past periods")
    for group in groups:
        for run in group.repeats:
            text = f"note: {run.path} repeats seed {run.seed} of '{group.label}' and is not counted"
            console.print(text, markup=False)
        for run in group.runs:
            if not run.finished:
                console.print(f"note: {run.path} is {run.status}; what it has so far is counted", markup=False)
    if all(len(group.runs) < 2 for group in groups):
        console.print("note: one seed a group has no interval; run more seeds to tell a difference from luck")


def print_table(groups: list[Group], content: tuple[list[str], list[list[str]]], heading: str = "") -> None:
    """Print the head and rows of a table whose first column names groups, by their short names."""
    from fedasr.results.tables.groups import title

    head, body = content
    short = {group.label: group.short for group in groups}
    if heading:
        console.print(heading, markup=False)
    print_rows([title(groups), *head[1:]], [[short[label], *cells] for label, *cells in body])


def print_rows(head: list[str], body: list[list[str]]) -> None:
    """Print a table whose first column holds names."""
    from rich import box
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, padding=(0, 1))
    longest = min(max(map(len, (head[0], *(row[0] for row in body)))), LONGEST_NAME)
    table.add_column(Text(head[0]), overflow="fold", min_width=longest, max_width=LONGEST_NAME)
    for name in head[1:]:
        table.add_column(Text(name), justify="right", no_wrap=True)
    for row in body:
        table.add_row(*map(Text, row))
    # Rich would drop columns that do not fit a narrow terminal or, without one, 80 characters; better a wrapped line.
    needed = Measurement.get(console, console.options.update(max_width=1000), table).maximum
    Console(file=console.file, width=max(console.width, needed)).print(table)
