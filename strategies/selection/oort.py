"""Oort: devices whose speech is still learnt from, and fast ones (Lai et al., OSDI 2021, arXiv 2010.06081)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr.config.schema import OortConfig
from fedasr.data.roster import Roster
from fedasr.privacy.sampling import Traits
from fedasr.typing import Floats

from .base import Feedback, Ids, Selection
from .drawing import draw, draw_uniformly, kth_largest
from .packing import fitted, pack, unpack

MISSED = 0.5
"""What the utility of a device is multiplied with when it did not answer."""
COLUMNS = ("utility", "duration", "last", "turns")
"""What is remembered of each device."""


class Oort:
    """Exploits the devices with the highest utility and explores others; Algorithm 1 of the paper.

    A device's statistical utility is U = |B|·√(mean of loss² over its samples). Among the devices that have answered
    before, utilities above a quantile are clipped and all are scaled to 0 … 1 (the paper says nothing of the scale,
    on which the weight of the bonus depends; its authors' code scales so). The score is U + √(c·ln t / L), t the round
    and L the one in which the device last took part, times (T/duration)^α where a device takes longer than the
    preferred T. Devices above ``cutoff`` times the k-th best score are drawn in proportion to their scores.

    A share ε of the cohort, which shrinks from round to round, explores: new devices, in proportion to what they store
    and, where they are of a tier that is slower than T, times the same penalty. Shares of a device are rounded at
    random, so that a small cohort explores too.

    T is a percentile of the durations seen. The pacer raises it where the utility of a window of rounds is below that
    of the window before. Durations that are unknown (NaN) are no reason for a penalty.

    What the paper leaves open: a reply without a finite loss has utility 0; a device that did not answer has its
    utility halved; a device that took part ``blacklist_rounds`` times is chosen only where nobody else is left.

    No inclusion probabilities are reported (NaN): devices below the cut-off have none.

    Args:
        config: the constants.
    """

    traits = Traits("none", reads_losses=True, reads_activity=True, reports_probabilities=False)

    def __init__(self, config: OortConfig | None = None) -> None:
        self.config = config or OortConfig()
        self.percentile = self.config.start_percentile
        """of the durations seen, what T is"""
        self.achieved = 0.0
        """utility of the replies since the pacer last decided"""
        self.before: float | None = None
        """the same of the window before that"""
        self.observed = 0
        """rounds since the pacer last decided"""
        self.utility = np.zeros(0, np.float64)
        """U of each device; NaN: none known"""
        self.duration = np.zeros(0, np.float32)
        """seconds; NaN: unknown"""
        self.last = np.zeros(0, np.int32)
        """the round a device last took part in, or was to; 0: never, it is unexplored"""
        self.turns = np.zeros(0, np.int32)
        """how often it took part"""

    def select(self, round: int, roster: Roster, k: int, rng: np.random.Generator) -> Selection:
        """Return ``k`` clients, some exploited, some explored."""
        self.fit(len(roster))
        there = roster.selectable
        k = min(k, len(there))
        explored = self.last[there] > 0
        new, known = there[~explored], there[explored]
        tired = self.blacklisted(known)
        usable, resting = known[~tired], known[tired]
        # Where one pool has too few, the other gives more; the blacklisted are the last resort.
        explore = min(self.explorers(round, k, rng), len(new))
        exploit = min(k - explore, len(usable))
        explore = min(k - exploit, len(new))
        preferred = self.preferred_duration()
        chosen = np.concatenate(
            [
                self.exploit(round, usable, exploit, preferred, rng),
                new[draw(self.prior(roster, new, preferred), explore, rng)[0]],
                resting[draw_uniformly(len(resting), k - exploit - explore, rng)],
            ]
        )
        return Selection(chosen[rng.permutation(k)], np.full(k, np.nan))

    def explorers(self, round: int, k: int, rng: np.random.Generator) -> int:
        """Return how many of the cohort explore: ε·k, rounded up or down at random."""
        config = self.config
        share = max(config.exploration_floor, config.exploration * config.exploration_decay ** (round - 1))
        whole, part = divmod(share * k, 1.0)
        return int(whole) + int(rng.random() < part)

    def blacklisted(self, clients: Ids) -> npt.NDArray[np.bool_]:
        """Return which clients took part often enough."""
        limit = self.config.blacklist_rounds
        return self.turns[clients] >= limit if limit else np.zeros(len(clients), np.bool_)

    def exploit(self, round: int, usable: Ids, k: int, preferred: float, rng: np.random.Generator) -> Ids:
        """Return ``k`` of the explored clients, drawn by score among those above the cut-off."""
        if not k:
            return usable[:0]
        score = self.scores(round, usable, preferred)
        admitted = np.flatnonzero(score >= self.config.cutoff * kth_largest(score, k))
        return usable[admitted[draw(score[admitted], k, rng)[0]]]

    def scores(self, round: int, clients: Ids, preferred: float) -> Floats:
        """Return the score of explored clients: scaled utility and staleness bonus, times the straggler penalty."""
        utility = self.utility[clients]
        known = np.isfinite(utility)
        score = np.zeros(len(clients))
        if known.any():
            clipped = np.minimum(utility[known], np.quantile(utility[known], self.config.clip))
            # A thousandth below the lowest, so that the lowest can be drawn too, as the authors' code has it.
            low = 0.999 * clipped.min()
            spread = clipped.max() - low
            if spread > 0:
                score[known] = (clipped - low) / spread
        score += np.sqrt(self.config.staleness * np.log(max(round, 1)) / self.last[clients])
        return score * self.penalty(self.duration[clients].astype(np.float64), preferred)

    def penalty(self, duration: Floats, preferred: float) -> Floats:
        """Return (T/duration)^α for durations above T, one elsewhere."""
        factor = np.ones(len(duration))
        slow = duration > preferred
        factor[slow] = (preferred / duration[slow]) ** self.config.straggler_penalty
        return factor

    def preferred_duration(self) -> float:
        """Return T in seconds: the pacer's percentile of the durations seen; infinite as long as there are none."""
        seen = self.duration[np.isfinite(self.duration)]
        return float(np.percentile(seen, self.percentile)) if len(seen) else float("inf")

    def prior(self, roster: Roster, new: Ids, preferred: float) -> Floats:
        """Return what unexplored clients are drawn in proportion to: samples, times the penalty of their tier."""
        samples = roster.utterances[new].astype(np.float64)
        seen = np.flatnonzero(np.isfinite(self.duration))
        if not len(seen):
            return samples
        tiers = int(roster.tier.max()) + 1
        total = np.bincount(roster.tier[seen], weights=self.duration[seen], minlength=tiers)
        number = np.bincount(roster.tier[seen], minlength=tiers)
        mean = np.divide(total, number, out=np.full(tiers, np.nan), where=number > 0)
        return samples * self.penalty(mean, preferred)[roster.tier[new]]

    def observe(self, feedback: Feedback) -> None:
        """Note utility and duration of who answered and that the others did not; let the pacer decide."""
        clients, missing = feedback.clients, feedback.missing
        self.fit(int(max(clients.max(initial=-1), missing.max(initial=-1))) + 1)
        utility = feedback.utterances * np.sqrt(feedback.loss_square)
        self.utility[clients] = np.where(np.isfinite(utility), utility, np.nan)
        timed = np.isfinite(feedback.duration)
        self.duration[clients[timed]] = feedback.duration[timed]
        self.turns[clients] += 1
        self.utility[missing] *= MISSED
        self.last[clients] = self.last[missing] = feedback.round
        self.achieved += float(utility[np.isfinite(utility)].sum())
        self.observed += 1
        if self.observed >= self.config.pacer_rounds:
            self.pace()

    def pace(self) -> None:
        """Relax T where the window's utility has fallen, and begin the next window."""
        if self.before is not None and self.before > self.achieved:
            self.percentile = min(100.0, self.percentile + self.config.pacer_step)
        self.before, self.achieved, self.observed = self.achieved, 0.0, 0

    def fit(self, clients: int) -> None:
        """Make room for so many clients."""
        self.utility = fitted(self.utility, clients, np.nan)
        self.duration = fitted(self.duration, clients, np.nan)
        self.last = fitted(self.last, clients, 0)
        self.turns = fitted(self.turns, clients, 0)

    def state_dict(self) -> Mapping[str, Any]:
        """Return the pacer, and the columns of the explored clients only."""
        explored = np.flatnonzero(self.last)
        return {
            "percentile": self.percentile,
            "achieved": self.achieved,
            "before": self.before,
            "observed": self.observed,
            "clients": pack(explored.astype(np.int32)),
            **{name: pack(getattr(self, name)[explored]) for name in COLUMNS},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.percentile, self.achieved = float(state["percentile"]), float(state["achieved"])
        self.before, self.observed = state["before"], int(state["observed"])
        explored = unpack(state["clients"])
        for name in COLUMNS:
            setattr(self, name, np.zeros(0, getattr(self, name).dtype))
        self.fit(int(explored.max(initial=-1)) + 1)
        for name in COLUMNS:
            getattr(self, name)[explored] = unpack(state[name])
