"""``fedasr audit membership``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedasr.cli.audit.common import conclude


def register(app: typer.Typer) -> None:
    """Add the command to the group."""

    @app.command("membership", epilog="Example: fedasr audit membership runs/a --shadows runs/shadows --json")
    def membership(
        run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A finished run.", show_default=False)],
        shadows: Annotated[
            Path | None,
            typer.Option(help="Folder of a sweep of the same config with other seeds.", show_default=False),
        ] = None,
        unit: Annotated[str, typer.Option(help="utterance or speaker.")] = "utterance",
        non_members: Annotated[
            str | None,
            typer.Option(
                help="Unit speaker: the split of those who were left out; default: one drawn at random.",
                show_default=False,
            ),
        ] = None,
        pool: Annotated[
            bool, typer.Option("--pool", help="Attack every run of the sweep too, and pool what comes out.")
        ] = False,
        limit: Annotated[int, typer.Option(help="Utterances or speakers at most.")] = 2000,
        json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
    ) -> None:
        """Say who can be told to have been in the training set, beside what nobody's model and the ledger say.

        Exit status 1: an attack is better than the ledger allows.
        """
        from fedasr.audits.membership import audit_membership

        findings = audit_membership(run_dir, shadows, unit, non_members, pool, limit)
        conclude(run_dir, "membership", findings, json)
