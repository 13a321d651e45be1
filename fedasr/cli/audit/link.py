"""``fedasr audit link``."""

from __future__ import annotations

from typing import Annotated

import typer

from fedasr.cli.audit.common import say
from fedasr.cli.common import about, print_json


def register(app: typer.Typer) -> None:
    """Add the command to the group."""

    @app.command("link", epilog="Example: fedasr audit link quickstart compression.up=int8 --clients 100")
    def link(
        target: Annotated[str, typer.Argument(metavar="CONFIG|RUN", help="A config, or a run folder.")],
        overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Keys to change.")] = None,
        clients: Annotated[int, typer.Option(help="That take part in two rounds, at most.")] = 50,
        seed: Annotated[int, typer.Option(help="Of the attack.")] = 0,
        json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
    ) -> None:
        """Say how well two updates of one client can be told from those of two clients, as the server receives them.

        Of a run folder the final model is attacked; what was found is written to its audit.json and report.
        """
        from fedasr.audits.file import record
        from fedasr.audits.linkability import link_updates
        from fedasr.audits.target import Target

        with about(target):
            attacked = Target.of(target, overrides or [])
            findings = [links.finding for links in link_updates(attacked, clients, seed)]
        if attacked.folder is not None:
            record(attacked.folder, "link", findings)
        if json:
            print_json({"findings": [finding.as_json() for finding in findings]})
        else:
            say(findings)
