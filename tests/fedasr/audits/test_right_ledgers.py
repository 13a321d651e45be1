"""A right ledger never alarms, whatever the mechanism."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fedasr.audits.finding import Scores
from fedasr.audits.mechanism import devices, examples, users, votes
from fedasr.audits.mechanism.world import World
from tests.fedasr.audits.worlds import ROBIN, USERS, caught, world
from tests.tiers import examples as fewer

EXAMPLE = {"unit": "example", "noise_multiplier": 1.0, "clip_norm": 0.5}
CORRELATED: dict[str, Any] = {"selection": ROBIN}
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
SHORT = ("users, flat", "users, banded", "examples, micro-batches")


@pytest.mark.parametrize(
    "name", [name if name in SHORT else pytest.param(name, marks=pytest.mark.thorough) for name in CASES]
)
def test_no_contradiction(name: str) -> None:
    attack, sections = CASES[name]
    assert caught(attack, world(**sections), fewer(10)) == 0.0


PATE: dict[str, dict[str, Any]] = {
    "gnmax": {"mechanism": "gnmax", "scale": 6.0},
    "lnmax": {"mechanism": "lnmax", "scale": 6.0},
    "confident": {"mechanism": "confident-gnmax", "scale": 6.0, "threshold": 100.0, "threshold_scale": 6.0},
    "soft-gaussian": {"mechanism": "soft-gaussian", "scale": 6.0},
    "soft-laplace": {"mechanism": "soft-laplace", "scale": 6.0},
    "teachers": {"mechanism": "gnmax", "scale": 6.0, "noise_at": "teachers"},
    "teachers, laplace": {"mechanism": "lnmax", "scale": 6.0, "noise_at": "teachers"},
}


def voting(**pate: Any) -> World:
    """Return a world of teachers."""
    return world(strategy={"name": "pate"}, privacy={"unit": "teacher"}, pate={"queries": 30, **pate})


@pytest.mark.thorough
@pytest.mark.parametrize("name", PATE)
def test_no_contradiction_of_votes(name: str) -> None:
    attacks = [votes.tie_attack] + [votes.consensus_attack] * (name == "confident")
    for attack in attacks:
        assert caught(attack, voting(**PATE[name]), 2) == 0.0
