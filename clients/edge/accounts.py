"""Where a device keeps its privacy account: in Flower's state for it in a simulation, in a file on an edge device.

A device's account is for life: it holds what the same speech has cost in every run that it was part of, and how many
turns that were. Only the steps, by which noise decays, are counted for each run.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

from flwr.app import Context

from fedasr.config import Config, to_dict
from fedasr.edge.policy import PolicyRefused, read_policy
from fedasr.errors import InputError
from fedasr.files import read_object, write_durably
from fedasr.privacy.ledger import Ledger
from fedasr.protocol import KeptAccount

from .box import Box, find_box
from .policy import charged_since, over_budget

EXAMPLE = "example"
"""What turns were of before accounts said so."""


class AccountBook(Protocol):
    """Keeps an account: its ``ledger``, the ``rounds`` and ``steps`` charged in this run, the ``turns`` of any run."""

    def locked(self) -> AbstractContextManager[None]:
        """Keep everybody else from the account until it is left."""
        ...

    def read(self) -> dict[str, Any]:
        """Return the account, empty where nothing was charged yet."""
        ...

    def write(self, account: dict[str, Any]) -> None:
        """Keep the account."""
        ...

    def refusal(self, after: Ledger) -> PolicyRefused | None:
        """Return what the device's owner says to an account like this; None: it may become so."""
        ...


class StateBook:
    """An account in the state that Flower keeps for a client; a checkpoint of a simulation holds it."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def locked(self) -> AbstractContextManager[None]:
        """Do nothing: a simulated client answers one message at a time."""
        return nullcontext()

    def read(self) -> dict[str, Any]:
        """Return the account, empty where nothing was charged yet."""
        if KeptAccount.RECORD not in self.context.state:
            return {}
        kept = KeptAccount.from_record(self.context.state[KeptAccount.RECORD], "the client's state")
        ledger = json.loads(kept.ledger)
        counts = {"rounds": kept.rounds, "steps": kept.steps, "turns": kept.rounds}
        return {"ledger": ledger, **counts, "answered": kept.answered}

    def write(self, account: dict[str, Any]) -> None:
        """Keep the account."""
        kept = KeptAccount(**{**account, "ledger": json.dumps(account["ledger"])})
        self.context.state[KeptAccount.RECORD] = kept.to_record()

    def refusal(self, after: Ledger) -> PolicyRefused | None:
        """Return None: devices of a simulation have no owner."""
        return None


class FileBook:
    """An account in a file of the device; it is on the disk before anything of the round leaves.

    Args:
        box: whose.
        run: what tells a run, also when it is resumed, from others.
        unit: whose presence is hidden.
        delta: of the run.
    """

    def __init__(self, box: Box, run: str, unit: str, delta: float) -> None:
        self.box = box
        self.run = run
        self.unit = unit
        self.delta = delta

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Wait until no other process of the device has the account open, and keep them from it.

        Raises:
            InputError: the lock's file cannot be made.
        """
        place = self.box.account.with_name(f".{self.box.account.name}.lock")
        try:
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(place, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise InputError(f"cannot be made: {error.strerror}; nothing private is done", where=str(place)) from None
        try:
            lock(descriptor)
            yield
        finally:
            os.close(descriptor)

    def read(self) -> dict[str, Any]:
        """Return the account, empty where nothing was ever charged.

        Raises:
            InputError: the file is damaged. Nothing private is done without it.
        """
        kept = read_object(self.box.account)
        if not kept:
            return {}
        try:
            here = kept["runs"].get(self.run, {})
            turns = sum(int(run["rounds"]) for run in kept["runs"].values() if run.get("unit", EXAMPLE) == self.unit)
            found = {name: int(here.get(name, 0)) for name in ("rounds", "steps")}
            return {"ledger": kept["ledger"], **found, "turns": turns, "answered": str(here.get("answered", ""))}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"is damaged: {error!r}; restore it from a copy", where=str(self.box.account)) from None

    def write(self, account: dict[str, Any]) -> None:
        """Keep the account.

        Raises:
            PolicyRefused: the owner of the device does not let so much be spent; the account stays as it was.
        """
        kept = read_object(self.box.account)
        after = Ledger()
        after.load_state_dict(account["ledger"])
        run = self.of_run(kept, after)
        self.check(run, after)
        runs = kept.get("runs", {})
        counts = {name: account[name] for name in ("rounds", "steps", "answered")}
        runs[self.run] = {"unit": self.unit, **counts, "ledger": run.state_dict()}
        write_durably(self.box.account, {"ledger": account["ledger"], "runs": runs})

    def refusal(self, after: Ledger) -> PolicyRefused | None:
        """Return what the device's owner says to an account like this; None: it may become so."""
        try:
            self.check(self.of_run(read_object(self.box.account), after), after)
        except PolicyRefused as refused:
            return refused
        return None

    def check(self, run: Ledger, life: Ledger) -> None:
        """Raise where the owner of the device does not let so much be spent.

        Raises:
            PolicyRefused: naming the limit.
        """
        found = over_budget(read_policy(self.box.policy), self.delta, run, life)
        if found is not None:
            name, epsilon, limit = found
            raise PolicyRefused("ε", f"{epsilon:.3g} after this round", f"at most {limit:g} ({name})")

    def of_run(self, kept: dict[str, Any], after: Ledger) -> Ledger:
        """Return the ledger of the run alone, with what an account has more than the one that is kept."""
        found = Ledger(after.accountant)
        before = kept.get("runs", {}).get(self.run, {}).get("ledger")
        if before:
            found.load_state_dict(before)
        found.entries += charged_since(kept.get("ledger"), after)
        return found


def lock(descriptor: int) -> None:
    """Wait for the lock of an open file and take it; it falls when the file is closed, or its process dies."""
    if os.name == "posix":
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX)


def find_book(context: Context, config: Config, unit: str) -> AccountBook:
    """Return where the device of a context keeps its account.

    Args:
        context: of the client.
        config: of the run.
        unit: whose presence is hidden.
    """
    box = find_box(context)
    return StateBook(context) if box is None else FileBook(box, run_of(config), unit, config.privacy.delta)


def run_of(config: Config) -> str:
    """Return a digest of what makes a run the same run: its config, however it is executed."""
    tree = to_dict(config)
    tree.pop("runtime")
    tree["data"].pop("cache")
    return hashlib.blake2b(json.dumps(tree, sort_keys=True).encode(), digest_size=12).hexdigest()
