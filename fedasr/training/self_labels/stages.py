"""How self-training moves over the rounds: in stages, or along a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """Rounds in which a student learns one set of labels.

    Attributes:
        number: counted from 0, the stage of labels that are given.
        before: rounds of the stages before it.
        rounds: of its own.
        share: of what the student can label by itself that it learns: k/(n + 1) in the k-th of n stages after the
            first, so that it never learns what it is least sure of.
    """

    number: int
    before: int
    rounds: int
    share: float


def stage_of(round: int, rounds: int, stages: int, left_out: int = 0) -> Stage:
    """Return the stage that a round belongs to; stages differ by one round at most.

    Args:
        round: counted from 1.
        rounds: of the whole run, as many as there are stages at least.
        stages: the first, which learns given labels alone, and those after it.
        left_out: how many of the first stages are left out; their rounds go to the others.
    """
    kept = stages - left_out
    place = (round * kept - 1) // rounds
    before, end = place * rounds // kept, (place + 1) * rounds // kept
    number = left_out + place
    return Stage(number, before, end - before, number / stages)


def moved(bounds: Sequence[float], round: int, rounds: int) -> float:
    """Return what moves on a line from the first round to the last; of a single round the first value.

    Args:
        bounds: in the first round and in the last.
        round: counted from 1.
        rounds: of the whole run.
    """
    first, last = bounds
    return first + (last - first) * (round - 1) / max(1, rounds - 1)
