"""``audit.json`` of a run folder: a list of the findings of all audits of the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fedasr.audits.finding import Finding
from fedasr.files import refused, write_json
from fedasr.results.pages.report import write_report
from fedasr.results.tables.audit import AUDIT_JSON, read_findings


def record(folder: Path, command: str, findings: Sequence[Finding]) -> None:
    """Write what a command found to ``audit.json``, and the report anew.

    Args:
        folder: of the run.
        command: of ``fedasr audit``, such as ``membership``; it replaces what the command found before.
        findings: all that it found.

    Raises:
        InputError: ``audit.json`` is damaged or cannot be written; what was there is there still.
    """
    write_findings(folder, command, findings)
    write_report(folder)


def write_findings(folder: Path, command: str, findings: Sequence[Finding]) -> None:
    """Write what a command found to ``audit.json``; errors as ``record``."""
    kept = [finding for finding in read_findings(folder) if finding.get("command") != command]
    new = [replace(finding, command=command).as_json() for finding in findings]
    path = folder / AUDIT_JSON
    with refused(path):
        write_json(path, [*kept, *new])
