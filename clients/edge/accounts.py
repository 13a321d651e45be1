"""Where a device keeps its privacy account: in Flower's state for it in a simulation, in a file on a box.

A box's account is for life: it holds what the same utterances have cost in every run that they were part of. How often
the box took part, which decides on its noise and on ``privacy.participations``, is counted for each run.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Protocol

from flwr.app import ConfigRecord, Context

from fedasr.config import Config, to_dict
from fedasr.edge.policy import PolicyRefused, read_policy
from fedasr.privacy.ledger import Ledger

from .box import Box, find_box
from .files import read_object, write_durably
from .policy import charged_since, over_budget

RECORD = "privacy"
"""of the client's state, and of what it replies"""


class AccountBook(Protocol):
    """Keeps an account: its ``ledger`` and the ``rounds`` and ``steps`` that were charged in this run."""

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

    def read(self) -> dict[str, Any]:
        """Return the account, empty where nothing was charged yet."""
        kept = self.context.state.get(RECORD)
        if not isinstance(kept, ConfigRecord):
            return {}
        return {
            "ledger": json.loads(str(kept["ledger"])),
            "rounds": int(str(kept["rounds"])),
            "steps": int(str(kept["steps"])),
        }

    def write(self, account: dict[str, Any]) -> None:
        """Keep the account."""
        self.context.state[RECORD] = ConfigRecord({**account, "ledger": json.dumps(account["ledger"])})

    def refusal(self, after: Ledger) -> PolicyRefused | None:
        """Return None: devices of a simulation have no owner."""
        return None


class FileBook:
    """An account in a file of the box; it is on the disk before anything of the round leaves.

    Args:
        box: whose.
        run: what tells a run, also when it is resumed, from others.
        delta: of the run.
    """

    def __init__(self, box: Box, run: str, delta: float) -> None:
        self.box = box
        self.run = run
        self.delta = delta

    def read(self) -> dict[str, Any]:
        """Return the account, empty where nothing was ever charged.

        Raises:
            InputError: the file is damaged. Nothing private is done without it.
        """
        kept = read_object(self.box.account)
        if not kept:
            return {}
        turns = kept["runs"].get(self.run, {"rounds": 0, "steps": 0})
        return {"ledger": kept["ledger"], "rounds": turns["rounds"], "steps": turns["steps"]}

    def write(self, account: dict[str, Any]) -> None:
        """Keep the account.

        Raises:
            PolicyRefused: the owner of the box does not let so much be spent; the account stays as it was.
        """
        kept = read_object(self.box.account)
        after = Ledger()
        after.load_state_dict(account["ledger"])
        run = self.of_run(kept, after)
        self.check(run, after)
        runs = kept.get("runs", {})
        runs[self.run] = {"rounds": account["rounds"], "steps": account["steps"], "ledger": run.state_dict()}
        write_durably(self.box.account, {"ledger": account["ledger"], "runs": runs})

    def refusal(self, after: Ledger) -> PolicyRefused | None:
        """Return what the box's owner says to an account like this; None: it may become so."""
        try:
            self.check(self.of_run(read_object(self.box.account), after), after)
        except PolicyRefused as refused:
            return refused
        return None

    def check(self, run: Ledger, life: Ledger) -> None:
        """Raise where the owner of the box does not let so much be spent.

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


def find_book(context: Context, config: Config) -> AccountBook:
    """Return where the device of a context keeps its account."""
    box = find_box(context)
    return StateBook(context) if box is None else FileBook(box, run_of(config), config.privacy.delta)


def run_of(config: Config) -> str:
    """Return a digest of what makes a run the same run: its config, however it is executed."""
    tree = to_dict(config)
    tree.pop("runtime")
    tree["data"].pop("cache")
    return hashlib.blake2b(json.dumps(tree, sort_keys=True).encode(), digest_size=12).hexdigest()
