"""Whole models, padded batches of other lengths; and what private training refuses."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fedasr.errors import InputError
from fedasr.privacy.gradients import compiled
from fedasr.privacy.gradients.bookkeeping import BookKeeper
from fedasr.training.local import Resident, normalised_loss
from tests.fedasr.models.families import FAMILIES, batch_of, build
from tests.fedasr.privacy.gradients.references import (
    STACKS,
    one_by_one,
    relative,
    speech_batch,
    speech_model,
    utterance,
)

needs_compiler = pytest.mark.skipif(compiled.find_compiler() is None, reason="no C++ compiler")
BOTH = ["torch", pytest.param("compiled", marks=needs_compiler)]


@pytest.mark.thorough
@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("norm", ["layer", "group", "none"])
@pytest.mark.parametrize("how", BOTH)
@pytest.mark.parametrize("size", ["small", "real"])
def test_every_model(stack: str, norm: str, how: str, size: str) -> None:
    """Equal to each utterance alone and unpadded, with autograd, to 1e-5; where both round over a hundred frames, 3e-5.

    How much single precision loses there depends on the processor: 1.3e-5 was met.
    """
    close = 1e-5 if size == "small" else 3e-5
    model = speech_model(stack, norm) if size == "small" else speech_model(stack, norm, hidden=64, channels=48)
    batch = speech_batch() if size == "small" else speech_batch((100, 90, 64, 99, 37))
    wanted = one_by_one(model, lambda row: normalised_loss(model, utterance(batch, row))[0], len(batch))
    result = BookKeeper(model, how).gradients(partial(normalised_loss, model, batch))
    assert relative(result.samples(), wanted) < close
    assert relative(result.norms().unsqueeze(1), wanted.double().norm(dim=1, keepdim=True)) < close
    factors = torch.linspace(0.1, 1.0, len(batch))
    out = torch.zeros(wanted.shape[1])
    result.add_weighted_sum(factors, out)
    assert relative(out, factors @ wanted) < close


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family(family: str) -> None:
    model, batch = build(family), batch_of([40, 12, 33, 21], [[1, 2], [3], [4, 4, 1], [2]])
    wanted = one_by_one(model, lambda row: normalised_loss(model, utterance(batch, row))[0], len(batch))
    result = BookKeeper(model).gradients(partial(normalised_loss, model, batch)).samples()
    assert relative(result, wanted) < 1e-5


@pytest.mark.parametrize("stack", STACKS)
def test_padding_has_no_say(stack: str) -> None:
    """Whatever stands in the padding, and however much of it there is."""
    model, batch = speech_model(stack), speech_batch()
    keeper = BookKeeper(model, "auto")
    first = keeper.gradients(partial(normalised_loss, model, batch)).samples()
    wild = F.pad(batch.features, (0, 0, 0, 9))
    for row, frames in enumerate(batch.feature_lengths.tolist()):
        wild[row, frames:] = 1e4 * (row + 1)
    batch.features = wild
    assert relative(keeper.gradients(partial(normalised_loss, model, batch)).samples(), first) < 1e-5


@pytest.mark.thorough
def test_torch_func_agrees() -> None:
    """The third way, where it works: no recurrence and no length that the data decide."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Embedding(7, 6), nn.LayerNorm(6), nn.Linear(6, 8), nn.GroupNorm(5, 5), nn.SiLU(), nn.Conv1d(5, 3, 3)
    ).double()
    tokens = torch.randint(0, 7, (4, 5))
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(values: dict[str, torch.Tensor], row: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(model, values, (row.unsqueeze(0),)).square().sum()

    rows = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, tokens)
    wanted = torch.cat([rows[name].flatten(1) for name in parameters], dim=1)
    result = BookKeeper(model).gradients(lambda: model(tokens).square().sum((1, 2)))
    assert relative(result.samples(), wanted) < 1e-10


@pytest.mark.thorough
def test_a_resident_stays_as_it_was() -> None:
    """Books kept in between change nothing about plain training: its gradients still arrive in the flat vector."""
    model, batch = speech_model("blstm"), speech_batch()
    resident = Resident(model)
    normalised_loss(model, batch).sum().backward()
    plain = resident.gradient.clone()
    keeper = BookKeeper(model)
    result = keeper.gradients(partial(normalised_loss, model, batch))
    assert torch.equal(resident.gradient, plain)
    resident.gradient.zero_()
    result.add_weighted_sum(torch.ones(len(batch)), resident.gradient)
    assert relative(resident.gradient, plain) < 1e-5
    resident.gradient.zero_()
    normalised_loss(model, batch).sum().backward()
    assert torch.equal(resident.gradient, plain)


def test_an_error_on_the_way_leaves_the_model_usable() -> None:
    model = speech_model("lstm")

    def broken() -> torch.Tensor:
        raise RuntimeError("no such batch")

    with pytest.raises(RuntimeError, match="no such batch"):
        BookKeeper(model).gradients(broken)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any("forward" in part.__dict__ for part in model.modules())


def test_an_utterance_without_an_alignment_has_no_gradient() -> None:
    model, batch = speech_model("lstm"), speech_batch((2, 40))
    result = BookKeeper(model).gradients(partial(normalised_loss, model, batch))
    assert result.norms()[0] == 0
    assert result.norms()[1] > 0


def test_a_gradient_that_is_not_finite_adds_nothing() -> None:
    model, batch = speech_model("lstm"), speech_batch()
    keeper = BookKeeper(model)
    whole = keeper.gradients(partial(normalised_loss, model, batch)).samples()
    batch.features[2, 3, 1] = float("inf")
    result = keeper.gradients(partial(normalised_loss, model, batch))
    assert not torch.isfinite(result.norms()[2])
    out = torch.zeros(whole.shape[1])
    result.add_weighted_sum(torch.full((4,), 0.5), out)
    assert relative(out, 0.5 * whole[[0, 1, 3]].sum(0)) < 1e-5


def test_a_layer_that_does_not_reach_the_loss() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Linear(3, 2), nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.idle(x)
            return self.used(x).sum(1)

    model, x = Two(), torch.randn(4, 3)
    result = BookKeeper(model).gradients(lambda: model(x))
    assert result.square_norms[:, 2:].tolist() == [[0, 0]] * 4
    out = torch.zeros(16)
    result.add_weighted_sum(torch.ones(4), out)
    assert not out[8:].any()
    assert out[:8].any()


class Bypassed(nn.Module):
    """Uses a layer's weight without calling the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Linear(3, 2)
        self.head = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.linear(x, self.table.weight)).sum(1)


class Gain(nn.Module):
    """A parameter in no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))


class Louder(nn.Linear):
    """A known layer with a forward of its own."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    return model


def frozen() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 3))
    model[0].bias.requires_grad_(False)
    return model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            nn.Sequential(nn.BatchNorm1d(3)),
            r"layer '0' \(BatchNorm1d\) has parameters that private training cannot follow",
        ),
        (
            nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, affine=False)),  # as one whose parameters are frozen
            r"layer '1' \(BatchNorm1d\) makes the samples of a batch meet",
        ),
        (nn.ModuleDict({"a": nn.MultiheadAttention(4, 2)}), r"layer 'a' \(MultiheadAttention\)"),
        (Gain(), r"layer 'the model itself' \(Gain\)"),
        (nn.Sequential(Louder(2, 2)), r"layer '0' \(Louder\)"),
        (nn.Sequential(nn.GRU(2, 2)), "supported are: Conv1d, DepthwiseConv1d, .*LSTM, LSTMCell, LayerNorm, Linear"),
        (nn.Sequential(nn.LSTM(4, 4, proj_size=2)), "does not support proj_size"),
        (nn.Sequential(nn.Embedding(4, 4, max_norm=1.0)), "does not support max_norm"),
        (tied(), "parameter '1.weight' is also '0.weight'"),
        (frozen(), "parameter '0.bias' takes no gradient"),
    ],
)
def test_refused_models(model: nn.Module, message: str) -> None:
    with pytest.raises(InputError, match=message):
        BookKeeper(model)


def test_refused_uses() -> None:
    model = Bypassed()
    with pytest.raises(InputError, match="layer 'table' did not run"):
        BookKeeper(model).gradients(lambda: model(torch.randn(4, 3)))
    linear = nn.Linear(3, 3)
    with pytest.raises(InputError, match=r"layer '' ran on tensors of shape \(7, ...\) in a batch of 4"):
        BookKeeper(linear).gradients(lambda: linear(torch.randn(7, 4, 3)).sum((0, 2)))


def test_a_subclass_that_changes_nothing_is_its_base() -> None:
    class Named(nn.Linear):
        pass

    model, x = Named(3, 2), torch.randn(4, 3)
    wanted = one_by_one(model, lambda row: model(x[row]).sin().sum(), 4)
    assert relative(BookKeeper(model).gradients(lambda: model(x).sin().sum(1)).samples(), wanted) < 1e-6
