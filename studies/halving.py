"""Successive halving over the variants of a sweep (Jamieson and Talwalkar 2016): all get a little, the best get more.

    python -m studies.halving simulations/sweeps/pate_home_users_search.yaml --out runs/search \
      --rung data.synthetic.utterances_per_speaker=8 --rung data.synthetic.utterances_per_speaker=16

Each rung is the sweep with the keys of the rung, ``OUT/rung1`` and so on; the best third by word error rate goes on to
the next. What is finished is not run again.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from math import ceil
from pathlib import Path

import numpy as np

import fedasr
from fedasr.results.load import Run
from studies.tables import grid

Ranking = list[tuple[str, float]]
"""Labels with the mean word error rate of their seeds, the lowest first."""


def halving(
    file: Path, out: Path, rungs: Sequence[Sequence[str]], keep: float = 1 / 3, only: Sequence[str] = ()
) -> list[Ranking]:
    """Run the rungs, and return the ranking of each.

    Args:
        file: of the sweep.
        out: where the rungs are written.
        rungs: the keys of each, dotted, with their values.
        keep: the share of the variants that goes on, rounded up.
        only: labels, with ``*`` and ``?``, that the first rung is of; none: all.

    Raises:
        SystemExit: every run of a rung failed.
    """
    rankings: list[Ranking] = []
    labels = list(only)
    for number, keys in enumerate(rungs, 1):
        ranking = ranked(fedasr.sweep(file, out / f"rung{number}", overrides=list(keys), only=labels))
        if not ranking:
            raise SystemExit(f"rung {number}: no run has ended well")
        rankings.append(ranking)
        labels = [label for label, _ in ranking[: ceil(keep * len(ranking))]]
    return rankings


def ranked(runs: Sequence[Run]) -> Ranking:
    """Return the labels of finished runs, the lowest word error rate first."""
    rates: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        if run.status == "done":
            rates[run.path.name.rpartition("-seed")[0]].append(float(run.summary["wer"]))
    return sorted(((label, float(np.mean(rate))) for label, rate in rates.items()), key=lambda pair: pair[1])


def markdown(rankings: Sequence[Ranking]) -> str:
    """Return the table of the rungs, in the order of the last rung that a variant has reached."""
    best = {label: rate for ranking in rankings for label, rate in ranking}
    reached = {label: number for number, ranking in enumerate(rankings) for label, _ in ranking}
    rates = [dict(ranking) for ranking in rankings]
    body = [
        [label, *(f"{rate[label]:.3f}" if label in rate else "—" for rate in rates)]
        for label in sorted(best, key=lambda label: (-reached[label], best[label]))
    ]
    return grid(["WER", *(f"rung {number}" for number in range(1, len(rankings) + 1))], body)


def main() -> None:
    """Run the rungs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rung", action="append", required=True, help="KEY=VALUE, several with spaces between")
    parser.add_argument("--keep", type=float, default=1 / 3, help="share of the variants that goes on")
    parser.add_argument("--only", action="append", default=[], help="labels that are tried, with * and ?")
    given = parser.parse_args()
    rungs = [rung.split() for rung in given.rung]
    print(markdown(halving(given.sweep, given.out, rungs, given.keep, given.only)))


if __name__ == "__main__":
    main()
