"""``fedasr sweep``: many runs from one file."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from fedasr.cli.common import console, print_json
from fedasr.cli.run import INTERRUPTED
from fedasr.units import duration, percent

if TYPE_CHECKING:
    from fedasr.results.tables.groups import Group
    from fedasr.runtime.progress import ProgressWatcher
    from fedasr.sweeps.execute import Outcome
    from fedasr.sweeps.plan import Plan, Planned

FAILED = 1


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command("sweep", epilog="Example: fedasr sweep selection.yaml rounds=50 --out runs/selection")
    def sweep(
        file: Annotated[Path, typer.Argument(metavar="FILE", help="A YAML file: config, variants, grid, seeds.")],
        overrides: Annotated[
            list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Keys to change in every run.")
        ] = None,
        out: Annotated[Path, typer.Option(help="The folder of the run folders.", show_default=False)] = ...,  # type: ignore[assignment]
        only: Annotated[
            list[str] | None, typer.Option(help="Only runs of this label or folder (with * and ?); may be repeated.")
        ] = None,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, list the runs, run none.")] = False,
        json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
    ) -> None:
        """Run every combination of a sweep file; the same command goes on where it was interrupted."""
        from fedasr.sweeps.execute import check, execute
        from fedasr.sweeps.plan import read_plan

        plan = read_plan(file, overrides or []).only(only or [])
        states = check(plan, out)
        if dry_run:
            preview(plan, states, out, json)
            return
        watch = SweepProgress(console)
        outcome = execute(plan, out, states, watch)
        groups = labelled(plan, outcome)
        if not json:
            show(groups)
        for name, reason in outcome.failed.items():
            console.print(f"failed: {name}: {reason}", style="red", markup=False)
        page = write_page(groups, out)
        if json:
            print_json(as_json(plan, outcome, groups, page))
        if outcome.interrupted:
            console.print("interrupted; the same command goes on", style="yellow", markup=False)
            raise typer.Exit(INTERRUPTED)
        if outcome.failed:
            console.print("the same command tries the failed runs again", markup=False)
            raise typer.Exit(FAILED)


class SweepProgress:
    """A line for each run that ends; on a terminal, a bar for the one that is going."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.started = time.monotonic()

    def begin(self, run: Planned, number: int, of: int, state: str) -> ProgressWatcher:
        """Say which run starts."""
        from fedasr.runtime.progress import ProgressWatcher

        class Bar(ProgressWatcher):
            """The progress of a run within a sweep: on a terminal a bar, elsewhere only what a person should know."""

            def begin(self, name: str, rounds: int, done: int, clients: int) -> None:
                if self.console.is_terminal:
                    super().begin(f"{number}/{of} {run.folder}", rounds, done, clients)

            def round(self, row: Mapping[str, Any]) -> None:
                if self.bar is not None:
                    super().round(row)

        return Bar(self.console)

    def end(self, run: Planned, number: int, of: int, summary: Mapping[str, Any], seconds: float) -> None:
        """Say how a run ended, and how long the others will take."""
        status, wer = summary.get("status"), summary.get("wer")
        if status == "failed":
            ending = "failed"
        else:
            shown = f"WER {percent(wer)}" if isinstance(wer, float) and math.isfinite(wer) else "no WER"
            ending = f"{status}, {shown} after {summary.get('rounds')} rounds"
        left = (time.monotonic() - self.started) / number * (of - number)
        ahead = f", about {duration(left, 2)} left" if number < of else ""
        self.console.print(f"{number}/{of} {run.folder}: {ending} in {seconds:.0f} s{ahead}", markup=False)

    def crashed(self, run: Planned, trace: str) -> None:
        """Show where code failed."""
        self.console.print(trace, style="dim", markup=False)


def preview(plan: Plan, states: Mapping[str, str], out: Path, json: bool) -> None:
    """Say what a sweep would do."""
    if json:
        rows = [
            {"label": run.label, "seed": run.seed, "folder": str(out / run.folder), "state": states[run.folder],
             "changes": run.changes}
            for run in plan.runs
        ]  # fmt: skip
        print_json({"file": str(plan.path), "out": str(out), "runs": rows})
        return
    for run in plan.runs:
        changes = ", ".join(f"{key}={value}" for key, value in run.changes.items())
        text = f"{out / run.folder}: {states[run.folder]}{f' ({changes})' if changes else ''}"
        console.print(text, markup=False)
    todo = sum(state != "finished" for state in states.values())
    console.print(f"{todo} of {len(plan.runs)} runs to do; every config is right", markup=False)


def labelled(plan: Plan, outcome: Outcome) -> list[Group]:
    """Return the runs that have a round behind them, grouped, and named as the sweep names them."""
    from fedasr.results.tables.groups import group_runs

    runs = [run for run in outcome.runs() if len(run.rounds)]
    if not runs:
        return []
    names = {outcome.out / run.folder: run.label for run in plan.runs}
    groups = group_runs(runs)
    for group in groups:
        group.label = group.short = names[group.runs[0].path]
    return groups


def show(groups: list[Group]) -> None:
    """Print the comparison of what ran."""
    if groups:
        from fedasr.cli.results import show as show_comparison

        show_comparison(groups)


def write_page(groups: list[Group], out: Path) -> Path | None:
    """Write the comparison as a page, where there is something to compare."""
    from fedasr.results.pages.comparison import write_comparison

    if not any(run.rounds["wer"].notna().any() for group in groups for run in group.runs):
        return None
    page = write_comparison(groups, out / "comparison.html")
    console.print(f"wrote {page}", markup=False)
    return page


def as_json(plan: Plan, outcome: Outcome, groups: list[Group], page: Path | None) -> dict[str, Any]:
    """Return what a sweep did as one JSON object."""
    from fedasr.cli.results import as_json as comparison
    from fedasr.results.tables.compare import curve_table
    from fedasr.runtime.launch import read_summary

    rows = []
    for run in plan.runs:
        summary = read_summary(outcome.out / run.folder)
        error = outcome.failed.get(run.folder, summary.get("error"))
        status = "failed" if run.folder in outcome.failed else summary.get("status", "absent")
        rows.append(
            {"label": run.label, "seed": run.seed, "folder": str(outcome.out / run.folder), "status": status,
             "wer": summary.get("wer"), "error": error}
        )  # fmt: skip
    compared = comparison(groups, curve_table(groups), "wer", "round", None) if page is not None else None
    return {"out": str(outcome.out), "runs": rows, "comparison": compared, "page": str(page) if page else None}
