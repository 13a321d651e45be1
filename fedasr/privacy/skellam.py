"""The Skellam mechanism: a sum of whole numbers modulo 2ᵇ with noise that every summand brings a share of.

Agarwal, Kairouz and Liu 2021, The Skellam Mechanism for Differentially Private Federated Learning (arXiv 2110.04995);
scale and conditional rounding as in Kairouz, Liu and Steinke 2021 (arXiv 2102.06387). Skellam noise is the difference
of two Poisson numbers, and sums of it are Skellam noise again, exactly. That sums wrap around is post-processing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fedasr.errors import InputError
from fedasr.typing import Floats, Integers

ROUNDING_SLACK = math.exp(-0.5)
"""β: a rounding that makes a vector longer than all but this share of roundings is drawn anew."""
TAIL = 4.0
"""Standard deviations of an entry of the sum that fit into the modulus."""


def integer_scale(bits: int, clients: int, dimensions: int, clip: float, deviation: float) -> float:
    """Return how many whole numbers a unit of the update is.

    Args:
        bits: of the modulus.
        clients: whose contributions are summed, at most.
        dimensions: over which a rotation spreads a contribution.
        clip: largest L2 norm of one.
        deviation: standard deviation of one client's share of the noise, an entry.

    Raises:
        InputError: so few bits leave nothing for the sum of so many clients.
    """
    room = 2.0 ** (2 * bits) - clients * TAIL**2
    if room <= 0:
        raise InputError(
            f"'secure_aggregation.bits' is {bits}, which cannot hold a sum of {clients} clients with their noise; set"
            " more bits"
        )
    spread = math.sqrt(clip**2 * clients**2 / dimensions + clients * deviation**2)
    return math.sqrt(room) / (2 * TAIL * spread)


def square_bound(scaled_clip: float, dimensions: int) -> float:
    """Return the largest squared L2 norm of a rounded contribution, Δ₂², to which rounding is conditioned.

    Args:
        scaled_clip: largest norm before rounding, in whole numbers.
        dimensions: entries.
    """
    surely = (scaled_clip + math.sqrt(dimensions)) ** 2
    mostly = scaled_clip**2 + dimensions / 4
    mostly += math.sqrt(2 * math.log(1 / ROUNDING_SLACK)) * (scaled_clip + math.sqrt(dimensions) / 2)
    return min(surely, mostly)


def skellam_rdp(noise_multiplier: float, dimensions: int, scaled_clip: float, orders: Sequence[float]) -> Floats:
    """Return the RDP of one step at each order, shape ``(orders,)``.

    Args:
        noise_multiplier: of all shares together, in clip norms.
        dimensions: entries of a contribution.
        scaled_clip: the clip norm in whole numbers.
        orders: above 1.
    """
    square = square_bound(scaled_clip, dimensions)
    absolute = min(math.sqrt(dimensions * square), square)
    return bounded_rdp((noise_multiplier * scaled_clip) ** 2, square, absolute, orders)


def bounded_rdp(variance: float, square: float, absolute: float, orders: Sequence[float]) -> Floats:
    """Return the RDP of whole numbers with Skellam noise on each, shape ``(orders,)``.

    The bound is one of whole orders. Between them (α − 1)·RDP(α), which is convex, lies below the straight line.

    Args:
        variance: of the noise.
        square: of what neighbours differ in, in L2, at most.
        absolute: of the same in L1.
        orders: above 1.
    """
    wanted = np.asarray(orders, np.float64)
    whole = np.arange(1.0, math.ceil(wanted.max()) + 1)
    curve = whole * square / (2 * variance)
    curve += np.minimum(((2 * whole - 1) * square + 6 * absolute) / (4 * variance**2), 3 * absolute / (2 * variance))
    lines: Floats = np.interp(wanted, whole, (whole - 1) * curve) / (wanted - 1)
    return lines


def conditional_rounding(values: Floats, square: float, rng: np.random.Generator) -> Integers:
    """Return values rounded up or down at random, no longer than the bound; int64, shape of the values.

    Args:
        values: in units of the whole numbers.
        square: largest squared norm of the result.
        rng: of this draw.
    """
    down = np.floor(values)
    share = values - down
    while True:
        rounded = down + (rng.random(len(values)) < share)
        if float(np.dot(rounded, rounded)) <= square:
            return rounded.astype(np.int64)


def skellam(rng: np.random.Generator, variance: float, count: int) -> Integers:
    """Return Skellam noise of mean 0, int64, shape ``(count,)``."""
    return rng.poisson(variance / 2, count) - rng.poisson(variance / 2, count)
