"""How groups of speakers compare, read back from ``fairness.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from fedasr.errors import InputError

FAIRNESS_JSON = "fairness.json"
COLUMNS = (
    "attribute", "group", "wer", "low", "high", "speakers", "utterances", "words", "errors", "spread",
    "adjusted_ratio", "adjusted_low", "adjusted_high", "difference", "difference_low", "difference_high",
)  # fmt: skip
TEXT = ("attribute", "group")


def read_fairness(folder: Path) -> list[dict[str, Any]]:
    """Return the comparisons in a run folder's ``fairness.json``, one an attribute; none where there is no file.

    Raises:
        InputError: it is no list of comparisons.
    """
    path = folder / FAIRNESS_JSON
    again = "remove it and run 'fedasr fairness' again"
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except json.JSONDecodeError as error:
        raise InputError(f"is not valid JSON: {error.msg}; {again}", where=f"{path}:{error.lineno}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read as UTF-8 JSON: {error}; {again}", where=str(path)) from None
    if not isinstance(result, list) or not all(map(is_comparison, result)):
        raise InputError(f"holds no list of comparisons of groups; {again}", where=str(path))
    return list(result)


def is_comparison(value: Any) -> bool:
    """Say whether a JSON value is a comparison as ``fedasr fairness`` writes it."""
    parts = ("groups", "gap", "ratio", "regression", "power")
    return (
        isinstance(value, dict)
        and isinstance(value.get("attribute"), str)
        and isinstance(value.get("warnings"), list)
        and all(isinstance(value.get(part), dict) for part in parts)
        and all(isinstance(row, dict) and isinstance(row.get("adjusted"), dict) for row in value["groups"].values())
    )


def group_table(comparisons: list[dict[str, Any]]) -> pd.DataFrame:
    """Return a row a group: its WER, and its difference from the other run where one was compared with."""
    rows = []
    for one in comparisons:
        differences = one.get("against", {}).get("groups", {})
        for name, group in one["groups"].items():
            change, adjusted = differences.get(name, {}), group["adjusted"]
            rows.append(
                {
                    **group,
                    "attribute": one["attribute"],
                    "group": name,
                    "adjusted_ratio": adjusted.get("ratio"),
                    "adjusted_low": adjusted.get("low"),
                    "adjusted_high": adjusted.get("high"),
                    "difference": change.get("difference"),
                    "difference_low": change.get("low"),
                    "difference_high": change.get("high"),
                }
            )
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    for name in COLUMNS:
        if name not in TEXT:
            table[name] = pd.to_numeric(table[name], errors="coerce").astype("float64")
    return table
