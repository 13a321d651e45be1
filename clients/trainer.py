"""Local training and evaluation on a device."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fedasr import seeds
from fedasr.data.quality import bad_transcripts
from fedasr.evaluation.evaluator import Evaluation, evaluate
from fedasr.experiment import experiment, per_experiment, without_transcripts
from fedasr.models.weights import Arrays, Vector
from fedasr.training import local
from fedasr.training.batching import batches_of_a_round, plan_batches
from fedasr.training.schedules import learning_rate

from .own_labels import Lesson
from .speech import Device


@per_experiment
def resident(config_json: str) -> local.Resident:
    """Return this process's model, built once and loaded anew for every client."""
    run = experiment(config_json)
    return local.Resident(run.model().to(local.chosen_device(run.config.runtime.device)))


def train(
    device: Device, arrays: Arrays, lesson: Lesson | None = None, correction: Vector | None = None
) -> tuple[dict[str, npt.NDArray[Any]], local.LocalResult, int]:
    """Train the global weights on the device's speech; also return how many of its utterances could not be decoded.

    Every draw (batches, augmentation, dropout) is a function of the seed, the round and the client.

    Args:
        device: at work on a message.
        arrays: the global weights.
        lesson: what it trains on; None: all that it stores, with its transcripts.
        correction: added to the gradient of each step, shape ``(parameters,)``; None: nothing.

    Raises:
        InputError: an utterance cannot be decoded, and ``data.on_bad_audio`` is ``stop``.
    """
    lesson = lesson or Lesson(device.speech, device.rows)
    config, speech = device.experiment.config, lesson.speech
    model = resident(device.config_json)
    state = local.init(model, arrays, config.client, rate_of(device), correction)
    where = (config.seed, "local-training", device.round, device.client)
    rng = seeds.generator(*where)
    target = model.parameters.device
    skipped = set(lesson.damaged)
    with seeds.torch_scope(*where):
        for rows in batches_of_a_round(lesson.rows, lesson.seconds, config.client, rng):
            batch = speech.batch(rows, rng)
            if len(batch) < len(rows):
                skipped.update(set(map(int, rows)).difference(batch.indices))
            local.step(state, batch.to(target))
    return *local.final(state), len(skipped)


def rate_of(device: Device) -> float:
    """Return the learning rate of each step of a round."""
    config = device.experiment.config
    return learning_rate(config.client, device.round, config.rounds)


def evaluate_globally(device: Device, arrays: Arrays) -> Evaluation:
    """Evaluate the global weights on the device's own speech, as far as it has transcripts."""
    run = device.experiment
    model = resident(device.config_json)
    model.load(arrays)
    vocabulary = run.vocabulary if run.config.evaluate.decoder == "vocabulary" else ()
    rows = np.asarray(device.rows)
    if without_transcripts(run.config):  # then nobody has looked whether they can be used
        bad = {row for row, _ in bad_transcripts(run.corpus, rows.astype(np.int64), run.tokenizer)}
        rows = np.array([row for row in rows.tolist() if row not in bad], np.int64)
    return evaluate(model.model, run.speech, run.tokenizer, rows, run.config.evaluate, vocabulary)


def global_loss(device: Device, arrays: Arrays, one_batch: bool) -> float:
    """Return the mean loss of the global weights over the device's utterances in nats a token; NaN without any.

    Args:
        device: at work on a message.
        arrays: the global weights.
        one_batch: on one batch, drawn for this round, instead of on everything.
    """
    config, speech = device.experiment.config.client, device.experiment.speech
    model = resident(device.config_json)
    model.load(arrays)
    model.model.eval()
    rng = seeds.generator(device.experiment.config.seed, "loss-query", device.round, device.client)
    plan = plan_batches(device.rows, device.seconds, config, rng)
    total, utterances = 0.0, 0
    with torch.inference_mode():
        for rows in plan[:1] if one_batch else plan:
            batch = speech.batch(rows).to(model.parameters.device)
            if len(batch):
                total += float(local.normalised_loss(model.model, batch).sum())
                utterances += len(batch)
    return total / utterances if utterances else float("nan")
