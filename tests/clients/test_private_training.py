"""Private training on a device: whose draws are whose, and that no two answers have the same noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord, Context, Message, RecordDict

import fedasr.experiment
from fedasr.clients.own_labels import Lesson
from fedasr.clients.private_training import keeper, train_privately
from fedasr.clients.speech import Device, find_device
from fedasr.clients.trainer import resident
from fedasr.config import load
from fedasr.config.schema import ClientConfig
from fedasr.experiment import as_json
from fedasr.flower.messages import RUN_ID, assume_identity
from fedasr.flower.records import array_record
from fedasr.privacy import dpsgd
from fedasr.privacy.draws import augmenting, drawn
from fedasr.privacy.gradients.clipping import Flat
from fedasr.privacy.randomness import Randomness

BOUND = 0.05


def config(**privacy: Any) -> str:
    synthetic = {
        "grammar": "words",
        "words": ["yes", "no", "left", "right"],
        "speakers": 2,
        "utterances_per_speaker": 6,
        "activity": "constant",
        "test_speakers": 1,
        "test_utterances_per_speaker": 1,
    }
    augment = {
        "frequency_masks": 2,
        "time_masks": 2,
        "speed": 0.1,
        "time_shift_ms": 50,
        "gain_db": 3,
        "noise_snr_db": 10,
    }
    return as_json(
        load(
            {
                "data": {"corpus": "synthetic", "synthetic": synthetic, "augment": augment},
                "model": {"channels": [8, 8], "hidden": 8, "dropout": 0.1},
                "client": {"optimizer": "sgd", "learning_rate": 0.1, "batch_size": 2, "clip_norm": None},
                "privacy": {"unit": "example", "noise_multiplier": 1.0, **privacy},
            }
        )
    )


def device(text: str) -> tuple[Device, Context]:
    assume_identity()
    run = fedasr.experiment.experiment(text)
    order = {"config": ConfigRecord({"round": 1, "experiment": text}), "arrays": array_record(run.first_weights())}
    context = Context(RUN_ID, 0, {"partition-id": 0}, RecordDict(), {})
    return find_device(Message(RecordDict(order), 0, "train"), context), context  # type: ignore[arg-type]


def clipped_sum(found: Device, rows: Any) -> torch.Tensor:
    """Return the sum of the clipped gradients of a step in which everybody is drawn, from the device's real speech."""
    model = resident(found.config_json)
    where = dpsgd.Where(Randomness.public(3), 1, 0)
    settings = dpsgd.PrivateTraining(Flat(BOUND), (0.0,), 1.0, len(rows))
    plain = ClientConfig(optimizer="sgd", clip_norm=None)
    start = found.experiment.first_weights()
    state = dpsgd.init(keeper(found.config_json), model, start, plain, 0.0, settings, where)
    (group,) = dpsgd.draw(settings, where, 0)
    assert len(group) == len(rows)
    dpsgd.step(
        state, drawn(found.speech, np.asarray(rows), [group], augmenting(found.speech, where, 0), torch.device("cpu"))
    )
    return model.gradient.double() * len(rows)


def test_one_utterance_less_moves_the_sum_by_at_most_the_bound() -> None:
    """With SpecAugment, changes of the waveform, and dropout on."""
    result, _ = device(config())
    rows = result.rows.tolist()
    assert len(rows) >= 5
    whole = clipped_sum(result, rows)
    assert torch.equal(clipped_sum(result, rows), whole)
    for left_out in rows[:3]:
        rest = [row for row in rows if row != left_out]
        assert 0 < float((whole - clipped_sum(result, rest)).norm()) <= BOUND * (1 + 1e-4)


@pytest.mark.thorough
@pytest.mark.parametrize("secret", [False, True])
def test_a_device_that_is_asked_twice_never_has_the_same_secret_noise(secret: bool, tmp_path: Path) -> None:
    """Else a server subtracts two answers to the same round; of a public seed they are the same bits."""
    text, result = config(secret_noise=secret), []
    for _ in range(2):
        asked, context = device(text)
        lesson = Lesson(asked.speech, asked.rows)
        result.append(train_privately(asked, asked.experiment.first_weights(), lesson, context).arrays)
    assert result[0] is not None
    assert result[1] is not None
    same = [np.array_equal(result[0][name], result[1][name]) for name in result[0]]
    assert all(same) != secret
    assert not any(same) or not secret
