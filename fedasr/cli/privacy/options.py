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
CLIPPED = "the unit whose contributions are clipped"
Unit = Annotated[str, typer.Option(help="The privacy unit, for the output: example, user, teacher, or words.")]
Population = Annotated[
    int | None, typer.Option(help="How many units there are; δ is compared with one over it.", show_default=False)
]
LARGEST_DELTA = 0.5
LARGE_DELTA = 1e-2


def checked_delta(delta: float) -> float:
    """Return δ if it promises anything at all.

    Raises:
        InputError: it does not: at δ = 1 the data themselves may be published.
    """
    from fedasr.errors import InputError
    from fedasr.privacy.checks import strict_fraction

    if strict_fraction("delta", delta) > LARGEST_DELTA:
        raise InputError(
            f"'delta' is {delta:g}; expected a number well below one over the population, at most {LARGEST_DELTA:g}: it"
            " is the probability that the guarantee fails, and with a large enough δ any mechanism has ε = 0"
        )
    return delta


def context(unit: str, population: int | None, delta: float) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return what an ε depends on besides its mechanism, as JSON values and as rows for people.

    Args:
        unit: whose presence is hidden.
        population: how many there are; None: not told.
        delta: of the ε.

    Raises:
        InputError: the population is no count.
    """
    from fedasr.privacy.checks import count
    from fedasr.privacy.document import large_delta

    if population is not None:
        count("--population", population)
    warnings = [text for text in [large_delta(delta, [] if population is None else [population])] if text is not None]
    if delta > LARGE_DELTA and not warnings:
        warnings = [
            f"δ = {delta:g} is the probability that the guarantee fails; it should be well below 1 / population"
        ]
    many = "not given; δ must be well below one over it" if population is None else f"{population:,}"
    rows = [("unit", unit), ("population", many), ("randomness", "taken to be secret; no ε holds with a public seed")]
    facts = {"unit": unit, "population": population, "randomness": "taken to be secret", "warnings": warnings}
    return facts, [*rows, *(("warning", text) for text in warnings)]


def upward(epsilon: float) -> str:
    """Return ε for people, rounded up."""
    from math import isfinite

    from fedasr.privacy.accountants import round_up

    if not isfinite(epsilon):
        return "infinite"
    return f"{round_up(epsilon, 4):g}" if epsilon > 0 else "0"


def tell(result: dict[str, Any], json: bool, rows: list[tuple[str, str]]) -> None:
    """Print the JSON object, or a table for people."""
    if json:
        print_json(result)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in rows:
        table.add_row(Text(name, style="dim"), Text(value))
    console.print(table)
