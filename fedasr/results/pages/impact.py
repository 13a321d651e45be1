"""The disparate impact of several runs in words and rows, for the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedasr.evaluation.fairness.impact import seed_range
from fedasr.results.pages.fairness import known, plain_points, points_range
from fedasr.units import number, percent, percent_range, percentage_points

HEAD = ["Config", "Group", "WER", "95 % interval", "Seeds", "Change from the baseline", "95 % interval"]


def impact_rows(one: Mapping[str, Any]) -> list[list[str]]:
    """Return the rows of the table of one attribute: groups, all speech, and the gap of each config."""
    rows = []
    for config in one["configs"]:
        label = config["label"]
        for name, group in config["groups"].items():
            interval = percent_range(known(group["low"]), known(group["high"]))
            rows.append([label, name, percent(known(group["wer"])), interval, *moved(group)])
        rows.append([label, "all", percent(config["wer"]), "", *moved(config)])
        gap = config["gap"]
        interval = percent_range(known(gap["low"]), known(gap["high"]))
        rows.append([label, "gap", plain_points(gap["difference"]), interval, *moved(gap)])
    return rows


def moved(given: Mapping[str, Any]) -> list[str]:
    """Return the cells of the range over seeds, and of the change from the baseline."""
    low, high = seed_range(given["seeds"])
    spread = percent_range(low, high) if low == low else "–"
    change = given.get("change")
    if change is None:
        return [spread, "–", "–"]
    return [spread, percentage_points(known(change["difference"])), points_range(change)]


def impact_sentences(one: Mapping[str, Any]) -> list[str]:
    """Return what the table of an attribute leaves to be said: between which groups the gap changes."""
    changes = [config["gap"]["change"] for config in one["configs"] if "change" in config["gap"]]
    if not changes:
        return []
    return [
        f"The change of the gap is that between '{changes[0]['worst']}' and '{changes[0]['best']}', the worst and the"
        f" best group of the baseline, {one['baseline']}. Intervals are over speakers, for these models."
    ]


def rank_rows(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of the table of rank correlations."""
    head = ["Attribute", "Intrinsic", "Extrinsic", "Rank correlation", "95 % interval", "Models", "Runs"]
    rows = []
    for one in result["rank_correlations"]:
        low, high = known(one["low"]), known(one["high"])
        interval = f"{number(low, 2)} to {number(high, 2)}" if low == low else "–"
        measures = [one["attribute"], one["intrinsic"], one["extrinsic"]]
        rows.append([*measures, number(known(one["correlation"]), 2), interval, str(one["models"]), str(one["n"])])
    return head, rows
