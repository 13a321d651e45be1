"""``fedasr audit run``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedasr.cli.audit.common import conclude


def register(app: typer.Typer) -> None:
    """Add the command to the group."""

    @app.command("run", epilog="Example: fedasr audit run runs/home --alpha 0.01 --json")
    def run(
        run: Annotated[Path, typer.Argument(help="A run folder with canary users ('audit.canaries').")],
        alpha: Annotated[float, typer.Option(help="Probability of a false alarm, at most.")] = 0.001,
        json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
    ) -> None:
        """Hold what the canary users of a run showed against its ledger, again, from the files of the run.

        Exit status 1: what was released contradicts the ledger.
        """
        from fedasr.audits.canaries import COMMAND, audit_canaries
        from fedasr.privacy.checks import strict_fraction

        strict_fraction("--alpha", alpha)
        conclude(run, COMMAND, audit_canaries(run, alpha), json)
