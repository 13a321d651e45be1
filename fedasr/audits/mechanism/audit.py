"""Which attacks a config calls for, and what they say together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fedasr.audits.finding import Finding, Scores, finding_from
from fedasr.audits.mechanism import devices, estimates, examples, shares, users, votes
from fedasr.audits.mechanism.world import World
from fedasr.config import Config
from fedasr.errors import InputError
from fedasr.experiment import as_json, experiment
from fedasr.runtime.launch import settle

ALPHA = 0.001
"""Probability of a false alarm of a whole audit, at most."""


@dataclass(frozen=True)
class Report:
    """What the attacks on a config's mechanisms say."""

    findings: tuple[Finding, ...]
    not_attacked: tuple[str, ...]

    @property
    def contradiction(self) -> bool:
        """Whether one of the attacks contradicts the ledger."""
        return any(finding.contradiction for finding in self.findings)

    @property
    def main(self) -> Finding:
        """The finding of the whole ledger."""
        return next((finding for finding in self.findings if finding.of_ledger), self.findings[0])

    def as_json(self) -> dict[str, Any]:
        """Return what ``fedasr audit mechanism --json`` prints."""
        main = self.main
        return {
            "contradiction": self.contradiction,
            "claim": {
                "epsilon": main.claim,
                "delta": main.delta,
                "unit": main.unit,
                "adjacency": main.adjacency,
                "sampling": main.sampling,
                "clients": main.clients,
                "randomness": main.randomness,
                "of_ledger": main.of_ledger,
            },
            "lower_bound": main.value,
            "method": main.method,
            "canaries": main.inside,
            "findings": [finding.as_json() for finding in self.findings],
            "not_attacked": list(self.not_attacked),
        }


Attack = Callable[[World], Scores]


def audit_mechanism(config: Config, trials: int = 1, seed: int = 0, alpha: float = ALPHA) -> Report:
    """Run the mechanisms of a config on canaries and hold what they release against its own ledger.

    Args:
        config: a checked one.
        trials: how often each attack is repeated, with other draws.
        seed: of the attacks.
        alpha: probability of a false alarm, at most, shared out among the attacks.

    Raises:
        InputError: the config has no privacy, or its population cannot be known.
    """
    if config.privacy.unit == "none" and config.strategy.name != "pate":
        raise InputError(
            "'privacy.unit' is 'none', so there is no ledger to audit; set it to user or example, or strategy.name=pate"
        )
    settled = settle(config)
    world = World(settled, experiment(as_json(settled)), seed, trials)
    attacks, not_attacked = attacks_on(settled)
    each = alpha / len(attacks)
    randomness = "secret" if settled.privacy.secret_noise else "public seed"
    findings = (
        finding_from(attack(world), settled.privacy.delta, each, world.population, randomness) for attack in attacks
    )
    return Report(tuple(findings), tuple(not_attacked))


def attacks_on(config: Config) -> tuple[list[Attack], list[str]]:
    """Return the attacks on a settled config, and what none of them looks at."""
    privacy, pate = config.privacy, config.pate
    if config.strategy.name == "pate":
        attacks: list[Attack] = [votes.tie_attack]
        missed = ["the data-dependent ε: the claim is the one that holds whatever the votes", "the student's training"]
        if config.secure_aggregation.mode != "none":
            missed.append(
                "a server that departs from the protocol, and teachers that tell it their shares of the noise"
            )
        elif pate.noise_at == "teachers":
            missed.append("a server that looks at single answers, each with a share of the noise alone")
        elif pate.mechanism == "confident-gnmax":
            attacks.append(votes.consensus_attack)
        return attacks, missed
    if privacy.unit == "example":
        missed = ["the per-sample gradients of the model's layers: a stand-in has gradients that are known"]
        if privacy.micro_batches is not None:
            return [examples.step_attack], [*missed, "the whole run: with micro-batches single steps alone"]
        return [examples.run_attack, examples.step_attack], missed
    if privacy.noise_at == "device":
        return [devices.turns_attack], ["the device's own ledger, which refuses participations beyond the budget"]
    if privacy.noise_at == "shares":
        missed = ["a server that departs from the protocol", "clients that tell it their shares of the noise"]
        return [shares.sum_attack], missed
    missed = ["the noisy count of unclipped updates"] if privacy.clipping == "adaptive" else []
    attacks = [users.run_attack, users.release_attack]
    estimate = config.evaluate.estimate
    if estimate.every and estimate.noise_multiplier:
        attacks.append(estimates.sums_attack)
    elif estimate.every:
        missed.append("estimates of the error rate, whose sums have no noise")
    return attacks, missed
