"""Privacy loss distributions by dp-accounting, rounded upwards; and exactly, where all noise is plain Gaussian."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fedasr.privacy.events import Event, Gaussian, Laplace, PoissonGaussian, ZeroConcentrated
from fedasr.privacy.rdp import rdp_epsilon

INTERVAL = 1e-4
"""Width of the steps into which losses are rounded, in nats."""
COARSEST, FINEST = 3e-5, 1e-3
"""The width as a part of ε is at least and at most this: memory grows with ε over the width, rounding falls with it."""
NARROWEST = 1e-6
MOST_POINTS = 2**17
"""Steps of a discretised distribution, before and after composition: time and memory are a few times this."""
MOST_STEPS = 1_000_000
"""Beyond it dp-accounting's composition takes minutes."""
MOST_DISTRIBUTIONS = 32
"""Different distributions, each of which is discretised and convolved."""
LARGEST_EPSILON = 300.0
"""Beyond it e^ε leaves the range of a double inside dp-accounting, and nobody is protected."""
TAIL_DEVIATIONS = 11.0
"""Standard deviations of Gaussian noise that dp-accounting keeps before it cuts the tail off, e^−50."""
SMALLEST_DELTA = 1e-12
"""Below it the mass that the convolutions truncate would show in ε."""


def has_pld(event: Event) -> bool:
    """Say whether the privacy loss distribution of the event is known."""
    return is_gaussian(event) or isinstance(event, (PoissonGaussian, Laplace))


def is_gaussian(event: Event) -> bool:
    """Say whether the event is plain Gaussian noise, whose composition is Gaussian again."""
    return isinstance(event, Gaussian) or (isinstance(event, ZeroConcentrated) and event.gaussian)


def pld_epsilon(events: Sequence[Event], delta: float) -> float:
    """Return ε at δ; infinite where δ is smaller than the truncation of the distribution, or the steps are too many.

    Args:
        events: with ``has_pld``.
        delta: between zero and one.
    """
    if all(map(is_gaussian, events)):
        return gaussian_epsilon(total_mu(events), delta)
    if out_of_reach(events, delta):
        return math.inf
    return float(composed(events, delta).get_epsilon(delta))


def pld_delta(events: Sequence[Event], epsilon: float) -> float:
    """Return δ at ε, for events with ``has_pld``; 1 where the steps are too many."""
    if all(map(is_gaussian, events)):
        return gaussian_delta(total_mu(events), epsilon)
    if out_of_reach(events, SMALLEST_DELTA):
        return 1.0
    return float(composed(events, SMALLEST_DELTA).get_delta(epsilon))


def out_of_reach(events: Sequence[Event], delta: float) -> bool:
    """Say whether the events cannot be composed in seconds and megabytes, or not in doubles; rdp always can."""
    drawn = [event for event in events if not is_gaussian(event) and event.steps]
    if sum(event.steps for event in drawn) > MOST_STEPS or len(drawn) > MOST_DISTRIBUTIONS:
        return True
    if any(one_step_extent(event) > LARGEST_EPSILON * MOST_POINTS * COARSEST for event in drawn):
        return True
    return not rdp_epsilon(events, max(delta, SMALLEST_DELTA))[0] < LARGEST_EPSILON


def one_step_extent(event: Event) -> float:
    """Return the largest privacy loss of one step that is kept, in nats."""
    if isinstance(event, PoissonGaussian):
        return (TAIL_DEVIATIONS + 0.5 / event.effective_noise) / event.effective_noise
    return 1 / event.scale if isinstance(event, Laplace) else 0.0


def width_of(events: Sequence[Event], delta: float) -> float:
    """Return the width of the steps into which losses are rounded, in nats.

    It follows ε, but neither one step's distribution nor the composed one, whose tails reach as far as ε at a
    negligible δ, may have more than ``MOST_POINTS``.
    """
    rough = rdp_epsilon(events, max(delta, SMALLEST_DELTA))[0]
    width = max(min(INTERVAL, max(FINEST * rough, NARROWEST)), COARSEST * rough)
    farthest = max(rdp_epsilon(events, SMALLEST_DELTA)[0], *map(one_step_extent, events), 0.0)
    return max(width, farthest / MOST_POINTS)


def composed(events: Sequence[Event], delta: float) -> Any:
    """Return dp-accounting's accountant after the events."""
    import dp_accounting
    from dp_accounting.pld import PLDAccountant

    # Adjacency has been turned into the effective noise by the events; a shift by one sensitivity is left.
    accountant = PLDAccountant(value_discretization_interval=width_of(events, delta))
    mu = total_mu([event for event in events if is_gaussian(event)])
    if mu:
        accountant.compose(dp_accounting.GaussianDpEvent(1 / mu))
    for event in events:
        if not event.steps:
            continue
        if isinstance(event, PoissonGaussian):
            noise = dp_accounting.GaussianDpEvent(event.effective_noise)
            accountant.compose(dp_accounting.PoissonSampledDpEvent(event.sampling_probability, noise), event.steps)
        elif isinstance(event, Laplace):
            accountant.compose(dp_accounting.LaplaceDpEvent(event.scale), event.steps)
    return accountant


def total_mu(events: Sequence[Event]) -> float:
    """Return the parameter μ of Gaussian DP of plain Gaussian events together."""
    return math.sqrt(sum(e.mu_squared for e in events if isinstance(e, (Gaussian, ZeroConcentrated))))


def gaussian_delta(mu: float, epsilon: float) -> float:
    """Return δ = Φ(−ε/μ + μ/2) − e^ε·Φ(−ε/μ − μ/2), exact for Gaussian noise (Balle and Wang, arXiv 1805.06530)."""
    if mu == 0:
        return 0.0
    from scipy.special import log_ndtr

    first = float(log_ndtr(mu / 2 - epsilon / mu))
    second = epsilon + float(log_ndtr(-mu / 2 - epsilon / mu))
    return math.exp(first) * -math.expm1(min(second - first, 0.0))


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Return the smallest ε ≥ 0 at which ``gaussian_delta`` is at most δ, rounded up by less than 1e-12 of it."""
    if gaussian_delta(mu, 0.0) <= delta:
        return 0.0
    low, high = 0.0, 1.0
    while gaussian_delta(mu, high) > delta:
        low, high = high, 2 * high
        if not math.isfinite(high):
            return math.inf
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if gaussian_delta(mu, middle) > delta else (low, middle)
    return high
