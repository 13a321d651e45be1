"""The ε that may be published of recorded votes: an upper bound, with noise by its smooth sensitivity.

    python -m studies.pate_published rnnt 'confident-eps*' 'gnmax-eps*'

A row is a label of a sweep whose votes are in ``docs/results/pate/votes``: the largest ε of its seeds as votes were,
what would be published (a 95 % upper bound of the cost of labels and release together: its mean over the noise, and the
standard deviation, at the order where the mean is least; means of the seeds), and the largest ε that holds whatever the
votes. The order has to be chosen before with real people. LNMax has no such release. That labelling ended where it did,
as the votes were, none of them covers.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np

from fedasr.errors import InputError
from fedasr.privacy.pate.analysis import query_costs
from fedasr.privacy.pate.smooth import margin_of, release, total_local_sensitivity
from fedasr.strategies.pate.aggregator import Aggregator
from studies.pate_recorded import SWEEPS, labelled, runs_of
from studies.pate_records import up
from studies.tables import grid

TRIED = (3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 20.0, 25.0, 30.0)
"""Rényi orders."""


@dataclass(frozen=True)
class Published:
    """What may be published of one run."""

    mean: float
    deviation: float


def published(aggregator: Aggregator, order: float) -> Published | None:
    """Return what may be published at an order; None: the sensitivity is not bounded there."""
    record, mechanism = aggregator.record, aggregator.mechanism
    delta = aggregator.config.privacy.delta
    try:
        local = total_local_sensitivity(record.votes, mechanism, aggregator.teachers, order, record.answered)
    except InputError:
        return None
    rdp = float(query_costs(record.votes, mechanism, (order,), record.answered).sum())
    result = release(rdp, local, order, delta, np.random.default_rng(0))
    bound = rdp + result.smooth_sensitivity * margin_of(result.sigma, result.coverage) + result.cost
    return Published(bound - log(delta) / (order - 1), result.standard_deviation)


def row(label: str, runs: Sequence[Aggregator]) -> list[str]:
    """Return the row of the seeds of a label."""
    best: tuple[float, float, float] | None = None
    for order in TRIED:
        result = [published(aggregator, order) for aggregator in runs]
        known = [one for one in result if one is not None]
        if len(known) == len(runs):
            mean = float(np.mean([one.mean for one in known]))
            best = min(best or (np.inf, 0.0, 0.0), (mean, float(np.mean([one.deviation for one in known])), order))
    spent = [aggregator.epsilons() for aggregator in runs]
    cell = "none of the orders tried" if best is None else f"{best[0]:.2f} ± {best[1]:.2f} (order {best[2]:g})"
    as_cast, whatever = (max(epsilons) for epsilons in zip(*spent, strict=True))
    return [label, f"{up(as_cast, 2):.2f}", cell, f"{up(whatever, 2):.2f}"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=sorted(SWEEPS))
    parser.add_argument("labels", nargs="+")
    given = parser.parse_args()
    groups: dict[str, list[Aggregator]] = defaultdict(list)
    for pattern in given.labels:
        for planned in runs_of(given.table, pattern):
            groups[planned.label].append(labelled(given.table, planned))
    if not groups:
        raise SystemExit(f"no votes of {given.table} are recorded for these labels")
    head = ["run", "ε as the votes were", "ε that may be published (95 % upper bound)", "ε whatever the votes"]
    print(grid(head, [row(label, runs) for label, runs in groups.items()]))
    one = next(iter(groups.values()))[0]
    print(f"{one.teachers} teachers, one exchanged for another; no sampling; δ = {one.config.privacy.delta:g}")


if __name__ == "__main__":
    main()
