"""Frozen tensors are constants: nobody who asks a model for its parameters gets them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fedasr import seeds
from fedasr.config.schema import ClientConfig, ModelConfig
from fedasr.data.batches import Batch
from fedasr.errors import InputError
from fedasr.models.base import SpeechModel
from fedasr.models.factory import build_model
from fedasr.models.frozen import freeze, frozen_names
from fedasr.models.weights import load_arrays, model_arrays
from fedasr.privacy import dpsgd
from fedasr.privacy.gradients.bookkeeping import BookKeeper
from fedasr.privacy.gradients.clipping import Flat
from fedasr.training import local

NAMES = ("a.weight", "a.bias", "b.c.weight", "b.d.weight")
FAMILIES: dict[str, dict[str, Any]] = {
    "ctc": {"name": "ctc", "encoder": "blstm"},
    "rnnt": {"name": "rnnt", "encoder": "lstm"},
}
LAYERS = {
    "lower": ["subsampling.*", "encoder.*"],
    "upper": ["head.*", "heard.*", "prediction.*", "output.*"],
    "biases": ["*bias*"],
    "one direction": ["encoder.*weight_ih_l0*", "*.back.*"],
}


@pytest.mark.parametrize(
    ("globs", "expected"),
    [
        ([], []),
        (["a.*"], ["a.weight", "a.bias"]),
        (["b.*.weight", "a.bias"], ["a.bias", "b.c.weight", "b.d.weight"]),
        (["*.d.*"], ["b.d.weight"]),
    ],
)
def test_globs_choose_tensors(globs: list[str], expected: list[str]) -> None:
    assert frozen_names(NAMES, globs) == expected


@pytest.mark.parametrize(
    ("globs", "message"),
    [
        (["a.*", "b.e.*"], r"'b.e.\*' \(did you mean 'b.[cd].\*'\?\), which fits no tensor; those .* are in: a, b"),
        (["b"], r"'b'.*which fits no tensor"),
        (["a.bais"], r"did you mean 'a.bias'"),
        (["a.*", "b.*"], "fits every tensor of the model"),
    ],
)
def test_refusals(globs: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        frozen_names(NAMES, globs)


def model_of(family: str) -> SpeechModel:
    config = ModelConfig(channels=[6], strides=[2], hidden=5, **FAMILIES[family])
    config.transducer.prediction = config.transducer.joint = 6
    with seeds.torch_scope(3, "test"):
        return build_model(config, 8, 5)


def batch(rows: int = 3) -> Batch:
    features = torch.from_numpy(np.random.default_rng(1).normal(size=(rows, 20, 8)).astype(np.float32))
    return Batch(
        features, torch.tensor([20, 18, 15]), torch.tensor([[1, 2, 3]] * rows), torch.full((rows,), 3), 0.6, (0, 1, 2)
    )


def frozen_model(family: str, layers: str) -> tuple[SpeechModel, list[str], dict[str, Any]]:
    """Return a model with frozen tensors of other values than it was made with, their names and all its values."""
    model = model_of(family)
    arrays = {name: array + np.float32(0.01) for name, array in model_arrays(model).items()}
    globs = [glob for glob in LAYERS[layers] if any_fits(arrays, glob)]
    names = frozen_names(arrays, globs)
    freeze(model, {name: arrays[name] for name in names})
    load_arrays(model, {name: array for name, array in arrays.items() if name not in names})
    return model, names, arrays


def any_fits(names: Any, glob: str) -> bool:
    try:
        return bool(frozen_names([*names, "beside"], [glob]))
    except InputError:
        return False


def whole_model(family: str, arrays: dict[str, Any]) -> SpeechModel:
    model = model_of(family)
    for name, parameter in model.named_parameters():
        parameter.data = torch.from_numpy(arrays[name].copy())
    return model


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layers", LAYERS)
def test_training_moves_the_shared_tensors_as_it_does_in_the_whole_model(family: str, layers: str) -> None:
    model, names, arrays = frozen_model(family, layers)
    shared = {name: array for name, array in arrays.items() if name not in names}
    resident = local.Resident(model)
    assert resident.layout.names == tuple(shared)
    config = ClientConfig(optimizer="sgd", clip_norm=None, weight_decay=0.1)
    state = local.init(resident, shared, config, 0.05)
    local.step(state, batch())
    whole = local.Resident(whole_model(family, arrays))
    full = local.init(whole, arrays, config, 0.05)
    local.step(full, batch())
    moved, reference = local.final(state)[0], local.final(full)[0]
    for name in shared:
        np.testing.assert_allclose(moved[name], reference[name], atol=1e-6)
    buffers = dict(model.named_buffers())
    for name in names:
        assert np.array_equal(buffers[name].numpy(), arrays[name])
    assert set(model.state_dict()) == set(model_of(family).state_dict())


def test_the_bound_of_local_clipping_is_that_of_the_shared_tensors() -> None:
    model, names, arrays = frozen_model("ctc", "lower")
    shared = {name: array for name, array in arrays.items() if name not in names}
    resident = local.Resident(model)
    state = local.init(resident, shared, ClientConfig(optimizer="sgd", clip_norm=1e-3), 1.0)
    local.step(state, batch())
    moved = local.final(state)[0]
    length = np.sqrt(sum(float(np.square(moved[name] - shared[name]).sum()) for name in shared))
    assert length == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layers", LAYERS)
def test_gradients_of_each_sample_are_those_of_the_whole_model(family: str, layers: str) -> None:
    model, names, arrays = frozen_model(family, layers)
    found = BookKeeper(model).gradients(lambda: local.normalised_loss(model, batch())).samples()
    whole = whole_model(family, arrays)
    keeper = BookKeeper(whole)
    samples = keeper.gradients(lambda: local.normalised_loss(whole, batch())).samples()
    kept = [
        samples[:, part]
        for name, part in zip(keeper.layout.names, keeper.layout.slices, strict=True)
        if name not in names
    ]
    torch.testing.assert_close(found, torch.cat(kept, dim=1), rtol=1e-4, atol=1e-5)


def test_dp_sgd_is_that_of_a_model_whose_frozen_part_are_constants() -> None:
    model, names, arrays = frozen_model("ctc", "lower")
    shared = {name: array for name, array in arrays.items() if name not in names}
    assert list(shared) == ["head.weight", "head.bias"]
    whole, speech, where, clip, z, rate = whole_model("ctc", arrays), batch(), dpsgd.Where(1, 1, 0), 0.5, 0.7, 0.1
    # What an optimiser over the head alone would do, all else constants.
    head = list(whole.get_submodule("head").parameters())
    wanted = np.zeros(sum(parameter.numel() for parameter in head))
    for row in range(len(speech)):
        [loss] = local.normalised_loss(whole, speech)[row : row + 1]
        gradient = torch.cat([part.flatten() for part in torch.autograd.grad(loss, head)]).double().numpy()
        wanted += gradient * min(1.0, clip / np.linalg.norm(gradient))
    wanted += z * clip * dpsgd.noise(len(wanted), where, 0)
    resident = local.Resident(model)
    settings = dpsgd.PrivateTraining(Flat(clip), (z,), 1.0, len(speech))
    state = dpsgd.init(BookKeeper(model), resident, shared, ClientConfig(optimizer="sgd"), rate, settings, where)
    before = resident.parameters.double().numpy().copy()
    dpsgd.step(state, [speech])
    after = np.concatenate([array.ravel() for array in local.final(state)[0].values()])
    np.testing.assert_allclose((before - after) / rate, wanted / len(speech), atol=1e-5)


def test_a_parameter_of_two_layers_is_frozen_in_both() -> None:
    tied = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False), nn.Linear(3, 1))
    tied[1].weight = tied[0].weight
    freeze(tied, {"0.weight": np.full((3, 3), 2, np.float32)})
    assert [name for name, _ in tied.named_parameters()] == ["2.weight", "2.bias"]
    assert tied[0].weight is tied[1].weight
    assert torch.equal(tied[0](torch.ones(3)), torch.full((3,), 6.0))
