"""The one source of the randomness that an ε rests on: noise, cohorts, batches, and what augments or drops out.

Every draw comes from ChaCha20 under a 256-bit key of its own, derived from a root key by keyed BLAKE2b over what the
draw is for. The root is either *public*, a function of the config's seed, so that a simulation repeats itself to the
bit and nobody must call it private; or *secret*, 256 bits from the operating system, which no seed leads to.

Noise is drawn in float64 and added before the sum is rounded (``add_normal``). Float32 noise has a lattice of its own:
whoever subtracts the right hypothesis finds the rest on the lattice, and no ε holds (Mironov 2012, "On significance of
the least significant bits for differential privacy").
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field

import numpy as np
from randomgen import ChaCha

KEY_BYTES = 32


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
