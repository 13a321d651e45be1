"""``fedasr audit``: what an attacker really learns, and whether an ε is true. One command a file."""

from __future__ import annotations

import typer

from fedasr.cli.audit import invert, link, mechanism, membership, run, secrets, update, votes

app = typer.Typer(
    help="Audits: what does an attacker learn, and is a ledger contradicted?",
    no_args_is_help=True,
)

COMMANDS = (
    mechanism,
    run,
    membership,
    secrets,
    update,
    link,
    invert,
    votes,
)  # fmt: skip
"""Modules with a command each, in the order of the help."""


@app.callback()
def group() -> None:
    """Audits: what does an attacker learn, and is a ledger contradicted?"""


for command in COMMANDS:
    command.register(app)
