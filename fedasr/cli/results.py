"""``fedasr compare`` and ``fedasr report``: what runs showed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedasr.cli.common import console, print_json

if TYPE_CHECKING:
    import pandas as pd

    from fedasr.results.groups import Group

COMPARE_EXAMPLE = "Example: fedasr compare runs/uniform-* runs/activity-* --x bytes --target 0.10 --out selection.png"
SPENT = ("rounds", "updates", "bytes_up", "bytes_down", "audio_seconds", "wall_seconds")
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
        typer.Option(help="Also say what it took, in --x, until the metric was this low.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write FILE.png, .pdf or .svg (the curves), .html (a page) or .csv (the curves' numbers)."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Compare runs: those that differ only in their seed are one group, with mean and 95 % interval."""
    from fedasr.results.compare import check_axis, curve_table, table, target_table
    from fedasr.results.comparison import check_suffix, write_comparison
    from fedasr.results.groups import group_runs

    check_axis(x)
    if out is not None:
        check_suffix(out)
    groups = group_runs(run_dirs)
    rows = table(groups, metric)
    curve = curve_table(groups, metric, x)
    reached = target_table(groups, target, metric, x) if target is not None else None
    if out is not None:
        write_comparison(groups, out, metric, x)
    if json:
        print_json(as_json(groups, rows, curve, reached, metric, x))
    else:
        show(groups, rows, reached, target, metric, x)
    if out is not None:
        console.print(f"wrote {out}", markup=False)


def report(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A run folder.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(help="The page; by default report.html in the run folder.", show_default=False)
    ] = None,
) -> None:
    """Write the report of a run: one self-contained page that opens without a network."""
    from fedasr.results.report import write_report

    console.print(f"wrote {write_report(run_dir, out)}", markup=False)


def as_json(
    groups: list[Group], rows: pd.DataFrame, curve: pd.DataFrame, reached: pd.DataFrame | None, metric: str, x: str
) -> dict[str, Any]:
    """Return the comparison as one JSON object."""
    found: list[dict[str, Any]] = []
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
            "unfinished": row["unfinished"],
            "curve": {"x": line[x].tolist(), **{name: line[name].tolist() for name in ("mean", "low", "high", "n")}},
        }
        if reached is not None:
            item["target"] = {name: reached[name].iloc[index] for name in ("reached", "n", "mean", "low", "high")}
        found.append(item)
    return {"metric": metric, "x": x, "groups": found}


def show(
    groups: list[Group],
    rows: pd.DataFrame,
    reached: pd.DataFrame | None,
    target: float | None,
    metric: str,
    x: str,
) -> None:
    """Print the comparison as a table, and what a reader must know to trust it."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from fedasr.results.comparison import interval, short_name, target_text
    from fedasr.results.groups import differing
    from fedasr.results.units import data_size, duration, metric_text, number

    by_keys = any(group.short != group.label for group in groups)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, padding=(0, 1))
    table.add_column(", ".join(differing(groups)) if by_keys else "Group", overflow="fold", min_width=12)
    for name in ("Seeds", short_name(metric), "95 % interval", "Best", "Rounds", "Sent", "Time"):
        table.add_column(name, justify="right", no_wrap=True)
    for group, row in zip(groups, rows.to_dict("records"), strict=True):
        cells = [
            group.short, str(row["n"]), metric_text(metric, row[metric]),
            interval(metric, row[f"{metric}_low"], row[f"{metric}_high"]), metric_text(metric, row[f"{metric}_best"]),
            number(row["rounds"]), data_size(row["bytes_up"] + row["bytes_down"]), duration(row["wall_seconds"]),
        ]  # fmt: skip
        table.add_row(*map(Text, cells))
    console.print(table, soft_wrap=False)
    if reached is not None and target is not None:
        goal = f"{short_name(metric)} ≤ {metric_text(metric, target)}"
        for row in reached.to_dict("records"):
            console.print(f"{goal}: {row['label']}: {target_text(row, x)}", markup=False)
    for group in groups:
        for run in group.repeats:
            text = f"note: {run.path} repeats seed {run.seed} of '{group.label}' and is not counted"
            console.print(text, markup=False)
        for run in group.runs:
            if not run.finished:
                console.print(f"note: {run.path} is {run.status}; what it has so far is counted", markup=False)
    if all(len(group.runs) < 2 for group in groups):
        console.print("note: one seed a group has no interval; run more seeds to tell a difference from luck")
