"""Noise by binary-tree aggregation (Kairouz et al. 2021, arXiv 2103.00039)."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr.privacy.checks import count
from fedasr.privacy.correlated.noise import Arrays, check_next, saved_round, saved_rows
from fedasr.typing import Floats


class Tree:
    """The noise of the first t rounds together is that of the few nodes of a binary tree that make up [1, t].

    Those nodes are the ones bits of t. Each is used by some prefix only if it is the left child of its parent, and then
    there is one that ends with round t: of level l, the number of zeros that t ends with in binary, over the rounds
    (t − 2^l, t]. So a round draws noise z_t for its own node and takes back that of the nodes which this one makes
    superfluous, which are all of lower levels; row t of M is 1 in the rounds of the node. Right children are never
    released and cost nothing.

    The state is one array of the model's size, float64, for each one bit of the round.

    Args:
        separation: rounds between two turns of a device at least.

    Raises:
        InputError: the separation is less than 1.
    """

    name = "tree"

    def __init__(self, separation: int) -> None:
        self.separation = count("selection.separation", separation)
        self.round = 0
        self.open: dict[int, Floats] = {}
        """noise of the nodes that make up the rounds so far, by level"""

    def draw(self, round: int, rng: np.random.Generator, size: int) -> Floats:
        """Return the noise of the next round, shape ``(size,)``."""
        check_next(round, self.round, size, next((len(noise) for noise in self.open.values()), None))
        noise = rng.standard_normal(size)
        own, level = noise.copy(), ones(round)[0]
        for lower in range(level):
            noise -= self.open.pop(lower)
        self.open[level] = own
        self.round = round
        return noise

    def charge(self, round: int) -> float:
        """Return by how much the bound on the squared sensitivity grows: with new turns, and with nodes that end."""
        return self.total(round) - self.total(round - 1)

    def total(self, rounds: int) -> float:
        """Return the charges of so many rounds."""
        return self.squared_sensitivity(rounds)

    def squared_sensitivity(self, rounds: int, participations: int | None = None) -> float:
        """Return a bound on the squared sensitivity of the first T rounds, which is attained if s is a power of two.

        A device's squared norm is Σ n², the square of its number of turns in a node over all nodes that have ended. Of
        level l there are N = ⌊(⌊T/2^l⌋ + 1)/2⌋ such nodes, the last of which ends with round E = (2N − 1)·2^l. A node
        holds at most m = ⌈2^l/s⌉ turns, since turns are s rounds apart, and the nodes of the level together at most
        K = ⌈E/s⌉, or the ``participations``. Of all numbers up to m whose sum is at most K, a sum of squares is largest
        where as many as can be are m, since it is convex: min(N, ⌊K/m⌋)·m² and, where a node is left, the square of the
        rest. Levels may not reach their bounds together; so their sum is a bound, and rises with T as N, E and K do.
        """
        bound, level = 0, 0
        while (length := 1 << level) <= rounds:
            nodes = (rounds // length + 1) // 2
            most = ceil(length / self.separation)
            turns = ceil((2 * nodes - 1) * length / self.separation)
            if participations is not None:
                turns = min(turns, participations)
            full, rest = divmod(turns, most)
            bound += nodes * most**2 if full >= nodes else full * most**2 + rest**2
            level += 1
        return float(bound)

    def matrix(self, rounds: int) -> Floats:
        """Return M, shape ``(rounds, rounds)``."""
        matrix = np.zeros((rounds, rounds))
        for round in range(1, rounds + 1):
            matrix[round - 1, round - (1 << ones(round)[0]) : round] = 1
        return matrix

    def state_dict(self) -> Arrays:
        """Return the round, and the noise of its nodes by rising level."""
        state: Arrays = {"round": np.array([self.round])}
        if self.open:
            state["open"] = np.stack([self.open[level] for level in sorted(self.open)])
        return state

    def load_state_dict(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from ``state_dict``.

        Raises:
            InputError: it is damaged.
        """
        round = saved_round(state)
        levels = ones(round)
        saved = saved_rows(state, "open", len(levels))
        self.open = {} if saved is None else dict(zip(levels, saved, strict=True))
        self.round = round


def ones(number: int) -> list[int]:
    """Return which bits of a number are one, the lowest first."""
    return [bit for bit in range(number.bit_length()) if number >> bit & 1]
