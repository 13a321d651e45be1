"""The population of a run: what the devices store, who is there, who is selected, and how long they take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr import seeds
from fedasr.config import Config
from fedasr.data.roster import Roster
from fedasr.errors import RunFailed
from fedasr.experiment import Experiment
from fedasr.privacy.randomness import Randomness
from fedasr.runtime.clock import Clock, Closing, audio_to_train
from fedasr.typing import Floats

from .client_groups import client_groups
from .selection import Feedback, Selection, make_selector, traits_of
from .selection.base import Ids, LossProbe, Probing, Selector

MessageBytes = int | Callable[[int, Ids], npt.NDArray[np.int64]]
FORWARD_SHARE = 1 / 3
"""A loss without a gradient costs about a third of a training step."""


@dataclass(frozen=True)
class Cohort:
    """The devices of a round."""

    selection: Selection
    """all that were selected"""
    closing: Closing | None
    """whose answers count, where there is a virtual clock; None: everybody's"""
    waited_s: float = 0.0
    """simulated seconds before the round: until somebody was there, and until the selector had its answers"""

    def of(self, wanted: Callable[[Ids], npt.NDArray[np.bool_]]) -> Cohort:
        """Return those of the devices that are wanted, in a round that lasts as long.

        Args:
            wanted: says of devices which are, shape ``(n,)``.
        """
        closing = self.closing
        if closing is not None:
            accepted = wanted(closing.accepted)
            closing = replace(
                closing,
                accepted=closing.accepted[accepted],
                durations=closing.durations[accepted],
                late=closing.late[wanted(closing.late)],
                dropped=closing.dropped[wanted(closing.dropped)],
            )
        return replace(self, selection=self.selection.only(wanted(self.selection.clients)), closing=closing)

    @property
    def answering(self) -> Ids:
        """Whose answers count."""
        return self.selection.clients if self.closing is None else self.closing.accepted

    @property
    def seconds(self) -> float:
        """Simulated seconds of the whole round; NaN without a virtual clock."""
        return float("nan") if self.closing is None else self.waited_s + self.closing.seconds

    def duration(self) -> dict[int, float]:
        """Return the simulated seconds of every device whose answer counts."""
        if self.closing is None:
            return {}
        return dict(zip(self.closing.accepted.tolist(), self.closing.durations.tolist(), strict=True))


class Population:
    """Follows the devices through a run; the canary users of an audit are the last of them.

    Args:
        experiment: what is trained on what.
        message_bytes: what a device is sent; a function where that depends on the round and the device.
        reply_bytes: about what it sends back.
        probe: asks devices for the loss of the current global model.
    """

    def __init__(self, experiment: Experiment, message_bytes: MessageBytes, reply_bytes: int, probe: LossProbe) -> None:
        config = experiment.config
        self.experiment = experiment
        self.config = config
        self.message_bytes = message_bytes
        self.reply_bytes = reply_bytes
        self.roster = experiment.roster()
        self.stream = experiment.stream
        self.period = 0
        self.clients = len(experiment.partition)
        """how many of the devices are none of a canary user"""
        names = [*experiment.partition.names, *canary_names(config.audit.canaries)]
        self.clock = Clock(config.devices, config.seed, names) if config.devices.clock else None
        if self.clock is not None:
            self.roster.tier = self.clock.devices.tier
        if config.selection.by is not None:
            self.roster.group[: self.clients] = client_groups(experiment, config.selection.by, "selection.by")[1]
        self.selector = make_selector(config.selection)
        self.registered = registered_only(config, self.selector, len(self.roster))
        """what the selector sees instead of the roster, where what devices hold must not matter; None: it may"""
        self.secret = Randomness.secret() if config.privacy.secret_noise else None
        """where cohorts are drawn from that nobody may know; None: from the seed"""
        self.probe = probe
        self.asked_s = 0.0
        if isinstance(self.selector, Probing):
            self.selector.probe = self.ask

    def __len__(self) -> int:
        """Return the number of devices."""
        return len(self.roster)

    def begin(self, round: int) -> float:
        """Bring what is stored and who is there up to a round; return the simulated seconds until somebody was there.

        Where all are excluded nobody is waited for.

        Raises:
            RunFailed: nobody ever is.
        """
        period = self.stream.period_of_round(round)
        if period != self.period:
            self.roster.store(*self.experiment.counts(period))
            self.period = period
        if self.clock is None:
            return 0.0
        waited = 0.0
        self.roster.attend(self.clock.available())
        wanted = (self.roster.utterances > 0) & ~self.roster.excluded
        if not len(self.roster.selectable) and wanted.any():
            waited = self.clock.wait(wanted)
            self.roster.attend(self.clock.available())
        return waited

    def choose(self, round: int, waited: float) -> Cohort:
        """Return the devices of a round that has begun; simulated time stands at its end."""
        k = self.config.selection.clients_per_round
        self.asked_s = 0.0
        wanted = k if self.clock is None else self.clock.selected(k)
        seen = self.roster if self.registered is None else self.registered
        selection = self.selector.select(round, seen, wanted, self.draws(round))
        check_distinct(selection, len(self), round)
        if self.registered is not None:
            # Its place stays empty: the probabilities of the others must not depend on who is there and holds speech.
            selection = selection.among(self.roster)
        if self.clock is None:
            return Cohort(selection, None)
        self.clock.advance(self.asked_s)
        clients = selection.clients
        audio = audio_to_train(self.config.client, self.roster.utterances[clients], self.roster.seconds[clients])
        sent = self.sent_bytes(round, clients)
        closing = self.clock.plan(round, clients, k, audio, sent, self.reply_bytes)
        self.clock.advance(closing.seconds)
        return Cohort(selection, closing, waited + self.asked_s)

    def sent_bytes(self, round: int, clients: Ids) -> int | npt.NDArray[np.int64]:
        """Return how many bytes each of some devices is sent in a round, or one number for all."""
        return self.message_bytes(round, clients) if callable(self.message_bytes) else self.message_bytes

    def draws(self, round: int) -> np.random.Generator:
        """Return where the cohort of a round is drawn from; the same for a round that is run again."""
        if self.secret is not None:
            return self.secret.generator("selection", round)
        return seeds.generator(self.config.seed, "selection", round)

    def ask(self, round: int, clients: Ids) -> Floats:
        """Answer the selector's question and note how long the slowest device takes for it."""
        sent = self.sent_bytes(round, clients) if self.clock is not None else 0
        losses = self.probe(round, clients)
        if self.clock is not None and len(clients):
            seconds, utterances = self.roster.seconds[clients], self.roster.utterances[clients]
            if self.config.selection.probe == "batch":
                seconds = seconds * np.minimum(1.0, self.config.client.batch_size / np.maximum(utterances, 1))
            audio = FORWARD_SHARE * seconds
            spent = self.clock.devices.durations(round, clients, audio, sent, 0)
            self.asked_s += float(spent.max())
        return losses

    def observe(self, feedback: Feedback) -> None:
        """Note who took part, in the roster and for the selector; in a private run no selector learns a loss."""
        if self.config.privacy.unit != "none":
            unknown = np.full(len(feedback.clients), np.nan)
            feedback = replace(feedback, train_loss=unknown, loss_square=unknown)
        self.roster.note(feedback.round, feedback.clients, feedback.train_loss, feedback.duration)
        if self.registered is None:
            self.selector.observe(feedback)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold, as JSON values; the roster's memory is in the journals."""
        return {
            "selector": dict(self.selector.state_dict()),
            "clock": {} if self.clock is None else self.clock.state_dict(),
            "secret": None if self.secret is None else self.secret.key.hex(),
        }

    def load_state_dict(self, state: Mapping[str, Any], round: int) -> None:
        """Go on after a round."""
        self.selector.load_state_dict(state["selector"])
        if self.secret is not None and state.get("secret"):
            self.secret = Randomness(bytes.fromhex(state["secret"]), True)
        if self.clock is not None:
            self.clock.load_state_dict(state["clock"])
        self.period = self.stream.period_of_round(round)
        self.roster.store(*self.experiment.counts(self.period))


def canary_names(count: int) -> list[str]:
    """Return what the canary users are called, where tables and messages name them."""
    return [f"canary user {number}" for number in range(count)]


def registered_only(config: Config, selector: Selector, clients: int) -> Roster | None:
    """Return a roster that says nothing of its devices but how many are registered; None: the selector may see more.

    ε for users rests on how cohorts are drawn. A selector that does not declare to look at what devices hold is shown
    nothing of it: a probability that follows from who holds speech, or is there, would change with one user.
    """
    privacy = config.privacy
    if privacy.unit != "user" or privacy.noise_at != "server":
        return None
    traits = traits_of(selector)
    if traits is None or traits.reads_activity:
        return None
    return Roster.from_counts(np.ones(clients, np.int64), np.ones(clients))


def check_distinct(selection: Selection, clients: int, round: int) -> None:
    """Raise where a selector names a device twice, or one that there is not.

    Raises:
        RunFailed: nothing of the round was sent.
    """
    chosen = selection.clients
    if len(np.unique(chosen)) < len(chosen) or np.any((chosen < 0) | (chosen >= clients)):
        raise RunFailed(
            f"round {round}: the selector chose a client twice, or one that does not exist; it must choose each of the"
            f" {clients} at most once"
        )
