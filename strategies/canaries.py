"""Canary users of a run: selected as all others, sent nothing, and loud; what is released is compared with them.

Each has a direction of its own. Its update, far longer than the clip norm, enters the aggregate by the rule of all
others. One Walsh–Hadamard transform of what is released gives its product with every direction, also with those of
canaries that take no part. The attacker knows what all others sent, and takes it off.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr import seeds
from fedasr.audits.device_protection import protected
from fedasr.config import Config
from fedasr.data.roster import Roster
from fedasr.models.weights import Layout, Vector
from fedasr.privacy.audit.canaries import LARGEST_ENTRY, Canaries, clip_weights
from fedasr.protocol import Metric, Status
from fedasr.runtime.canary_rows import CanaryRound
from fedasr.typing import Floats

from .aggregation.base import UpdateRefused
from .aggregation.exact_mean import ExactMean
from .population import Cohort, canary_names
from .privacy.base import Mechanism
from .privacy.device_noise import DeviceNoise
from .privacy.user_level import UserLevel
from .rounds import RoundResult
from .selection.base import Ids

LOUD = 100.0
"""Clip norms that a canary sends: far beyond what is to be clipped, and little enough that a run whose clip is broken
comes to its end, and says so."""
HELD_OUT = 20_000
"""Canaries that take no part, at most, where ``audit.held_out`` says nothing."""
FEWEST, MOST_ROWS = 1000, 4_000_000
"""In a long run they are fewer, so that all rounds together have about so many rows."""


def held_out(config: Config) -> int:
    """Return how many canaries take no part, where the model has room for as many."""
    if config.audit.held_out is not None:
        return config.audit.held_out
    return max(FEWEST, min(HELD_OUT, MOST_ROWS // max(1, config.rounds)))


class CanaryUsers(ABC):
    """The canary users of a run; what they send and what is seen of it depends on who adds noise.

    Args:
        config: of the run, with ``audit.canaries`` above 0.
        layout: of the model.
        clients: how many users are none of them; their numbers come first.
        weights: of each scalar of a direction, shape ``(parameters,)``.
    """

    def __init__(self, config: Config, layout: Layout, clients: int, weights: Floats) -> None:
        self.config = config
        self.layout = layout
        self.clients = clients
        self.inserted = config.audit.canaries
        seed = int(seeds.generator(config.seed, "canary-directions").integers(2**62))
        self.directions = Canaries(layout.size, seed, weights)
        room = self.directions.count - self.inserted
        self.count = self.inserted + min(held_out(config), room)
        self.names = canary_names(self.inserted)
        self.signs = np.ones(self.inserted, np.int8)
        self.start = np.zeros(layout.size, np.float32)

    def split(self, cohort: Cohort) -> tuple[Cohort, Cohort]:
        """Return the clients of a cohort and its canary users."""
        return cohort.of(lambda ids: ids < self.clients), cohort.of(lambda ids: ids >= self.clients)

    def add(self, round: int, cohort: Cohort, result: RoundResult, roster: Roster, mechanism: Mechanism) -> None:
        """Add the updates of canary users to the aggregate of a round.

        Args:
            round: counted from 1.
            cohort: of canary users alone.
            result: with the updates of all others, changed in place.
            roster: of the registered users.
            mechanism: of the run, before it has released anything of the round.
        """
        self.prepare(result, mechanism)
        self.turns = np.zeros(self.inserted, np.bool_)
        answering = set(cohort.answering.tolist())
        late = set() if cohort.closing is None else set(cohort.closing.late.tolist())
        assert result.weighting is not None
        for client in cohort.selection.clients.tolist():
            number, stored = client - self.clients, int(roster.utterances[client])
            status, reason = Status.OK, None
            if client in answering:
                metrics = {Metric.EXAMPLES: stored, Metric.AUDIO: int(1000 * roster.seconds[client])}
                arrays = self.layout.views(self.update(round, number, client))
                weight = result.weighting.weight(client, metrics)
                try:
                    size = result.mean.rule.add(result.mean.sum, self.start, arrays, weight)
                except UpdateRefused as error:
                    status, reason = Status.FAILED, str(error)
                else:
                    result.mean.count(weight, size)
                    self.taken_in(number)
            else:
                status = Status.LATE if client in late else Status.DROPPED
            result.canaries.append(self.row(round, client, stored, status, reason))

    def row(self, round: int, client: int, stored: int, status: str, reason: str | None) -> dict[str, Any]:
        """Return what a selector and a ledger are told of a canary user in a round."""
        nothing = float("nan")
        return {
            "round": round,
            "client": self.names[client - self.clients],
            "id": client,
            "examples": stored,
            "train_loss": nothing,
            "loss_square": nothing,
            "duration_s": nothing,
            "skipped": 0,
            "status": status,
            "reason": reason,
        }

    def taken_in(self, number: int) -> None:
        """Note that the update of a canary user is in the aggregate."""
        self.turns[number] = True

    def partners(self) -> npt.NDArray[np.int64]:
        """Return the inserted canary with whose turns each that is held out is scored, shape ``(held out,)``."""
        return np.arange(self.count - self.inserted) % self.inserted

    def with_partners(self, turns: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Return the turns of all canaries: one that is held out has those of its partner, which say nothing of it."""
        return np.concatenate([turns, turns[self.partners()]])

    def expected(self, number: int) -> Floats:
        """Return what a canary adds to the sum in clip norms, if all is right, shape ``(parameters,)``."""
        return float(self.signs[number]) * self.directions.vector(number)

    @abstractmethod
    def prepare(self, result: RoundResult, mechanism: Mechanism) -> None:
        """Look at what all others have added, before canary users add theirs."""

    @abstractmethod
    def update(self, round: int, number: int, client: int) -> Vector:
        """Return what a canary user sends, shape ``(parameters,)``."""

    @abstractmethod
    def seen(self, round: int, released: Vector | None) -> CanaryRound | None:
        """Return what the release of a round shows of each canary; None: nothing was released."""


class BesideServerNoise(CanaryUsers):
    """Canary users where the server adds noise to the sum: seen is each release, less what all others added."""

    def __init__(self, config: Config, layout: Layout, clients: int, mechanism: UserLevel) -> None:
        style = "flat" if mechanism.adaptive else config.privacy.clipping
        super().__init__(config, layout, clients, clip_weights(layout, 1.0, style))
        self.mechanism = mechanism
        registered = clients + self.inserted
        self.cohort = float(min(config.selection.clients_per_round, registered))
        if mechanism.sampling(registered).adjacency == "replace-one":
            coins = seeds.generator(config.seed, "canary-coins").integers(0, 2, self.inserted)
            self.signs = (2 * coins - 1).astype(np.int8)

    def prepare(self, result: RoundResult, mechanism: Mechanism) -> None:
        """Note the clip norm of the round, and what all others have added, in clip norms."""
        assert isinstance(result.mean, ExactMean)
        assert self.mechanism.expected is not None
        self.bound = self.mechanism.bound
        self.probability = self.mechanism.expected.probability
        self.others = result.mean.exact() * (self.cohort / self.bound)

    def update(self, round: int, number: int, client: int) -> Vector:
        """Return an update that is far too long."""
        length = self.bound * min(LOUD, LARGEST_ENTRY / (self.bound * float(self.directions.weights.max())))
        self.clipped = self.expected(number)
        return (length * self.clipped).astype(np.float32)

    def taken_in(self, number: int) -> None:
        """Note what the update adds, if it is clipped."""
        super().taken_in(number)
        self.others += self.clipped

    def seen(self, round: int, released: Vector | None) -> CanaryRound | None:
        """Return the products with what is left of the release; a canary's own update is no part of the others'."""
        assert released is not None
        left = released.astype(np.float64) * (self.cohort / self.bound) - self.others
        products = self.directions.products(left)[: self.count]
        products[: self.inserted] += self.turns * self.signs
        return CanaryRound(
            round,
            self.probability,
            self.mechanism.update_noise_multiplier,
            self.signs,
            self.with_partners(self.turns),
            products.astype(np.float32),
        )


class BehindDeviceNoise(CanaryUsers):
    """Canary users whose updates go through the protection of a device: seen is each of them by itself."""

    def __init__(self, config: Config, layout: Layout, clients: int) -> None:
        super().__init__(config, layout, clients, clip_weights(layout, 1.0, config.privacy.clipping))

    def prepare(self, result: RoundResult, mechanism: Mechanism) -> None:
        """Forget the round before."""
        self.products = np.zeros(self.count, np.float32)

    def update(self, round: int, number: int, client: int) -> Vector:
        """Return an update as it leaves the device, and note its products."""
        bound = self.config.privacy.clip_norm
        length = bound * min(LOUD, LARGEST_ENTRY / (bound * float(self.directions.weights.max())))
        expected = self.expected(number)
        sent = protected(self.config, self.layout, self.start, (length * expected).astype(np.float32), round, client)
        products = self.directions.products(sent.astype(np.float64) / bound - expected)[: self.count]
        products[number] += 1.0
        mine = np.concatenate([np.arange(self.inserted), self.partners()]) == number
        self.products[mine] = products[mine]
        return sent

    def seen(self, round: int, released: Vector | None) -> CanaryRound | None:
        """Return the products of the updates of the round."""
        noise = self.config.privacy.noise_multiplier
        assert noise is not None
        return CanaryRound(round, 1.0, noise, self.signs, self.with_partners(self.turns), self.products)


class Unprotected(CanaryUsers):
    """Canary users without privacy, as long as the longest update of a round: seen is the mean update alone."""

    def __init__(self, config: Config, layout: Layout, clients: int) -> None:
        super().__init__(config, layout, clients, clip_weights(layout, 1.0, "flat"))

    def prepare(self, result: RoundResult, mechanism: Mechanism) -> None:
        """Note how long the longest update is."""
        self.length = result.norm

    def update(self, round: int, number: int, client: int) -> Vector:
        """Return an update of that length."""
        return (self.length * self.expected(number)).astype(np.float32)

    def seen(self, round: int, released: Vector | None) -> CanaryRound | None:
        """Return the products with the mean update, in standard deviations of those with a random direction."""
        if released is None:
            return None
        length = float(np.linalg.norm(released.astype(np.float64))) or 1.0
        products = self.directions.products(released)[: self.count] * (np.sqrt(self.layout.size) / length)
        turns = self.with_partners(self.turns)
        return CanaryRound(round, 1.0, float("nan"), self.signs, turns, products.astype(np.float32))


def make_canaries(config: Config, layout: Layout, clients: int, mechanism: Mechanism) -> CanaryUsers | None:
    """Return the canary users of a run; None: it has none.

    Args:
        config: of the run.
        layout: of the model.
        clients: how many users are none of them.
        mechanism: of the run.
    """
    if not config.audit.canaries:
        return None
    if isinstance(mechanism, UserLevel):
        return BesideServerNoise(config, layout, clients, mechanism)
    if isinstance(mechanism, DeviceNoise):
        return BehindDeviceNoise(config, layout, clients)
    assert config.privacy.unit == "none", "the rules of section audit refuse other mechanisms"
    return Unprotected(config, layout, clients)


def took_turns(row: dict[str, Any], clients: int) -> Ids:
    """Return which canary users took part in a round, by their numbers as users, from a line of the journal."""
    seen = CanaryRound.of_row(row)
    return np.flatnonzero(seen.turns[: len(seen.signs)]) + clients
