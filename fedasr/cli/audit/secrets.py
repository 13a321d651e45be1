"""``fedasr audit secrets``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedasr.cli.audit.common import conclude


def register(app: typer.Typer) -> None:
    """Add the command to the group."""

    @app.command("secrets", epilog="Example: fedasr audit secrets runs/codes --json")
    def secrets(
        run_dir: Annotated[
            Path, typer.Argument(metavar="RUN_DIR", help="A finished run with 'audit.secrets'.", show_default=False)
        ],
        json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
    ) -> None:
        """Say how exposed the codes are that speakers said in training, beside what chance gives."""
        from fedasr.audits.secrets import audit_secrets

        conclude(run_dir, "secrets", audit_secrets(run_dir), json)
