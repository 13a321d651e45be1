"""``fedasr audit invert``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedasr.cli.audit.common import say
from fedasr.cli.common import console, print_json
from fedasr.errors import InputError


def register(app: typer.Typer) -> None:
    """Add the command to the group."""

    @app.command("invert", epilog="Example: fedasr audit invert runs/first_half --without runs/second_half")
    def invert(
        run: Annotated[Path, typer.Argument(help="A run folder.")],
        without: Annotated[
            list[Path] | None, typer.Option(help="A run with other speakers, all else alike; may be repeated.")
        ] = None,
        figure: Annotated[
            list[Path] | None, typer.Option(help="A run to draw beside this one, such as a private one; repeatable.")
        ] = None,
        utterance: Annotated[int | None, typer.Option(help="Row of the corpus that is drawn.")] = None,
        speakers: Annotated[int | None, typer.Option(help="That are looked at, at most; default: all.")] = None,
        steps: Annotated[int, typer.Option(help="Of the search for each transcript.")] = 200,
        seed: Annotated[int, typer.Option(help="Of the attack.")] = 0,
        json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
    ) -> None:
        """Rebuild features from a model, and say what of it is due to speakers who were in the training.

        What was found is written to the run's audit.json and report; with '--figure' also audit_inversion.png.
        """
        from fedasr.audits.file import record
        from fedasr.audits.inversion import Search, invert_model

        search = Search.checked(steps)
        if not without and not figure:
            raise InputError(
                "give '--without RUN', a run with other speakers (data.exclude), or '--figure RUN' for a picture alone"
            )
        if figure:
            from fedasr.audits.inversion_figure import draw

            draw(run / "audit_inversion.png", [run, *figure], utterance, search, seed)
        result = invert_model(run, without, speakers, search, seed) if without else None
        if result is not None:
            record(run, "invert", [result.finding])
        elif figure:
            from fedasr.results.pages.report import write_report

            write_report(run)
        if json:
            drawn = {"figure": str(run / "audit_inversion.png")} if figure else {}
            print_json({**({"findings": [], "speakers": []} if result is None else result.as_json()), **drawn})
            return
        if result is not None:
            say([result.finding])
        if figure:
            console.print(f"wrote {run / 'audit_inversion.png'}", markup=False)
