"""Example-level privacy as the server sees it: every device keeps its own account and tells what it says.

The server adds nothing: what it gets is protected already. It selects no device again whose budget is spent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr.config import Config
from fedasr.data.roster import Roster
from fedasr.models.weights import Vector
from fedasr.privacy.document import privacy_document
from fedasr.privacy.ledger import Budget, Ledger

from ..rounds import RoundResult
from .base import Public

NOTE = (
    "each device keeps its own account: ε is the largest of them and holds for one utterance of any device; how much a"
    " device stores, the population, is taken to be public; all utterances of a user together are not protected by it"
)


class ExampleLevel(Public):
    """The devices' accounts.

    Args:
        config: with ``privacy.unit: example``.
    """

    def __init__(self, config: Config) -> None:
        self.config = config.privacy
        self.epsilons: dict[int, float] = {}
        """client → ε it has spent"""
        self.spent: set[int] = set()
        self.largest: dict[str, Any] | None = None
        """the ledger of the client that has spent most"""
        epsilon = config.privacy.epsilon
        self.budget = None if epsilon is None else Budget(epsilon, config.privacy.delta, "example")

    @property
    def retired(self) -> npt.NDArray[np.int64]:
        """The clients whose budget is spent."""
        return np.array(sorted(self.spent), np.int64)

    def stop(self, round: int, roster: Roster) -> str | None:
        """Stop where no device is left that could take part."""
        if len(self.spent) and not np.any((roster.utterances > 0) & ~roster.retired):
            return f"every device has spent its privacy budget after {round - 1} rounds"
        return None

    def release(self, result: RoundResult, round: int, selectable: int) -> Vector | None:
        """Note what the devices' accounts say; return the mean of their updates."""
        # In the order of the clients: of equal accounts the first is told, whoever answered first.
        for client, statement in sorted(result.statements.items()):
            if statement["rounds"]:
                before = self.epsilon()
                self.epsilons[client] = float(statement["epsilon"])
                if self.largest is None or self.epsilons[client] > before:
                    self.largest = json.loads(str(statement["ledger"]))
            if statement["spent"]:
                self.spent.add(client)
        return super().release(result, round, selectable)

    def epsilon(self) -> float:
        """Return the largest ε of a device so far."""
        return max(self.epsilons.values(), default=0.0)

    def document(self) -> dict[str, Any]:
        """Return the content of ``privacy.json``: of the device that spent most, and how ε is spread over all."""
        ledger = Ledger(self.config.accountant or "rdp")
        if self.largest is not None:
            ledger.load_state_dict(self.largest)
        found = privacy_document(
            ledger,
            self.config.delta,
            budget=self.budget,
            clients=[self.epsilons[client] for client in sorted(self.epsilons)],
        )
        return {"note": NOTE, "clients_spent": len(self.spent), **found}

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold, as JSON values."""
        return {
            "epsilons": {str(client): epsilon for client, epsilon in self.epsilons.items()},
            "spent": sorted(self.spent),
            "largest": self.largest,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state_dict``."""
        self.epsilons = {int(client): float(epsilon) for client, epsilon in state["epsilons"].items()}
        self.spent = set(map(int, state["spent"]))
        self.largest = state["largest"]
