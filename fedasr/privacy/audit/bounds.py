"""Lower bounds on ε from the scores of canaries that took part and of canaries that did not.

A threshold is the (k+1)-th largest score of those that did not take part, with ranks k fixed beforehand, so that the
false-alarm rate has an exact upper bound, a Beta quantile (Clopper and Pearson 1934), and no data choose the threshold;
with several ranks α is divided by their number. All arrays are plain NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import special, stats

from fedasr.privacy.audit.result import FIXED_BEFOREHAND, INDEPENDENT, Bound, checked
from fedasr.privacy.pld import gaussian_epsilon
from fedasr.typing import Floats

SHARES = (0.0, 0.001, 0.01, 0.1, 0.5)
"""Ranks that an audit looks at unless others are asked for, as shares of the outside scores."""
GAUSSIAN = "the scores inside and outside are those of a Gaussian mechanism, N(μ, 1) and N(0, 1) but for a rising map"


def upper(events: int, trials: int, alpha: float) -> float:
    """Return the Clopper–Pearson upper bound on a probability that occurred ``events`` times in ``trials``."""
    return 1.0 if events >= trials else float(special.betaincinv(events + 1, trials - events, 1 - alpha))


def ranks_of(outside: int, shares: Sequence[float] = SHARES) -> tuple[int, ...]:
    """Return the ranks k, each once, as shares of so many outside scores."""
    return tuple(sorted({min(int(share * outside), outside - 1) for share in shares}))


def rates(inside: Floats, outside: Floats, rank: int, alpha: float) -> tuple[float, float]:
    """Return upper bounds on the false-alarm rate and on the miss rate, each at α/2, for one rank k."""
    threshold = np.partition(outside, len(outside) - 1 - rank)[len(outside) - 1 - rank]
    missed = int(np.count_nonzero(inside <= threshold))
    return upper(rank, len(outside), alpha / 2), upper(missed, len(inside), alpha / 2)


def pointwise(
    inside: Floats, outside: Floats, delta: float, alpha: float = 0.05, ranks: Sequence[int] | None = None
) -> Bound:
    """Return ε ≥ ln((1 − δ − M̄)/F̄) or ln((1 − δ − F̄)/M̄), of any mechanism that is (ε, δ)-private.

    At most 3.3 with 100 + 100 scores and 5.6 with 1,000 + 1,000: what few canaries cannot prove, whatever leaks.

    Raises:
        InputError: as ``checked``.
    """
    inside, outside = checked(inside, outside, alpha)
    ranks = ranks_of(len(outside)) if ranks is None else ranks
    best = 0.0
    for rank in ranks:
        false, missed = rates(inside, outside, rank, alpha / len(ranks))
        for numerator, denominator in ((1 - delta - missed, false), (1 - delta - false, missed)):
            if numerator > denominator:
                best = max(best, math.log(numerator / denominator))
    assumes = ("nothing about the noise", INDEPENDENT, FIXED_BEFOREHAND)
    return Bound("pointwise", best, delta, 1 - alpha, len(inside) + len(outside), assumes)


def gaussian_dp(
    inside: Floats, outside: Floats, delta: float, alpha: float = 0.05, ranks: Sequence[int] | None = None
) -> Bound:
    """Return ε of μ = −Φ⁻¹(F̄) − Φ⁻¹(M̄), of a mechanism that is Gaussian (Nasr et al. 2023, arXiv 2302.07956).

    Raises:
        InputError: as ``checked``.
    """
    inside, outside = checked(inside, outside, alpha)
    ranks = ranks_of(len(outside)) if ranks is None else ranks
    best = 0.0
    for rank in ranks:
        false, missed = rates(inside, outside, rank, alpha / len(ranks))
        if false < 1 and missed < 1:
            best = max(best, float(-special.ndtri(false) - special.ndtri(missed)))
    assumes = ("the trade-off curve is that of a Gaussian mechanism (no sampling)", INDEPENDENT, FIXED_BEFOREHAND)
    return Bound("GDP", gaussian_epsilon(best, delta), delta, 1 - alpha, len(inside) + len(outside), assumes)


def t_statistic(inside: Floats, outside: Floats) -> float:
    """Return the two-sample t statistic with one variance."""
    n1, n0 = len(inside), len(outside)
    squares = ((inside - inside.mean()) ** 2).sum() + ((outside - outside.mean()) ** 2).sum()
    deviation = math.sqrt(float(squares) / (n1 + n0 - 2) * (1 / n1 + 1 / n0))
    return float(inside.mean() - outside.mean()) / deviation if deviation else math.inf


def gaussian_t(inside: Floats, outside: Floats, delta: float, alpha: float = 0.05) -> Bound:
    """Return ε of the largest μ with P[nct(n − 2, μ/κ) ≥ T] ≤ α, κ² = 1/n₁ + 1/n₀, for Gaussian scores.

    Raises:
        InputError: as ``checked``.
    """
    inside, outside = checked(inside, outside, alpha)
    n1, n0 = len(inside), len(outside)
    result = 0.0
    if n1 + n0 > 2:
        statistic, kappa = t_statistic(inside, outside), math.sqrt(1 / n1 + 1 / n0)
        if math.isfinite(statistic) and stats.t.sf(statistic, n1 + n0 - 2) <= alpha:
            low, high = 0.0, max(statistic, 1.0)
            while high - low > 1e-6 * high:
                middle = (low + high) / 2
                rare = 1 - float(special.nctdtr(n1 + n0 - 2, middle, statistic)) <= alpha
                low, high = (middle, high) if rare else (low, middle)
            result = low * kappa
    assumes = (
        "every score is Gaussian with one variance, that of the noise, and one shift inside (no sampling)",
        INDEPENDENT,
        FIXED_BEFOREHAND,
    )
    return Bound("Gaussian t", gaussian_epsilon(result, delta), delta, 1 - alpha, n1 + n0, assumes)


def one_shot(inside: Floats, outside: Floats, delta: float) -> Bound:
    """Return the ε of two fitted Gaussians (Andrew et al. 2023, arXiv 2302.03098): an estimate, never an alarm.

    With 50 canaries and a truth of 1 its median is 2.0.

    Raises:
        InputError: as ``checked``.
    """
    inside, outside = checked(inside, outside, 0.5)
    means, deviations = (inside.mean(), outside.mean()), (inside.std(), outside.std())
    widest = max(*deviations, 1e-12)
    grid = np.linspace(min(means) - 12 * widest, max(means) + 12 * widest, 8001)
    p, q = (
        stats.norm.logpdf(grid, mean, max(deviation, 1e-12)) for mean, deviation in zip(means, deviations, strict=True)
    )
    width = grid[1] - grid[0]

    def lost(epsilon: float) -> float:
        return max(
            float((np.exp(a) * -np.expm1(np.minimum(epsilon + b - a, 0))).sum() * width) for a, b in ((p, q), (q, p))
        )

    low, high = 0.0, 1.0
    while lost(high) > delta and high < 1e4:
        low, high = high, 2 * high
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if lost(middle) > delta else (low, middle)
    result = 0.0 if lost(0.0) <= delta else high
    assumes = ("both kinds of scores are Gaussian", "an estimate without an interval: it may be above the truth")
    return Bound("one-shot", result, delta, math.nan, len(inside) + len(outside), assumes, estimate=True)
