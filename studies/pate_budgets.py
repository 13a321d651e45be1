"""The Markdown table of the word error rate by mechanism and budget, of sweeps that differ in both.

    python -m studies.pate_budgets runs/pate_home_rnnt runs/pate_home_rnnt_users --beside dp-fedavg

A row is a mechanism: the labels of a sweep without their budget (``gnmax-eps2`` is ``gnmax``). A column is a budget of
ε, 0 a run without one that released nothing, ∞ one without privacy. A cell is the mean of the seeds, and their spread.
Where a smaller budget has labelled all that there was to label, a larger one changes nothing: *as at* that one. Below,
by how much lower the word error rate is than that of a mechanism at the same budget. In the place of a folder a
recorded table may stand (``docs/results/pate/rnnt.csv``).
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

import numpy as np

from studies.pate_records import Record, records_of
from studies.tables import grid

SEEDS = 3
"""Fewer are said in the cell."""


@dataclass(frozen=True)
class Cell:
    """The runs of a mechanism at a budget."""

    wers: tuple[float, ...]
    all_labelled: bool
    """whether no run ended its labelling because the budget was spent"""

    @property
    def wer(self) -> float:
        """The mean of the seeds."""
        return float(np.mean(self.wers))

    def __str__(self) -> str:
        spread = f" ({min(self.wers):.3f} – {max(self.wers):.3f})" if len(self.wers) > 1 else ""
        few = f", {len(self.wers)} seed{'s' * (len(self.wers) > 1)}" if len(self.wers) < SEEDS else ""
        return f"{self.wer:.3f}{spread}{few}"


Table = Mapping[str, Mapping[float, Cell]]


def place_of(record: Record) -> tuple[str, float]:
    """Return the mechanism and the budget of a label: without one, 0 where nothing was released, else ∞."""
    budget = re.search(r"-eps([0-9.]+)", record.label)
    if budget is not None:
        return record.label.replace(budget[0], ""), float(budget[1])
    return record.label, 0.0 if record.epsilon == 0.0 else inf


def table_of(records: Sequence[Record]) -> Table:
    """Return the cells of what there is, by mechanism and budget."""
    table: dict[str, dict[float, Cell]] = defaultdict(dict)
    for record in records:
        name, epsilon = place_of(record)
        table[name][epsilon] = Cell(record.wers, record.all_labelled)
    return {name: dict(sorted(row.items())) for name, row in table.items()}


def cell_within(row: Mapping[float, Cell], epsilon: float) -> tuple[float, Cell] | None:
    """Return the cell that holds at a budget, and the budget at which it was measured; None: there is none."""
    if epsilon in row:
        return epsilon, row[epsilon]
    # What releases nothing may be had at any budget.
    smaller = [(at, cell) for at, cell in row.items() if at < epsilon < inf and (cell.all_labelled or at == 0)]
    return max(smaller, key=lambda pair: pair[0], default=None)


def markdown(table: Table, beside: str | None = None) -> str:
    """Return the table, and the one beside a mechanism where one is named.

    Raises:
        SystemExit: there is no such mechanism.
    """
    columns = sorted({epsilon for row in table.values() for epsilon in row})
    head = ["WER", *("∞" if epsilon == inf else f"ε = {epsilon:g}" for epsilon in columns)]

    def cell(row: Mapping[float, Cell], epsilon: float) -> str:
        place = cell_within(row, epsilon)
        if place is None:
            return "—"
        return str(place[1]) if place[0] == epsilon else f"as at {place[0]:g}"

    text = grid(head, [[name, *(cell(row, epsilon) for epsilon in columns)] for name, row in table.items()])
    if beside is None:
        return text
    if beside not in table:
        raise SystemExit(f"there is no '{beside}'; there are {', '.join(table)}")

    def lower(row: Mapping[float, Cell], epsilon: float) -> str:
        mine, other = cell_within(row, epsilon), cell_within(table[beside], epsilon)
        return "—" if mine is None or other is None else f"{100 * (1 - mine[1].wer / other[1].wer):.0f} %"

    others = {name: row for name, row in table.items() if name != beside}
    budgets = [
        epsilon
        for epsilon in columns
        if cell_within(table[beside], epsilon) and any(cell_within(row, epsilon) for row in others.values())
    ]
    body = [
        [name, *(lower(row, epsilon) for epsilon in budgets)]
        for name, row in others.items()
        if any(cell_within(row, epsilon) for epsilon in budgets)
    ]
    return text + "\n" + grid([f"lower than {beside}'s by", *(f"ε = {epsilon:g}" for epsilon in budgets)], body)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", type=Path, help="folders of sweeps, and recorded tables")
    parser.add_argument("--beside", help="the mechanism that the others are set beside")
    parser.add_argument("--family", help="of sweeps of several families, the one whose labels are taken")
    given = parser.parse_args()
    print(markdown(table_of(records_of(given.sources, given.family)), given.beside))


if __name__ == "__main__":
    main()
