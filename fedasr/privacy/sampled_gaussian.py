"""RDP of the Poisson-sampled Gaussian mechanism at many orders at once (Mironov, Talwar and Zhang, arXiv 1908.10530).

The same sums as dp-accounting, with arrays for its loops, about ten times as fast: every client of a federation
has a sampling probability of its own, and asks before it trains.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedasr.typing import Floats

CHUNK = 64
MOST_TERMS = 1024
NEGLIGIBLE = 30.0
"""A term that is e^−30 of the sum, and falling, ends the series."""
ROUNDING = 1e-12
"""What ln A may be short of by rounding: near A = 1 it is the logarithm of a sum of many terms that is almost one."""


def poisson_gaussian_rdp(noise: float, q: float, orders: tuple[float, ...]) -> Floats:
    """Return RDP of one step at each order, shape ``(orders,)``; infinite where the series does not converge.

    Args:
        noise: standard deviation over the sensitivity.
        q: probability of a unit to take part, above 0, at most 1.
        orders: above 1.
    """
    alpha = np.asarray(orders, float)
    if q == 1:
        return alpha / (2 * noise**2)
    whole = alpha == np.round(alpha)
    log_a = np.empty(len(alpha))
    log_a[whole] = [whole_order(noise, q, int(order)) for order in alpha[whole]]
    log_a[~whole] = fractional_orders(noise, q, alpha[~whole])
    rdp: Floats = (np.maximum(log_a, 0.0) + ROUNDING) / (alpha - 1)
    return rdp


def whole_order(noise: float, q: float, order: int) -> float:
    """Return ln A_α = ln Σ_{i≤α} C(α, i)·(1 − q)^{α−i}·q^i·e^{(i² − i)/2σ²} for a whole order."""
    from scipy.special import logsumexp

    i = np.arange(order + 1)
    terms = log_binomial(order, i) + i * np.log(q) + (order - i) * np.log1p(-q) + (i * i - i) / (2 * noise**2)
    return float(logsumexp(terms))


def fractional_orders(noise: float, q: float, alpha: Floats) -> Floats:
    """Return ln A_α for other orders: two series, left and right of where both densities meet (their section 3.3).

    The binomial coefficients are taken without their signs, which bounds the sum from above.
    """
    from scipy.special import log_ndtr, logsumexp

    total = np.full(len(alpha), -np.inf)
    open_ = np.ones(len(alpha), bool)
    meet = noise**2 * np.log(1 / q - 1) + 0.5
    for start in range(0, MOST_TERMS, CHUNK):
        i = np.arange(start, start + CHUNK)[None, :]
        a = alpha[open_, None]
        j = a - i
        choose = log_binomial(a, i)
        left = choose + i * np.log(q) + j * np.log1p(-q) + (i * i - i) / (2 * noise**2) + log_ndtr((meet - i) / noise)
        right = choose + j * np.log(q) + i * np.log1p(-q) + (j * j - j) / (2 * noise**2) + log_ndtr((j - meet) / noise)
        so_far = np.logaddexp(total[open_], logsumexp(np.concatenate([left, right], axis=1), axis=1))
        total[open_] = so_far
        falling = (left[:, -1] < left[:, -2]) & (right[:, -1] < right[:, -2])
        small = np.maximum(left[:, -1], right[:, -1]) < so_far - NEGLIGIBLE
        open_[open_] = ~(falling & small)
        if not open_.any():
            break
    total[open_] = np.inf
    return total


def log_binomial(n: npt.ArrayLike, k: npt.ArrayLike) -> Floats:
    """Return ln |C(n, k)|, for any n above 0 and whole k."""
    a, b = np.asarray(n, float), np.asarray(k, float)
    from scipy.special import gammaln

    logs: Floats = gammaln(a + 1) - gammaln(b + 1) - gammaln(a - b + 1)
    return logs
