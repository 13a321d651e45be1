"""Who shares masks and shares with whom: a ring of all clients in random order, each linked to the next k/2 both ways.

With neighbours chosen at random secure aggregation of a large cohort is as good as with everybody (Bell et al. 2020,
arXiv 2009.11248: a Harary graph with its nodes permuted). The order follows from what all clients have advertised, so
that a server cannot choose it. Clients are named by their places in the list of keys.
"""

from __future__ import annotations

import hashlib

Graph = dict[int, tuple[int, ...]]
"""client → its neighbours in ascending order"""


def neighbour_graph(count: int, degree: int, seed: bytes) -> list[tuple[int, ...]]:
    """Return the neighbours of each place, ascending.

    Args:
        count: places.
        degree: how many neighbours each has: all others where there are no more, and an even number otherwise.
        seed: decides the order of the ring.
    """
    if count - 1 <= degree:
        return [tuple(other for other in range(count) if other != place) for place in range(count)]
    ring = ring_of(count, seed)
    result: list[tuple[int, ...]] = [()] * count
    for index, place in enumerate(ring):
        result[place] = around(ring, index, degree)
    return result


def neighbours_of(place: int, count: int, degree: int, seed: bytes) -> tuple[int, ...]:
    """Return the neighbours of one place; arguments as those of ``neighbour_graph``."""
    if count - 1 <= degree:
        return tuple(other for other in range(count) if other != place)
    ring = ring_of(count, seed)
    return around(ring, ring.index(place), degree)


def ring_of(count: int, seed: bytes) -> list[int]:
    """Return the places in the order of the ring."""

    def drawn(place: int) -> bytes:
        return hashlib.blake2b(place.to_bytes(8, "little"), key=seed[:64], person=b"fedasr ring").digest()

    return sorted(range(count), key=drawn)


def around(ring: list[int], index: int, degree: int) -> tuple[int, ...]:
    """Return who is near the one of an index of the ring, ascending."""
    reach = (degree + 1) // 2
    steps = [step for step in range(-reach, reach + 1) if step]
    return tuple(sorted({ring[(index + step) % len(ring)] for step in steps} - {ring[index]}))
