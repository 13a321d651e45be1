"""Server optimisers, against their formulas on two numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from fedasr.config.schema import StrategyConfig
from fedasr.models.weights import Layout
from fedasr.strategies.aggregation.server_optimizers import OPTIMIZERS, make_optimizer

LAYOUT = Layout.of({"a": np.zeros(2, np.float32), "b": np.zeros(1, np.float32)})
WEIGHTS = np.array([3, 4, 0], np.float32)
UPDATE = np.array([1, -2, 0.5], np.float32)


def step(name: str, times: int = 1, **settings: float) -> np.ndarray:
    optimizer = make_optimizer(StrategyConfig(name=name, **settings), LAYOUT, 4)
    weights = WEIGHTS
    for round in range(1, times + 1):
        weights = optimizer.step(weights, UPDATE, round, optimizer.config.learning_rate)
    return weights


def test_fedavg_adds_the_mean_update() -> None:
    np.testing.assert_allclose(step("fedavg"), [4, 2, 0.5])
    np.testing.assert_allclose(step("fedavg", learning_rate=0.5), [3.5, 3, 0.25])


def test_fedavgm_twice() -> None:
    # v1 = Δ, v2 = 0.8Δ + Δ: together 2.8Δ
    np.testing.assert_allclose(step("fedavgm", times=2, momentum=0.8), WEIGHTS + 2.8 * UPDATE, rtol=1e-6)


def test_fedadam_first_step() -> None:
    m = 0.1 * UPDATE
    v = 0.99 * 1e-6 + 0.01 * UPDATE**2
    np.testing.assert_allclose(step("fedadam", learning_rate=0.1), WEIGHTS + 0.1 * m / (np.sqrt(v) + 1e-3), rtol=1e-5)


def test_fedyogi_first_step() -> None:
    m, v0 = 0.1 * UPDATE, 1e-6
    v = v0 - 0.01 * UPDATE**2 * np.sign(v0 - UPDATE**2)
    np.testing.assert_allclose(step("fedyogi", learning_rate=0.1), WEIGHTS + 0.1 * m / (np.sqrt(v) + 1e-3), rtol=1e-5)


def test_lamb_scales_each_tensor_to_its_own_length() -> None:
    new = step("fedlamb", learning_rate=0.01, tau=1e-6)
    # 'a' has length 5 and moves by 0.01·5; 'b' has length 0, so its trust ratio is 1
    assert np.linalg.norm((new - WEIGHTS)[:2]) == pytest.approx(0.05, rel=1e-4)
    assert (new - WEIGHTS)[2] == pytest.approx(0.01, rel=1e-4)


@pytest.mark.thorough
def test_without_decay_terms_fedadam_matches_torch_adam_without_bias_correction() -> None:
    """β₁ = β₂ = 0 makes bias correction vanish: the direction is the sign, as in torch's Adam."""
    parameter = torch.nn.Parameter(torch.from_numpy(WEIGHTS.copy()))
    adam = torch.optim.Adam([parameter], lr=0.1, betas=(0.0, 0.0), eps=1e-3)
    parameter.grad = torch.from_numpy(-UPDATE)
    adam.step()
    ours = step("fedadam", learning_rate=0.1, beta1=0.0, beta2=0.0, tau=1e-3)
    np.testing.assert_allclose(ours, parameter.detach().numpy(), rtol=1e-6)


def toy(rounds: int, workers: int = 4, **settings: Any) -> list[float]:
    """Return the global weight from 0 while workers move 30 % of the way to 1."""
    optimizer = make_optimizer(StrategyConfig(name="bmuf", **settings), LAYOUT, workers)
    weights, seen = np.zeros(3, np.float32), []
    for round in range(1, rounds + 1):
        weights = optimizer.step(weights, np.float32(0.3) * (1 - weights), round, optimizer.config.learning_rate)
        seen.append(float(weights[0]))
    return seen


def test_bmuf_on_a_toy() -> None:
    """Four workers: η = 1 − 1/4."""
    assert toy(4) == pytest.approx([0.3, 0.735, 1.141, 1.403], abs=5e-4)
    assert toy(5, block_form="nesterov") == pytest.approx([0.525, 0.943, 1.180, 1.250, 1.212], abs=5e-4)
    assert toy(3, workers=1) == pytest.approx([0.3, 0.51, 0.657], abs=5e-4)
    assert toy(4, workers=99, block_momentum=0.75) == toy(4)


def test_classical_bmuf_is_fedavgm() -> None:
    ours = step("bmuf", times=3, block_momentum=0.8, learning_rate=0.5)
    np.testing.assert_allclose(ours, step("fedavgm", times=3, momentum=0.8, learning_rate=0.5), rtol=1e-6)


@pytest.mark.thorough
@pytest.mark.parametrize(("form", "nesterov"), [("classical", False), ("nesterov", True)])
def test_bmuf_is_torch_sgd_with_momentum_on_the_negative_update(form: str, nesterov: bool) -> None:
    parameter = torch.nn.Parameter(torch.from_numpy(WEIGHTS.copy()))
    sgd = torch.optim.SGD([parameter], lr=0.5, momentum=0.8, nesterov=nesterov)
    optimizer = make_optimizer(
        StrategyConfig(name="bmuf", block_momentum=0.8, block_form=form, learning_rate=0.5), LAYOUT, 4
    )
    weights = WEIGHTS
    for round, update in enumerate([UPDATE, -2 * UPDATE, 0.5 * UPDATE[::-1].copy(), UPDATE], start=1):
        parameter.grad = torch.from_numpy(-update)
        sgd.step()
        weights = optimizer.step(weights, update, round, 0.5)
    np.testing.assert_allclose(weights, parameter.detach().numpy(), rtol=1e-5)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_state_restored_is_state_continued(name: str) -> None:
    config = StrategyConfig(name=name)
    first, second = make_optimizer(config, LAYOUT, 4), make_optimizer(config, LAYOUT, 4)
    weights = first.step(first.step(WEIGHTS, UPDATE, 1, 1.0), -UPDATE, 2, 0.5)
    again = second.step(WEIGHTS, UPDATE, 1, 1.0)
    third = make_optimizer(config, LAYOUT, 4)
    third.state = {k: v.copy() for k, v in second.state.items()}
    np.testing.assert_array_equal(third.step(again, -UPDATE, 2, 0.5), weights)
    assert weights.dtype == np.float32
