"""``fedasr audit mechanism``."""

from __future__ import annotations

from typing import Annotated

import typer

from fedasr.cli.audit.common import refuse_contradiction, say
from fedasr.cli.common import about, console, print_json
from fedasr.errors import InputError


def register(app: typer.Typer) -> None:
    """Add the command to the group."""

    @app.command("mechanism", epilog="Example: fedasr audit mechanism private_home_users privacy.epsilon=2 --json")
    def mechanism(
        config: Annotated[str, typer.Argument(help="A YAML file, or a name from simulations/ without its suffix.")],
        overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Keys to change.")] = None,
        trials: Annotated[int, typer.Option(help="How often each attack is repeated; more find smaller faults.")] = 1,
        seed: Annotated[int, typer.Option(help="Of the attacks.")] = 0,
        alpha: Annotated[float, typer.Option(help="Probability of a false alarm, at most.")] = 0.001,
        json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
    ) -> None:
        """Run selector, clip, sum, noise and accountant of a config without speech, and say whether its ledger is true.

        Exit status 1: what was released contradicts the ledger.
        """
        from fedasr.audits.mechanism import audit_mechanism
        from fedasr.config import load
        from fedasr.privacy.checks import strict_fraction
        from fedasr.references import look_beside

        if trials < 1:
            raise InputError(f"'--trials' is {trials}; expected a whole number of at least 1")
        if seed < 0:
            raise InputError(f"'--seed' is {seed}; expected a whole number of at least 0")
        strict_fraction("--alpha", alpha)
        look_beside(config)
        loaded = load(config, overrides or [])
        with about(config):
            report = audit_mechanism(loaded, trials, seed, alpha)
        if json:
            print_json(report.as_json())
        else:
            say(report.findings)
            for reason in report.not_attacked:
                console.print(f"not attacked: {reason}", style="dim", markup=False)
        refuse_contradiction(config, report.findings)
