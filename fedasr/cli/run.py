"""``fedasr run``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedasr.cli.common import about, console, print_json
from fedasr.errors import InputError, RunFailed
from fedasr.units import duration, percent

INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command("run", epilog="Example: fedasr run quickstart rounds=10 --out runs/first")
    def run(
        config: Annotated[str, typer.Argument(help="A YAML file, or a name from simulations/ without its suffix.")],
        overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Keys to change.")] = None,
        out: Annotated[Path | None, typer.Option(help="The run folder; default runs/<name>-<time>.")] = None,
        resume: Annotated[bool, typer.Option("--resume", help="Continue from the folder's last checkpoint.")] = False,
        quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
        json: Annotated[bool, typer.Option("--json", help="Print summary.json on standard output at the end.")] = False,
    ) -> None:
        """Run a federated training from a config."""
        from fedasr.config import load
        from fedasr.references import look_beside

        if resume and out is None:
            raise InputError("needs the run folder to go on with; add --out DIR", where="--resume")
        look_beside(config)
        checked = load(config, overrides or [])
        if not quiet and console.is_terminal:  # elsewhere, an error is the only line
            console.print(f"{checked.name}: the config is valid; loading PyTorch and the speech", markup=False)
        # Seconds of imports, which a wrong config need not wait for.
        from fedasr.runtime.launch import launch, read_summary
        from fedasr.runtime.progress import ProgressWatcher
        from fedasr.runtime.session import Silent

        with about(config):
            folder = launch(checked, out, resume, Silent() if quiet else ProgressWatcher(console))
        summary = read_summary(folder)
        interrupted = summary.get("status") != "done"
        if not interrupted:
            finish(folder)
        if not quiet:
            say(folder, summary)
        if json:
            print_json(summary)
        if interrupted:
            raise typer.Exit(INTERRUPTED)
        if summary.get("contradiction"):
            raise RunFailed(f"{folder}: the ledger is contradicted: {summary['contradiction']}")


def finish(folder: Path) -> None:
    """Write the report of a finished run that has none yet."""
    if not (folder / "report.html").exists():
        from fedasr.results.pages.report import write_report

        write_report(folder)


def say(folder: Path, summary: dict[str, object]) -> None:
    """Say how a run ended, for people."""
    wer, seconds = summary.get("wer"), summary.get("wall_seconds")
    shown = f"WER {percent(wer)}" if isinstance(wer, float) else "no WER"
    time = f" in {duration(seconds)}" if isinstance(seconds, float) else ""
    console.print(f"{summary.get('status')}: {shown} after {summary.get('rounds')} rounds{time}", markup=False)
    console.print(f"run folder: {folder}", markup=False)
    if (folder / "report.html").exists():
        console.print(f"report:     {folder / 'report.html'}", markup=False)
