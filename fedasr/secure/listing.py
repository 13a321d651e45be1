"""The list of keys of a round: its digest, which all clients sign, and the part of it that a client is shown.

The digest is of the clients' numbers and of the root of a Merkle tree over the rows (Merkle 1987). A client is shown
all numbers, its own row, those of its neighbours, and the hashes that lead from them to the root. Who has signed the
same digest was told the same numbers, in ascending order, and for each of them there is one row. So nothing that a
client checks is weaker than with the whole list: that its own keys are in it, how many there are, that nobody is there
twice, who its neighbours are, which follows from the digest, and that these were shown the same keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from fedasr.secure.graph import neighbours_of
from fedasr.secure.keys import PublicKeys, clients_from_bytes, clients_to_bytes, keys_from_bytes, keys_to_bytes
from fedasr.secure.terms import Aborted

HASH_BYTES = 32
NOBODY = bytes(HASH_BYTES)
"""Beyond the last row."""


class Shown(NamedTuple):
    """What a server shows a client of the list.

    Attributes:
        keys: rows in ascending order of the clients.
        clients: the numbers of all, ascending; None: all rows are shown.
        hashes: for each row that is shown those on its way to the root, from the leaves up.
    """

    keys: bytes
    clients: bytes | None = None
    hashes: bytes | None = None

    @property
    def members(self) -> list[int]:
        """All clients of the list, ascending.

        Raises:
            ValueError: the bytes are no list of them.
        """
        if self.clients is None:
            return list(keys_from_bytes(self.keys))
        result = sorted(clients_from_bytes(self.clients))
        if clients_to_bytes(result) != self.clients:
            raise ValueError("the list of clients is not in ascending order, or names one twice")
        return result


class Circle(NamedTuple):
    """The part of the list that concerns a client.

    Attributes:
        digest: of the whole list.
        clients: how many are in it.
        own: keys of the client.
        neighbours: of its neighbours, ascending.
    """

    digest: bytes
    clients: int
    own: PublicKeys
    neighbours: tuple[PublicKeys, ...]


class KeyTree:
    """The hashes over a whole list.

    Args:
        rows: in ascending order of the clients.

    Attributes:
        digest: what clients sign.
    """

    def __init__(self, rows: Sequence[PublicKeys]) -> None:
        self.clients = [row.client for row in rows]
        leaves = [hash_of_row(row) for row in rows]
        self.levels = [leaves + [NOBODY] * ((1 << depth_of(len(rows))) - len(rows))]
        while len(self.levels[-1]) > 1:
            below = self.levels[-1]
            self.levels.append([joined(*below[place : place + 2]) for place in range(0, len(below), 2)])
        self.digest = digest_of(self.clients, self.root)

    @property
    def root(self) -> bytes:
        """The topmost hash."""
        return self.levels[-1][0]

    def path(self, place: int) -> bytes:
        """Return the hashes that lead from a row to the root."""
        return b"".join(level[(place >> height) ^ 1] for height, level in enumerate(self.levels[:-1]))


def shown_of(rows: Sequence[PublicKeys], tree: KeyTree, places: Sequence[int]) -> Shown:
    """Return what is shown of a list to a client that is concerned by the rows of some places, ascending."""
    keys = keys_to_bytes(rows[place] for place in places)
    if len(places) == len(rows):
        return Shown(keys)
    return Shown(keys, clients_to_bytes(tree.clients), b"".join(map(tree.path, places)))


def hash_bytes(rows: int, count: int) -> int:
    """Return how many bytes of hashes come with so many rows of a list of so many."""
    return 0 if rows == count else rows * HASH_BYTES * depth_of(count)


def circle_of(shown: Shown, me: int, degree: int) -> Circle:
    """Return the part of a list that concerns a client.

    Args:
        shown: what it was shown.
        me: the client.
        degree: how many neighbours each has.

    Raises:
        Aborted: it is not shown what it has to be shown, or that is not of one list.
        ValueError: the bytes are damaged.
    """
    rows, members = keys_from_bytes(shown.keys), shown.members
    if me not in rows or me not in members:
        raise Aborted("the server's list of keys does not hold what this client has advertised")
    place = members.index(me)
    tree = KeyTree(list(rows.values())) if shown.clients is None else None
    paths = paths_of(shown, list(rows), len(members)) if tree is None else {}
    root = root_of(rows[me], place, paths[me]) if tree is None else tree.root
    digest = digest_of(members, root)
    neighbours = neighbours_of(place, len(members), degree, digest)
    for other in neighbours:
        row = rows.get(members[other])
        if row is None:
            raise Aborted(f"the server does not show the keys of client {members[other]}, a neighbour")
        if tree is None and root_of(row, other, paths[row.client]) != root:
            raise Aborted(f"the keys of client {row.client} are not those of the list that this client was sent")
    return Circle(digest, len(members), rows[me], tuple(rows[members[other]] for other in neighbours))


def paths_of(shown: Shown, clients: Sequence[int], count: int) -> dict[int, bytes]:
    """Return client → the hashes that lead from its row to the root.

    Raises:
        ValueError: there are more or fewer.
    """
    length, hashes = HASH_BYTES * depth_of(count), shown.hashes or b""
    if len(hashes) != length * len(clients):
        raise ValueError(f"the list of keys has {len(hashes)} bytes of hashes; expected {length} for each client shown")
    return {client: hashes[index * length : (index + 1) * length] for index, client in enumerate(clients)}


def depth_of(count: int) -> int:
    """Return how many hashes lead from a row of a list of so many to the root."""
    return max(0, count - 1).bit_length()


def hash_of_row(row: PublicKeys) -> bytes:
    """Return the leaf of a row."""
    return hashlib.blake2b(keys_to_bytes([row]), digest_size=HASH_BYTES, person=b"fedasr row").digest()


def joined(left: bytes, right: bytes) -> bytes:
    """Return the node above two."""
    return hashlib.blake2b(left + right, digest_size=HASH_BYTES, person=b"fedasr node").digest()


def root_of(row: PublicKeys, place: int, path: bytes) -> bytes:
    """Return the root to which a path leads from a row at a place."""
    result = hash_of_row(row)
    for height in range(len(path) // HASH_BYTES):
        other = path[HASH_BYTES * height : HASH_BYTES * (height + 1)]
        result = joined(other, result) if place >> height & 1 else joined(result, other)
    return result


def digest_of(clients: Sequence[int], root: bytes) -> bytes:
    """Return what clients sign of a list: of other clients, or of other rows, it is another one."""
    content = root + clients_to_bytes(clients)
    return hashlib.blake2b(content, digest_size=HASH_BYTES, person=b"fedasr list").digest()
