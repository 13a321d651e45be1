"""A right ledger never alarms, whatever the mechanism."""

from __future__ import annotations

import numpy as np
import pytest

from fedasr.audits.mechanism import users, votes
from fedasr.privacy.pate.analysis import VoteMechanism, analyse
from fedasr.privacy.pate.noise import noise
from studies.audit_worlds import CASES, PATE, caught, voting, world
from tests.tiers import examples as fewer

SHORT = ("users, flat", "users, banded")
THOROUGH = ("users, adaptive", "users, fixed size", "devices", "examples, flat", "shares")


def mark(name: str) -> pytest.MarkDecorator | tuple[()]:
    """Return the tier of a case: one of each mechanism is enough for the second."""
    return () if name in SHORT else pytest.mark.thorough if name in THOROUGH else pytest.mark.slow


@pytest.mark.parametrize("name", [pytest.param(name, marks=mark(name)) for name in CASES])
def test_no_contradiction(name: str) -> None:
    attack, sections = CASES[name]
    seeds = fewer(10) if attack in (users.run_attack, users.release_attack) else 2  # the others take seconds each
    assert caught(attack, world(**sections), seeds) == 0.0


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.thorough if n in ("gnmax", "teachers") else pytest.mark.slow) for n in PATE],
)
def test_no_contradiction_of_votes(name: str) -> None:
    attacks = [votes.tie_attack] + [votes.consensus_attack] * (name == "confident")
    for attack in attacks:
        assert caught(attack, voting(name, **PATE[name]), 1) == 0.0


def test_a_broken_tie_leaks_four_fifths_of_what_is_accounted() -> None:
    """σ = 10, 100 queries: μ = 1.13 of the 1.414 that are charged, by the noise of the aggregator."""
    rng = np.random.default_rng(0)
    sums = []
    for side in range(2):
        counts = np.full(4, 0.0) + np.array([24.0, 24.0, 0.0, 0.0]) + np.eye(4)[side]
        labels = (counts + noise("gnmax", 10.0, (8000, 100, 4), rng)).argmax(-1)
        sums.append(((labels == 0) * 1.0 - (labels == 1)).sum(1))
    mu = (sums[0].mean() - sums[1].mean()) / np.sqrt((sums[0].var() + sums[1].var()) / 2)
    assert mu == pytest.approx(1.13, abs=0.05)
    event = analyse(np.tile([25.0, 24.0, 0.0, 0.0], (100, 1)), VoteMechanism("gnmax", 10.0), 1e-5).event()
    charged = np.array(event.rdp_data_independent) / np.array(event.orders)
    assert np.sqrt(2 * charged) == pytest.approx(np.sqrt(2.0))
