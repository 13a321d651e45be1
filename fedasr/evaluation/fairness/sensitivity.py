"""Accumulated prediction sensitivity: how much a model listens to what tells the group of a speaker.

Maughan and Near 2022 (arXiv 2203.08670): P = wᵀ|J|v with |J| the magnitudes of the derivatives of the model's outputs
by its inputs, w the weights of the outputs, and v ≥ 0 how much each input tells of the protected attribute, from the
gradient of a probe.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fedasr.data.batches import Batch
from fedasr.data.speech import Speech
from fedasr.evaluation.fairness.probe import Probe, balanced_accuracy
from fedasr.evaluation.intervals import speaker_interval
from fedasr.models.base import SpeechModel
from fedasr.training.local import normalised_loss
from fedasr.typing import Floats


def accumulated_sensitivity(
    outputs: torch.Tensor, inputs: torch.Tensor, w: torch.Tensor, v: torch.Tensor
) -> torch.Tensor:
    """Return wᵀ|J|v of each example, shape ``(batch,)``.

    Args:
        outputs: ``(batch, outputs)``, a differentiable function of ``inputs``, each example's of its own alone.
        inputs: ``(batch, …)``.
        w: weights of the outputs, ``(outputs,)``.
        v: weights of the inputs, the shape of ``inputs`` or ``(weightings, *inputs.shape)``.

    Returns:
        ``(batch,)``, or ``(weightings, batch)``.
    """
    accumulated = torch.zeros_like(inputs)
    for place in range(outputs.shape[1]):
        (row,) = torch.autograd.grad(outputs[:, place].sum(), inputs, retain_graph=place + 1 < outputs.shape[1])
        accumulated += w[place] * row.abs()
    return (accumulated * v).flatten(start_dim=1 - inputs.ndim).sum(-1)


@dataclass(frozen=True)
class Heard:
    """What was measured of utterances; arrays of shape ``(utterances,)``."""

    rows: npt.NDArray[np.int64]
    sensitivity: Floats
    """in nats per token, for one unit of each frame's log-mel features, spread over them as the probe says"""
    even: Floats
    """the same for one unit that is spread evenly"""
    told: npt.NDArray[np.int64]
    """the group that the probe thinks the utterance is of"""


def listen(
    model: SpeechModel,
    probe: Probe,
    speech: Speech,
    rows: npt.NDArray[np.integer],
    labels: npt.NDArray[np.int64],
    batch_size: int,
) -> Heard:
    """Return how sensitive a model's loss per token is to the inputs that tell the group, utterance by utterance.

    The output is one: the negative log-likelihood of the transcript per token, which every family has.

    Args:
        model: any family.
        probe: of the groups.
        speech: where the utterances are.
        rows: of the corpus, distinct.
        labels: the group of each row.
        batch_size: utterances at a time.
    """
    of_row = dict(zip(rows.tolist(), labels.tolist(), strict=True))
    order = np.argsort(speech.durations[rows], kind="stable")
    device = next(model.parameters()).device
    model.eval()
    columns: list[tuple[npt.NDArray[Any], ...]] = []
    for start in range(0, len(rows), batch_size):
        batch = speech.batch(rows[order[start : start + batch_size]])
        if len(batch):
            groups = torch.tensor([of_row[row] for row in batch.indices])
            weights = probe.weights(batch, groups)
            with torch.no_grad():
                told = probe(batch.features, batch.feature_lengths).argmax(1)
            both = sensitivities(model, batch.to(device), weights.to(device)).double().cpu().numpy()
            columns.append((np.array(batch.indices, np.int64), both[0], both[1], told.numpy()))
    if not columns:
        return Heard(np.zeros(0, np.int64), np.zeros(0), np.zeros(0), np.zeros(0, np.int64))
    return Heard(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def sensitivities(model: SpeechModel, batch: Batch, weights: torch.Tensor) -> torch.Tensor:
    """Return the sensitivity of the loss per token with given and with even weights, shape ``(2, batch)``."""
    inputs = batch.features.clone().requires_grad_()
    given = Batch(
        inputs, batch.feature_lengths, batch.targets, batch.target_lengths, batch.seconds, batch.indices
    )  # fmt: skip
    there = torch.arange(inputs.shape[1], device=inputs.device) < batch.feature_lengths[:, None]
    even = (there[..., None] / inputs.shape[2]).expand_as(inputs)
    loss = normalised_loss(model, given)[:, None]
    return accumulated_sensitivity(loss, inputs, torch.ones(1, device=inputs.device), torch.stack([weights, even]))


def summary(
    heard: Heard, labels: npt.NDArray[np.int64], speakers: npt.NDArray[Any], groups: int, seed: int
) -> dict[str, Any]:
    """Return the sensitivity as ``fairness.json`` holds it, with intervals over speakers.

    Args:
        heard: of utterances.
        labels: the group of each, in the order of ``heard``.
        speakers: of each.
        groups: how many the probe tells apart.
        seed: of the resamples.
    """
    count = np.ones(len(labels))
    parts = {
        "": (count, heard.sensitivity),
        "even": (count, heard.even),
        "ratio": (heard.even, heard.sensitivity),
    }
    result: dict[str, Any] = {}
    for name, (below, above) in parts.items():
        interval = speaker_interval(speakers, below, above, seed, f"sensitivity/{name}")
        total = float(below.sum())
        value = float(above.sum()) / total if total else float("nan")
        one = {"value": value, "low": interval.low, "high": interval.high}
        result |= {name: one} if name else one
    accuracy = balanced_accuracy(heard.told.tolist(), labels.tolist()) if len(labels) else float("nan")
    return {**result, "utterances": len(labels), "probe": {"accuracy": accuracy, "chance": 1 / groups}}
