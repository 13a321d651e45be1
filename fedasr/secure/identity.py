"""Who vouches for a key: each client signs its keys of a round with its own, which the others know beforehand."""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fedasr.privacy.randomness import Randomness

SIGNATURE_BYTES = 96
"""Room for that of a P-384 key; an Ed25519 key's has 64 bytes, and zeros after them."""


ED25519_BYTES = 64


class Signer(Protocol):
    """A client's own key."""

    def sign(self, content: bytes) -> bytes:
        """Return the signature of content, ``SIGNATURE_BYTES`` long."""
        ...


class Directory(Protocol):
    """What a client, or the server, knows of the clients' keys; not by the server's word."""

    def verifies(self, client: int, content: bytes, signature: bytes) -> bool:
        """Say whether a client has signed content."""
        ...


class SimulatedDirectory:
    """The keys of simulated clients, which follow from the seed of the run.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def verifies(self, client: int, content: bytes, signature: bytes) -> bool:
        """Say whether a client has signed content."""
        try:
            public_identity(self.seed, client).verify(signature[:ED25519_BYTES], content)
        except InvalidSignature:
            return False
        return not any(signature[ED25519_BYTES:])


class SimulatedSigner:
    """The key of a simulated client.

    Args:
        key: its own.
    """

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self.key = key

    def sign(self, content: bytes) -> bytes:
        """Return the signature of content."""
        return self.key.sign(content).ljust(SIGNATURE_BYTES, b"\0")


@lru_cache(maxsize=4096)
def simulated_identity(seed: int, client: int) -> SimulatedSigner:
    """Return the key of a simulated client, the same in every round."""
    secret = Randomness.public(seed).derived("identity", client).key
    return SimulatedSigner(Ed25519PrivateKey.from_private_bytes(secret))


@lru_cache(maxsize=4096)
def public_identity(seed: int, client: int) -> Ed25519PublicKey:
    """Return its public half."""
    return simulated_identity(seed, client).key.public_key()
