"""Honest error bars over seeds, and how evenly a quantity is shared."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> tuple[NDArray[np.float64], ...]:
    """Return mean, low and high of Student's t interval of the mean over the first axis.

    Args:
        values: (seeds, ...), one row a seed; the seeds are the independent repetitions.
        confidence: of the two-sided interval.

    Returns:
        Three arrays of shape (...). Low and high are NaN for one seed: one run says nothing about its spread.
    """
    rows = np.asarray(values, dtype=np.float64)
    count = len(rows)
    if not count:
        nothing = np.full(rows.shape[1:], np.nan)
        return nothing, nothing, nothing
    mean = rows.mean(axis=0)
    if count < 2:
        unknown = np.full_like(mean, np.nan)
        return mean, unknown, unknown
    half = t_quantile(count - 1, confidence) * rows.std(axis=0, ddof=1) / math.sqrt(count)
    return mean, mean - half, mean + half


def t_quantile(degrees: int, confidence: float = 0.95) -> float:
    """Return t such that Student's T with integer ``degrees`` of freedom has P(|T| < t) = ``confidence``.

    The distribution is a finite sum for integer degrees (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4); it is
    inverted by bisection over the angle arctan(t / sqrt(degrees)).
    """
    low, high = 0.0, math.pi / 2
    for _ in range(80):
        angle = (low + high) / 2
        if central_probability(angle, degrees) < confidence:
            low = angle
        else:
            high = angle
    return math.sqrt(degrees) * math.tan(low)


def central_probability(angle: float, degrees: int) -> float:
    """Return P(|T| < sqrt(degrees)·tan(angle)) of Student's T."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    term = cosine if odd else 1.0
    total = 0.0
    for power in range(2 + odd, degrees + 1, 2):
        total += term
        term *= (power - 1) / power * cosine * cosine
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def jain(values: ArrayLike) -> float:
    """Return Jain's fairness index (Jain et al. 1984): 1 when all share alike, 1/n when one has everything."""
    shares = np.asarray(values, dtype=np.float64)
    squares = float((shares**2).sum())
    return float(shares.sum()) ** 2 / (len(shares) * squares) if squares else 1.0
