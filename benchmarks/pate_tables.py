"""The Markdown table of PATE runs beside runs with DP-SGD or without privacy, and their figure.

    fedasr sweep simulations/sweeps/pate_home.yaml --out runs/pate_home_sweep
    fedasr sweep simulations/sweeps/pate_home_users.yaml --out runs/pate_home_users
    python -m benchmarks.pate_tables runs/pate_home_sweep runs/pate_home_users --figure pate_home.png

Each row is a label of a sweep: the largest ε of its seeds, rounded up, means of the rest, and the spread of the word
error rate. *Right* is the share of right labels among those released, *own right* among those that the student gave by
itself in its last stage.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tables import grid, print_table, runs_of
from fedasr.results.load import Run, load_run
from fedasr.results.tradeoff import released_nothing, tradeoff, write_tradeoff

HEAD = (
    "run",
    "ε",
    "ε whatever the votes",
    "δ",
    "unit",
    "population",
    "labels",
    "right",
    "own right",
    "WER",
    "lowest – highest",
    "seeds",
)


def row(label: str, runs: Sequence[Run]) -> list[str]:
    """Return the cells of runs that differ in their seeds."""
    first = runs[0].summary
    # Of some seeds the budget may afford no label, and then there is no account.
    privacy: dict[str, Any] = next((run.privacy for run in runs if run.privacy), {})
    none = "0" if released_nothing(runs[0]) else "∞"

    def largest(name: str) -> str:
        value = max(float(run.summary.get(name) or 0.0) for run in runs)
        return f"{ceil(100 * value - 1e-6) / 100:.2f}"

    def mean(name: str, digits: int) -> str:
        values = [run.summary.get(name) for run in runs]
        known = [value for value in values if value is not None]
        return f"{np.mean(known):.{digits}f}" if known else "—"

    wers = [float(run.summary["wer"]) for run in runs]
    independent = largest("epsilon_data_independent") if "labels" in first else "the same"
    return [
        label,
        largest("epsilon") if privacy else none,
        independent if privacy else none,
        f"{first['delta']:g}" if privacy else "—",
        str(privacy.get("unit", "—")),
        str(privacy.get("population", "—")),
        mean("labels", 0),
        mean("label_accuracy", 2),
        mean("own_label_accuracy", 2),
        f"{np.mean(wers):.3f}",
        f"{min(wers):.3f} – {max(wers):.3f}",
        str(len(runs)),
    ]


def markdown(folders: Sequence[Path], figure: Path | None = None) -> str:
    """Return the table of the runs in the folders of sweeps, and draw the figure where one is asked for."""
    groups: dict[str, list[Run]] = defaultdict(list)
    paths = runs_of(folders)
    for path in paths:
        groups[path.name.rpartition("-seed")[0]].append(load_run(path))
    if figure is not None:
        write_tradeoff(tradeoff(paths), figure)
    return grid(HEAD, [row(label, runs) for label, runs in groups.items()])


if __name__ == "__main__":
    print_table(__doc__, markdown)
