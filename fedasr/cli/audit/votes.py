"""``fedasr audit votes``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedasr.cli.audit.common import conclude
from fedasr.errors import InputError


def register(app: typer.Typer) -> None:
    """Add the command to the group."""

    @app.command("votes", epilog="Example: fedasr audit votes runs/pate --trials 3 --json")
    def votes(
        run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A finished PATE run.", show_default=False)],
        trials: Annotated[int, typer.Option(help="How often the attack is repeated; more find smaller faults.")] = 1,
        seed: Annotated[int, typer.Option(help="Of the attack.")] = 0,
        alpha: Annotated[float, typer.Option(help="Probability of a false alarm, at most.")] = 0.001,
        json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
    ) -> None:
        """Say what the labels of a PATE run tell of one of its teachers, by drawing them anew from its votes.

        Exit status 1: they tell more than the ledger allows.
        """
        from fedasr.audits.votes import audit_votes
        from fedasr.privacy.checks import strict_fraction

        if trials < 1:
            raise InputError(f"'--trials' is {trials}; expected a whole number of at least 1")
        if seed < 0:
            raise InputError(f"'--seed' is {seed}; expected a whole number of at least 0")
        strict_fraction("--alpha", alpha)
        conclude(run_dir, "votes", audit_votes(run_dir, trials, seed, alpha), json)
