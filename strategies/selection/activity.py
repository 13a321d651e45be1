"""Activity-based selection: in proportion to what a device stores (Dupuy et al., arXiv 2202.03925)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedasr.data.roster import Roster
from strategies.selection.base import Selection, Stateless


class Activity(Stateless):
    """Inclusion probability min(1, c·nᵝ), exactly, without replacement.

    Drawing proportionally *and* weighting by examples counts heavy devices in proportion to n²; with
    ``strategy.weighting: uniform`` the aggregate estimates the example-weighted mean without that bias.

    Args:
        count: ``utterances`` or ``seconds``, what n counts.
        exponent: β; 0 is uniform, ½ tempered, 1 proportional.
    """

    def __init__(self, count: str = "utterances", exponent: float = 1.0) -> None:
        self.count = count
        self.exponent = exponent

    def select(self, round: int, roster: Roster, k: int, rng: np.random.Generator) -> Selection:
        """Return ``k`` clients by systematic sampling over a random order (Madow 1949)."""
        stored = roster.seconds if self.count == "seconds" else roster.utterances.astype(np.float64)
        holders = np.flatnonzero(roster.utterances > 0)
        k = min(k, len(holders))
        if k == 0:
            return Selection(holders.astype(np.int64), np.zeros(0))
        probabilities = inclusion(np.maximum(stored[holders], 1e-9) ** self.exponent, k)
        order = rng.permutation(len(holders))
        edges = np.cumsum(probabilities[order])
        # The sum is k up to rounding; anchoring the last edge keeps the k-th point inside.
        edges[-1] = k
        points = rng.random() + np.arange(k)
        chosen = order[np.searchsorted(edges, points, side="right")]
        chosen = chosen[rng.permutation(k)]
        return Selection(holders[chosen].astype(np.int64), probabilities[chosen])


def inclusion(sizes: npt.NDArray[np.float64], k: int) -> npt.NDArray[np.float64]:
    """Return πᵢ = min(1, c·sizeᵢ) with c such that Σπᵢ = k, shape ``(clients,)``.

    Devices so active that c·size exceeds one are certain; the rest share what remains.
    """
    if k >= len(sizes):
        return np.ones(len(sizes))
    descending = np.sort(sizes)[::-1]
    # tail[m]: what is left of the total when the m largest are certain
    tail = np.cumsum(descending[::-1])[::-1]
    certain = int(np.argmax(descending[:k] * (k - np.arange(k)) <= tail[:k])) if k else 0
    result: npt.NDArray[np.float64] = np.minimum(1.0, sizes * ((k - certain) / tail[certain]))
    return result
