"""Is a secret remembered? Its rank among all that it could have been, against what the rank is by chance.

Exposure is log₂N − log₂rank (Carlini et al. 2019, arXiv 1802.08232). A secret that was drawn uniformly has a uniform
rank in every model that never heard it, so that the exposure of nothing is not 0: its mean is 1.44 bits, its standard
deviation 1.44, and one in thirty-two has 5 bits or more.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from fedasr.typing import Floats, Integers


def exposure(ranks: Integers, secrets: int) -> Floats:
    """Return the exposure of secrets in bits, shape ``(n,)``.

    Args:
        ranks: of each, 1 the likeliest, shape ``(n,)``.
        secrets: N, how many there could have been.
    """
    return np.asarray(math.log2(secrets) - np.log2(ranks))


def null_moments(secrets: int) -> tuple[float, float]:
    """Return mean and standard deviation of the exposure by chance, exactly."""
    values = exposure(np.arange(1, secrets + 1), secrets)
    return float(values.mean()), float(values.std())


def null_tail(bits: float, secrets: int) -> float:
    """Return the probability of at least so much exposure by chance."""
    return float(math.floor(secrets * 2.0**-bits) / secrets)


def p_value(exposures: Floats) -> float:
    """Return the one-sided p of the mean, exactly but for the steps of whole ranks, which only raise it.

    The sum of n independent exposures by chance, in nats, is at most a Gamma(n) variable.
    """
    return float(stats.gamma.sf(float(np.sum(exposures)) * math.log(2), len(exposures)))


def rank_of(scores: Floats, place: int) -> int:
    """Return the rank of one score among all, 1 the largest; of equal ones the last."""
    return int(np.count_nonzero(scores >= scores[place]))
