"""A teacher of PATE: a model of the device's own speech, which never leaves it, and its votes on public speech.

Everything that a teacher does is a function of the seed, the config, the public start and its own speech. Nothing is
shared between teachers but what is public: the start, the tokenizer, the questions.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from flwr.app import Message

from clients.speech import Device
from clients.store import ClientStore
from clients.trainer import resident
from fedasr import seeds
from fedasr.config import to_dict
from fedasr.data.batches import Batch
from fedasr.data.speech import collate
from fedasr.experiment import experiment
from fedasr.models.base import SpeechModel
from fedasr.models.weights import Arrays, sha256
from fedasr.privacy.pate.noise import noise_generator, share, to_fixed
from fedasr.runtime.flower_compat import arrays_of, values_of
from fedasr.training import local
from fedasr.training.batching import plan_batches
from fedasr.training.schedules import learning_rate

Votes = npt.NDArray[np.int64]

ABSTAINS = -1
"""The vote of a teacher to whom nothing is possible: no candidate fits into the speech, or its model is broken."""


@dataclass(frozen=True)
class Taught:
    """What a teacher tells of its training: how much it stores, which is public, and what it did."""

    steps: int
    skipped: int
    found: bool
    """whether it was trained before"""


def teach(device: Device, start: Arrays, store: ClientStore) -> Taught:
    """Train the device's teacher on its speech from the public start and keep it, unless it is kept already.

    The schedule of ``client`` runs over the epochs.

    Raises:
        InputError: an utterance cannot be decoded, and ``data.on_bad_audio`` is ``stop``.
    """
    name = name_of(device, sha256(start))
    if name in store:
        return Taught(0, 0, found=True)
    run = device.experiment
    settings, speech = run.config.client, run.speech
    where = (run.config.seed, "teacher-training", 0, device.client)
    rng = seeds.generator(*where)
    state = local.init(resident(device.config_json), start, settings, settings.learning_rate)
    target = state.resident.parameters.device
    skipped: set[int] = set()
    with seeds.torch_scope(*where):
        for epoch in range(1, settings.epochs + 1):
            state.learning_rate = learning_rate(settings, epoch, settings.epochs)
            for rows in plan_batches(device.rows, device.seconds, settings, rng):
                batch = speech.batch(rows, rng)
                if len(batch) < len(rows):
                    skipped.update(set(map(int, rows)).difference(batch.indices))
                local.step(state, batch.to(target))
    trained, result = local.final(state)
    store.save(name, trained)
    return Taught(result.steps, len(skipped), found=False)


def name_of(device: Device, start: str) -> str:
    """Return the name that a device's teacher is kept under: a digest of all that its weights depend on."""
    digest = hashlib.blake2b(recipe(device.config_json), digest_size=16)
    digest.update(start.encode())
    corpus = device.experiment.corpus
    for row in device.rows.tolist():
        digest.update(corpus.content_key(row) + str(corpus.columns["text"][row]).encode())
    return f"{device.client}-{digest.hexdigest()}"


@lru_cache(maxsize=2)
def recipe(config_json: str) -> bytes:
    """Return what of a config shapes a teacher, as bytes."""
    config = to_dict(experiment(config_json).config)
    config["data"].pop("cache")
    tokenizer = experiment(config_json).tokenizer.characters
    kept = [config["seed"], config["data"], config["model"], config["client"], list(tokenizer)]
    return json.dumps(kept, sort_keys=True).encode()


def vote(device: Device, message: Message, store: ClientStore) -> Votes:
    """Return the teacher's vote on each question of a message, shape ``(questions,)``; −1 where it has none.

    Where noise is added by the teachers, return instead its vote as a row of counts with its share of the noise, in
    fixed point, shape ``(questions, classes)``.

    Raises:
        InputError: the device has no teacher, or its file is damaged.
    """
    order = values_of(message, "config")
    model = resident(device.config_json)
    model.load(store.load(name_of(device, str(order["start"])), model.layout.names))
    target = model.parameters.device
    speech, asked = arrays_of(message, "speech"), arrays_of(message, "questions")
    texts = sequences(asked["tokens"], asked["lengths"])
    size = device.experiment.config.evaluate.batch_size
    votes = np.full(len(speech["lengths"]), ABSTAINS, np.int64)
    with model.model.as_it_decodes():
        for places, batch in batches(speech["frames"], speech["lengths"], size):
            if order["unit"] == "token":
                scores = model.model.next_token_log_posteriors(batch.to(target), [texts[place] for place in places])
            else:
                scores = candidate_scores(model.model, batch.to(target), texts)
            votes[places] = most_likely(scores.cpu())
    if order["noise"] == "server":
        return votes
    return with_share(votes, int(order["classes"]), device, int(order["number"]), int(order["teachers"]))


def candidate_scores(model: SpeechModel, batch: Batch, candidates: list[list[int]]) -> torch.Tensor:
    """Return what decoder ``vocabulary`` compares, ``(batch, candidates)``."""
    return model.phrase_scores(model.encode(batch), candidates)


def most_likely(scores: torch.Tensor) -> Votes:
    """Return the best column of each row, the first of equals; −1 where no score is finite."""
    usable = torch.isfinite(scores)
    best = torch.where(usable, scores, -torch.inf).numpy().argmax(axis=1)
    found: Votes = np.where(usable.any(dim=1).numpy(), best, ABSTAINS)
    return found


def with_share(votes: Votes, classes: int, device: Device, number: int, teachers: int) -> Votes:
    """Return votes as rows of counts with the teacher's share of the noise, in fixed point.

    Args:
        votes: shape ``(questions,)``.
        classes: columns.
        device: whose votes these are.
        number: of the first question, counted over the run: every question has noise of its own.
        teachers: among how many the noise is split.
    """
    config = device.experiment.config
    pate = config.pate
    rng = noise_generator(config.privacy.secret_noise, config.seed, "pate-teacher-noise", number, device.client)
    counts = share(pate.mechanism, pate.scale, (len(votes), classes), rng, teachers)
    cast = votes != ABSTAINS
    counts[np.flatnonzero(cast), votes[cast]] += 1.0
    return to_fixed(counts)


def batches(
    frames: npt.NDArray[Any], lengths: npt.NDArray[Any], size: int
) -> list[tuple[npt.NDArray[np.int64], Batch]]:
    """Return utterances of similar length as batches without targets, each with their places.

    Args:
        frames: of all utterances, one after the other, shape ``(total, mel)``.
        lengths: frames of each utterance, shape ``(utterances,)``.
        size: utterances a batch.
    """
    starts = np.concatenate([[0], np.cumsum(lengths)])
    order = np.argsort(lengths, kind="stable")
    found = []
    for first in range(0, len(order), size):
        places = order[first : first + size].astype(np.int64)
        features = [np.asarray(frames[starts[place] : starts[place + 1]]) for place in places]
        none = [np.zeros(0, np.int64)] * len(places)
        found.append((places, collate(features, none, 0.0, tuple(places.tolist()))))
    return found


def sequences(tokens: npt.NDArray[Any], lengths: npt.NDArray[Any]) -> list[list[int]]:
    """Return token sequences that were sent one after the other."""
    ends = np.cumsum(lengths)
    return [tokens[end - length : end].tolist() for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)]
