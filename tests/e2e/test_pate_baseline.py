"""How the baselines of PATE are looked for: layers that are frozen, and successive halving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from fedasr.config import load
from fedasr.errors import InputError
from fedasr.experiment import Experiment
from fedasr.models.weights import model_arrays, save_weights
from fedasr.privacy.gradients.bookkeeping import BookKeeper
from studies import halving

from .tiny import tiny

UPPER = "studies.upper_layers:upper_layers"
SMALL = {"channels": [8, 8], "hidden": 8, "dropout": 0.0}


def small(**changes: Any) -> dict[str, Any]:
    """Return a tiny config with a small model."""
    return tiny(**{f"model__{name}": value for name, value in SMALL.items()}, **changes)


def upper(start: Path, *frozen: str) -> Experiment:
    """Return an experiment whose model has frozen modules."""
    return Experiment(load(small(model__name=UPPER, model__options={"start": str(start), "frozen": list(frozen)})))


def test_frozen_layers_are_no_parameters(tmp_path: Path) -> None:
    plain = Experiment(load(small(seed=5)))
    whole = plain.model()
    start = tmp_path / "start.safetensors"
    save_weights(start, model_arrays(whole))
    experiment = upper(start, "subsampling", "encoder")
    model = experiment.model()
    assert [name for name, _ in model.named_parameters()] == ["head.weight", "head.bias"]
    batch = experiment.speech.batch(np.arange(3))
    losses = model.utterance_loss(batch)
    assert torch.equal(losses, whole.utterance_loss(batch)), "the weights are those of the start, not of the seed"
    losses.sum().backward()  # type: ignore[no-untyped-call]
    whole.utterance_loss(batch).sum().backward()  # type: ignore[no-untyped-call]
    for name, parameter in model.named_parameters():
        assert torch.allclose(parameter.grad, whole.get_parameter(name).grad)
    BookKeeper(model)
    assert len(list(upper(start).model().parameters())) == len(list(whole.parameters()))
    with pytest.raises(InputError, match=r"'model.options.frozen' names 'encoders'; the model has: subsampling, enc"):
        upper(start, "encoders").model()


@pytest.mark.slow
def test_the_best_of_a_rung_go_on(tmp_path: Path) -> None:
    config, sweep = tmp_path / "tiny.yaml", tmp_path / "sweep.yaml"
    few = {"data__synthetic__speakers": 4, "data__synthetic__test_speakers": 2, "selection__clients_per_round": 2}
    config.write_text(yaml.safe_dump(small(rounds=1, evaluate__every=0, **few)))
    rates = {"none": 1e-9, "some": 0.001}
    variants = {name: {"client.learning_rate": rate} for name, rate in rates.items()}
    sweep.write_text(yaml.safe_dump({"config": "tiny.yaml", "variants": variants, "seeds": [4]}))
    first, second = halving.halving(sweep, tmp_path / "out", [["rounds=1"], ["rounds=2"]], keep=0.5)
    assert {label for label, _ in first} == set(rates)
    assert [label for label, _ in second] == [first[0][0]]
    lines = halving.markdown([first, second]).splitlines()
    assert lines[0] == "| WER | rung 1 | rung 2 |"
    assert lines[2].startswith(f"| {first[0][0]} | {first[0][1]:.3f} | {second[0][1]:.3f} |")
    assert [line.endswith(" | — |") for line in lines[2:]] == [False, True]
