"""The disparate impact of several runs as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from fedasr.evaluation.fairness.impact import seed_range

COLUMNS = (
    "attribute", "label", "baseline", "kind", "group", "value", "low", "high", "speakers", "seeds", "seed_low",
    "seed_high", "change", "change_low", "change_high",
)  # fmt: skip


def impact_table(result: Mapping[str, Any]) -> pd.DataFrame:
    """Return a row for each config and group, one for its overall WER, and one for its gap.

    ``kind`` is ``group``, ``all`` or ``gap``; ``value`` with its interval ``low, high`` is a WER or a gap, a fraction;
    ``change`` is from the baseline; ``seed_low`` and ``seed_high`` are the range over the ``seeds``.

    Args:
        result: of ``assess_impact``.
    """
    return pd.DataFrame(rows(result), columns=list(COLUMNS))


def rows(result: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows of the table."""
    for one in result["attributes"]:
        for config in one["configs"]:
            shared = {
                "attribute": one["attribute"],
                "label": config["label"],
                "baseline": config["label"] == one["baseline"],
                "seeds": len(config["seeds"]),
            }
            overall = {"value": config["wer"], "seeds": config["seeds"], "change": config.get("change")}
            yield {**shared, "kind": "all", "group": "", **numbers(overall)}
            for name, group in config["groups"].items():
                yield {**shared, "kind": "group", "group": name, **numbers({**group, "value": group["wer"]})}
            between = config["gap"]
            yield {**shared, "kind": "gap", "group": "", **numbers({**between, "value": between["difference"]})}


def numbers(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers of a row."""
    least, most = seed_range(given["seeds"])
    change = given.get("change") or {}
    return {
        "value": given["value"],
        "low": given.get("low"),
        "high": given.get("high"),
        "speakers": given.get("speakers"),
        "seed_low": least,
        "seed_high": most,
        "change": change.get("difference"),
        "change_low": change.get("low"),
        "change_high": change.get("high"),
    }
