"""The keys by which edge devices know each other in secure aggregation: not by the word of their server.

A device's owner keeps them in ``peers.txt`` in its folder: a line a device, ``ecdsa-sha2-nistp384 AAAA… NAME``, which
``ssh-keygen -l -f peers.txt`` shows as fingerprints. The server has those of all that were enrolled in its registry.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from fedasr.edge.certificates import load_device_key, load_public_key
from fedasr.edge.secrets import read_private
from fedasr.edge.server_folder import REGISTRY_VARIABLE, Enrolment, ServerFolder, read_devices
from fedasr.errors import InputError
from fedasr.secure.identity import SIGNATURE_BYTES, Directory

FILE = "peers.txt"
HALF = SIGNATURE_BYTES // 2
LONGEST = 10_000_000
"""Bytes of the file."""

PublicKey = ec.EllipticCurvePublicKey


class EnrolmentSigner:
    """The key by which a device was enrolled.

    Args:
        path: of its private half.

    Raises:
        InputError: it is no such key, or its signatures are too long.
    """

    def __init__(self, path: Path) -> None:
        self.key = load_device_key(read_private(path), str(path))
        check_curve(self.key.public_key(), str(path))

    def sign(self, content: bytes) -> bytes:
        """Return the signature of content."""
        first, second = decode_dss_signature(self.key.sign(content, ec.ECDSA(SHA384())))
        return first.to_bytes(HALF, "big") + second.to_bytes(HALF, "big")


class PeerDirectory:
    """What is known of the keys of a round's clients.

    Args:
        names: client → name. They may be the word of a server: it is the keys that count.
        keys: name → public key.
    """

    def __init__(self, names: Mapping[int, str], keys: Mapping[str, PublicKey]) -> None:
        self.names, self.keys = names, keys

    def verifies(self, client: int, content: bytes, signature: bytes) -> bool:
        """Say whether a client has signed content."""
        key = self.keys.get(self.names.get(client, ""))
        if key is None or len(signature) != SIGNATURE_BYTES:
            return False
        pair = (int.from_bytes(part, "big") for part in (signature[:HALF], signature[HALF:]))
        try:
            key.verify(encode_dss_signature(*pair), content, ec.ECDSA(SHA384()))
        except InvalidSignature:
            return False
        return True


def check_curve(key: PublicKey, where: str) -> None:
    """Raise where a key's signatures are too long for a message.

    Raises:
        InputError: naming the file.
    """
    if key.curve.key_size > 8 * HALF:
        raise InputError(
            f"is a key of {key.curve.key_size} bits; secure aggregation takes at most {8 * HALF}"
            " (ssh-keygen -t ecdsa -b 384)",
            where=where,
        )


def read_peers(path: Path) -> dict[str, PublicKey]:
    """Return name → public key.

    Raises:
        InputError: there is no such file, a line is none, or a name or a key is there twice.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST + 1)
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}; it holds the keys of the other edge devices, which 'fedasr edge peers'"
            " on the server prints",
            where=str(path),
        ) from None
    if len(content) > LONGEST:
        raise InputError(f"has more than {LONGEST} bytes; expected a line an edge device", where=str(path))
    result: dict[str, PublicKey] = {}
    known: dict[bytes, str] = {}
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), start=1):
        words, where = line.split(), f"{path}:{number}"
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 3:
            raise InputError("is no key; expected 'ecdsa-sha2-nistp384 AAAA… NAME'", where=where)
        key = load_public_key(" ".join(words[:2]).encode(), where)
        check_curve(key, where)
        blob = words[1].encode()
        if words[2] in result or blob in known:
            raise InputError(f"has a name or a key for the second time ('{words[2]}')", where=where)
        result[words[2]], known[blob] = key, words[2]
    return result


def peers_text(server: ServerFolder) -> str:
    """Return the lines of all edge devices that may take part.

    Raises:
        InputError: there is no server, or its registry is damaged.
    """
    server.require()
    return "".join(f"{line}\n" for line in peer_lines(server.devices()))


def peer_lines(devices: list[Enrolment]) -> list[str]:
    """Return the line of each device that may take part and whose key was kept."""
    return [
        f"{device.public_key} {device.name}"
        for device in devices
        if device.revoked is None and device.public_key is not None
    ]


def enrolled_directory(names: Mapping[int, str]) -> Directory:
    """Return what the server of a deployed run knows of its clients' keys: those that were enrolled.

    Args:
        names: client → name.

    Raises:
        InputError: this process was started by no ``fedasr edge run-server``, or the registry is damaged.
    """
    registry = os.environ.get(REGISTRY_VARIABLE)
    if registry is None:
        raise InputError(
            "secure aggregation among edge devices needs the keys that were enrolled; start the SuperLink with"
            " 'fedasr edge run-server'"
        )
    where = Path(registry)
    keys = {
        device.name: load_public_key(device.public_key.encode(), str(where))
        for device in read_devices(where)
        if device.revoked is None and device.public_key is not None
    }
    return PeerDirectory(names, keys)
