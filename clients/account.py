"""A device's own privacy account: what its utterances have cost in all the rounds that it joined.

It outlasts messages, checkpoints and restarts, wherever the device keeps it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from flwr.app import ConfigRecord, Context

from fedasr.config import Config
from fedasr.privacy.events import Event
from fedasr.privacy.ledger import Ledger

from .edge.accounts import RECORD, find_book

__all__ = ["RECORD", "Account"]

SEEN_BY = "server"
"""Noise that the device adds protects from the server as well."""


class Account:
    """Opens the account of the device of a context, or a new one.

    Args:
        context: of the client.
        config: with ``privacy.unit: example``.

    Raises:
        InputError: the account is damaged.
    """

    def __init__(self, context: Context, config: Config) -> None:
        self.privacy = config.privacy
        self.book = find_book(context, config)
        self.ledger = Ledger(self.privacy.accountant or "rdp")
        self.rounds = 0
        """rounds that were charged"""
        self.steps = 0
        """steps that were charged"""
        kept = self.book.read()
        if kept:
            self.ledger.load_state_dict(kept["ledger"])
            self.rounds, self.steps = kept["rounds"], kept["steps"]

    @property
    def epsilon(self) -> float:
        """What was spent so far, at ``privacy.delta``."""
        return self.ledger.epsilon(self.privacy.delta, "example", SEEN_BY)

    def affords(self, events: Sequence[Event]) -> bool:
        """Say whether one more round of these events stays within the budget and the number of rounds."""
        if self.privacy.participations is not None and self.rounds >= self.privacy.participations:
            return False
        after = self.after(events)
        if (refused := self.book.refusal(after)) is not None:
            print(refused, file=sys.stderr, flush=True)
            return False
        if self.privacy.epsilon is None:
            return True
        return after.epsilon(self.privacy.delta, "example", SEEN_BY) <= self.privacy.epsilon

    def after(self, events: Sequence[Event]) -> Ledger:
        """Return the ledger as it would be after one more round of these events."""
        found = Ledger(self.ledger.accountant, list(self.ledger.entries))
        for event in events:
            found.charge(event, released="update", population=1, seen_by=SEEN_BY)
        return found

    def charge(self, events: Sequence[Event], utterances: int, round: int) -> None:
        """Enter a round, and keep the account; before anything of the round leaves the device."""
        for event in events:
            self.ledger.charge(event, released="update", population=utterances, round=round, seen_by=SEEN_BY)
        self.rounds += 1
        self.steps += sum(event.steps for event in events)
        self.book.write({"ledger": self.ledger.state_dict(), "rounds": self.rounds, "steps": self.steps})

    def statement(self, spent: bool) -> ConfigRecord:
        """Return what the device tells of its account; none of it depends on what was said.

        Args:
            spent: whether the device cannot afford another round like the last.
        """
        ledger = json.dumps(self.ledger.state_dict())
        return ConfigRecord({"epsilon": self.epsilon, "spent": spent, "rounds": self.rounds, "ledger": ledger})
