"""Local training: init, step, final; optimisers; batches; schedules."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedasr import seeds
from fedasr.config.schema import ClientConfig, ModelConfig
from fedasr.data.batches import Batch
from fedasr.models.factory import build_model
from fedasr.models.weights import model_arrays, sha256
from fedasr.training import local
from fedasr.training.batching import plan_batches
from fedasr.training.optimizers import load_state, make_local_optimizer, state_of
from fedasr.training.schedules import learning_rate
from tests.tiers import examples

SMALL = ModelConfig(encoder="lstm", channels=[8], strides=[2], hidden=8, norm="none")


def resident() -> local.Resident:
    with seeds.torch_scope(0, "test"):
        return local.Resident(build_model(SMALL, 8, 5))


def batch(n: int = 3) -> Batch:
    rng = np.random.default_rng(1)
    features = torch.from_numpy(rng.normal(size=(n, 20, 8)).astype(np.float32))
    return Batch(
        features,
        torch.full((n,), 20),
        torch.tensor([[1, 2, 3]] * n),
        torch.full((n,), 3),
        n * 0.2,
        tuple(range(n)),
    )


def trained(config: ClientConfig, steps: int = 3, rate: float = 0.05) -> dict[str, np.ndarray]:
    model = resident()
    state = local.init(model, model_arrays(model.model), config, rate)
    for _ in range(steps):
        local.step(state, batch())
    return local.final(state)[0]


@pytest.mark.parametrize(
    ("config", "reference"),
    [
        (ClientConfig(optimizer="sgd", clip_norm=None), lambda p: torch.optim.SGD(p, 0.05)),
        (
            ClientConfig(optimizer="sgd", momentum=0.9, weight_decay=0.1, clip_norm=None),
            lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, weight_decay=0.1),
        ),
        (
            ClientConfig(optimizer="adamw", weight_decay=0.1, clip_norm=None),
            lambda p: torch.optim.AdamW(p, 0.05, weight_decay=0.1),
        ),
    ],
)
def test_steps_equal_torch_optimizers(config, reference) -> None:  # type: ignore[no-untyped-def]
    with seeds.torch_scope(0, "test"):
        model = build_model(SMALL, 8, 5)
    optimizer = reference(model.parameters())
    for _ in range(3):
        optimizer.zero_grad()
        local.normalised_loss(model, batch()).mean().backward()
        optimizer.step()
    ours = trained(config)
    for name, array in model_arrays(model).items():
        np.testing.assert_allclose(ours[name], array, rtol=1e-4, atol=1e-6)


def test_clipping_bounds_the_step() -> None:
    model = resident()
    before = model_arrays(model.model)
    after = trained(ClientConfig(optimizer="sgd", clip_norm=0.01), steps=1, rate=1.0)
    moved = math.sqrt(sum(float(((after[k] - before[k]) ** 2).sum()) for k in before))
    assert moved == pytest.approx(0.01, rel=1e-3)


def test_the_proximal_term_pulls_towards_the_global_weights() -> None:
    """With mu = 1/rate and no other gradient a step would land on the anchor; two steps with mu stay closer to it."""
    start = model_arrays(resident().model)

    def distance(mu: float) -> float:
        arrays = trained(ClientConfig(clip_norm=None, proximal=mu), steps=5)
        return math.sqrt(sum(float(((arrays[k] - start[k]) ** 2).sum()) for k in start))

    assert distance(10.0) < 0.8 * distance(0.0)


def test_one_proximal_step_by_hand() -> None:
    optimizer_step = trained(ClientConfig(clip_norm=None), steps=2, rate=0.05)
    model = resident()
    state = local.init(model, model_arrays(model.model), ClientConfig(clip_norm=None, proximal=2.0), 0.05)
    local.step(state, batch())
    once = model.parameters.clone()
    assert state.anchor is not None
    pull = 0.05 * 2.0 * (once - state.anchor)
    local.step(state, batch())
    plain = torch.cat([torch.from_numpy(a).reshape(-1) for a in optimizer_step.values()])
    torch.testing.assert_close(model.parameters, plain - pull, rtol=1e-4, atol=1e-6)


def test_a_resident_forgets_the_client_before() -> None:
    """A client that trained in between must leave no trace in the next one's result."""
    model = resident()
    start = model_arrays(model.model)
    config = ClientConfig(optimizer="adamw")

    def client(n: int) -> str:
        state = local.init(model, start, config, 0.01)
        local.step(state, batch(n))
        return sha256(local.final(state)[0])

    alone = client(3)
    client(5)
    assert client(3) == alone


def test_final_reports_what_was_done() -> None:
    model = resident()
    state = local.init(model, model_arrays(model.model), ClientConfig(), 0.1)
    local.step(state, batch(3))
    local.step(state, batch(2))
    result = local.final(state)[1]
    assert (result.utterances, result.steps) == (5, 2)
    assert result.seconds == pytest.approx(1.0)
    assert result.train_loss > 0


@settings(max_examples=examples(100), deadline=None)
@given(
    seconds=st.lists(st.floats(0.125, 20, width=32), max_size=30),
    size=st.integers(1, 9),
    limit=st.none() | st.floats(0.5, 30),
    grouped=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_a_pass_holds_every_utterance_once(
    seconds: list[float], size: int, limit: float | None, grouped: bool, seed: int
) -> None:
    rows = np.arange(100, 100 + len(seconds))
    lengths = np.array(seconds, np.float32)
    config = ClientConfig(batch_size=size, batch_seconds=limit, group_by_length=grouped)
    batches = plan_batches(rows, lengths, config, np.random.default_rng(seed))
    assert sorted(np.concatenate([*batches, np.zeros(0, int)]).tolist()) == rows.tolist()
    for part in batches:
        assert len(part)
        if limit is None:
            assert len(part) <= size
        else:
            assert len(part) == 1 or lengths[part - 100].sum(dtype=np.float64) <= limit + 1e-6


def test_batches_of_similar_length_are_padded_less() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.lognormal(size=64).astype(np.float32)
    rows = np.arange(64)

    def padded(grouped: bool) -> float:
        batches = plan_batches(rows, lengths, ClientConfig(batch_size=8, group_by_length=grouped), rng)
        return sum(float(lengths[b].max()) * len(b) for b in batches) / float(lengths.sum())

    assert padded(True) < 1.4 < 1.7 < padded(False)


def test_schedules() -> None:
    def rates(**settings: object) -> list[float]:
        config = ClientConfig(learning_rate=1.0, **settings)  # type: ignore[arg-type]
        return [learning_rate(config, t, 5) for t in range(1, 6)]

    assert rates() == [1.0] * 5
    assert rates(schedule="linear", final_scale=0.2) == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])
    assert rates(schedule="cosine", final_scale=0.0) == pytest.approx([1.0, 0.8536, 0.5, 0.1464, 0.0], abs=1e-4)
    assert rates(warmup_rounds=3) == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])


@pytest.mark.slow
def test_optimizers_leave_dynamo_alone() -> None:
    """Making a torch optimizer imports torch._dynamo, about a second per worker; ours must not."""
    import subprocess
    import sys

    code = (
        "import sys, torch\n"
        "from fedasr.config.schema import ClientConfig\n"
        "from fedasr.training.optimizers import load_state, make_local_optimizer, state_of\n"
        "p = torch.ones(3)\n"
        "for name in ('sgd', 'adamw'):\n"
        "    make_local_optimizer(ClientConfig(optimizer=name)).step(p, torch.ones(3), 0.1)\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert make_local_optimizer(ClientConfig()) is not None


class Counting:
    """An optimiser of a user's own: a number, a tensor, and what does not change."""

    def __init__(self) -> None:
        self.steps = 0
        self.name = "counting"
        self.sum: torch.Tensor | None = None

    def step(self, parameters: torch.Tensor, gradient: torch.Tensor, learning_rate: float) -> None:
        self.steps += 1
        self.sum = gradient.clone() if self.sum is None else self.sum + gradient
        parameters.sub_(self.sum, alpha=learning_rate / self.steps)


@pytest.mark.parametrize("kind", ["sgd", "adamw", "own"])
def test_an_optimiser_goes_on_from_what_a_checkpoint_holds(kind: str) -> None:
    def make() -> Any:
        return Counting() if kind == "own" else make_local_optimizer(ClientConfig(optimizer=kind, momentum=0.9))

    gradients = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32))
    whole, first, second = make(), make(), make()
    expected, result = torch.ones(6), torch.ones(6)
    for gradient in gradients:
        whole.step(expected, gradient, 0.1)
    for gradient in gradients[:2]:
        first.step(result, gradient, 0.1)
    state = state_of(first)
    assert all(array.ndim == 1 for array in state.values())
    load_state(second, state, result.device)
    for gradient in gradients[2:]:
        second.step(result, gradient, 0.1)
    assert torch.equal(result, expected)
