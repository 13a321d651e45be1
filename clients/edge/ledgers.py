"""Where a device keeps its privacy ledger: in Flower's state for it in a simulation, in a file on an edge device.

A device's ledger is for life: it holds what the same speech has cost in every run that it was part of, and how many
participations that were. Only the steps, by which noise decays, are counted for each run.
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
from fedasr.protocol import KeptLedger

from .edge_device import EdgeDevice, find_edge_device
from .policy import charged_since, over_budget

EXAMPLE = "example"
"""What participations were of before ledgers said so."""


class LedgerBook(Protocol):
    """Keeps a ledger: its ``ledger``, ``rounds`` and ``steps`` of this run, and ``participations`` in all runs."""

    def locked(self) -> AbstractContextManager[None]:
        """Keep everybody else from the ledger until it is left."""
        ...

    def read(self) -> dict[str, Any]:
        """Return the ledger, empty where nothing was charged yet."""
        ...

    def write(self, state: dict[str, Any]) -> None:
        """Keep the ledger."""
        ...

    def refusal(self, after: Ledger) -> PolicyRefused | None:
        """Return what the device's owner says to a ledger like this; None: it may become so."""
        ...


class StateBook:
    """A ledger in the state that Flower keeps for a client; a checkpoint of a simulation holds it."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def locked(self) -> AbstractContextManager[None]:
        """Do nothing: a simulated client answers one message at a time."""
        return nullcontext()

    def read(self) -> dict[str, Any]:
        """Return the ledger, empty where nothing was charged yet."""
        if KeptLedger.RECORD not in self.context.state:
            return {}
        kept = KeptLedger.from_record(self.context.state[KeptLedger.RECORD], "the client's state")
        ledger = json.loads(kept.ledger)
        counts = {"rounds": kept.rounds, "steps": kept.steps, "participations": kept.rounds}
        return {"ledger": ledger, **counts, "answered": kept.answered}

    def write(self, state: dict[str, Any]) -> None:
        """Keep the ledger."""
        kept = KeptLedger(**{**state, "ledger": json.dumps(state["ledger"])})
        self.context.state[KeptLedger.RECORD] = kept.to_record()

    def refusal(self, after: Ledger) -> PolicyRefused | None:
        """Return None: devices of a simulation have no owner."""
        return None


class FileBook:
    """A ledger in a file of the device; it is on the disk before anything of the round leaves.

    Args:
        edge_device: whose.
        run: what tells a run, also when it is resumed, from others.
        unit: whose presence is hidden.
        delta: of the run.
    """

    def __init__(self, edge_device: EdgeDevice, run: str, unit: str, delta: float) -> None:
        self.edge_device = edge_device
        self.run = run
        self.unit = unit
        self.delta = delta

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Wait until no other process of the device has the ledger open, and keep them from it.

        Raises:
            InputError: the lock's file cannot be made.
        """
        place = self.edge_device.ledger_file.with_name(f".{self.edge_device.ledger_file.name}.lock")
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
        """Return the ledger, empty where nothing was ever charged.

        Raises:
            InputError: the file is damaged. Nothing private is done without it.
        """
        kept = read_object(self.edge_device.ledger_file)
        if not kept:
            return {}
        try:
            here = kept["runs"].get(self.run, {})
            same_unit = [run for run in kept["runs"].values() if run.get("unit", EXAMPLE) == self.unit]
            charged = {name: int(here.get(name, 0)) for name in ("rounds", "steps")}
            return {
                "ledger": kept["ledger"],
                **charged,
                "participations": sum(int(run["rounds"]) for run in same_unit),
                "answered": str(here.get("answered", "")),
            }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"is damaged: {error!r}; restore it from a copy", where=str(self.edge_device.ledger_file)
            ) from None

    def write(self, state: dict[str, Any]) -> None:
        """Keep the ledger.

        Raises:
            PolicyRefused: the owner of the device does not let so much be spent; the ledger stays as it was.
        """
        kept = read_object(self.edge_device.ledger_file)
        after = Ledger()
        after.load_state_dict(state["ledger"])
        run = self.of_run(kept, after)
        self.check(run, after)
        runs = kept.get("runs", {})
        counts = {name: state[name] for name in ("rounds", "steps", "answered")}
        runs[self.run] = {"unit": self.unit, **counts, "ledger": run.state_dict()}
        write_durably(self.edge_device.ledger_file, {"ledger": state["ledger"], "runs": runs})

    def refusal(self, after: Ledger) -> PolicyRefused | None:
        """Return what the device's owner says to a ledger like this; None: it may become so."""
        try:
            self.check(self.of_run(read_object(self.edge_device.ledger_file), after), after)
        except PolicyRefused as refused:
            return refused
        return None

    def check(self, run: Ledger, life: Ledger) -> None:
        """Raise where the owner of the device does not let so much be spent.

        Raises:
            PolicyRefused: naming the limit.
        """
        excess = over_budget(read_policy(self.edge_device.policy), self.delta, run, life)
        if excess is not None:
            name, epsilon, limit = excess
            raise PolicyRefused("ε", f"{epsilon:.3g} after this round", f"at most {limit:g} ({name})")

    def of_run(self, kept: dict[str, Any], after: Ledger) -> Ledger:
        """Return the ledger of the run alone, with what a ledger has more than the one that is kept."""
        ledger = Ledger(after.accountant)
        before = kept.get("runs", {}).get(self.run, {}).get("ledger")
        if before:
            ledger.load_state_dict(before)
        ledger.entries += charged_since(kept.get("ledger"), after)
        return ledger


def lock(descriptor: int) -> None:
    """Wait for the lock of an open file and take it; it falls when the file is closed, or its process dies."""
    if os.name == "posix":
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX)


def find_book(context: Context, config: Config, unit: str) -> LedgerBook:
    """Return where the device of a context keeps its ledger.

    Args:
        context: of the client.
        config: of the run.
        unit: whose presence is hidden.
    """
    edge_device = find_edge_device(context)
    return (
        StateBook(context) if edge_device is None else FileBook(edge_device, run_of(config), unit, config.privacy.delta)
    )


def run_of(config: Config) -> str:
    """Return a digest of what makes a run the same run: its config, however it is executed."""
    tree = to_dict(config)
    tree.pop("runtime")
    tree["data"].pop("cache")
    return hashlib.blake2b(json.dumps(tree, sort_keys=True).encode(), digest_size=12).hexdigest()
