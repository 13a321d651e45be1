"""Who shares masks and shares with whom: a ring of all clients in random order, each linked to the next k/2 both ways.

With neighbours chosen at random secure aggregation of a large cohort is as good as with everybody (Bell et al. 2020,
arXiv 2009.11248: a Harary graph with its nodes permuted). The order follows from what all clients have advertised, so
that a server cannot choose it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

Graph = dict[int, tuple[int, ...]]
"""client → its neighbours in ascending order"""


def neighbour_graph(clients: Iterable[int], degree: int, seed: bytes) -> Graph:
    """Return the neighbours of each client.

    Args:
        clients: their numbers.
        degree: how many neighbours each has: all others where there are no more, and an even number otherwise.
        seed: decides the order of the ring.
    """
    members = sorted(clients)
    if len(members) - 1 <= degree:
        return {client: tuple(other for other in members if other != client) for client in members}

    def drawn(client: int) -> bytes:
        return hashlib.blake2b(client.to_bytes(8, "little"), key=seed[:64], person=b"fedasr ring").digest()

    ring, reach = sorted(members, key=drawn), (degree + 1) // 2
    steps = [step for step in range(-reach, reach + 1) if step]
    size = len(ring)
    return {
        client: tuple(sorted({ring[(place + step) % size] for step in steps} - {client}))
        for place, client in enumerate(ring)
    }
