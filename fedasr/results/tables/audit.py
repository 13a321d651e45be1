"""What the audits of a run found, read back from ``audit.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from fedasr.errors import InputError

AUDIT_JSON = "audit.json"
COLUMNS = (
    "command",
    "attack",
    "kind",
    "quantity",
    "quantity_unit",
    "value",
    "low",
    "high",
    "claim",
    "claim_epsilon",
    "delta",
    "contradiction",
    "unit",
    "adjacency",
    "sampling",
    "clients",
    "randomness",
    "observer",
    "access",
    "knowledge",
    "n",
    "inside",
    "outside",
    "method",
    "confidence",
    "assumes",
    "floors",
    "of_ledger",
    "sentence",
)
NUMBERS = (
    "value", "low", "high", "claim", "claim_epsilon", "delta", "clients", "n", "inside", "outside", "confidence"
)  # fmt: skip
NEEDED = ("attack", "kind", "sentence")


def read_findings(folder: Path) -> list[dict[str, Any]]:
    """Return the findings in a run folder's ``audit.json``, none where there is no file.

    Raises:
        InputError: it is no list of findings.
    """
    path = folder / AUDIT_JSON
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except json.JSONDecodeError as error:
        raise InputError(
            f"is not valid JSON: {error.msg}; remove it and audit again", where=f"{path}:{error.lineno}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read as UTF-8 JSON: {error}", where=str(path)) from None
    right = isinstance(result, list) and all(
        isinstance(one, dict) and all(isinstance(one.get(name), str) for name in NEEDED) for one in result
    )
    if not right:
        raise InputError(
            f"holds no list of findings, each with {', '.join(NEEDED)}; remove it and audit again", where=str(path)
        )
    return list(result)


def table_of(findings: list[dict[str, Any]]) -> pd.DataFrame:
    """Return findings as a table, a row each, with all columns."""
    columns = {name: [finding.get(name) for finding in findings] for name in COLUMNS}
    frame = pd.DataFrame(columns, columns=list(COLUMNS), dtype=object)
    for name in NUMBERS:
        frame[name] = pd.to_numeric(frame[name], errors="coerce").astype("float64")
    return frame
