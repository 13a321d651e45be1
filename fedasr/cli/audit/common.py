"""What the commands of ``fedasr audit`` share: how findings are shown, and how one that contradicts ends a command."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from fedasr.cli.common import console, print_json
from fedasr.errors import RunFailed

if TYPE_CHECKING:  # the command line shows an error without SciPy
    from fedasr.audits.finding import Finding


def say(findings: Iterable[Finding]) -> None:
    """Print the sentence of each finding, for people."""
    for finding in findings:
        style = "red" if finding.contradiction else "dim" if finding.value is None else None
        console.print(finding.sentence, style=style, markup=False)


def conclude(folder: Path, command: str, findings: list[Finding], json: bool) -> None:
    """Write what a command found to ``audit.json`` and the report of a run, and show it.

    Args:
        folder: of the run.
        command: that found it; it replaces what the command found before.
        findings: all that it found.
        json: print them as one JSON object instead of sentences.

    Raises:
        RunFailed: one of them contradicts the ledger; all is written.
    """
    from fedasr.audits.file import record

    record(folder, command, findings)
    if json:
        contradiction = any(finding.contradiction for finding in findings)
        print_json({"contradiction": contradiction, "findings": [finding.as_json() for finding in findings]})
    else:
        say(findings)
    refuse_contradiction(str(folder), findings)


def refuse_contradiction(what: str, findings: Iterable[Finding]) -> None:
    """Raise where a finding contradicts the ledger.

    Args:
        what: was audited.
        findings: on it.

    Raises:
        RunFailed: naming the first that does.
    """
    for finding in findings:
        if finding.contradiction:
            raise RunFailed(f"{what}: the ledger is contradicted: {finding.sentence}")
