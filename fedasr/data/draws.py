"""Draws for many rows or devices at once, or for one alone: the same number either way.

``seeds.generator`` makes a generator a client; here a draw is a hash of (seed, purpose, round, index), so that a
million of them are one array operation and a device finds its own without making the others'.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from fedasr import seeds
from fedasr.typing import Floats

Index = npt.NDArray[np.integer]

GAMMA = np.uint64(0x9E3779B97F4A7C15)


def uniforms(seed: int, purpose: str, index: Index, round: int = 0) -> Floats:
    """Return a uniform draw in [0, 1) for each index, shape ``(n,)`` as ``index``.

    SplitMix64 (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195): output ``index`` of the stream that (seed,
    purpose, round) starts.
    """
    hashed = _mix(_key(seed, purpose, round) + (index.astype(np.uint64) + np.uint64(1)) * GAMMA)
    return (hashed >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normals(seed: int, purpose: str, index: Index, round: int = 0) -> Floats:
    """Return a standard normal draw for each index, shape ``(n,)`` as ``index`` (Box and Muller 1958)."""
    radius = np.sqrt(-2 * np.log1p(-uniforms(seed, f"{purpose}/radius", index, round)))
    angle = 2 * np.pi * uniforms(seed, f"{purpose}/angle", index, round)
    draws: Floats = radius * np.cos(angle)
    return draws


@lru_cache(maxsize=256)
def _key(seed: int, purpose: str, round: int) -> np.uint64:
    return np.uint64(seeds.generator(seed, purpose, round).integers(0, 2**64, dtype=np.uint64))


def _mix(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
