"""The noise on vote counts, drawn at once by a server or in shares by the teachers.

Gaussian and Laplace noise are infinitely divisible: the sum of ``parts`` equal shares is exactly the noise that a
server would have added (for Laplace, shares are differences of Gamma variables; Goryczka and Xiong, IEEE TDSC 2017).
Shares travel as whole multiples of 2⁻³², whose sums are exact in any order.
"""

from __future__ import annotations

import secrets

import numpy as np
import numpy.typing as npt

from fedasr import seeds

FRACTION_BITS = 32
ONE = 1 << FRACTION_BITS
"""A whole vote in fixed point."""
LAPLACE = ("lnmax", "soft-laplace")
"""The mechanisms with Laplace noise; the others have Gaussian."""
LIMIT = 2.0**60
"""Largest magnitude of a share in fixed point; a thousand teachers' noise of any useful scale stays far below."""

Floats = npt.NDArray[np.float64]
Fixed = npt.NDArray[np.int64]


def noise(mechanism: str, scale: float, size: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Return the noise of each count, in votes, shape ``size``.

    Args:
        mechanism: of ``LAPLACE``, otherwise Gauss.
        scale: λ of Laplace, σ of Gauss.
        size: of the result.
        rng: of this release.
    """
    return rng.laplace(0.0, scale, size) if mechanism in LAPLACE else rng.normal(0.0, scale, size)


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
        shape = held / parts
        return rng.gamma(shape, scale, size) - rng.gamma(shape, scale, size)
    return rng.normal(0.0, scale * np.sqrt(held / parts), size)


def to_fixed(values: Floats) -> Fixed:
    """Return numbers of votes as multiples of 2⁻³², rounded."""
    scaled = np.rint(values * float(ONE))
    return np.clip(scaled, -LIMIT, LIMIT).astype(np.int64)


def from_fixed(values: Fixed) -> Floats:
    """Return multiples of 2⁻³² as numbers of votes."""
    return np.asarray(values / float(ONE), np.float64)


def noise_generator(secret: bool, seed: int, purpose: str, number: int) -> np.random.Generator:
    """Return the generator of a draw: from the seed, or from the operating system where the guarantee must be real."""
    if secret:
        return np.random.Generator(np.random.PCG64(secrets.randbits(256)))
    return seeds.generator(seed, purpose, number, 0)
