"""The noise on vote counts, drawn at once by a server or in shares by the teachers.

Gaussian and Laplace noise are infinitely divisible: the sum of ``parts`` equal shares is exactly the noise that a
server would have added. For Laplace noise on a grid, shares are differences of Pólya variables, that is of Poisson
variables whose rates are Gamma variables (Goryczka and Xiong, IEEE TDSC 2017, on the grid). Shares travel as whole
multiples of 2⁻³², whose sums are exact in any order.

Counts lie on that grid, rounded down, so that no teacher's posteriors sum to more than one. Laplace noise is drawn on
it. Sums with Gaussian noise are rounded to a coarser one (``fedasr.privacy.randomness``).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from fedasr.privacy.randomness import Randomness, discrete_laplace, with_normal
from fedasr.typing import Floats

FRACTION_BITS = 32
ONE = 1 << FRACTION_BITS
"""A whole vote in fixed point."""
LAPLACE = ("lnmax", "soft-laplace")
"""The mechanisms with Laplace noise; the others have Gaussian."""
LIMIT = 2.0**60
"""Largest magnitude of a share in fixed point; a thousand teachers' noise of any useful scale stays far below."""
FINE_SCALE = 22
"""Laplace noise of up to two to this power is drawn on the grid of the votes, more on a coarser one."""

Fixed = npt.NDArray[np.int64]


def noise(mechanism: str, scale: float, size: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Return the noise of each count, in votes, shape ``size``: for a label, which is all that is released.

    Args:
        mechanism: of ``LAPLACE``, otherwise Gauss.
        scale: λ of Laplace, σ of Gauss.
        size: of the result.
        rng: of this release.
    """
    if mechanism in LAPLACE:
        units, unit = grid(scale)
        return np.asarray(discrete_laplace(rng, units, size) * unit, np.float64)
    return scale * rng.standard_normal(size)


def noisy(mechanism: str, scale: float, counts: Floats, rng: np.random.Generator) -> Floats:
    """Return counts with noise as they may be released whole, shape of ``counts``; arguments as of ``noise``."""
    exact = from_fixed(to_fixed(counts))
    if mechanism in LAPLACE:
        _, unit = grid(scale)
        return np.asarray(np.floor(exact / unit) * unit, np.float64) + noise(mechanism, scale, counts.shape, rng)
    return with_normal(exact, scale, rng.standard_normal(counts.shape))


def share(
    mechanism: str, scale: float, size: int | tuple[int, ...], rng: np.random.Generator, parts: int, held: int = 1
) -> Floats:
    """Return the part of the noise that falls to ``held`` of ``parts`` teachers, in votes, shape ``size``.

    Args:
        mechanism: of ``LAPLACE``, otherwise Gauss.
        scale: of the whole noise.
        size: of the result.
        rng: of whoever draws it.
        parts: how many shares make the whole.
        held: how many of them this is.
    """
    if mechanism in LAPLACE:
        units, unit = grid(scale)
        drawn = laplace_share(rng, units, int(np.prod(size)), held / parts)
        return np.asarray(drawn.reshape(size) * unit, np.float64)
    return part(scale, parts, held) * rng.standard_normal(size)


def laplace_share(rng: np.random.Generator, units: int, count: int, share: float) -> Fixed:
    """Return a share of Laplace noise on whole numbers, int64, shape ``(count,)``; shares of 1 in all are the whole.

    Args:
        rng: of whoever draws it.
        units: λ.
        count: how many numbers.
        share: above 0.
    """
    more, less = rng.poisson(rng.gamma(share, 1 / math.expm1(1 / units), (2, count)))
    return np.asarray(more - less, np.int64)


def with_share(
    mechanism: str, scale: float, counts: Floats, rng: np.random.Generator, parts: int, held: int = 1
) -> Floats:
    """Return counts with a share of the noise, on a grid, shape of ``counts``; arguments as of ``share``."""
    exact = from_fixed(to_fixed(counts))
    if mechanism in LAPLACE:
        _, unit = grid(scale)
        return np.floor(exact / unit) * unit + share(mechanism, scale, counts.shape, rng, parts, held)
    return with_normal(exact, part(scale, parts, held), rng.standard_normal(counts.shape))


def part(scale: float, parts: int, held: int) -> float:
    """Return the standard deviation of ``held`` of ``parts`` equal shares of Gaussian noise."""
    return scale * math.sqrt(held / parts)


def grid(scale: float) -> tuple[int, float]:
    """Return λ in units of the grid, rounded up, and the unit in votes.

    Beyond 2²² votes the unit grows with λ: what the counts lose by it is nothing beside the noise.
    """
    unit = math.ldexp(1.0, max(0, math.frexp(scale)[1] - FINE_SCALE) - FRACTION_BITS)
    return max(1, math.ceil(scale / unit)), unit


def to_fixed(values: Floats) -> Fixed:
    """Return numbers of votes as multiples of 2⁻³², rounded down."""
    scaled = np.floor(values * float(ONE))
    return np.clip(scaled, -LIMIT, LIMIT).astype(np.int64)


def from_fixed(values: Fixed) -> Floats:
    """Return multiples of 2⁻³² as numbers of votes."""
    return np.asarray(values / float(ONE), np.float64)


def noise_generator(secret: bool, seed: int, purpose: str, number: int) -> np.random.Generator:
    """Return the generator of a draw: from the seed, or from the operating system where the guarantee must be real."""
    return Randomness.of(secret, seed).generator(purpose, number)
