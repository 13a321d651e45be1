"""Active Federated Learning: in proportion to the exponential of a valuation (Goetz et al., arXiv 1909.12641)."""

from __future__ import annotations

import math

import numpy as np

from fedasr.config.schema import AflConfig
from fedasr.data.roster import Roster
from fedasr.privacy.sampling import Traits
from fedasr.typing import Floats

from .base import Ids, Selection, Stateless
from .drawing import draw, draw_uniformly, exponentials, kth_largest


class ActiveFederatedLearning(Stateless):
    """Of the devices with the highest valuation √n·loss most of the cohort, in proportion to e^(α₂·valuation).

    α₁ (``drop_share``) of the devices, those with the lowest valuation, are left out of that draw; ties at the edge
    stay in. α₃ (``random_share``) of the cohort, rounded up, is drawn uniformly from all the others. α₂ is
    ``temperature``. The loss is the training loss that a device last reported; who never reported one is valued by
    what it stores and the mean of the losses that are known, and as long as none is known all are alike. (The paper
    values the global model on the device and says nothing of those it never saw.)

    Given the past, the inclusion probability is known exactly and reported; it is above zero for everybody unless
    ``random_share`` is 0.

    Args:
        config: the three α.
    """

    def __init__(self, config: AflConfig | None = None) -> None:
        self.config = config or AflConfig()

    @property
    def traits(self) -> Traits:
        """What selection by valuation is."""
        everybody = self.config.random_share > 0
        return Traits("none", reads_losses=True, reads_activity=True, reaches_everybody=everybody)

    def select(self, round: int, roster: Roster, k: int, rng: np.random.Generator) -> Selection:
        """Return ``k`` clients, most by valuation, some uniformly."""
        there = roster.selectable
        n = len(there)
        k = min(k, n)
        if k == 0:
            return Selection(there[:0], np.zeros(0))
        # Less a hair: 0.07·100 must not become 8 by rounding.
        at_random = math.ceil(self.config.random_share * k - 1e-9)
        by_value = k - at_random
        value = valuation(roster)
        kept = self.kept(value, by_value)
        picked, among_kept = draw(exponentials(self.config.temperature * value[kept], by_value), by_value, rng)
        probabilities = np.zeros(n)
        probabilities[kept] = among_kept
        valued = kept[picked]
        if at_random:
            others = np.ones(n, np.bool_)
            others[valued] = False
            rest = np.flatnonzero(others)
            # Who was not drawn by value is drawn uniformly from the rest, whose number is fixed.
            probabilities += (1 - probabilities) * (at_random / len(rest))
            valued = np.concatenate([valued, rest[draw_uniformly(len(rest), at_random, rng)]])
        chosen = valued[rng.permutation(k)]
        return Selection(there[chosen], probabilities[chosen])

    def kept(self, value: Floats, by_value: int) -> Ids:
        """Return the places of the devices that may be drawn by value, at least as many as are drawn."""
        keep = max(len(value) - int(self.config.drop_share * len(value)), by_value, 1)
        return np.flatnonzero(value >= kth_largest(value, keep))


def valuation(roster: Roster) -> Floats:
    """Return √n·loss of the selectable clients, shape ``(selectable,)``; zeros as long as no loss is known."""
    there = roster.selectable
    loss = roster.last_loss[there].astype(np.float64)
    known = np.isfinite(loss)
    if not known.any():
        return np.zeros(len(there))
    loss[~known] = loss[known].mean()
    value: Floats = np.sqrt(roster.utterances[there]) * loss
    return value
