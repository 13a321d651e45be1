"""``fedasr audit update``."""

from __future__ import annotations

from typing import Annotated

import typer

from fedasr.cli.audit.common import say
from fedasr.cli.common import about, print_json


def register(app: typer.Typer) -> None:
    """Add the command to the group."""

    @app.command(
        "update",
        epilog="Example: fedasr audit update quickstart client.optimizer=sgd client.steps=1 client.batch_size=1",
    )
    def update(
        target: Annotated[str, typer.Argument(metavar="CONFIG|RUN", help="A config, or a run folder.")],
        overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Keys to change.")] = None,
        utterances: Annotated[int, typer.Option(help="How many are to be rebuilt, at least.")] = 8,
        cohort: Annotated[
            int | None, typer.Option(help="Clients whose sum alone the server gets; default: 1, or as the config sums.")
        ] = None,
        released: Annotated[bool, typer.Option("--released", help="Attack the noisy mean that all see.")] = False,
        steps: Annotated[int, typer.Option(help="Of gradient matching, from each start.")] = 300,
        restarts: Annotated[int, typer.Option(help="Random starts.")] = 1,
        seed: Annotated[int, typer.Option(help="Of the attack.")] = 0,
        json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
    ) -> None:
        """Rebuild speech from what the server receives of clients' updates, and tell which characters were said.

        Of a run folder the final model is attacked; what was found is written to its audit.json and report.
        """
        from fedasr.audits.file import record
        from fedasr.audits.matching import Effort
        from fedasr.audits.target import Target
        from fedasr.audits.updates import invert_updates

        with about(target):
            attacked = Target.of(target, overrides or [])
            effort = Effort.checked(steps, restarts)
            result = invert_updates(attacked, utterances, cohort, effort, seed, released)
        if attacked.folder is not None:
            record(attacked.folder, "update", result.findings)
        if json:
            print_json(result.as_json())
        else:
            say(result.findings)
