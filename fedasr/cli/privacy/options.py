"""Options that several commands of `fedasr privacy` share, and how they answer."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from fedasr.cli.common import console, print_json

app = typer.Typer(
    help="Privacy accounting: ε of Gaussian noise, noise for an ε, rounds in a budget, votes of PATE.",
    no_args_is_help=True,
)
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Delta = Annotated[float, typer.Option(help="δ, well below one over the population.", show_default=False)]


def upward(epsilon: float) -> str:
    """Return ε for people, rounded up."""
    from math import isfinite

    from fedasr.privacy.accountants import round_up

    if not isfinite(epsilon):
        return "infinite"
    return f"{round_up(epsilon, 4):g}" if epsilon > 0 else "0"


def tell(found: dict[str, Any], json: bool, rows: list[tuple[str, str]]) -> None:
    """Print the JSON object, or a table for people."""
    if json:
        print_json(found)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in rows:
        table.add_row(Text(name, style="dim"), Text(value))
    console.print(table)
