"""A device's own privacy ledger: what its speech has cost in all that it was asked for, whatever the server counts.

Every mechanism of which a device does a part is charged here: DP-SGD, noise on updates, votes of a teacher. It outlasts
messages, checkpoints and restarts, wherever the device keeps it, and it believes nothing of a server: the same question
asked again is another participation, and on an edge device so is one in a run of another name.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from flwr.app import Context

from fedasr.config import Config
from fedasr.privacy.events import Event
from fedasr.privacy.ledger import Ledger
from fedasr.protocol import Statement

from .edge.ledgers import LedgerBook, find_book

SEEN_BY = {"example": "server", "user": "server", "teacher": "everyone"}
"""Noise that the device adds to what it sends protects from the server as well; that on votes, from who sees labels."""
RELEASED = {"example": "update", "user": "update", "teacher": "votes"}
ACCOUNTANTS = {"example": "rdp", "user": "pld", "teacher": "rdp"}
"""Who computes ε where the config does not say: as the server does."""


@contextmanager
def opened(context: Context, config: Config) -> Iterator[DeviceLedger]:
    """Open the ledger of the device of a context, or a new one; nobody else reads or charges it meanwhile.

    Args:
        context: of the client.
        config: of a run whose noise the device adds, or in which it is a teacher.

    Raises:
        InputError: the ledger is damaged, or cannot be locked.
    """
    unit = unit_of(config)
    book = find_book(context, config, unit)
    with book.locked():
        yield DeviceLedger(book, config, unit)


def unit_of(config: Config) -> str:
    """Return whose presence a device's noise hides."""
    return "teacher" if config.strategy.name == "pate" else config.privacy.unit


class DeviceLedger:
    """A ledger that was read; ``charge`` writes it.

    Args:
        book: where it is kept.
        config: of the run.
        unit: of what is charged.

    Raises:
        InputError: the ledger is damaged.
    """

    def __init__(self, book: LedgerBook, config: Config, unit: str) -> None:
        self.privacy = config.privacy
        self.unit = unit
        self.book = book
        accountant = self.privacy.accountant or ACCOUNTANTS[unit]
        self.ledger = Ledger(accountant, secret=self.privacy.secret_noise)
        self.rounds = 0
        """rounds of this run that were charged"""
        self.steps = 0
        """steps of this run that were charged"""
        self.participations = 0
        """rounds of any run that were charged to this unit"""
        self.answered = ""
        """digest of the question that was answered last, where its answer is the same each time"""
        kept = self.book.read()
        if kept:
            self.ledger.load_state_dict(kept["ledger"])
            self.ledger.accountant = accountant
            self.rounds, self.steps, self.participations = kept["rounds"], kept["steps"], kept["participations"]
            self.answered = kept["answered"]

    @property
    def epsilon(self) -> float:
        """What was spent so far, at ``privacy.delta``."""
        return self.ledger.epsilon(self.privacy.delta, self.unit, SEEN_BY[self.unit])

    def affords(self, events: Sequence[Event]) -> bool:
        """Say whether one more round of these events stays within the budget and the number of rounds.

        Both are those of the device's lifetime: a server that calls its run otherwise finds the same ledger.
        """
        if self.privacy.participations is not None and self.participations >= self.privacy.participations:
            return False
        after = self.after(events)
        if (refused := self.book.refusal(after)) is not None:
            print(refused, file=sys.stderr, flush=True)
            return False
        if self.privacy.epsilon is None:
            return True
        return after.epsilon(self.privacy.delta, self.unit, SEEN_BY[self.unit]) <= self.privacy.epsilon

    def after(self, events: Sequence[Event]) -> Ledger:
        """Return the ledger as it would be after one more round of these events."""
        ledger = Ledger(self.ledger.accountant, list(self.ledger.entries), secret=self.ledger.secret)
        for event in events:
            ledger.charge(event, released=RELEASED[self.unit], population=1, seen_by=SEEN_BY[self.unit])
        return ledger

    def charge(self, events: Sequence[Event], population: int, round: int, answered: str = "") -> None:
        """Enter a round, and keep the ledger; before anything of the round leaves the device.

        Args:
            events: of the round.
            population: how many units there are on the device.
            round: as the server counts it.
            answered: digest of the question, where the same question has the same answer.
        """
        for event in events:
            self.ledger.charge(
                event,
                released=RELEASED[self.unit],
                population=population,
                round=round,
                seen_by=SEEN_BY[self.unit],
            )
        self.rounds += 1
        self.participations += 1
        self.steps += sum(event.steps for event in events)
        self.answered = answered
        self.book.write(
            {
                "ledger": self.ledger.state_dict(),
                "rounds": self.rounds,
                "steps": self.steps,
                "answered": self.answered,
            }
        )

    def statement(self, spent: bool) -> Statement:
        """Return what the device tells of its ledger; none of it depends on what was said.

        Args:
            spent: whether the device cannot afford another round like the last.
        """
        return Statement(self.epsilon, spent, self.rounds, json.dumps(self.ledger.state_dict()))
