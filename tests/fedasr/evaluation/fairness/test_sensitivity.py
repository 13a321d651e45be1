"""Accumulated prediction sensitivity: by hand, of every family, and of a model that hears what the probe hears."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedasr.evaluation.fairness.probe import Probe, balanced_accuracy
from fedasr.evaluation.fairness.sensitivity import Heard, accumulated_sensitivity, sensitivities, summary
from fedasr.training.local import normalised_loss
from tests.fedasr.models.families import LABELS, LENGTHS, MEL, batch_of, build


def test_the_sensitivity_of_a_sigmoid_by_hand() -> None:
    # σ(x₁ − 2x₂) at 0 has the derivatives ¼ and −½.
    x = torch.zeros(1, 2, requires_grad=True)
    outputs = torch.sigmoid(x @ torch.tensor([[1.0], [-2.0]]))
    v = torch.eye(2)[:, None]
    result = accumulated_sensitivity(outputs, x, torch.ones(1), v)
    assert result.tolist() == [[0.25], [0.5]]


def test_outputs_are_weighted_after_their_signs_are_gone() -> None:
    x = torch.zeros(1, 2, requires_grad=True)
    outputs = x @ torch.tensor([[1.0, -1.0], [3.0, -2.0]])  # |J| = [[1, 3], [1, 2]], an output a row
    result = accumulated_sensitivity(outputs, x, torch.tensor([1.0, 10.0]), torch.tensor([[1.0, 0.5]]))
    assert result.tolist() == [1 + 10 + 0.5 * (3 + 20)]


def test_a_probe_weighs_frames_by_one_on_average_and_padding_by_nothing() -> None:
    probe = Probe(MEL, 3)
    batch = batch_of([12, 7], [[1], [2]], padding=1e3)
    alone = batch_of([12], [[1]])
    weights = probe.weights(batch, torch.tensor([0, 2]))
    assert weights.sum((1, 2)).tolist() == pytest.approx([12, 7], rel=1e-5)
    assert (weights >= 0).all()
    assert not weights[1, 7:].any()
    assert torch.allclose(weights[:1], probe.weights(alone, torch.tensor([0])), atol=1e-6)


@pytest.mark.parametrize("family", ["ctc", "las", "hybrid-conformer", "rnnt"])
def test_the_sensitivity_of_each_family_is_that_of_its_loss(family: str) -> None:
    model = build(family).eval()
    batch = batch_of(LENGTHS[:2], LABELS[:2])
    weights = torch.zeros_like(batch.features)
    weights[0, 20, 2] = 1.0
    given, even = sensitivities(model, batch, weights)
    step = 0.02
    losses = []
    for side in (step, -step):
        moved = batch_of(LENGTHS[:2], LABELS[:2])
        moved.features[0, 20, 2] += side
        with torch.no_grad():
            losses.append(normalised_loss(model, moved))
    slope = (losses[0] - losses[1]) / (2 * step)
    assert given[0].item() == pytest.approx(slope[0].abs().item(), rel=0.05, abs=2e-5)
    assert given[1].item() == 0
    assert (even > 0).all()


def test_the_summary_has_intervals_over_speakers_and_says_how_well_the_probe_does() -> None:
    heard = Heard(np.arange(4), np.array([2.0, 2.0, 4.0, 4.0]), np.array([1.0, 1.0, 1.0, 1.0]), np.array([0, 1, 1, 1]))
    speakers = np.array(["a", "a", "b", "b"], object)
    result = summary(heard, np.array([0, 0, 1, 1]), speakers, 2, 0)
    assert (result["value"], result["even"]["value"], result["ratio"]["value"]) == (3.0, 1.0, 3.0)
    assert result["low"] == 2.0
    assert result["high"] == 4.0
    assert result["probe"] == {"accuracy": 0.75, "chance": 0.5}


def test_accuracy_is_that_of_groups_alike_however_many_they_are() -> None:
    assert balanced_accuracy([0, 0, 0, 0], [0, 0, 0, 1]) == 0.5
