"""RDP of the noisy votes of PATE, per query and order (Papernot et al., "Scalable private learning with PATE", 2018).

Neighbours differ in one teacher, whose vote may go from any class to any other: two counts change by one. Every
function takes many queries at once: ``votes`` of shape ``(queries, classes)``, and returns ``(queries, orders)``.

The data-dependent bounds hold for these votes against any neighbour of theirs, in this direction. They say something
about the data, and an ε computed from them must not be published before it is sanitised
(``fedasr.privacy.pate.smooth``).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import log_ndtr, logsumexp

from fedasr.privacy.rdp import Orders
from fedasr.typing import Floats


def log_q_gnmax(votes: npt.ArrayLike, sigma: float) -> Floats:
    """Return ln of a bound on the probability that another class than the plurality wins, shape ``(queries,)``.

    q ≤ min(Σ_{j≠i*} ½·erfc(Δ_j / 2σ), 1 − 1/m), where Δ_j is how many votes class j is behind (Proposition 7).

    Args:
        votes: counts, shape ``(queries, classes)``.
        sigma: standard deviation of the noise on each count.
    """
    behind = gaps(votes)
    return capped(logsumexp(log_ndtr(-behind / (np.sqrt(2) * sigma)), axis=1), behind.shape[1] + 1)


def log_q_lnmax(votes: npt.ArrayLike, scale: float) -> Floats:
    """Return the same for Laplace noise: q ≤ min(Σ_{j≠i*} (2 + Δ_j/λ)·¼·e^{−Δ_j/λ}, 1 − 1/m), shape ``(queries,)``.

    Args:
        votes: counts, shape ``(queries, classes)``.
        scale: λ, the scale of the noise on each count.
    """
    behind = gaps(votes) / scale
    return capped(logsumexp(np.log((2 + behind) / 4) - behind, axis=1), behind.shape[1] + 1)


def gaps(votes: npt.ArrayLike) -> Floats:
    """Return how far each other class is behind the first of the most voted, shape ``(queries, classes − 1)``."""
    counts = np.atleast_2d(np.asarray(votes, float))
    winners = counts.argmax(axis=1)
    others = np.ones(counts.shape, bool)
    others[np.arange(len(counts)), winners] = False
    differences: Floats = counts.max(axis=1, keepdims=True) - counts[others].reshape(len(counts), -1)
    return differences


def capped(log_q: Floats, classes: int) -> Floats:
    """Return ln q, at most ln(1 − 1/m): some class must win."""
    bound: Floats = np.minimum(log_q, np.log1p(-1.0 / classes))
    return bound


def gnmax_data_independent(sigma: float, orders: Orders) -> Floats:
    """Return RDP α/σ² of one query whatever the votes, shape ``(orders,)``: two counts change, √2 in L2."""
    return np.asarray(orders) / sigma**2


def lnmax_data_independent(scale: float, orders: Orders) -> Floats:
    """Return RDP min(½ε₀²α, ε₀) of one query whatever the votes, ε₀ = 2/λ, shape ``(orders,)``."""
    pure = 2.0 / scale
    return np.minimum(0.5 * pure**2 * np.asarray(orders), pure)


def soft_laplace_rdp(scale: float, orders: Orders) -> Floats:
    """Return RDP of a sum of posteriors with Laplace noise on each class, shape ``(orders,)``.

    Exchanging a teacher moves the sum by at most 1 in each class and 2 in all. RDP of Laplace noise is convex in the
    shift, so the worst neighbour moves two classes by 1 (Mironov, arXiv 1702.07476, for one):

        RDP = 2·ln[α/(2α−1)·e^{(α−1)/b} + (α−1)/(2α−1)·e^{−α/b}] / (α − 1)
    """
    alpha = np.asarray(orders, float)
    down = np.log(alpha) + (alpha - 1) / scale
    up = np.log(alpha - 1) - alpha / scale
    rdp: Floats = 2 * (np.logaddexp(down, up) - np.log(2 * alpha - 1)) / (alpha - 1)
    return rdp


def discrete_soft_laplace_rdp(units: int, steps: int, orders: Orders) -> Floats:
    """Return the same for noise on whole numbers, shape ``(orders,)``.

    P(x) is proportional to e^{−|x|/t}. With q = e^{−1/t} and r = q^{2α−1}, RDP of a shift by d is ln A(d) / (α − 1),

        A(d) = [(1 + (1−q)·r/(1−r))·q^{−(α−1)d} + (1 − (1−q)/(1−r))·q^{αd}] / (1 + q),

    a sum of exponentials with positive weights: its logarithm is convex in d, and the worst neighbour is as above.

    Args:
        units: t, the scale of the noise.
        steps: by how much a teacher moves one class at most, and half of what it moves in all.
        orders: above 1.
    """
    alpha = np.asarray(orders, float)
    log_q, log_r = -1.0 / units, -(2 * alpha - 1) / units
    ratio = np.expm1(log_q) / np.expm1(log_r)  # (1 − q) / (1 − r)
    down = np.log1p(ratio * np.exp(log_r)) - (alpha - 1) * steps * log_q
    up = np.log1p(-ratio) + alpha * steps * log_q
    rdp: Floats = 2 * (np.logaddexp(down, up) - np.log1p(np.exp(log_q))) / (alpha - 1)
    return rdp


def threshold_data_independent(threshold_scale: float, orders: Orders) -> Floats:
    """Return RDP α/(2σ₁²) of one check of the largest count, which changes by one; shape ``(orders,)``."""
    return np.asarray(orders) / (2 * threshold_scale**2)


def gaussian_rdp(log_q: Floats, sigma: float, orders: Orders) -> Floats:
    """Return RDP of GNMax where the plurality loses with probability at most q, shape ``(queries, orders)``.

    The smaller of α/σ² and, where it is valid, the bound of Theorem 6 with the orders of Proposition 10:
    μ₂ = σ√ln(1/q), μ₁ = μ₂ + 1, ε_i = μ_i/σ², and

        A = (1 − q) / (1 − (q·e^{ε₂})^{(μ₂−1)/μ₂}),   B = e^{ε₁} / q^{1/(μ₁−1)},
        RDP = ln[(1 − q)·A^{α−1} + q·B^{α−1}] / (α − 1)

    for α < μ₁, μ₂ > 1, ln(1/q) > ε₂ and ln q ≤ (μ₂ − 1)ε₂ − μ₂·[ln(1 + 1/(μ₁−1)) + ln(1 + 1/(μ₂−1))].
    """
    logq = np.minimum(log_q, 0.0)[:, None]
    alpha = np.asarray(orders, float)[None, :]
    plain = np.broadcast_to(alpha / sigma**2, (len(logq), alpha.shape[1]))
    mu2 = sigma * np.sqrt(-logq)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        eps2 = mu2 / sigma**2
        valid = (
            (alpha < mu2 + 1)
            & (mu2 > 1)
            & (-logq > eps2)
            & (logq <= (mu2 - 1) * eps2 - mu2 * (np.log1p(1 / mu2) + np.log1p(1 / (mu2 - 1))))
        )
        bound = gaussian_bound(np.where(valid, logq, -1.0), sigma, alpha)
    return np.where(valid, np.clip(bound, 0.0, plain), plain)


def gaussian_bound(log_q: npt.ArrayLike, sigma: float, orders: npt.ArrayLike) -> Floats:
    """Return the bound of Theorem 6 without asking whether it is valid; arguments are broadcast."""
    logq, alpha = np.asarray(log_q, float), np.asarray(orders, float)
    mu2 = sigma * np.sqrt(-logq)
    eps1, eps2 = (mu2 + 1) / sigma**2, mu2 / sigma**2
    log_1q = log_one_minus(logq)
    log_a = log_1q - log_one_minus((logq + eps2) * (1 - 1 / mu2))
    log_b = eps1 - logq / mu2
    rdp: Floats = np.logaddexp(log_1q + (alpha - 1) * log_a, logq + (alpha - 1) * log_b) / (alpha - 1)
    return rdp


def laplace_rdp(log_q: Floats, scale: float, orders: Orders) -> Floats:
    """Return RDP of LNMax where the plurality loses with probability at most q, shape ``(queries, orders)``.

    The least of ½ε₀²α, ε₀ and, for q ≤ 1/(e^{ε₀} + 1),
    ln[(1 − q)·((1 − q)/(1 − e^{ε₀}q))^{α−1} + q·e^{ε₀(α−1)}] / (α − 1), with ε₀ = 2/λ.
    """
    pure = 2.0 / scale
    logq = log_q[:, None]
    alpha = np.asarray(orders, float)[None, :]
    plain = np.broadcast_to(lnmax_data_independent(scale, orders), (len(logq), alpha.shape[1]))
    valid = np.broadcast_to(logq <= -np.logaddexp(0.0, pure), plain.shape)
    safe = np.where(logq <= -np.logaddexp(0.0, pure), logq, -pure - 1.0)
    log_1q = log_one_minus(safe)
    log_a = log_1q - log_one_minus(safe + pure)
    bound = np.logaddexp(log_1q + (alpha - 1) * log_a, safe + (alpha - 1) * pure) / (alpha - 1)
    return np.where(valid, np.clip(bound, 0.0, plain), plain)


def log_answered(votes: npt.ArrayLike, threshold: float, threshold_scale: float) -> tuple[Floats, Floats]:
    """Return ln of the probability that a query is answered, and ln of that it is not, each ``(queries,)``.

    It is answered when the largest count plus N(0, σ₁²) reaches the threshold. The count is rounded, as the bounds on
    its sensitivity need it.
    """
    most = np.round(np.atleast_2d(np.asarray(votes, float)).max(axis=1))
    x = (threshold - most) / threshold_scale
    return log_ndtr(-x), log_ndtr(x)


def threshold_rdp(votes: npt.ArrayLike, threshold: float, threshold_scale: float, orders: Orders) -> Floats:
    """Return RDP of the check alone, shape ``(queries, orders)``: two outcomes, q = min(p, 1 − p), and σ = √2·σ₁."""
    yes, no = log_answered(votes, threshold, threshold_scale)
    return gaussian_rdp(np.minimum(yes, no), np.sqrt(2.0) * threshold_scale, orders)


def log_one_minus(log_x: Floats) -> Floats:
    """Return ln(1 − x) from ln x < 0, without cancellation."""
    complement: Floats = np.where(log_x > -np.log(2.0), np.log(-np.expm1(log_x)), np.log1p(-np.exp(log_x)))
    return complement
