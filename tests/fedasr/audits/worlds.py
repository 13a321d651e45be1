"""Small private worlds for the audits of mechanisms, and what catches a broken one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from fedasr.audits.finding import Scores, alarmed
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


def caught(attack: Callable[[World], Scores], base: World, seeds: int, alpha: float = ALPHA) -> float:
    """Return in which share of seeds an attack contradicts the ledger."""
    return float(np.mean([alarmed(attack(replace(base, seed=seed)), alpha) for seed in range(seeds)]))
