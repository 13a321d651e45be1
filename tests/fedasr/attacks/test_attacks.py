"""What each attack sends, on two parameters and three colluders; who is Byzantine; what the config refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedasr.attacks import ATTACKS, Collusion, byzantine_clients, described, make_attack
from fedasr.attacks.alie import largest_z
from fedasr.config import load
from fedasr.config.schema import AttackConfig
from fedasr.errors import InputError
from fedasr.models.weights import Layout
from fedasr.testing import check_attack

LAYOUT = Layout.of({"w": np.zeros(2, np.float32)})
UPDATE = np.array([1, -2], np.float32)
WEIGHTS = np.array([10, 10], np.float32)
KNOWN = np.array([[1, 0], [2, 0], [3, 3]], np.float32)


def collusion() -> Collusion:
    return Collusion(20, 4, lambda: KNOWN, lambda: np.random.default_rng(5))


def sent(name: str, seed: int = 0, **options: Any) -> np.ndarray:
    config = load({"attack": {"name": name, "share": 0.2, "options": options}}).attack
    attack = make_attack(config, LAYOUT)
    return attack(UPDATE.copy(), WEIGHTS.copy(), collusion(), np.random.default_rng(seed))


def close(found: np.ndarray, wanted: list[float]) -> bool:
    assert found.dtype == np.float32
    return bool(np.allclose(found, wanted, atol=1e-6))


def test_attacks_that_need_no_others() -> None:
    assert close(sent("sign-flip"), [-1, 2])
    assert close(sent("sign-flip", factor=10), [-10, 20])
    assert close(sent("scaled", factor=3), [3, -6])
    assert close(sent("zero"), [0, 0])


def test_colluders_hide_in_their_spread() -> None:
    assert close(sent("alie", z=0), [2, 1]), "their mean"
    assert close(sent("alie", z=1), [2 - np.sqrt(2 / 3), 1 - np.sqrt(2)])
    assert close(sent("inner-product", epsilon=0.5), [-1, -0.5])
    assert close(sent("mimic"), [1, 0])


@pytest.mark.thorough
def test_the_largest_z_is_the_papers() -> None:
    # 50 workers of which 12 are Byzantine: s = 14, and 24 of 38 honest workers are nearer to the mean.
    assert largest_z(50, 12) == pytest.approx(0.3360, abs=1e-4)
    assert largest_z(10, 0) == 0, "nobody can hide"
    assert largest_z(4, 4) == 0
    assert close(sent("alie"), sent("alie", z=largest_z(20, 4)).tolist())


def test_noise_is_each_clients_own_or_shared() -> None:
    own = [sent("gaussian", seed, scale=2.0) for seed in (0, 1)]
    shared = [sent("gaussian", seed, scale=2.0, shared=True) for seed in (0, 1)]
    assert close(own[0], (2 * np.random.default_rng(0).standard_normal(2)).tolist())
    assert (own[0] != own[1]).all()
    assert (shared[0] == shared[1]).all()


@pytest.mark.parametrize("name", ATTACKS)
def test_laws(name: str) -> None:
    check_attack(lambda: make_attack(AttackConfig(name=name), LAYOUT))


@pytest.mark.parametrize(
    ("name", "options", "line"),
    [
        ("sign-flip", {"factor": "x"}, "'attack.options.factor' is 'x'; expected a finite number above 0"),
        ("scaled", {"factor": 0}, "'attack.options.factor' is 0; expected a finite number above 0"),
        ("gaussian", {"shared": 1}, "'attack.options.shared' is 1; expected true or false"),
        ("alie", {"epsilon": 1}, "unknown option 'attack.options.epsilon'"),
        ("numpy:pi", {}, "'attack.name' is 'numpy:pi', which cannot be called"),
        ("builtins:object", {}, "which makes no attack"),
    ],
)
def test_wrong_options_are_one_line(name: str, options: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError) as caught:
        sent(name, **options)
    assert line in str(caught.value)


NAMES = [f"s{number}" for number in range(10)]


def test_the_byzantine_clients_follow_from_the_seed_or_are_named() -> None:
    drawn = [byzantine_clients(load({"seed": seed, "attack": SHARE}), NAMES) for seed in (0, 0, 1)]
    assert drawn[0].tolist() == drawn[1].tolist() != drawn[2].tolist()
    assert all(len(set(clients.tolist())) == 3 for clients in drawn)
    named = load({"attack": {"name": "zero", "clients": ["s7", "s2"]}})
    assert byzantine_clients(named, NAMES).tolist() == [2, 7]
    assert described(named, NAMES) == "simulated Byzantine clients: 2 of 10 (20 %), zero"
    assert byzantine_clients(load({}), NAMES).tolist() == []
    assert described(load({}), NAMES) is None
    with pytest.raises(InputError, match=r"'attack.clients' has 's11'"):
        byzantine_clients(load({"attack": {"name": "zero", "clients": ["s11"]}}), NAMES)


SHARE = {"name": "sign-flip", "share": 0.3}


@pytest.mark.parametrize(
    ("tree", "line"),
    [
        ({"attack": {"share": 0.1}}, "'attack.share' is set but 'attack.name' is 'none'"),
        ({"attack": {"name": "zero"}}, "no client is Byzantine; set attack.share"),
        ({"attack": {**SHARE, "clients": ["a"]}}, "'attack.share' and 'attack.clients' are both set"),
        (
            {"attack": {"name": "flip", "share": 0.1}},
            "'attack.name' is 'flip' (did you mean 'sign-flip'?); expected one of: none",
        ),
        ({"attack": SHARE, "strategy": {"name": "pate"}}, "'strategy.name' is 'pate', whose clients send no updates"),
        ({"attack": SHARE, "runtime": {"name": "deployment"}}, "Byzantine clients are simulated only"),
    ],
)
def test_attacks_that_cannot_be_are_refused(tree: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError) as caught:
        load(tree)
    assert line in str(caught.value)
