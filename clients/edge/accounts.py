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

from .box import Box, find_box
from .files import read_object, write_durably

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


class FileBook:
    """An account in a file of the box; it is on the disk before anything of the round leaves.

    Args:
        box: whose.
        run: what tells a run, also when it is resumed, from others.
    """

    def __init__(self, box: Box, run: str) -> None:
        self.box = box
        self.run = run

    def read(self) -> dict[str, Any]:
        """Return the account, empty where nothing was ever charged.

        Raises:
            InputError: the file is damaged. Nothing private is done without it.
        """
        kept = read_object(self.box.account)
        if not kept:
            return {}
        return {"ledger": kept["ledger"], **kept["runs"].get(self.run, {"rounds": 0, "steps": 0})}

    def write(self, account: dict[str, Any]) -> None:
        """Keep the account."""
        runs = read_object(self.box.account).get("runs", {})
        runs[self.run] = {"rounds": account["rounds"], "steps": account["steps"]}
        write_durably(self.box.account, {"ledger": account["ledger"], "runs": runs})


def find_book(context: Context, config: Config) -> AccountBook:
    """Return where the device of a context keeps its account."""
    box = find_box(context)
    return StateBook(context) if box is None else FileBook(box, run_of(config))


def run_of(config: Config) -> str:
    """Return a digest of what makes a run the same run: its config, however it is executed."""
    tree = to_dict(config)
    tree.pop("runtime")
    tree["data"].pop("cache")
    return hashlib.blake2b(json.dumps(tree, sort_keys=True).encode(), digest_size=12).hexdigest()
