"""``fedasr release``: what may leave the house."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedasr.cli.common import console, print_json


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command("release", epilog="Example: fedasr release runs/private --out release")
    def release_command(
        run_dir: Annotated[Path, typer.Argument(help="The folder of a finished private run.")],
        out: Annotated[Path, typer.Option(help="A new folder for the release.")],
        simulation: Annotated[
            bool,
            typer.Option(
                "--simulation",
                help="Also release a run whose noise follows from a public seed: it protects nobody, as the card says.",
            ),
        ] = False,
        json: Annotated[bool, typer.Option("--json", help="Print the card as JSON on standard output.")] = False,
    ) -> None:
        """Write exactly what the ε of a run covers, with a privacy card: model, tokenizer, settings, ledger."""
        from fedasr.results.pages.release import release

        card = release(run_dir, out, simulation)
        if json:
            print_json(card)
            return
        if card["first"] is not None:
            console.print(card["first"], style="yellow", markup=False)
        for guarantee in card["guarantees"]:
            console.print(f"privacy: {guarantee['sentence']}", markup=False)
        console.print(f"wrote {out}", markup=False)
