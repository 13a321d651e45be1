"""How well scores tell members from non-members: true positives at few false ones, and the area under the curve.

Never accuracy alone: an attack that is certain of a few is worse for those few than one that is right a little more
often than chance about everybody (Carlini et al. 2022, arXiv 2112.03570).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr import seeds
from fedasr.errors import InputError
from fedasr.privacy.audit.bounds import upper
from fedasr.typing import Floats

FALSE_RATES = (0.01, 0.001)
"""At which true positives are told."""
RESAMPLES = 1000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Rate:
    """An estimate with its interval; NaN where there are too few speakers for one."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Rates:
    """What a set of scores shows."""

    auc: Rate
    true: dict[float, Rate]
    """true-positive rate at each false-positive rate"""
    members: int
    non_members: int
    speakers: int

    def certified(self) -> float:
        """Return the false-positive rate that not one false positive among so many would certify."""
        return certified_false_rate(self.non_members)


def certified_false_rate(non_members: int, confidence: float = CONFIDENCE) -> float:
    """Return the upper bound of Clopper and Pearson on the rate of what never happened in so many trials.

    0.1 % takes 2,995 non-members at 95 %.
    """
    return upper(0, non_members, 1 - confidence)


def curve(scores: Floats, member: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return false- and true-positive rates at every threshold, from (0, 0) to (1, 1), each ``(thresholds,)``.

    Args:
        scores: larger for members, shape ``(n,)``.
        member: who is one, shape ``(n,)``.

    Raises:
        InputError: as ``checked``.
    """
    place, groups = checked(scores, member)
    return tuple(  # type: ignore[return-value]
        np.concatenate([[0.0], np.cumsum(np.bincount(place, kind, groups)[::-1]) / kind.sum()])
        for kind in (~member, member)
    )


def rates(
    scores: Floats,
    member: npt.NDArray[np.bool_],
    speakers: npt.NDArray[Any],
    seed: int = 0,
    false_rates: tuple[float, ...] = FALSE_RATES,
) -> Rates:
    """Return the area and the true-positive rates, with 95 % intervals over resampled speakers.

    Utterances of one speaker are remembered or forgotten together: resampling utterances would give too narrow an
    interval.

    Args:
        scores: larger for members, shape ``(n,)``; ties count half in the area and are never told apart by a threshold.
        member: who is one, shape ``(n,)``.
        speakers: of each, shape ``(n,)``.
        seed: of the resamples.
        false_rates: at which true positives are told.

    Raises:
        InputError: as ``checked``.
    """
    place, groups = checked(scores, member)
    names, speaker = np.unique(np.asarray(speakers).astype(str), return_inverse=True)
    result = np.array(weighed(place, groups, member, np.ones(len(member)), false_rates))
    count = len(names)
    drawn = np.full((0, len(result)), np.nan)
    if count > 1:
        rng = seeds.generator(seed, "audit/bootstrap")
        weights = rng.multinomial(count, np.full(count, 1 / count), RESAMPLES)[:, speaker].astype(np.float64)
        usable = (weights[:, member].sum(1) > 0) & (weights[:, ~member].sum(1) > 0)
        drawn = np.array([weighed(place, groups, member, row, false_rates) for row in weights[usable]])
    tails = (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2
    low, high = np.quantile(drawn, tails, axis=0) if len(drawn) else np.full((2, len(result)), np.nan)
    each = [Rate(float(v), float(a), float(b)) for v, a, b in zip(result, low, high, strict=True)]
    true = dict(zip(false_rates, each[1:], strict=True))
    return Rates(each[0], true, int(member.sum()), int((~member).sum()), count)


def chance(
    scores: Floats, member: npt.NDArray[np.bool_], groups: npt.NDArray[Any], seed: int = 0, resamples: int = RESAMPLES
) -> float:
    """Return the probability of at least this area where a coin alone told members from non-members within groups.

    Args:
        scores: larger for members, shape ``(n,)``.
        member: who is one, shape ``(n,)``.
        groups: within which the coins fell, shape ``(n,)``.
        seed: of the coins that are thrown anew.
        resamples: how often.

    Raises:
        InputError: as ``checked``.
    """
    place, different = checked(scores, member)
    _, group = np.unique(groups, return_inverse=True)
    even = np.ones(len(member))
    rng = seeds.generator(seed, "audit/permutation")
    area = weighed(place, different, member, even, ())[0]
    order = np.lexsort((~member, group))  # the places of each group, its members first
    as_many = 0
    for _ in range(resamples):
        mixed = np.lexsort((rng.random(len(member)), group))
        drawn = np.zeros(len(member), bool)
        drawn[mixed] = member[order]
        as_many += weighed(place, different, drawn, even, ())[0] >= area - 1e-12
    return (1 + as_many) / (1 + resamples)


def weighed(
    place: npt.NDArray[np.integer],
    groups: int,
    member: npt.NDArray[np.bool_],
    weights: Floats,
    false_rates: tuple[float, ...],
) -> list[float]:
    """Return the area and the true-positive rates of weighted scores.

    Args:
        place: rank of each score, 0 the smallest, ties alike, shape ``(n,)``.
        groups: how many different ones.
        member: who is a member, shape ``(n,)``.
        weights: shape ``(n,)``.
        false_rates: at which true positives are told.
    """
    inside = np.bincount(place, weights * member, groups)[::-1]
    outside = np.bincount(place, weights * ~member, groups)[::-1]
    false, true = np.cumsum(outside), np.cumsum(inside)
    area = float((inside * (false[-1] - false + outside / 2)).sum() / (true[-1] * false[-1]))
    passed = np.searchsorted(false, np.array(false_rates) * false[-1] * (1 + 1e-12), side="right")
    return [area, *(np.concatenate([[0.0], true])[passed] / true[-1]).tolist()]


def checked(scores: Floats, member: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.integer], int]:
    """Return the rank of each score among the different ones, and how many those are.

    Raises:
        InputError: there are no members or no non-members, or a score is not a number.
    """
    if not member.any() or member.all():
        raise InputError(
            f"there are {int(member.sum())} members and {int((~member).sum())} non-members; an attack needs both"
        )
    if np.isnan(scores).any():
        raise InputError("some scores are not numbers: the model's weights are not finite")
    different, place = np.unique(scores, return_inverse=True)
    return place, len(different)
