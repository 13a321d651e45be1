"""The cryptography of secure aggregation, all of it by libraries: keys, masks, sealed shares of secrets.

X25519, HKDF, ChaCha20 and Ed25519 are those of ``cryptography``. Shamir's scheme over GF(2¹²⁸) is that of PyCryptodome,
which Flower depends on and uses for the same purpose: of the other packages on the index none is both maintained and in
wide use. Secrets that are shared have 128 bits, which is what X25519 offers.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

import numpy as np
from Crypto.Protocol.SecretSharing import Shamir
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedasr.secure.modulus import Residues, kind_of

KEY_BYTES = 32
SECRET_BYTES = 16
"""Of what is shared; a share has as many."""
NONCE_BYTES, TAG_BYTES = 12, 16
SEALED_BYTES = NONCE_BYTES + 2 * SECRET_BYTES + TAG_BYTES
"""A pair of shares under encryption."""


def derived(secret: bytes, *info: bytes, length: int = KEY_BYTES) -> bytes:
    """Return a key for one purpose, by HKDF; ``info`` says which, each part with its length."""
    words = b"".join(len(part).to_bytes(4, "little") + part for part in (b"fedasr secure aggregation", *info))
    return HKDF(SHA256(), length, None, words).derive(secret)


def private_key(secret: bytes) -> X25519PrivateKey:
    """Return the X25519 key of a secret."""
    return X25519PrivateKey.from_private_bytes(derived(secret, b"key"))


def public_bytes(key: X25519PrivateKey) -> bytes:
    """Return the public half of a key."""
    return key.public_key().public_bytes_raw()


def agreed(key: X25519PrivateKey, other: bytes) -> bytes:
    """Return what two keys agree on.

    Raises:
        ValueError: the other is no public key that leads to a secret.
    """
    return key.exchange(X25519PublicKey.from_public_bytes(other))


def mask(key: bytes, length: int, bits: int) -> Residues:
    """Return uniform whole numbers modulo 2ᵇ: ChaCha20 under a key that is used for nothing else."""
    kind = kind_of(bits)
    out = np.zeros(length, kind)
    view = out.view(np.uint8).data
    Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor().update_into(view, view)
    if bits < 8 * kind.itemsize:
        out &= kind.type((1 << bits) - 1)
    return out


def split(secret: bytes, needed: int, holders: int) -> list[bytes]:
    """Return the shares of a secret, of which ``needed`` lead to it; that of place p is number p + 1 of the scheme."""
    return [bytes(share) for _, share in Shamir.split(needed, holders, secret, False)]


def combine(shares: Mapping[int, bytes]) -> bytes:
    """Return the secret of as many shares as are needed, place → share."""
    return bytes(Shamir.combine([(place + 1, share) for place, share in shares.items()], False))


def seal(key: bytes, content: bytes) -> bytes:
    """Return content that only who has the key can read, or make."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + ChaCha20Poly1305(key).encrypt(nonce, content, None)


def unseal(key: bytes, sealed: bytes) -> bytes:
    """Return the content of ``seal``.

    Raises:
        ValueError: it was not sealed with this key, or has been changed.
    """
    try:
        return ChaCha20Poly1305(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], None)
    except InvalidTag:
        raise ValueError("sealed shares were changed on their way, or are of somebody else") from None
