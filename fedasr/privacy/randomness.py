"""The one source of the randomness that an ε rests on: noise, cohorts, batches, and what augments or drops out.

Every draw comes from a cipher under a 256-bit key of its own, ChaCha20 or, where there is much to draw, AES-256 in
counter mode; keys are derived from a root key by keyed BLAKE2b over what the draw is for. The root is either *public*,
a function of the config's seed, so that a simulation repeats itself to the bit and nobody must call it private; or
*secret*, 256 bits from the operating system, which no seed leads to.

Real numbers leak through their last bits (Mironov 2012, "On significance of the least significant bits for differential
privacy"; Holohan and Braghin 2021, arXiv 2107.10138): the values that a sampler can return form a lattice, and whoever
subtracts the right hypothesis finds the rest on it. So nothing is released as it was drawn:

* Gaussian noise is drawn in float64, added before any rounding, and the sum is rounded to ``grid_of`` its scale, 2⁻¹⁷
  to 2⁻¹⁶ of a standard deviation. Rounding is post-processing: the accounts are those of the Gaussian. To a cell of the
  grid lead some 2³⁵ values of the sampler under any hypothesis; float32 near zero would be fine enough to tell them
  apart.
* Laplace noise is drawn on the grid of the values by the exact sampler of Canonne, Kamath and Steinke 2020 (arXiv
  2004.00010), from whole numbers alone.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import secrets
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from randomgen import ChaCha

from fedasr.privacy.ziggurat import Quick, normals, quick
from fedasr.typing import Floats, Integers

KEY_BYTES = 32
GRID_BITS = 16
"""A sum with Gaussian noise is rounded to the power of two that is so many bits below the standard deviation."""
FINEST = -500
"""Exponent of the finest grid; a float32 over it stays finite in float64."""
LARGEST_SCALE = 1 << 55
"""Of Laplace noise, in units of the grid: products of the sampler stay within 63 bits."""
_ZEROS = bytes(1 << 16)


@dataclass(frozen=True)
class Randomness:
    """A root key and the draws that follow from it.

    Args:
        key: 32 bytes.
        is_secret: whether the key came from the operating system and is kept from everybody that the ε protects from.
    """

    key: bytes = field(repr=False)
    is_secret: bool

    @classmethod
    def public(cls, seed: int) -> Randomness:
        """Return the source of a seed: whoever knows the seed can repeat every draw."""
        return cls(hashlib.blake2b(str(seed).encode(), digest_size=KEY_BYTES, person=b"fedasr public").digest(), False)

    @classmethod
    def secret(cls) -> Randomness:
        """Return a new source, from 256 bits of the operating system."""
        return cls(secrets.token_bytes(KEY_BYTES), True)

    @classmethod
    def of(cls, is_secret: bool, seed: int) -> Randomness:
        """Return a new secret source, or the public one of the seed."""
        return cls.secret() if is_secret else cls.public(seed)

    def derived(self, purpose: str, *place: int) -> Randomness:
        """Return the source of one purpose at one place, such as round, client and step."""
        words = b"".join(int(number).to_bytes(16, "little", signed=True) for number in place)
        message = purpose.encode() + b"\0" + words
        key = hashlib.blake2b(message, digest_size=KEY_BYTES, key=self.key, person=b"fedasr draw").digest()
        return Randomness(key, self.is_secret)

    def generator(self, purpose: str, *place: int) -> np.random.Generator:
        """Return a NumPy generator of one purpose at one place: ChaCha20 under a key of its own."""
        key = int.from_bytes(self.derived(purpose, *place).key, "little")
        return np.random.Generator(ChaCha(key=key))

    def fill(self, out: memoryview, purpose: str, *place: int) -> None:
        """Write the random bytes of one purpose at one place; a shorter ``out`` has the beginning of a longer one.

        OpenSSL's AES-256 in counter mode: ten times as fast as a generator, which hands its words over one by one.
        """
        encrypt = Cipher(algorithms.AES256(self.derived(purpose, *place).key), modes.CTR(bytes(16))).encryptor()
        for start in range(0, len(out), len(_ZEROS)):
            part = out[start : start + len(_ZEROS)]
            encrypt.update_into(_ZEROS[: len(part)], part)

    def normal(self, count: int, purpose: str, *place: int, quick: Quick = quick) -> Floats:
        """Return standard normal numbers of one purpose at one place, float64, shape ``(count,)``.

        Args:
            count: how many.
            purpose: what they are for.
            place: such as round, client and step.
            quick: the compiled function that gives the same bits, where there is one.
        """
        calls = itertools.count()

        def words(count: int) -> Integers:
            draws = np.empty(count, np.int64)
            if count:
                self.fill(draws.data.cast("B"), f"{purpose}, words", *place, next(calls))
            return draws

        return normals(words(count), words, quick)


def grid_of(scale: float) -> float:
    """Return the grid that a sum with Gaussian noise of standard deviation ``scale`` is rounded to: a power of two."""
    return math.ldexp(1.0, max(math.frexp(scale)[1] - 1 - GRID_BITS, FINEST))


def with_normal(values: npt.ArrayLike, scale: float, draws: Floats) -> Floats:
    """Return values plus ``scale`` times standard normal draws, added in float64 and rounded to ``grid_of(scale)``.

    Args:
        values: to be protected; not rounded before, or the sensitivity says so.
        scale: standard deviation; it must not depend on the data. 0: the values are returned as they are.
        draws: shape of the values; overwritten by the result.
    """
    if scale == 0:
        return np.array(values, np.float64)
    grid = grid_of(scale)
    draws *= scale / grid
    draws += np.multiply(values, 1 / grid, dtype=np.float64)
    np.rint(draws, out=draws)
    draws *= grid
    return draws


def discrete_laplace(rng: np.random.Generator, scale: int, size: int | tuple[int, ...]) -> Integers:
    """Return whole numbers x with probability proportional to exp(−|x| / scale), exactly, shape ``size``.

    Algorithm 2 of Canonne, Kamath and Steinke 2020, on whole numbers from ``rng`` alone.

    Args:
        rng: of this draw.
        scale: at least 1.
        size: of the result.

    Raises:
        ValueError: the scale is out of range.
    """
    if not 1 <= scale <= LARGEST_SCALE:
        raise ValueError(f"scale is {scale}; expected 1 to {LARGEST_SCALE}")
    out = np.zeros(int(np.prod(size)), np.int64)
    left = np.arange(len(out))
    while len(left):
        low = rng.integers(scale, size=len(left))
        kept = at_most_one(rng, low, scale)
        left, low, again = left[kept], low[kept], left[~kept]
        # exp(−1) for each whole scale, until one fails
        high = np.zeros(len(left), np.int64)
        going = np.arange(len(left))
        while len(going):
            going = going[at_most_one(rng, np.ones(len(going), np.int64), 1)]
            high[going] += 1
        magnitudes = low + scale * high
        negative = rng.integers(2, size=len(left)).astype(bool)
        twice = negative & (magnitudes == 0)  # zero has one sign only
        out[left] = np.where(negative, -magnitudes, magnitudes)
        left = np.concatenate([again, left[twice]])
    return out.reshape(size)


def at_most_one(rng: np.random.Generator, numerators: Integers, denominator: int) -> npt.NDArray[np.bool_]:
    """Return true with probability exp(−numerator / denominator) each, exactly; numerators from 0 to the denominator.

    Algorithm 1 of Canonne, Kamath and Steinke 2020 (von Neumann 1951): the number of successes before the first failure
    of trials with probability γ/1, γ/2, γ/3 … is even with probability exp(−γ).
    """
    even = np.ones(len(numerators), bool)
    going, trial = np.arange(len(numerators)), 1
    while len(going):
        success = rng.integers(denominator * trial, size=len(going)) < numerators[going]
        going = going[success]
        even[going] = ~even[going]
        trial += 1
    return even
