"""Small private worlds, one for each mechanism that FedASR ships, and the attack on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from fedasr.audits.finding import Scores, alarmed
from fedasr.audits.mechanism import devices, estimates, examples, shares, users, votes
from fedasr.audits.mechanism.world import World
from fedasr.config import load
from fedasr.experiment import Experiment

ALPHA = 0.001
MODEL = {"name": "ctc", "encoder": "lstm", "channels": [4, 8], "hidden": 8, "layers": 1}
DATA = {
    "corpus": "synthetic",
    "synthetic": {
        "grammar": "keywords",
        "speakers": 200,
        "utterances_per_speaker": 6,
        "test_speakers": 2,
        "activity": "constant",
    },
}
USERS = {"unit": "user", "noise_multiplier": 1.0, "clip_norm": 0.5}
SHARES: dict[str, Any] = {
    "rounds": 4,
    "selection": {"name": "uniform", "clients_per_round": 8},
    "secure_aggregation": {"mode": "simulate", "bits": 16, "least_clients": 4},
    "privacy": {**USERS, "noise_at": "shares"},
}
ROBIN = {"name": "round-robin", "clients_per_round": 50, "separation": 4}

EXAMPLE = {"unit": "example", "noise_multiplier": 1.0, "clip_norm": 0.5}
CORRELATED: dict[str, Any] = {"selection": ROBIN}
ESTIMATES: dict[str, Any] = {
    "privacy": USERS,
    "evaluate": {"by": ["gender"], "estimate": {"every": 1, "words": 50, "noise_multiplier": 1.0}},
}
CASES: dict[str, tuple[Callable[[World], Scores], dict[str, Any]]] = {
    "users, flat": (users.run_attack, {"privacy": USERS}),
    "users, per-layer": (users.run_attack, {"privacy": {**USERS, "clipping": "per-layer"}}),
    "users, adaptive": (users.run_attack, {"privacy": {**USERS, "clipping": "adaptive"}}),
    "users, fixed size": (
        users.run_attack,
        {"privacy": USERS, "selection": {"name": "uniform", "clients_per_round": 40}},
    ),
    "users, round robin": (users.run_attack, {"privacy": USERS, **CORRELATED}),
    "users, banded": (users.run_attack, {"privacy": {**USERS, "noise": "banded", "bands": 4}, **CORRELATED}),
    "users, tree": (users.run_attack, {"privacy": {**USERS, "noise": "tree"}, **CORRELATED}),
    "users, one release": (users.release_attack, {"privacy": USERS}),
    "users, one release of fixed size": (
        users.release_attack,
        {"privacy": USERS, "selection": {"name": "uniform", "clients_per_round": 40}},
    ),
    "users, estimates": (estimates.sums_attack, ESTIMATES),
    "users, estimates, one user exchanged": (
        estimates.sums_attack,
        {**ESTIMATES, "selection": {"name": "uniform", "clients_per_round": 40}},
    ),
    "shares": (shares.sum_attack, SHARES),
    "devices": (devices.turns_attack, {"privacy": {**USERS, "noise_at": "device"}}),
    "examples, flat": (examples.run_attack, {"privacy": EXAMPLE, "client": {"batch_size": 2}}),
    "examples, automatic": (
        examples.run_attack,
        {"privacy": {**EXAMPLE, "clipping": "automatic"}, "client": {"batch_size": 2}},
    ),
    "examples, decaying noise by layer": (
        examples.run_attack,
        {"privacy": {**EXAMPLE, "clipping": "per-layer", "noise_decay": 0.8}, "client": {"batch_size": 2}},
    ),
    "examples, one step": (examples.step_attack, {"privacy": EXAMPLE}),
    "examples, micro-batches": (examples.step_attack, {"privacy": {**EXAMPLE, "micro_batches": 2}}),
}


@lru_cache(maxsize=1)
def clients() -> Experiment:
    """Return an experiment that knows its clients, made once: all worlds have the same."""
    made = Experiment(load({"data": DATA, "model": MODEL}))
    assert len(made.partition) == 200
    made.roster()
    return made


def world(seed: int = 0, rounds: int = 8, **sections: Any) -> World:
    """Return the world of a config without looking at its speech again."""
    tree: dict[str, Any] = {
        "rounds": rounds,
        "data": DATA,
        "model": MODEL,
        "strategy": {"weighting": "uniform"},
        "selection": {"name": "poisson", "clients_per_round": 40},
    }
    config = load(tree | sections)
    experiment = Experiment(config)
    experiment.__dict__.update({k: v for k, v in clients().__dict__.items() if k not in ("config", "fleet")})
    experiment.__dict__.pop("stream", None)
    return World(config, experiment, seed)


PATE: dict[str, dict[str, Any]] = {
    "gnmax": {"mechanism": "gnmax", "scale": 6.0},
    "lnmax": {"mechanism": "lnmax", "scale": 6.0},
    "confident": {"mechanism": "confident-gnmax", "scale": 6.0, "threshold": 100.0, "threshold_scale": 6.0},
    "soft-gaussian": {"mechanism": "soft-gaussian", "scale": 6.0},
    "soft-laplace": {"mechanism": "soft-laplace", "scale": 6.0},
    "teachers": {"mechanism": "gnmax", "scale": 6.0, "noise_at": "teachers"},
    "teachers, laplace": {"mechanism": "lnmax", "scale": 6.0, "noise_at": "teachers"},
    "teachers, sums": {"mechanism": "gnmax", "scale": 6.0, "noise_at": "teachers"},
}


SUMS = {"secure_aggregation": {"mode": "simulate", "least_clients": 20}}
"""Of the votes of at least so many teachers, and as many shares of noise."""


def voting(name: str = "", **pate: Any) -> World:
    """Return a world of teachers."""
    sums = SUMS if name.endswith("sums") else {}
    return world(strategy={"name": "pate"}, privacy={"unit": "teacher"}, pate={"queries": 30, **pate}, **sums)


def mechanisms() -> Iterator[tuple[str, Callable[[World], Scores], World]]:
    """Yield every shipped mechanism with an attack on it and a world in which it runs."""
    for name, (attack, sections) in CASES.items():
        yield name, attack, world(**sections)
    for name, pate in PATE.items():
        yield f"votes, {name}", votes.tie_attack, voting(name, **pate)
    yield "votes, confident, whether a query is answered", votes.consensus_attack, voting(**PATE["confident"])


def caught(attack: Callable[[World], Scores], base: World, seeds: int, alpha: float = ALPHA) -> float:
    """Return in which share of seeds an attack contradicts the ledger."""
    return float(np.mean([alarmed(attack(replace(base, seed=seed)), alpha) for seed in range(seeds)]))
