"""Are two vectors of one owner? Cosines, the equal error rate of a threshold on them, and its interval."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from fedasr.typing import Floats


def cosines(first: Floats, second: Floats) -> Floats:
    """Return the cosine of each row of one matrix with each of the other, less the rows' means, ``(n, m)``."""
    sides = []
    for rows in (first, second):
        rest = rows - rows.mean(axis=0)
        sides.append(rest / np.maximum(np.linalg.norm(rest, axis=1, keepdims=True), np.finfo(np.float64).tiny))
    return np.asarray(sides[0] @ sides[1].T)


def equal_error_rate(genuine: Floats, impostor: Floats) -> float:
    """Return the rate at which as many impostors are accepted as genuine pairs refused; ½: chance.

    Between two thresholds the rates are joined by a line (the ROC's convex hull is not taken).

    Args:
        genuine: scores of pairs of one owner; the higher the likelier.
        impostor: scores of pairs of two owners.
    """
    thresholds = np.unique(np.concatenate([genuine, impostor, [np.inf]]))
    refused = np.searchsorted(np.sort(genuine), thresholds, side="left") / len(genuine)
    accepted = 1 - np.searchsorted(np.sort(impostor), thresholds, side="left") / len(impostor)
    after = int(np.argmax(refused >= accepted))
    if after == 0 or refused[after] == accepted[after]:
        return float((refused[after] + accepted[after]) / 2)
    before = after - 1
    gap = accepted - refused
    share = gap[before] / (gap[before] - gap[after])
    return float(refused[before] + share * (refused[after] - refused[before]))


def rate_of(scores: Floats) -> float:
    """Return the equal error rate of a matrix whose diagonal holds the pairs of one owner."""
    own = np.eye(len(scores), dtype=bool)
    return equal_error_rate(scores[own], scores[~own])


def rate_interval(scores: Floats, rng: np.random.Generator, confidence: float = 0.95, draws: int = 500) -> Floats:
    """Return the interval of an equal error rate by drawing the owners anew, ``(2,)``.

    A pair of one owner with itself, drawn twice, is no impostor.

    Args:
        scores: matrix whose diagonal holds the pairs of one owner.
        rng: of the draws.
        confidence: of the interval.
        draws: how many.
    """
    rates = []
    for _ in range(draws):
        drawn = rng.integers(len(scores), size=len(scores))
        chosen = scores[np.ix_(drawn, drawn)]
        strangers = drawn[:, None] != drawn
        if strangers.any():
            rates.append(equal_error_rate(np.diag(chosen), chosen[strangers]))
    return np.quantile(rates, [(1 - confidence) / 2, (1 + confidence) / 2])


def area_under_curve(inside: Floats, outside: Floats) -> float:
    """Return the probability that a score inside is above one outside; ties count half."""
    ranks = rankdata(np.concatenate([inside, outside]))[: len(inside)]
    return float((ranks.sum() - len(inside) * (len(inside) + 1) / 2) / (len(inside) * len(outside)))
