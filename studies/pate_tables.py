"""The Markdown table of PATE runs beside runs with DP-SGD or without privacy, and their figure.

    fedasr sweep simulations/sweeps/pate_home.yaml --out runs/pate_home_sweep
    fedasr sweep simulations/sweeps/pate_home_users.yaml --out runs/pate_home_users
    python -m studies.pate_tables runs/pate_home_sweep runs/pate_home_users --figure pate_home.png

Each row is a label of a sweep: the largest ε of its seeds, rounded up, means of the rest, and the spread of the word
error rate. *Right* is the share of right labels among those released, *own right* among those that the student gave by
itself in its last stage. In the place of a folder a recorded table may stand (``docs/results/pate/rnnt.csv``), and
seeds of one label are told together; ``--record`` writes such a table.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from math import inf, nan
from pathlib import Path

import pandas as pd

from fedasr.results.pages.tradeoff import write_tradeoff
from fedasr.results.tables.statistics import mean_interval
from studies.pate_budgets import place_of
from studies.pate_records import Record, records_of, up, write
from studies.tables import grid

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


def row(record: Record) -> list[str]:
    """Return the cells of a label."""

    def digits(value: float | None, count: int) -> str:
        return "—" if value is None else f"{value:.{count}f}"

    independent = "the same" if record.independent is None else at_most(record.independent)
    return [
        record.label,
        at_most(record.epsilon),
        independent if record.delta is not None else at_most(record.epsilon),
        "—" if record.delta is None else f"{record.delta:g}",
        record.unit or "—",
        record.population or "—",
        digits(record.labels, 0),
        digits(record.right, 2),
        digits(record.own_right, 2),
        f"{record.wer:.3f}",
        f"{min(record.wers):.3f} – {max(record.wers):.3f}" if len(record.wers) > 1 else "—",
        str(len(record.seeds)),
    ]


def at_most(epsilon: float) -> str:
    """Return an ε with two digits, rounded up."""
    if epsilon in (0.0, inf):
        return "0" if epsilon == 0.0 else "∞"
    return f"{up(epsilon, 2):.2f}"


def markdown(records: Sequence[Record], figure: Path | None = None) -> str:
    """Return the table, and draw the figure where one is asked for."""
    if figure is not None:
        write_tradeoff(points(records), figure)
    return grid(HEAD, [row(record) for record in records])


def points(records: Sequence[Record]) -> pd.DataFrame:
    """Return the points of the figure: what ``fedasr.results.figures.tradeoff`` draws, a line a mechanism."""
    rows = []
    for record in records:
        mean, low, high = map(float, mean_interval(list(record.wers)))
        delta = nan if record.delta is None else record.delta
        facts = {"epsilon": record.epsilon, "delta": delta, "randomness": record.randomness}
        named = {"mechanism": place_of(record)[0], **facts, "n": len(record.seeds), "seeds": list(record.seeds)}
        rows.append(named | {"wer": mean, "wer_low": low, "wer_high": high})
    return pd.DataFrame(rows).sort_values(["mechanism", "epsilon"], kind="stable", ignore_index=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", type=Path, help="folders of sweeps, and recorded tables")
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--record", type=Path, help="where all of it is recorded")
    parser.add_argument("--family", help="of sweeps of several families, the one whose labels are taken")
    given = parser.parse_args()
    records = records_of(given.sources, given.family)
    print(markdown(records, given.figure))
    if given.record is not None:
        write(records, given.record)


if __name__ == "__main__":
    main()
