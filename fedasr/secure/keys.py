"""The public keys of a round, as clients advertise them and a server passes them on."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from fedasr.secure.identity import SIGNATURE_BYTES, Directory, Signer
from fedasr.secure.primitives import KEY_BYTES

CLIENT_BYTES = 8
"""Of a client's number in a list."""
ROW = struct.Struct(f"<Q{KEY_BYTES}s{KEY_BYTES}s{SIGNATURE_BYTES}s")


@dataclass(frozen=True)
class PublicKeys:
    """What a client advertises.

    Attributes:
        client: its number.
        masking: from which masks that two clients share are agreed.
        sealing: under which shares are sealed.
        signature: of the client's own key.
    """

    client: int
    masking: bytes
    sealing: bytes
    signature: bytes

    @classmethod
    def signed(cls, run: bytes, round: int, client: int, masking: bytes, sealing: bytes, signer: Signer) -> PublicKeys:
        """Return the keys of a client, signed."""
        keys = cls(client, masking, sealing, bytes(SIGNATURE_BYTES))
        return cls(client, masking, sealing, signer.sign(keys.statement(run, round)))

    def statement(self, run: bytes, round: int) -> bytes:
        """Return what is signed: no key can be used for another client, round or run."""
        head = b"fedasr secure aggregation keys" + struct.pack("<IQQ", len(run), round, self.client)
        return head + run + self.masking + self.sealing

    def verified(self, run: bytes, round: int, directory: Directory) -> bool:
        """Say whether the client has signed them, for this round."""
        return directory.verifies(self.client, self.statement(run, round), self.signature)


def keys_to_bytes(keys: Iterable[PublicKeys]) -> bytes:
    """Return keys as bytes, in ascending order of the clients."""
    rows = sorted(keys, key=lambda row: row.client)
    return b"".join(ROW.pack(row.client, row.masking, row.sealing, row.signature) for row in rows)


def keys_from_bytes(content: bytes) -> dict[int, PublicKeys]:
    """Return client → keys.

    Raises:
        ValueError: the bytes are no keys, or one client has several.
    """
    if len(content) % ROW.size:
        raise ValueError(f"the list of keys has {len(content)} bytes; expected a multiple of {ROW.size}")
    rows = [PublicKeys(*row) for row in ROW.iter_unpack(content)]
    clients = [row.client for row in rows]
    if clients != sorted(set(clients)):
        raise ValueError("the list of keys is not in ascending order, or names a client twice")
    return dict(zip(clients, rows, strict=True))


def confirmation(run: bytes, round: int, client: int, listed: bytes) -> bytes:
    """Return what a client signs to say which list of keys it has been sent.

    Args:
        run: what tells the run from others.
        round: counted from 1.
        client: who signs.
        listed: digest of the list.
    """
    head = b"fedasr secure aggregation list" + struct.pack("<IQQ", len(run), round, client)
    return head + run + listed


def clients_to_bytes(clients: Iterable[int]) -> bytes:
    """Return numbers of clients as bytes, ascending."""
    return b"".join(client.to_bytes(CLIENT_BYTES, "little") for client in sorted(clients))


def clients_from_bytes(content: bytes) -> frozenset[int]:
    """Return numbers of clients.

    Raises:
        ValueError: the bytes are none.
    """
    if len(content) % CLIENT_BYTES:
        raise ValueError(f"a list of clients has {len(content)} bytes; expected a multiple of {CLIENT_BYTES}")
    places = range(0, len(content), CLIENT_BYTES)
    return frozenset(int.from_bytes(content[place : place + CLIENT_BYTES], "little") for place in places)
