"""Canary users in the rounds of a run: exactly what is seen of them, who they are to a selector and a ledger, and which
faults of the real code they find."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedasr.clients.mods import device_noise
from fedasr.errors import InputError
from fedasr.privacy.randomness import with_normal
from fedasr.privacy.update_clipping import Clip
from fedasr.strategies.canary_checks import check_canaries
from fedasr.strategies.privacy import user_level
from fedasr.strategies.selection import Selection
from fedasr.strategies.selection.drawing import draw_uniformly
from fedasr.strategies.selection.poisson import Poisson
from studies.audit_worlds import ROBIN, USERS, world
from tests.strategies.rehearsal import rehearse

Patch = pytest.MonkeyPatch
SILENT = {**USERS, "noise_multiplier": 1e-4}
DEVICES: dict[str, Any] = {
    "privacy": {**USERS, "noise_at": "device", "noise_multiplier": 2.0},
    "selection": {"name": "uniform", "clients_per_round": 280},
    "canaries": 80,
    "rounds": 2,
}


@pytest.mark.parametrize("clipping", ["flat", "per-layer", "per-layer-dim", "adaptive"])
def test_without_noise_a_canary_is_seen_in_its_turns_and_nowhere_else(clipping: str) -> None:
    """Whatever the clients send beside it: the attacker knows that, and takes it off."""
    noise = 0.2 if clipping == "adaptive" else 1e-4  # the noisy count has a share in the budget
    privacy = {**SILENT, "clipping": clipping, "noise_multiplier": noise}
    quiet = lambda values, scale, draws: with_normal(values, scale * 1e-4 / noise, draws)  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(user_level, "with_normal", quiet)
        run = rehearse(
            canaries=50, rounds=3, privacy=privacy, updates=lambda rng, size: rng.normal(size=size).astype("f4")
        )
    for seen in run.seen:
        assert seen.turns[:50].any()
        np.testing.assert_allclose(seen.products[:50], seen.turns[:50], atol=2e-3)
        np.testing.assert_allclose(seen.products[50:], 0, atol=2e-3)


def test_without_noise_the_sign_of_an_exchanged_canary_is_seen() -> None:
    run = rehearse(canaries=50, rounds=2, privacy=SILENT, selection={"name": "uniform", "clients_per_round": 100})
    signs = run.canaries.signs
    assert set(signs.tolist()) == {-1, 1}
    for seen in run.seen:
        np.testing.assert_allclose(seen.products[:50], seen.turns[:50] * signs, atol=2e-3)


def test_a_selector_and_a_ledger_take_canaries_for_users() -> None:
    run = rehearse(canaries=100, privacy=USERS)
    assert all(seen.probability == 40 / 300 for seen in run.seen)
    assert {entry.population for entry in run.mechanism.ledger.entries} == {300}
    turns = np.array([seen.turns[:100] for seen in run.seen])
    assert 60 < turns.sum() < 160  # 8 rounds with 40 of 300 each: 107 on average


@pytest.mark.parametrize("public", [False, True])
def test_whether_a_canary_takes_part_follows_from_no_client_whose_speech_is_hidden(public: bool) -> None:
    privacy = {**USERS, "public_activity": public}
    base = world(privacy=privacy, audit={"canaries": 500}).experiment
    stored = base.counts(0)
    assert {len(column) for column in stored} == {700}
    clients, canaries = np.split(stored.seconds, [200])
    assert set(canaries.tolist()) <= set(clients.tolist()) if public else set(canaries.tolist()) == {1.0}


def test_a_round_counts_clients_alone() -> None:
    run = rehearse(canaries=100, privacy=USERS)
    for result in run.results:
        assert result.replied == len(result.rows)
        assert len(result.everybody) == len(result.rows) + len(result.canaries) == result.mean.updates
        assert {row["id"] >= 200 for row in result.canaries} <= {True}


def test_adaptive_clipping_counts_canaries_as_clipped() -> None:
    run = rehearse(canaries=100, privacy={**USERS, "clipping": "adaptive"})
    assert [result.mean.unclipped for result in run.results] == [len(result.rows) for result in run.results]  # type: ignore[attr-defined]


def test_those_held_out_have_the_turns_of_a_partner() -> None:
    run = rehearse(canaries=50, privacy=USERS, selection=ROBIN)
    for seen in run.seen:
        np.testing.assert_array_equal(seen.turns[50:100], seen.turns[:50])


RIGHT: dict[str, dict[str, Any]] = {
    "poisson": {"privacy": USERS},
    "adaptive": {"privacy": {**USERS, "clipping": "adaptive"}},
    "per-layer": {"privacy": {**USERS, "clipping": "per-layer"}},
    "fixed size": {"privacy": USERS, "selection": {"name": "uniform", "clients_per_round": 80}},
    "round robin": {"privacy": USERS, "selection": ROBIN},
    "banded": {"privacy": {**USERS, "noise": "banded", "bands": 4}, "selection": ROBIN},
    "tree": {"privacy": {**USERS, "noise": "tree"}, "selection": ROBIN},
    "devices": DEVICES,
}
QUICK = ("round robin", "banded")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.thorough) for name in RIGHT]
)
def test_a_right_ledger_is_not_contradicted(name: str) -> None:
    for seed in range(3):
        result = rehearse(seed, **RIGHT[name]).findings()
        assert not any(finding.contradiction for finding in result), name
        assert all(finding.value is not None and finding.claim is not None for finding in result)


def test_bounds_are_those_whose_assumptions_hold() -> None:
    methods = {name: [finding.method for finding in rehearse(canaries=40, **RIGHT[name]).findings()] for name in QUICK}
    everything = ["ledger test", "pointwise", "GDP", "Gaussian t", "one-shot"]
    assert methods == dict.fromkeys(QUICK, everything)


@pytest.mark.thorough
def test_bounds_of_one_run_need_coins_and_no_bound_of_gaussians_holds_under_sampling() -> None:
    methods = {
        name: [finding.method for finding in rehearse(canaries=40, **RIGHT[name]).findings()]
        for name in ("poisson", "fixed size")
    }
    assert methods == {
        "poisson": ["ledger test", "pointwise"],
        "fixed size": ["ledger test", "pointwise", "one-run"],
    }


def halved(values: Any, scale: float, draws: Any) -> Any:
    return with_normal(values, scale / 2, draws)


def louder(self: Any, round: int, roster: Any, k: int, rng: np.random.Generator) -> Selection:
    """Choose twice as many as a Poisson selector may, and say that it was as many as it may."""
    chosen = draw_uniformly(len(roster), 2 * k, rng)
    return Selection(chosen, np.full(2 * k, k / len(roster)))


SAMPLED: dict[str, Any] = {
    "canaries": 500,
    "rounds": 24,
    "privacy": {**USERS, "noise_multiplier": 0.6},
    "selection": {"name": "poisson", "clients_per_round": 70},
}


@pytest.mark.parametrize("name", QUICK)
def test_a_server_that_halves_its_noise_is_contradicted(monkeypatch: Patch, name: str) -> None:
    monkeypatch.setattr(user_level, "with_normal", halved)
    assert all(rehearse(seed, **RIGHT[name]).contradicted for seed in range(3))


@pytest.mark.thorough
def test_a_server_that_halves_its_noise_under_sampling_is_contradicted(monkeypatch: Patch) -> None:
    monkeypatch.setattr(user_level, "with_normal", halved)
    assert all(rehearse(seed, **SAMPLED).contradicted for seed in range(3))


@pytest.mark.parametrize("name", QUICK)
def test_a_server_that_does_not_clip_is_contradicted(monkeypatch: Patch, name: str) -> None:
    monkeypatch.setattr(Clip, "apply", lambda self, update: None)
    assert rehearse(**RIGHT[name]).contradicted


@pytest.mark.thorough
def test_a_server_that_does_not_clip_under_sampling_is_contradicted(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Clip, "apply", lambda self, update: None)
    assert all(rehearse(privacy={**USERS, "clipping": style}).contradicted for style in ("flat", "adaptive"))


@pytest.mark.slow
def test_a_selector_that_draws_twice_as_often_as_it_says_is_contradicted(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Poisson, "select", louder)
    assert all(rehearse(seed, **SAMPLED).contradicted for seed in range(3))


def test_devices_that_halve_their_noise_are_contradicted(monkeypatch: Patch) -> None:
    monkeypatch.setattr(device_noise, "with_normal", halved)
    assert rehearse(**DEVICES).contradicted


@pytest.mark.thorough
def test_devices_that_do_not_clip_are_contradicted(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Clip, "apply", lambda self, update: None)
    assert rehearse(**DEVICES).contradicted


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"selection": {"name": "oort", "clients_per_round": 5}},
            "'selection.name' is 'oort', which chooses by losses",
        ),
        ({"strategy": {"name": "central"}}, "'strategy.name' is 'central', whose clients send no updates"),
        ({"audit": {"canaries": 100_000}}, "'audit.canaries' is 100,000, but this model, of "),
        ({"audit": {"canaries": 10, "held_out": 5_000_000}}, "'audit.held_out' is 5,000,000, but this model"),
    ],
)
def test_what_canaries_cannot_be_in_is_one_line(sections: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_canaries(world(**{"audit": {"canaries": 10}, **sections}).experiment)
