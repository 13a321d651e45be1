"""The rounds of a config with its real selector, clip, sum, noise and ledger; clients send nothing, canary users do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fedasr.audits.canaries import Watched, beside_ledger
from fedasr.audits.finding import Finding
from fedasr.flower.messages import assume_identity
from fedasr.runtime.canary_rows import CanaryRound
from fedasr.strategies.aggregation.factory import make_aggregate
from fedasr.strategies.canaries import CanaryUsers, make_canaries
from fedasr.strategies.population import Population
from fedasr.strategies.privacy.factory import make_mechanism
from fedasr.strategies.rounds import RoundResult, clipped_weighting
from studies.audit_worlds import world

ALPHA = 0.001


@dataclass
class Rehearsed:
    """What a rehearsal left."""

    config: Any
    seen: list[CanaryRound]
    results: list[RoundResult]
    mechanism: Any
    canaries: CanaryUsers

    @property
    def watched(self) -> Watched:
        """What the attacker saw."""
        return Watched(
            np.array([each.products for each in self.seen], np.float64),
            np.array([each.turns for each in self.seen]),
            self.canaries.signs.astype(np.float64),
            np.array([[each.probability] for each in self.seen]),
            np.array([[each.noise_multiplier] for each in self.seen]),
        )

    def findings(self, alpha: float = ALPHA) -> list[Finding]:
        """Return what it says beside the ledger."""
        return beside_ledger(self.config, self.watched, self.mechanism.ledger, alpha)

    @property
    def contradicted(self) -> bool:
        """Whether the ledger is."""
        return any(finding.contradiction for finding in self.findings())


def rehearse(seed: int = 0, canaries: int = 200, updates: Any = None, **sections: Any) -> Rehearsed:
    """Run a config's rounds.

    Args:
        seed: of the run.
        canaries: ``audit.canaries``.
        updates: what clients send, from a generator and the number of parameters; None: nothing but zeros.
        sections: of the config, as of ``world``.
    """
    audit = {"canaries": canaries, **sections.pop("audit", {})}
    base = world(audit=audit, **sections).of_trial(seed)
    config, layout = base.config, base.layout
    population = Population(base.experiment, 0, 0, no_losses)
    mechanism = make_mechanism(config, layout, len(population), population.selector)
    users = make_canaries(config, layout, population.clients, mechanism)
    assert users is not None
    assume_identity()
    start, rng = np.zeros(layout.size, np.float32), np.random.default_rng(seed)
    seen, results = [], []
    for number in range(1, config.rounds + 1):
        waited = population.begin(number)
        assert mechanism.stop(number, population.roster) is None
        cohort = population.choose(number, waited)
        mechanism.admit(cohort.selection, number)
        clients, inserted = users.split(cohort)
        weighting = clipped_weighting(config, len(population))
        mean = make_aggregate(config.strategy, layout, start, weighting, mechanism.clip(), None)  # type: ignore[arg-type]
        result = RoundResult(mean, weighting=weighting)
        for client in clients.answering.tolist():
            update = start if updates is None else updates(rng, layout.size)
            size = mean.rule.add(mean.sum, start, layout.views(update), 1)
            mean.count(1, size)
            result.rows.append({"id": client, "client": str(client), "status": "ok"})
        users.add(number, inserted, result, population.roster, mechanism)
        one = users.seen(number, mechanism.release(result, number, len(population)))
        assert one is not None
        seen.append(one)
        results.append(result)
    return Rehearsed(config, seen, results, mechanism, users)


def no_losses(round: int, clients: Any) -> Any:
    raise AssertionError("nobody asks for losses")
