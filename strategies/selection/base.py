"""The selection protocol: which devices take part, with which probability, and what is learnt from their replies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from fedasr.data.roster import Roster
from fedasr.errors import InputError
from fedasr.privacy.sampling import Traits
from fedasr.typing import Floats

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Selection:
    """The chosen clients, distinct, and how likely each was to be chosen; columns of shape ``(chosen,)``."""

    clients: Ids
    probabilities: Floats
    """the inclusion probability of each, given the past; NaN where the selector depends on the past in a way that gives
    none"""
    draws: npt.NDArray[np.int64] | None = None
    """with replacement: how often each was drawn; None: once"""
    expected_draws: Floats | None = None
    """with replacement: the expectation of ``draws``; None: the inclusion probabilities"""

    def among(self, roster: Roster) -> Selection:
        """Return the chosen that are selectable now, with the probabilities that they were drawn with."""
        chosen = self.clients
        keep = (roster.utterances[chosen] > 0) & ~roster.excluded[chosen]
        if roster.available is not None:
            keep &= roster.available[chosen]
        return self.only(keep)

    def only(self, keep: npt.NDArray[np.bool_]) -> Selection:
        """Return those of the chosen that are kept, shape ``(chosen,)``, as they were drawn."""
        draws = None if self.draws is None else self.draws[keep]
        expected = None if self.expected_draws is None else self.expected_draws[keep]
        return Selection(self.clients[keep], self.probabilities[keep], draws, expected)

    @property
    def draw_counts(self) -> npt.NDArray[np.int64]:
        """How often each chosen client was drawn."""
        return np.ones(len(self.clients), np.int64) if self.draws is None else self.draws

    @property
    def inverse_weights(self) -> Floats:
        """What makes a sum over the chosen estimate the sum over all without bias.

        1/π without replacement (Horvitz and Thompson 1952), draws over expected draws with replacement (Hansen and
        Hurwitz 1943).
        """
        expected = self.probabilities if self.expected_draws is None else self.expected_draws
        return self.draw_counts / expected


@dataclass(frozen=True)
class Feedback:
    """What the server learnt in a round; columns of shape ``(replies,)``."""

    round: int
    clients: Ids
    train_loss: Floats
    """mean loss over the utterances a client trained on, in nats a token"""
    loss_square: Floats
    """mean of the squared loss over the same utterances"""
    utterances: npt.NDArray[np.int64]
    """how many utterances a client stores, and trained on"""
    duration: Floats
    """simulated seconds that the client took; NaN without a virtual clock: a measured time would make the choice of
    devices depend on the machine that simulates them"""
    missing: Ids
    """the selected clients that did not answer in time, shape ``(missing,)``"""


class Selector(Protocol):
    """Chooses the devices of a round; separate from aggregation and usable with any Flower strategy.

    Where it has an attribute ``traits`` it declares by it what it is (``Traits``): a private run needs that.
    """

    def select(self, round: int, roster: Roster, k: int, rng: np.random.Generator) -> Selection:
        """Return at most ``k`` clients of ``roster.selectable``; who stores nothing or is away is never chosen.

        Only ``Poisson`` may return more: its cohort has ``k`` clients on average.
        """
        ...

    def observe(self, feedback: Feedback) -> None:
        """Learn from the replies of a round."""
        ...

    def state_dict(self) -> Mapping[str, Any]:
        """Return what a checkpoint must hold, as JSON values."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        ...


LossProbe = Callable[[int, Ids], Floats]
"""Asks clients for the loss of the current global model: ``(round, clients) -> losses``, NaN where none answered."""


@runtime_checkable
class Probing(Protocol):
    """A selector that asks devices before it chooses; the server sets ``probe``."""

    probe: LossProbe


@runtime_checkable
class Eligible(Protocol):
    """A selector that draws a cohort of fixed size, uniformly, among some of those that are there."""

    def eligible(self, roster: Roster) -> Ids:
        """Return among whom a cohort is drawn, as a function of the roster alone."""
        ...


def traits_of(selector: object) -> Traits | None:
    """Return what a selector declares of itself; None: nothing.

    Whoever has a ``probe`` reads losses, whatever else it says.

    Raises:
        InputError: its ``traits`` are none.
    """
    traits = getattr(selector, "traits", None)
    if traits is None:
        return None
    if not isinstance(traits, Traits):
        raise InputError(
            f"'traits' of selector {type(selector).__name__} is a {type(traits).__name__}; expected"
            " fedasr.privacy.sampling.Traits"
        )
    return replace(traits, reads_losses=True) if isinstance(selector, Probing) else traits


class Stateless:
    """The half of the protocol that a selector without memory needs."""

    def observe(self, feedback: Feedback) -> None:
        """Learn nothing."""

    def state_dict(self) -> Mapping[str, Any]:
        """Return nothing to keep."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore nothing."""
