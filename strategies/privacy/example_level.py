"""Example-level privacy as the server sees it: every device keeps its own ledger and tells what it says.

The server adds nothing: what it gets is protected already. It selects no device again whose budget is spent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr.config import Config
from fedasr.data.roster import Roster
from fedasr.models.weights import Vector
from fedasr.privacy.document import privacy_document
from fedasr.privacy.example_level import Plan, events, noise_multipliers
from fedasr.privacy.ledger import Budget, Ledger

from ..rounds import RoundResult
from .base import Public, note_of

NOTE = (
    "each device keeps its own ledger: ε is the largest of them and holds for one utterance of any device; how many"
    " utterances a device stores, the population, is taken to be public; all utterances of a user together are not"
    " protected by it; a device that was asked for a round and never answered counts as if it had paid for it"
)


class ExampleLevel(Public):
    """The devices' ledgers.

    Args:
        config: with ``privacy.unit: example``.
    """

    def __init__(self, config: Config) -> None:
        self.run = config
        self.config = config.privacy
        self.epsilons: dict[int, float] = {}
        """client → ε it has spent"""
        self.spent: set[int] = set()
        self.largest: dict[str, Any] | None = None
        """the ledger of the client that has spent most"""
        self.deployed = config.runtime.name == "deployment"
        """whether a device that does not answer may have paid: a simulated one that fails is as it was before"""
        self.ledgers: dict[int, dict[str, Any]] = {}
        """edge device → its ledger, as it last told"""
        self.unheard: dict[int, list[int]] = {}
        """edge device → the rounds that it was asked for since, and has not told of"""
        self.stored: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        """utterances of each client"""
        epsilon = config.privacy.epsilon
        self.budget = None if epsilon is None else Budget(epsilon, config.privacy.delta, "example")

    @property
    def excluded(self) -> npt.NDArray[np.int64]:
        """The clients whose budget is spent."""
        return np.array(sorted(self.spent), np.int64)

    def stop(self, round: int, roster: Roster) -> str | None:
        """Stop where no device is left that could take part."""
        self.stored = roster.utterances
        if len(self.spent) and not np.any((roster.utterances > 0) & ~roster.excluded):
            return f"every device has spent its privacy budget after {round - 1} rounds"
        return None

    def release(self, result: RoundResult, round: int, registered: int) -> Vector | None:
        """Note what the devices' ledgers say; return the mean of their updates."""
        self.lost([row["id"] for row in result.rows if row["id"] not in result.statements], round)
        # In the order of the clients: of equal accounts the first is told, whoever answered first.
        for client, statement in sorted(result.statements.items()):
            if self.deployed:
                self.unheard.pop(client, None)
                self.ledgers[client] = json.loads(statement.ledger)
            if statement.rounds:
                before = max(self.epsilons.values(), default=0.0)
                self.epsilons[client] = float(statement.epsilon)
                if self.largest is None or self.epsilons[client] > before:
                    self.largest = json.loads(statement.ledger)
            if statement.spent:
                self.spent.add(client)
        return super().release(result, round, registered)

    def lost(self, clients: Sequence[int], round: int) -> None:
        """Count a round that edge devices may have paid for without the server having heard of it."""
        if self.deployed:
            for client in clients:
                self.unheard.setdefault(client, []).append(round)

    def supposed(self) -> dict[int, Ledger]:
        """Return the ledgers of the edge devices as they are if what was asked for and not heard of was paid for."""
        return {client: self.supposed_of(client, rounds) for client, rounds in self.unheard.items()}

    def supposed_of(self, client: int, rounds: Sequence[int]) -> Ledger:
        """Return the ledger of a device that may have taken part in more rounds; what it cannot afford it refuses."""
        ledger = Ledger(self.config.accountant or "rdp", secret=self.config.secret_noise)
        if client in self.ledgers:
            ledger.load_state_dict(self.ledgers[client])
        # Of an edge device that never said what it holds the worst is supposed: one utterance, which is in every step.
        stored = int(self.stored[client]) if client < len(self.stored) else 0
        plan, steps = Plan.of(self.run, max(1, stored)), 0
        for round in rounds:
            before = ledger.state_dict()
            noise = noise_multipliers(self.run, plan, steps)
            for event in events(noise, plan.sampling_probability, self.config.micro_batches is not None):
                ledger.charge(event, released="update", population=plan.utterances, round=round, seen_by="server")
            steps += plan.steps
            if self.budget is not None and self.epsilon_of(ledger) > self.budget.epsilon:
                ledger.load_state_dict(before)
                break
        return ledger

    def epsilon_of(self, ledger: Ledger) -> float:
        """Return ε of an account."""
        return ledger.epsilon(self.config.delta, "example", "server")

    def all_epsilons(self) -> dict[int, float]:
        """Return client → ε, with what may have been paid unheard of."""
        return self.epsilons | {client: self.epsilon_of(ledger) for client, ledger in self.supposed().items()}

    def epsilon(self) -> float:
        """Return the largest ε of a device so far."""
        return max(self.all_epsilons().values(), default=0.0)

    def document(self) -> dict[str, Any]:
        """Return the content of ``privacy.json``: of the device that spent most, and how ε is spread over all."""
        ledger = Ledger(self.config.accountant or "rdp")
        if self.largest is not None:
            ledger.load_state_dict(self.largest)
        for supposed in self.supposed().values():
            if self.epsilon_of(supposed) > self.epsilon_of(ledger):
                ledger = supposed
        epsilons = self.all_epsilons()
        document = privacy_document(
            ledger,
            self.config.delta,
            budget=self.budget,
            clients=[epsilons[client] for client in sorted(epsilons)],
        )
        return {"note": note_of(NOTE, self.run), "clients_spent": len(self.spent), **document}

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold, as JSON values."""
        return {
            "epsilons": {str(client): epsilon for client, epsilon in self.epsilons.items()},
            "spent": sorted(self.spent),
            "largest": self.largest,
            "ledgers": {str(client): ledger for client, ledger in self.ledgers.items()},
            "unheard": {str(client): rounds for client, rounds in self.unheard.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state_dict``."""
        self.epsilons = {int(client): float(epsilon) for client, epsilon in state["epsilons"].items()}
        self.spent = set(map(int, state["spent"]))
        self.largest = state["largest"]
        self.ledgers = {int(client): ledger for client, ledger in state.get("ledgers", {}).items()}
        self.unheard = {int(client): list(rounds) for client, rounds in state.get("unheard", {}).items()}
