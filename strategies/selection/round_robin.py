"""Everybody in turn, in random order, with a minimum separation of turns (as DP-FTRL needs it)."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from fedasr.data.roster import Roster
from fedasr.privacy.sampling import Traits

from .base import Feedback, Ids, Selection
from .drawing import draw_uniformly
from .packing import fitted, pack, unpack


class RoundRobin:
    """A cycle gives every selectable device one turn, in random order; then a new cycle begins, in another order.

    Two turns of a device are at least ``separation`` rounds apart, so any ``separation`` rounds in a row have it at
    most once: the *min-separation participation* of banded matrix factorisation (arXiv 2306.08153). That is a promise,
    also where devices come and go: where keeping it leaves fewer than k devices, the cohort is smaller. With N devices
    always there it is full as long as N ≥ k·separation. A turn counts whether the device answers or not.

    With separation 0 it is what the devices that are there allow, ⌊N/k⌋: as wide as can be with full cohorts.

    A device that is away when its cycle ends has lost that turn. While the same devices have been selectable in every
    round, all are alike and the inclusion probability is the share that is chosen; once they change, a device's
    probability depends on who came when, and NaN is reported. Given the past, in contrast, the choice is nearly
    determined: there is no amplification by sampling here.

    Args:
        separation: rounds between two turns of a device at least; 0: as many as there can be.
    """

    def __init__(self, separation: int = 0) -> None:
        self.separation = separation
        self.last = np.zeros(0, np.int32)
        """the round of a device's latest turn; 0: none"""
        self.turn = np.zeros(0, np.int32)
        """the cycle of that turn; 0: none"""
        self.cycle = 1
        self.population: int | None = None
        """checksum of who was selectable in every round so far; 0: not always the same"""
        self.checked: Ids | None = None

    @property
    def traits(self) -> Traits:
        """What taking turns is; who is away loses its turn, which changes the probabilities of the others."""
        return Traits("none", separation=self.separation, reports_probabilities=False)

    def select(self, round: int, roster: Roster, k: int, rng: np.random.Generator) -> Selection:
        """Return ``k`` clients whose turn it is, or fewer where the separation leaves fewer."""
        there = roster.selectable
        self.last = fitted(self.last, len(roster), 0)
        self.turn = fitted(self.turn, len(roster), 0)
        self.note_population(there)
        separation = self.separation or max(1, len(there) // max(k, 1))
        rested = there[(self.last[there] == 0) | (round - self.last[there] >= separation)]
        waiting = self.turn[rested] < self.cycle
        chosen = self.take(round, rested[waiting], k, rng)
        again = rested[~waiting]
        # If somebody who had a turn of this cycle is rested, all who wait for theirs are too: their last turn is older.
        # With places left they are all chosen by now, nobody who is there still waits, and the next cycle begins.
        if len(chosen) < k and len(again):
            self.cycle += 1
            chosen = np.concatenate([chosen, self.take(round, again, k - len(chosen), rng)])
        share = len(chosen) / max(len(there), 1) if self.population else np.nan
        return Selection(chosen, np.full(len(chosen), share))

    def take(self, round: int, pool: Ids, k: int, rng: np.random.Generator) -> Ids:
        """Give ``k`` of the pool their turn."""
        chosen = pool[draw_uniformly(len(pool), k, rng)]
        self.last[chosen] = round
        self.turn[chosen] = self.cycle
        return chosen

    def note_population(self, there: Ids) -> None:
        """Note whether the same devices are selectable as ever."""
        if there is self.checked or self.population == 0:
            return
        self.checked = there
        digest = zlib.crc32(np.ascontiguousarray(there, np.int64).data) or 1
        self.population = digest if self.population in (None, digest) else 0

    def observe(self, feedback: Feedback) -> None:
        """Learn nothing: a turn is noted when it is given."""

    def state_dict(self) -> Mapping[str, Any]:
        """Return the cycle, and who had which turn."""
        had = np.flatnonzero(self.last)
        return {
            "cycle": self.cycle,
            "population": self.population,
            "clients": pack(had.astype(np.int32)),
            "last": pack(self.last[had]),
            "turn": pack(self.turn[had]),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.cycle, self.population = int(state["cycle"]), state["population"]
        self.checked = None
        had = unpack(state["clients"])
        size = int(had.max(initial=-1)) + 1
        self.last, self.turn = np.zeros(size, np.int32), np.zeros(size, np.int32)
        self.last[had] = unpack(state["last"])
        self.turn[had] = unpack(state["turn"])
