"""How many labels so many teachers could give at a budget, if they voted like those of a run did.

    python -m studies.pate_teachers runs/pate_votes_rnnt-seed0 --teachers 250 500 1000 2000 --epsilons 0.5 1 2 4

Each query's votes are drawn anew from the shares that the teachers of the run gave, so this is an extrapolation. For
each number of teachers and budget the mechanism and noise with the most right labels are shown, chosen on these very
votes: the best that can be hoped for. The ε is computed from the votes, as `pate.budget=data-dependent` does.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedasr.config import load
from fedasr.experiment import Experiment
from fedasr.privacy.pate.analysis import ORDERS, VoteMechanism, query_costs, to_epsilon
from fedasr.strategies.pate.public import PublicSpeech
from studies.tables import grid

Counts = npt.NDArray[np.int64]
Labels = npt.NDArray[np.int64]

DELTA = 1e-5
SCALES = (0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2)
"""Of the noise, as shares of the teachers."""
CHECKS = ((0.3, 0.15), (0.4, 0.15), (0.5, 0.15), (0.4, 0.2), (0.5, 0.2), (0.6, 0.2), (0.5, 0.3), (0.6, 0.3))
"""Thresholds of the check and its noise, as shares of the teachers."""


@dataclass(frozen=True)
class Labelled:
    """What a mechanism gives within a budget."""

    mechanism: VoteMechanism
    queries: int
    labels: int
    right: int


def mechanisms(teachers: int) -> Iterator[VoteMechanism]:
    """Yield what is tried."""
    for scale in SCALES:
        yield VoteMechanism("gnmax", scale * teachers)
        yield VoteMechanism("lnmax", scale * teachers)
        for threshold, check in CHECKS:
            yield VoteMechanism("confident-gnmax", scale * teachers, threshold * teachers, check * teachers)


def labelled(
    votes: Counts, truth: Labels, mechanism: VoteMechanism, epsilons: Sequence[float], rng: np.random.Generator
) -> list[Labelled]:
    """Return what a mechanism gives within each budget, the queries asked in their order.

    Args:
        votes: counts, shape ``(queries, classes)``.
        truth: the right class of each query.
        mechanism: what is tried.
        epsilons: the budgets.
        rng: of the noise.
    """
    answered = np.ones(len(votes), bool)
    if mechanism.has_threshold:
        assert mechanism.threshold is not None
        answered = votes.max(1) + rng.normal(0, mechanism.threshold_scale, len(votes)) >= mechanism.threshold
    draw = rng.laplace if mechanism.name == "lnmax" else rng.normal
    right = ((votes + draw(0, mechanism.scale, votes.shape)).argmax(1) == truth) & answered
    costs = query_costs(votes, mechanism, ORDERS, answered if mechanism.has_threshold else None).cumsum(0)
    spent = np.array([to_epsilon(cost, ORDERS, DELTA, "improved")[0] for cost in costs])
    result = []
    for epsilon in epsilons:
        asked = int(np.searchsorted(spent, epsilon, side="right"))
        result.append(Labelled(mechanism, asked, int(answered[:asked].sum()), int(right[:asked].sum())))
    return result


def best(votes: Counts, truth: Labels, teachers: int, epsilons: Sequence[float], seed: int) -> list[Labelled]:
    """Return what the best mechanism gives within each budget."""
    rng = np.random.default_rng(seed)
    shares = votes / votes.sum(1, keepdims=True)
    drawn = np.stack([rng.multinomial(teachers, row) for row in shares]) if teachers != votes[0].sum() else votes
    tried = [labelled(drawn, truth, mechanism, epsilons, rng) for mechanism in mechanisms(teachers)]
    return [
        max((result[place] for result in tried), key=lambda f: (f.right, -f.labels)) for place in range(len(epsilons))
    ]


def cell(labelled: Labelled, queries: int) -> str:
    """Return the right labels of all, and how they were drawn; a plus where no query was left."""
    mechanism = labelled.mechanism
    check = f", T {mechanism.threshold:g}, σ₁ {mechanism.threshold_scale:g}" if mechanism.has_threshold else ""
    all_asked = "+" if labelled.queries == queries else ""
    return f"{labelled.right} of {labelled.labels}{all_asked} ({mechanism.name}, {mechanism.scale:g}{check})"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--teachers", nargs="+", type=int, default=[250, 500, 1000, 2000])
    parser.add_argument("--epsilons", nargs="+", type=float, default=[0.5, 1, 2, 4])
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    public = PublicSpeech(Experiment(load(given.run / "config.yaml")))
    votes = np.load(given.run / "votes.npy").astype(np.int64)
    place = {text: index for index, text in enumerate(public.candidates)}
    truth = np.array([place[text] for text in public.truth[: len(votes)]])
    rows = [
        [str(teachers), *(cell(f, len(votes)) for f in best(votes, truth, teachers, given.epsilons, given.seed))]
        for teachers in given.teachers
    ]
    print(grid(["teachers", *(f"ε = {epsilon:g}" for epsilon in given.epsilons)], rows))


if __name__ == "__main__":
    main()
