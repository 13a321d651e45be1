"""Publishing a data-dependent ε: smooth sensitivity of the RDP of GNMax and of the threshold check.

Papernot et al., arXiv 1802.08908, Appendix B: local sensitivity at every distance (Algorithms 3 to 5), its smooth
maximum (Nissim, Raskhodnikova and Smith 2007), and the cost of releasing a value with Gaussian noise of that size. A
distance is a number of teachers whose votes are changed.

An unbiased noisy ε is below the truth half of the time. What is released here is moved up by a quantile of its own
noise, so that it is a bound of stated coverage. The cost is that of two Gaussians of different mean and width, exactly:
Theorem 23 of the paper, α·e^{2β}/σ² + …, is smaller than that where 2αβ is near one, and so no bound there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, expm1, inf, log, log1p, sqrt

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtri, ndtri_exp

from fedasr.errors import InputError
from fedasr.privacy.checks import count, positive, strict_fraction, within
from fedasr.privacy.pate.analysis import VoteMechanism, answer_chances
from fedasr.privacy.pate.mechanisms import gaussian_bound, log_q_gnmax, threshold_rdp
from fedasr.typing import Floats

POINTS = 20_000
"""Where a function is compared with itself to see that it does not fall."""
SLACK = 1e-9
"""Rounding that is no fall, relative to the function."""
PUBLIC_BETA = 0.3
"""β of a release, times the order, whatever the votes."""
PUBLIC_SIGMA = 3.0
"""σ of a release, over the root of the order, whatever the votes."""
COVERAGE = 0.95
"""How surely a released ε is no less than the one that it stands for."""
GRID = 1000
"""A released ε is rounded up to a whole multiple of one over this, after the noise: the last bits of a double tell."""


@dataclass(frozen=True)
class Release:
    """A data-dependent ε that may be published, with all that it took."""

    epsilon: float
    """an upper bound, at the coverage, of (ε, δ) of labels and release together: data-dependent RDP with noise and a
    margin, plus the cost of the release, plus the conversion; never below 0, nor above ``most``"""
    coverage: float
    """probability over the noise that ``epsilon`` is no less than the truth"""
    order: float
    beta: float
    sigma: float
    """standard deviation of the noise over the smooth sensitivity"""
    smooth_sensitivity: float
    """follows from the votes, as the standard deviation does: neither may be published"""
    cost: float
    """RDP of the release itself, at the order"""
    most: float
    """(ε, δ) of labels and release together whatever the votes; infinite where not given"""

    @property
    def standard_deviation(self) -> float:
        """Of the published ε, in nats."""
        return self.sigma * self.smooth_sensitivity


@lru_cache(maxsize=1024)
def log_q0(sigma: float, order: float) -> float:
    """Return ln q₀, above which the data-independent RDP of GNMax is the smaller.

    Raises:
        InputError: there is no such point, for noise so small that votes protect nothing.
    """

    def excess(log_q: float) -> float:
        return float(gaussian_bound(log_q, sigma, order)) - order / sigma**2

    top = min(-((1 + 1 / sigma) ** 2), -(((order - 0.99) / sigma) ** 2), -1 / sigma**2)
    if excess(top) < 0:
        return top
    bottom = 2 * top
    while excess(bottom) > 0:
        bottom *= 1.5
        if bottom < -1e6:
            raise InputError(f"no votes make RDP at order {order:g} smaller than its bound; raise the scale {sigma:g}")
    return float(brentq(excess, bottom, top, xtol=1e-12))


def log_shifted(log_q: npt.ArrayLike, sigma: float, classes: int, teachers: float) -> Floats:
    """Return ln q after so many teachers moved from the winner to the runners-up (B_U for +1), or back (B_L for −1).

    B(q) = (m−1)/2 · erfc(erfc⁻¹(2q/(m−1)) ∓ 1/σ), at most 1: the case of equal gaps, which moves q farthest.
    """
    others = log(classes - 1)
    tail = np.minimum(np.asarray(log_q, float) - others, -1e-300)
    bound: Floats = np.minimum(others + log_ndtr(ndtri_exp(tail) + teachers * sqrt(2.0) / sigma), 0.0)
    return bound


def rdp_at(log_q: npt.ArrayLike, sigma: float, order: float) -> Floats:
    """Return RDP as a function of q: Theorem 6 below q₀ and α/σ² from there on."""
    q = np.asarray(log_q, float)
    below = q < log_q0(sigma, order)
    bound = gaussian_bound(np.where(below, q, -1.0), sigma, order)
    return np.where(below, bound, order / sigma**2)


def local_sensitivity_at(log_q: npt.ArrayLike, sigma: float, classes: int, order: float) -> Floats:
    """Return how much RDP can change when one teacher votes otherwise, at most (Algorithm 3)."""
    q0 = log_q0(sigma, order)
    q1 = log_shifted(q0, sigma, classes, -1)
    q = np.asarray(log_q, float)
    q = np.where((q1 <= q) & (q <= q0), q1, q)
    here = rdp_at(q, sigma, order)
    up = rdp_at(log_shifted(q, sigma, classes, 1), sigma, order) - here
    down = here - rdp_at(log_shifted(q, sigma, classes, -1), sigma, order)
    return np.maximum(up, down)


def local_sensitivity_gnmax(votes: npt.ArrayLike, teachers: int, sigma: float, order: float) -> Floats:
    """Return a bound on the local sensitivity of RDP at distances 0 … teachers − 1, shape ``(teachers,)``.

    Args:
        votes: counts of one query, shape ``(classes,)``.
        teachers: how many vote.
        sigma: of GNMax.
        order: the Rényi order.

    Raises:
        InputError: there are fewer than two classes, or no teachers.
    """
    counts = np.sort(np.asarray(votes, float))[::-1].copy()
    if len(counts) < 2:
        raise InputError("a vote needs at least two classes")
    count("teachers", teachers)
    q0 = log_q0(sigma, order)
    q1 = float(log_shifted(q0, sigma, len(counts), -1))
    path = [q := float(log_q_gnmax(counts, sigma)[0])]
    # Towards [q₁, q₀], where sensitivity is largest, by the votes that move q farthest.
    if q < q1:
        while len(path) < teachers and q < q1:
            counts[0] -= 1
            counts[1] += 1
            path.append(q := float(log_q_gnmax(counts, sigma)[0]))
    else:
        while len(path) < teachers and q > q0 and counts[1] > 0:
            counts[0] += 1
            # Of equal runners-up the last loses the vote, so that they stay sorted.
            counts[1 + np.flatnonzero(counts[1:] == counts[1])[-1]] -= 1
            path.append(q := float(log_q_gnmax(counts, sigma)[0]))
    sensitivities = np.full(teachers, float(local_sensitivity_at(q1, sigma, len(counts), order)))
    if not q1 <= path[0] <= q0:
        sensitivities[: len(path)] = local_sensitivity_at(np.array(path), sigma, len(counts), order)
    if q > q0 and path[0] > q0 and counts[1] == 0 and counts[0] >= teachers:
        # All teachers agree, and still do not reach q₀: no change of votes leads any nearer to it. One that abstains
        # could still join them.
        sensitivities[len(path) :] = sensitivities[len(path) - 1]
    return sensitivities


def local_sensitivity_threshold(
    votes: npt.ArrayLike, teachers: int, threshold: float, threshold_scale: float, order: float
) -> Floats:
    """Return the local sensitivity of the RDP of the check at distances 0 … teachers − 1, shape ``(teachers,)``.

    Args:
        votes: counts of one query, shape ``(classes,)``.
        teachers: how many vote.
        threshold: T, in votes.
        threshold_scale: σ₁.
        order: the Rényi order.
    """
    count("teachers", teachers)
    most = int(np.round(np.max(np.asarray(votes, float))))
    if most > teachers:
        raise InputError(f"'teachers' is {teachers}, but a class has {most} votes")
    rdp = threshold_rdp(np.arange(teachers + 1)[:, None], threshold, threshold_scale, (order,))[:, 0]
    steps = np.abs(np.diff(rdp))
    step = np.maximum(np.append(steps, 0.0), np.append(0.0, steps))
    sensitivities = np.zeros(teachers)
    for distance in range(teachers):
        near = [v for v in (most - distance, most + distance) if 0 <= v <= teachers]
        sensitivities[distance] = max((step[v] for v in near), default=0.0)
    return sensitivities


def smooth_maximum(local: npt.ArrayLike, beta: float) -> float:
    """Return max over distances d of e^{−βd}·LS(d): a β-smooth upper bound on the local sensitivity."""
    values = np.asarray(local, float)
    return float(np.max(values * np.exp(-beta * np.arange(len(values)))))


def release_cost(beta: float, sigma: float, order: float, margin: float = 0.0) -> float:
    """Return RDP of releasing a value plus (margin + N(0, σ²)) times its β-smooth sensitivity S.

    Between neighbours S differs by a factor of at most e^β and the value by at most S on either side, so the mean
    moves by at most 1 + margin·(e^β − 1), in units of S. Of two Gaussians whose widths differ by e^t the divergence is
    largest where the second is the narrower, t = −β (van Erven and Harremoës, arXiv 1206.2459, for the formula):

        α·(1 + margin·(e^β − 1))² / (2σ²s) + (−αβ − ½·ln s) / (α − 1),   s = 1 − α·(1 − e^{−2β}) > 0

    Raises:
        InputError: the order is so large that s is not positive.
    """
    narrowest = 1 + order * expm1(-2 * beta)
    if not order > 1 or not narrowest > 0:
        least = -0.5 * log1p(-1 / order) if order > 1 else 0.0
        raise InputError(f"'beta' is {beta:g}; at order {order:g} expected a number below {least:g}")
    moved = 1 + margin * expm1(beta)
    return order * moved**2 / (2 * sigma**2 * narrowest) + (-order * beta - 0.5 * log(narrowest)) / (order - 1)


def check_conditions(sigma: float, classes: int, order: float) -> tuple[bool, bool]:
    """Return whether conditions C5 and C6 hold, without which the local sensitivity is not bounded (Appendix B.4.2).

    C5: RDP does not fall with q up to q₀. C6: RDP(B_U(q)) − RDP(q) does not fall with q up to q₁ = B_L(q₀).
    They are compared at many points, on a linear and on a logarithmic scale.
    """
    q0 = log_q0(sigma, order)
    if not rises(gaussian_bound(grid(q0), sigma, order)):
        return False, False
    q = grid(float(log_shifted(q0, sigma, classes, -1)))
    up = log_shifted(q, sigma, classes, 1)
    within = up < -SLACK
    alpha = order
    low = gaussian_bound(q[within], sigma, alpha)
    high = gaussian_bound(up[within], sigma, alpha)
    return True, rises(high - low)


def grid(top: float) -> Floats:
    """Return ln q rising to ``top``: evenly in q, and evenly in ln q far below."""
    linear = top + np.log(np.arange(1, POINTS + 1) / POINTS)
    return np.unique(np.concatenate([np.linspace(top - 200.0, top, POINTS), linear]))


def rises(values: Floats) -> bool:
    """Say whether no value is below the one before, but for rounding."""
    return bool(np.all(np.diff(values) >= -SLACK * np.maximum(np.abs(values[1:]), 1e-12)))


def total_local_sensitivity(
    votes: npt.ArrayLike,
    mechanism: VoteMechanism,
    teachers: int,
    order: float,
    answered: npt.ArrayLike | None = None,
) -> Floats:
    """Return a bound on the local sensitivity of the RDP of all queries, shape ``(teachers,)``.

    A teacher takes part in every query, so the bounds add up at every distance.

    Args:
        votes: counts, shape ``(queries, classes)``.
        mechanism: ``gnmax`` or ``confident-gnmax``.
        teachers: how many vote.
        order: the Rényi order.
        answered: for ``confident-gnmax``, which queries were answered; it is public.

    Raises:
        InputError: the mechanism has no such analysis, its conditions do not hold, or ``answered`` is missing.
    """
    counts = np.atleast_2d(np.asarray(votes, float))
    within("order", order, 1.0, np.inf, "a number above 1")
    if mechanism.soft:
        raise InputError(f"{mechanism.name} costs the same whatever the votes; its ε may be published as it is")
    if mechanism.name == "lnmax":
        raise InputError("the smooth sensitivity of lnmax is not known; use gnmax or confident-gnmax")
    if mechanism.has_threshold and mechanism.votes_on_labels and answered is None:
        raise InputError("'answered' is missing: which queries were answered decides what is released")
    if np.any(counts.sum(axis=1) > teachers):
        raise InputError(f"'teachers' is {teachers}, but a query has more votes")
    chances = answer_chances(counts, mechanism, answered)
    total = np.zeros(teachers)
    if mechanism.votes_on_labels:
        sigma = float(mechanism.scale or 0)
        if not all(check_conditions(sigma, counts.shape[1], order)):
            raise InputError(
                f"the sensitivity at order {order:g} is not bounded for scale {sigma:g} and {counts.shape[1]} classes"
                " (conditions C5 and C6 do not hold); take a lower order or a larger scale"
            )
        for row in counts[chances > 0]:
            total += local_sensitivity_gnmax(row, teachers, sigma, order)
    if mechanism.has_threshold:
        for row in counts:
            total += local_sensitivity_threshold(
                row, teachers, float(mechanism.threshold or 0), float(mechanism.threshold_scale or 0), order
            )
    return total


def release(
    rdp: float,
    local: Floats,
    order: float,
    delta: float,
    rng: np.random.Generator,
    *,
    beta: float | None = None,
    sigma: float | None = None,
    coverage: float = COVERAGE,
    most: float = inf,
) -> Release:
    """Return an upper bound of the data-dependent ε, with noise by its smooth sensitivity: it may be published.

    Args:
        rdp: data-dependent, of all queries together, at the order.
        local: its local sensitivity, as ``total_local_sensitivity`` returns it.
        order: the Rényi order, chosen before looking at the votes.
        delta: between 0 and 1.
        rng: of the noise; whoever knows its seed can take the noise off.
        beta: smoothness; None: ``PUBLIC_BETA`` over the order. Like ``sigma`` it must not follow from the votes.
        sigma: of the noise, over the smooth sensitivity; None: ``PUBLIC_SIGMA`` times the root of the order.
        coverage: how surely the bound holds, at least ½.
        most: (ε, δ) of labels and release whatever the votes, as ``whatever_the_votes`` returns it.

    Raises:
        InputError: β, σ or the coverage are out of range.
    """
    if strict_fraction("coverage", coverage) < 0.5:
        raise InputError(f"'coverage' is {coverage:g}; expected a number from 0.5 to 1: less is no bound")
    beta = PUBLIC_BETA / order if beta is None else positive("beta", beta)
    sigma = PUBLIC_SIGMA * sqrt(order) if sigma is None else positive("sigma", sigma)
    margin = margin_of(sigma, coverage)
    smooth = smooth_maximum(local, beta)
    cost = release_cost(beta, sigma, order, margin)
    noisy = rdp + smooth * (margin + sigma * float(rng.standard_normal()))
    bound = noisy + cost - log(delta) / (order - 1)
    published = min(max(ceil(bound * GRID) / GRID, 0.0), most)
    return Release(published, coverage, order, beta, sigma, smooth, cost, most)


def margin_of(sigma: float, coverage: float) -> float:
    """Return by how many smooth sensitivities a value is moved up, so that its noise leaves it above the truth."""
    return sigma * float(ndtri(coverage))


def whatever_the_votes(
    rdp: npt.ArrayLike, orders: Sequence[float], order: float, delta: float, coverage: float = COVERAGE
) -> float:
    """Return (ε, δ) of labels and of a release together, whatever the votes.

    Args:
        rdp: data-independent, of all queries together, at each order.
        orders: of the curve.
        order: of the release, with its usual β and σ.
        delta: between 0 and 1.
        coverage: of the release.
    """
    beta, sigma = PUBLIC_BETA / order, PUBLIC_SIGMA * sqrt(order)
    margin, least = margin_of(sigma, coverage), inf
    for alpha, labels in zip(orders, np.asarray(rdp, float).tolist(), strict=True):
        if 1 + alpha * expm1(-2 * beta) > 0:
            least = min(least, labels + release_cost(beta, sigma, alpha, margin) - log(delta) / (alpha - 1))
    return least
