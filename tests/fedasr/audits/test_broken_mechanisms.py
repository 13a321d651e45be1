"""Faults in the real code that an audit must see; each is put into the function that runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from fedasr.audits.mechanism import devices, estimates, examples, shares, users, votes
from fedasr.clients.mods import device_noise
from fedasr.evaluation import private_sums
from fedasr.evaluation.private_sums import PrivateSums
from fedasr.privacy import dpsgd
from fedasr.privacy.correlated.banded import BandedToeplitz
from fedasr.privacy.correlated.coefficients import optimised
from fedasr.privacy.events import MicroBatchGaussian
from fedasr.privacy.gradients.clipping import Flat
from fedasr.privacy.pate import noise as vote_noise
from fedasr.privacy.randomness import with_normal
from fedasr.privacy.skellam import skellam
from fedasr.privacy.update_clipping import Clip
from fedasr.secure import coders
from fedasr.secure.votes import VoteCoder
from fedasr.strategies import rounds
from fedasr.strategies.aggregation.weighting import Weighting
from fedasr.strategies.pate import aggregator
from fedasr.strategies.privacy import user_level
from fedasr.strategies.selection import Selection
from fedasr.strategies.selection.drawing import draw_uniformly
from fedasr.strategies.selection.poisson import Poisson
from studies.audit_worlds import ESTIMATES, EXAMPLE, ROBIN, SHARES, USERS, caught, voting, world
from tests.tiers import examples as fewer

SEEDS = fewer(10)
Patch = pytest.MonkeyPatch


def halved(values: Any, scale: float, draws: Any) -> Any:
    return with_normal(values, scale / 2, draws)


@pytest.mark.thorough
@pytest.mark.parametrize("clipping", ["flat", "adaptive"])
def test_server_that_halves_its_noise(monkeypatch: Patch, clipping: str) -> None:
    monkeypatch.setattr(user_level, "with_normal", halved)
    base = world(privacy={**USERS, "clipping": clipping})
    assert caught(users.release_attack, base, SEEDS) >= 0.9
    assert caught(users.run_attack, base, SEEDS) >= 0.9


@pytest.mark.thorough
def test_server_that_halves_the_noise_of_estimates(monkeypatch: Patch) -> None:
    monkeypatch.setattr(user_level, "with_normal", halved)
    assert caught(estimates.sums_attack, world(**ESTIMATES), SEEDS) >= 0.9


@pytest.mark.thorough
def test_estimates_in_which_a_device_counts_for_twice_its_words(monkeypatch: Patch) -> None:
    bounded = private_sums.bounded
    monkeypatch.setattr(private_sums, "bounded", lambda count, words: bounded(count, 2 * words))
    assert caught(estimates.sums_attack, world(**ESTIMATES), SEEDS) >= 0.9


@pytest.mark.thorough
def test_estimates_whose_groups_are_not_paid_for(monkeypatch: Patch) -> None:
    """The sensitivity of all speech alone, where a device counts in a group of each of three columns too."""
    monkeypatch.setattr(PrivateSums, "sensitivity", PrivateSums([], 1).sensitivity)
    columns = {"by": ["gender", "accent", "speaker"], "estimate": ESTIMATES["evaluate"]["estimate"]}
    assert caught(estimates.sums_attack, world(**{**ESTIMATES, "evaluate": columns}), SEEDS) >= 0.9


@pytest.mark.thorough
def test_server_that_does_not_clip(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Clip, "apply", lambda self, update: None)
    assert caught(users.run_attack, world(privacy=USERS), SEEDS) >= 0.9
    assert caught(users.release_attack, world(privacy=USERS), SEEDS) >= 0.9


@pytest.mark.thorough
def test_denominator_of_the_realised_cohort(monkeypatch: Patch) -> None:
    """Random directions hardly see it; all others against one do."""
    monkeypatch.setattr(rounds, "clipped_weighting", lambda config, registered: Weighting("uniform", {}, 40.0, None))
    assert caught(users.release_attack, world(privacy=USERS), SEEDS) >= 0.9


def louder(self: Any, round: int, roster: Any, k: int, rng: np.random.Generator) -> Selection:
    """Choose twice as many as a Poisson selector may, and say that it was as many as it may."""
    chosen = draw_uniformly(len(roster), 2 * k, rng)
    return Selection(chosen, np.full(2 * k, k / len(roster)))


@pytest.mark.thorough
def test_selector_that_draws_twice_as_often_as_it_says(monkeypatch: Patch) -> None:
    """The server's own check reads what the selector says."""
    monkeypatch.setattr(Poisson, "select", louder)
    assert caught(users.run_attack, world(rounds=24, privacy={**USERS, "noise_multiplier": 0.6}), SEEDS) >= 0.9


@pytest.mark.thorough
def test_ledger_that_forgets_every_second_round(monkeypatch: Patch) -> None:
    charge = user_level.UserLevel.charge

    def forgetful(self: Any, round: int, population: int) -> None:
        if round % 2:
            charge(self, round, population)

    monkeypatch.setattr(user_level.UserLevel, "charge", forgetful)
    base = world(
        rounds=24,
        privacy={**USERS, "noise_multiplier": 2.0},
        selection={**ROBIN, "separation": 1, "clients_per_round": 200},
    )
    assert caught(users.run_attack, base, SEEDS) >= 0.9


@pytest.mark.thorough
def test_bands_beyond_the_separation(monkeypatch: Patch) -> None:
    """Turns whose noise overlaps are not orthogonal, and are charged as if they were."""

    def noise(config: Any) -> BandedToeplitz:
        result = BandedToeplitz(optimised(16, config.rounds), 16)
        result.separation = 2
        return result

    base = world(
        rounds=24,
        privacy={**USERS, "noise": "banded", "bands": 2, "noise_multiplier": 3.0},
        selection={**ROBIN, "clients_per_round": 100, "separation": 2},
    )
    monkeypatch.setattr(user_level, "noise_of", noise)
    assert caught(users.run_attack, base, SEEDS) >= 0.9


@pytest.mark.slow
def test_device_that_halves_its_noise(monkeypatch: Patch) -> None:
    monkeypatch.setattr(device_noise, "with_normal", halved)
    assert caught(devices.turns_attack, world(privacy={**USERS, "noise_at": "device"}), 2) == 1.0


@pytest.mark.slow
def test_device_that_does_not_clip(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Clip, "apply", lambda self, update: None)
    assert caught(devices.turns_attack, world(privacy={**USERS, "noise_at": "device"}), 2) == 1.0


@pytest.mark.thorough
def test_share_that_is_half_of_what_it_should_be(monkeypatch: Patch) -> None:
    monkeypatch.setattr(coders, "skellam", lambda rng, variance, count: skellam(rng, variance / 4, count))
    assert caught(shares.sum_attack, world(**SHARES), 1) == 1.0


@pytest.mark.thorough
def test_shares_that_are_counted_on_and_not_there(monkeypatch: Patch) -> None:
    """A server that opens sums of one update, where its ledger counts on four shares."""
    monkeypatch.setattr(shares, "least_updates", lambda config: 1)
    assert caught(shares.sum_attack, world(**SHARES), 1) == 1.0


@pytest.mark.slow
def test_training_with_half_the_noise(monkeypatch: Patch) -> None:
    monkeypatch.setattr(dpsgd, "with_normal", halved)
    base = world(privacy=EXAMPLE, client={"batch_size": 2})
    assert caught(examples.run_attack, base, 3) >= 0.9
    assert caught(examples.step_attack, base, 3) >= 0.9


@pytest.mark.slow
def test_training_that_does_not_clip(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Flat, "factors", lambda self, squares: torch.ones(len(squares)))
    base = world(privacy=EXAMPLE, client={"batch_size": 2})
    assert caught(examples.step_attack, base, 2) == 1.0


@pytest.mark.slow
def test_micro_batches_charged_at_one_clip_norm(monkeypatch: Patch) -> None:
    monkeypatch.setattr(MicroBatchGaussian, "sensitivity", 1.0)
    assert caught(examples.step_attack, world(privacy={**EXAMPLE, "micro_batches": 2}), SEEDS) >= 0.9


def test_teachers_whose_shares_are_a_part_of_the_deviation(monkeypatch: Patch) -> None:
    """σ/T each instead of σ/√T: together σ/√T."""
    monkeypatch.setattr(vote_noise, "part", lambda scale, parts, held: scale * held / parts)
    assert caught(votes.tie_attack, voting(mechanism="gnmax", scale=6.0, noise_at="teachers"), 2) == 1.0


@pytest.mark.thorough
def test_teachers_in_sums_whose_shares_are_a_part_of_the_deviation(monkeypatch: Patch) -> None:
    monkeypatch.setattr(VoteCoder, "share", lambda self, count, rng: skellam(rng, self.variance / self.least**2, count))
    assert caught(votes.tie_attack, voting("sums", mechanism="gnmax", scale=6.0, noise_at="teachers"), 2) == 1.0


def weaker(name: str, scale: float, size: Any, rng: np.random.Generator) -> Any:
    return vote_noise.noise(name, scale / 2, size, rng)


@pytest.mark.slow
def test_aggregator_with_half_the_noise(monkeypatch: Patch) -> None:
    monkeypatch.setattr(aggregator, "noise", weaker)
    assert caught(votes.tie_attack, voting(mechanism="gnmax", scale=6.0), 3) >= 0.9
