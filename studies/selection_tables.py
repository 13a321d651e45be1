"""The Markdown table of a sweep over selection strategies, and its figure.

    fedasr sweep simulations/sweeps/selection_static.yaml --out runs/selection_static
    python -m studies.selection_tables runs/selection_static --target 0.7 --figure docs/results/selection_static.png

Each number is a mean over the seeds with its 95 % t interval.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def comparison(folder: Path, target: float, figure: Path | None) -> list[dict[str, Any]]:
    """Return the groups that ``fedasr compare --json`` tells of the runs in a sweep's folder."""
    runs = sorted(str(path) for path in folder.glob("*-seed*"))
    command = [sys.executable, "-m", "fedasr.cli.main", "compare", *runs, "--target", str(target), "--json"]
    if figure is not None:
        command += ["--out", str(figure)]
    result = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    groups: list[dict[str, Any]] = json.loads(result)["groups"]
    return groups


def interval(value: dict[str, Any], name: str, factor: float = 1.0, digits: int = 1) -> str:
    """Return a mean with its interval."""
    mean, low, high = (value[key] for key in (name, "low", "high"))
    if mean is None:
        return "–"
    if low is None:
        return f"{factor * mean:.{digits}f}"
    return f"{factor * mean:.{digits}f} ({factor * low:.{digits}f}–{factor * high:.{digits}f})"


def reached(group: dict[str, Any], axis: str, factor: float, digits: int = 0) -> str:
    """Return what it took to the target, or how many seeds got there."""
    result = group.get("targets", {}).get(axis)
    if result is None:
        return "–"
    if result["reached"] < result["n"]:
        return f"{result['reached']} of {result['n']}"
    return f"{factor * result['mean']:.{digits}f} ± {factor * (result['high'] - result['mean']):.{digits}f}"


def table(groups: list[dict[str, Any]], target: float) -> str:
    """Return the table, the best strategy first."""
    lines = [
        f"| selection | WER % | rounds to {target:.0%} | audio to {target:.0%}, min | simulated min to {target:.0%}"
        " | MB to it | lightest tenth, WER % | heaviest tenth | Gini of participation |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for group in sorted(groups, key=lambda group: group["mean"]):
        deciles = {row["decile"]: row for row in group["deciles"]}
        cells = [
            group["label"],
            interval({**group, "wer": group["mean"]}, "wer", 100),
            reached(group, "round", 1),
            reached(group, "audio_seconds", 1 / 60),
            reached(group, "simulated_seconds", 1 / 60, 1),
            reached(group, "bytes", 1e-6),
            interval(deciles[1], "wer", 100) if 1 in deciles else "–",
            interval(deciles[10], "wer", 100) if 10 in deciles else "–",
            f"{group['gini']:.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    kept = [group for group in groups if group["forgetting"]["forgetting"] is not None]
    if kept:
        lines += ["", "| selection | forgetting of past periods, points |", "|---|---|"]
        lines += [f"| {group['label']} | {interval(group['forgetting'], 'forgetting', 100)} |" for group in kept]
    return "\n".join(lines)


def main() -> None:
    """Print the tables of sweeps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--target", type=float, default=0.5)
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    print(table(comparison(arguments.folder, arguments.target, arguments.figure), arguments.target))


if __name__ == "__main__":
    main()
