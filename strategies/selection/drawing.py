"""Draws whose probabilities are known exactly, over a million rows at once."""

from __future__ import annotations

import numpy as np

from fedasr.typing import Floats

from .base import Ids

LARGEST = 1e130
"""Sizes relative to the k-th largest are capped here: such a device is certain anyway, and sums stay finite."""


def inclusion(sizes: Floats, k: int) -> Floats:
    """Return πᵢ = min(1, c·sizeᵢ) with c such that Σπᵢ = min(k, clients).

    Devices so large that c·size exceeds one are certain; the rest share what remains. Size zero is probability zero,
    unless fewer than ``k`` devices are larger: those are certain then, and the zeros share what remains alike.

    Args:
        sizes: at least zero, finite, shape ``(clients,)``.
        k: how many are drawn.
    """
    n = len(sizes)
    if k >= n:
        return np.ones(n)
    if k == 0:
        return np.zeros(n)
    larger = int(np.count_nonzero(sizes))
    if larger <= k:
        return np.where(sizes > 0, 1.0, (k - larger) / (n - larger))
    parted = np.partition(sizes, n - k)
    top = np.sort(parted[n - k :])[::-1]
    # tail[m]: what is left of the total when the m largest are certain
    tail = np.cumsum(top[::-1])[::-1] + parted[: n - k].sum()
    certain = int(np.argmax(top * (k - np.arange(k)) <= tail))
    probabilities: Floats = np.minimum(1.0, sizes * ((k - certain) / tail[certain]))
    return probabilities


def draw(sizes: Floats, k: int, rng: np.random.Generator) -> tuple[Ids, Floats]:
    """Draw without replacement with probabilities in proportion to the sizes, exactly.

    Systematic sampling over a random order (Madow 1949): the sum of the probabilities is laid out as a line of length
    k, and k points one apart are put on it.

    Args:
        sizes: at least zero, finite, shape ``(clients,)``.
        k: how many to draw.
        rng: of the draw.

    Returns:
        The places of those drawn, in random order, shape ``(min(k, clients),)``, and the inclusion probabilities of
        all, shape ``(clients,)``.
    """
    k = min(k, len(sizes))
    probabilities = inclusion(sizes, k)
    certain = np.flatnonzero(probabilities >= 1.0)
    rest = np.flatnonzero((probabilities > 0.0) & (probabilities < 1.0))
    left = k - len(certain)
    if left:
        order = rest[rng.permutation(len(rest))]
        certain = np.concatenate([certain, systematic(order, probabilities, left, rng)])
    return certain[rng.permutation(k)].astype(np.int64), probabilities


def systematic(order: Ids, probabilities: Floats, k: int, rng: np.random.Generator) -> Ids:
    """Return ``k`` places drawn by systematic sampling over a given order: neighbours are seldom drawn together.

    Args:
        order: places, shape ``(n,)``, at least ``k``.
        probabilities: inclusion probabilities of all places, at most 1; those of ``order`` sum to ``k``.
        k: at least 1.
        rng: of the start of the line.
    """
    edges = np.cumsum(probabilities[order])
    steps = np.arange(k)
    points = (rng.random() + steps) * (edges[-1] / k)
    places = np.searchsorted(edges, points, side="right")
    # Distinct in exact arithmetic, since no probability exceeds one; rounding must not break that.
    places = np.minimum(np.maximum.accumulate(places - steps), len(order) - k) + steps
    chosen: Ids = order[places]
    return chosen


def draw_uniformly(n: int, k: int, rng: np.random.Generator) -> Ids:
    """Return ``min(k, n)`` of the places 0 … n−1 without replacement, in random order."""
    return rng.choice(n, size=min(k, n), replace=False).astype(np.int64) if n else np.zeros(0, np.int64)


def kth_largest(values: Floats, k: int) -> float:
    """Return the k-th largest value, or the smallest where there are fewer; k at least 1, values not empty."""
    place = max(len(values) - k, 0)
    return float(np.partition(values, place)[place])


def powers(counts: Floats, exponent: float, k: int) -> Floats:
    """Return countsᵝ up to a common factor, such that no exponent loses the order of the ``k`` largest.

    Args:
        counts: at least zero, shape ``(clients,)``.
        exponent: β.
        k: how many are to be drawn in proportion to the result.
    """
    if exponent == 0 or not counts.any():
        return np.ones(len(counts))
    if exponent == 1:
        return counts
    positive = counts[counts > 0]
    with np.errstate(over="ignore", under="ignore"):
        sizes: Floats = np.minimum((counts / kth_largest(positive, max(k, 1))) ** exponent, LARGEST)
    return sizes


def exponentials(values: Floats, k: int) -> Floats:
    """Return e^values up to a common factor, such that none overflows and the ``k`` largest keep their order."""
    if not len(values):
        return values
    with np.errstate(under="ignore"):
        sizes: Floats = np.exp(np.minimum(values - kth_largest(values, max(k, 1)), np.log(LARGEST)))
    return sizes
