"""A teacher of PATE: a model of the device's own speech, which never leaves it, and its votes on public speech.

Everything that a teacher does is a function of the seed, the config, the public initial model and its own speech.
Teachers share only what is public: the initial model, the tokenizer, the questions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from flwr.app import Message

from fedasr import seeds
from fedasr.config import Config, to_dict
from fedasr.data.batches import Batch
from fedasr.data.speech import collate
from fedasr.experiment import experiment
from fedasr.flower.records import arrays_of
from fedasr.models.base import SpeechModel
from fedasr.models.weights import Arrays, sha256
from fedasr.privacy.pate.noise import to_fixed, with_share
from fedasr.privacy.randomness import KEY_BYTES, Randomness
from fedasr.protocol import Key, Name, Record, VoteOrder
from fedasr.secure.votes import VoteCoder
from fedasr.training import local
from fedasr.training.batching import plan_batches
from fedasr.training.schedules import learning_rate
from fedasr.typing import Floats

from .speech import Device
from .store import ClientStore
from .trainer import resident

Votes = npt.NDArray[np.int64]
Places = npt.NDArray[np.int64]

ASKED = (Key.UNIT, Key.INTERNAL_LM, Key.CLASSES, Key.NUMBER, Key.TEACHERS)
"""What of an order the noise on an answer depends on, beside the start and the arrays."""
ABSTAINS = -1
"""The vote of a teacher to whom nothing is possible: no candidate fits into the speech, or its model is broken."""


def teach(device: Device, start: Arrays, store: ClientStore) -> None:
    """Train the device's teacher on its speech from the public initial model and keep it, unless it is kept already.

    The schedule of ``client`` runs over the epochs.

    Raises:
        InputError: an utterance cannot be decoded, and ``data.on_bad_audio`` is ``stop``.
    """
    name = name_of(device, sha256(device.experiment.whole(start)))
    if name in store:
        return
    run = device.experiment
    settings, speech = run.config.client, device.speech
    where = (run.config.seed, "teacher-training", 0, device.client)
    rng = seeds.generator(*where)
    state = local.init(resident(device.config_json), start, settings, settings.learning_rate)
    target = state.resident.parameters.device
    with seeds.torch_scope(*where):
        for epoch in range(1, settings.epochs + 1):
            state.learning_rate = learning_rate(settings, epoch, settings.epochs)
            for rows in plan_batches(device.rows, device.seconds, settings, rng):
                batch = speech.batch(rows, rng)
                local.step(state, batch.to(target))
    trained, _ = local.final(state)
    if not all(np.isfinite(array).all() for array in trained.values()):
        rate = settings.learning_rate
        raise FloatingPointError(f"the teacher's weights are not finite; lower 'client.learning_rate' ({rate:g})")
    store.save(name, trained)


def name_of(device: Device, start: str) -> str:
    """Return the name that a device's teacher is kept under: a digest of all that its weights depend on.

    On an edge device without its speech: what was recorded since it learnt must not lose it while it is asked.
    """
    digest = hashlib.blake2b(recipe(device.config_json), digest_size=16)
    digest.update(start.encode())
    if device.edge_name is not None:
        return f"{device.client}-{digest.hexdigest()}"
    corpus = device.experiment.corpus
    for row in device.rows.tolist():
        digest.update(corpus.content_key(row) + str(corpus.columns["text"][row]).encode())
    return f"{device.client}-{digest.hexdigest()}"


@lru_cache(maxsize=2)
def recipe(config_json: str) -> bytes:
    """Return what of a config shapes a teacher, as bytes.

    Only what differs from the defaults: a key that comes with an upgrade must not lose an edge device its teacher.
    """
    config, usual = to_dict(experiment(config_json).config), to_dict(Config())
    config["data"].pop("cache")
    tokenizer = experiment(config_json).tokenizer.characters
    sections = [chosen(config[name], usual[name]) for name in ("data", "model", "client")]
    kept = [config["seed"], *sections, list(tokenizer)]
    return json.dumps(kept, sort_keys=True).encode()


def chosen(section: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a section whose values are not the usual ones."""
    options: dict[str, Any] = {}
    for name, value in section.items():
        if isinstance(value, Mapping) and isinstance(usual.get(name), Mapping):
            below = chosen(value, usual[name])
            if below:
                options[name] = below
        elif name not in usual or value != usual[name]:
            options[name] = value
    return options


def vote(device: Device, message: Message, store: ClientStore) -> Votes:
    """Return the teacher's vote on each question of a message, shape ``(questions,)``; −1 where it has none.

    With a soft mechanism its posteriors instead, times its weight, and with noise at the teachers either of the two as
    a row of counts with its share of the noise: in fixed point, shape ``(questions, classes)``. Under secure
    aggregation the row is of steps of ``VoteCoder``.

    Raises:
        InputError: the device has no teacher, or its file is damaged.
    """
    order = VoteOrder.of(message)
    model = resident(device.config_json)
    model.load(store.load(name_of(device, order.start), model.layout.names))
    target = model.parameters.device
    speech, asked = arrays_of(message, Record.SPEECH), arrays_of(message, Record.QUESTIONS)
    questions = TeacherQuestions.of(order, model.model, sequences(asked[Name.TOKENS], asked[Name.LENGTHS]))
    config = device.experiment.config
    soft = config.pate.mechanism.startswith("soft-")
    # One entry an utterance: rows of frames come in the order of the utterances, however they were batched.
    frames, lengths = speech[Name.FRAMES], speech[Name.LENGTHS]
    answers: list[npt.NDArray[Any]] = [np.zeros(0)] * len(lengths)
    with model.model.as_it_decodes():
        for places, batch in batches(frames, lengths, config.evaluate.batch_size):
            ask = posteriors_of if soft else votes_of
            rows = ask(questions, model.model, batch.to(target), places)
            for place, row in zip(places.tolist(), rows, strict=True):
                answers[place] = row
    votes = np.concatenate(answers)
    at_teachers = config.pate.noise_at == "teachers"  # the config that an edge device has checked
    if not soft and not at_teachers:
        return votes
    counts = votes * weight_of(device) if soft else one_hot(votes, order.classes)
    if config.secure_aggregation.mode != "none":
        return VoteCoder.of(config, order.teachers).encode(counts, noise_source(device, message, store))
    if at_teachers:
        pate, rng = config.pate, noise_source(device, message, store)
        counts = with_share(pate.mechanism, pate.scale, counts, rng, order.teachers)
    return to_fixed(counts)


@dataclass(frozen=True)
class TeacherQuestions:
    """What a message asks about each utterance."""

    unit: str
    texts: list[list[int]]
    """candidates, or the released prefix of each utterance"""
    bonus: torch.Tensor | None
    """of each candidate, ``(candidates,)``: that a teacher expected it before it heard anything must not count"""

    @classmethod
    def of(cls, order: VoteOrder, model: SpeechModel, texts: list[list[int]]) -> TeacherQuestions:
        """Return the questions of a message to a teacher."""
        share = float(order.internal_lm)
        with model.as_it_decodes():
            return cls(order.unit, texts, -share * model.internal_lm(texts) if share else None)


def votes_of(questions: TeacherQuestions, model: SpeechModel, batch: Batch, places: Places) -> list[Votes]:
    """Return the votes on the questions about each utterance, ``(questions,)`` each; arguments as ``scores_of``."""
    if questions.unit == "utterance":  # what decoder ``vocabulary`` chooses, without scoring what cannot win
        phrases = model.likeliest_phrases(model.encode(batch), questions.texts, questions.bonus)
        return [np.array([best]) for best in phrases]
    return [most_likely(scores.cpu()) for scores in scores_of(questions, model, batch, places)]


def posteriors_of(questions: TeacherQuestions, model: SpeechModel, batch: Batch, places: Places) -> list[Floats]:
    """Return the posteriors of the answers, ``(questions, classes)`` an utterance; arguments as ``scores_of``."""
    return [posteriors(scores.cpu()) for scores in scores_of(questions, model, batch, places)]


def scores_of(questions: TeacherQuestions, model: SpeechModel, batch: Batch, places: Places) -> list[torch.Tensor]:
    """Return log-scores of the answers to the questions about each utterance, ``(questions, classes)`` an utterance.

    Args:
        questions: of the message.
        model: the teacher.
        batch: utterances.
        places: of the utterances in the message.
    """
    if questions.unit == "frame":
        encoded = model.encode(batch)
        return [encoded.frames[row, :length] for row, length in enumerate(encoded.lengths.tolist())]
    if questions.unit == "token":
        scores = model.next_token_log_posteriors(batch, [questions.texts[place] for place in places])
    else:
        scores = model.phrase_scores(model.encode(batch), questions.texts)  # what decoder ``vocabulary`` compares
        scores = scores if questions.bonus is None else scores + questions.bonus.to(scores)
    return list(scores[:, None])


def posteriors(scores: torch.Tensor) -> Floats:
    """Return the softmax of each row, float64; rows of zeros, which vote for nothing, where no score is finite."""
    usable = torch.isfinite(scores)
    safe = torch.where(usable, scores.double(), -torch.inf)
    probabilities = torch.where(usable.any(dim=1, keepdim=True), safe.softmax(dim=1), 0.0)
    return np.asarray(probabilities.numpy(), np.float64)


def weight_of(device: Device) -> float:
    """Return the weight of a device's posteriors: public, given by the name of the client."""
    return float(device.experiment.config.pate.weights.get(device.name, 1.0))


def most_likely(scores: torch.Tensor) -> Votes:
    """Return the best column of each row, the first of equals; −1 where no score is finite."""
    usable = torch.isfinite(scores)
    best = torch.where(usable, scores, -torch.inf).numpy().argmax(axis=1)
    votes: Votes = np.where(usable.any(dim=1).numpy(), best, ABSTAINS)
    return votes


def one_hot(votes: Votes, classes: int) -> Floats:
    """Return votes as rows of counts, shape ``(questions, classes)``; a row of zeros for none."""
    counts = np.zeros((len(votes), classes))
    cast = np.flatnonzero(votes != ABSTAINS)
    counts[cast, votes[cast]] = 1.0
    return counts


def noise_source(device: Device, message: Message, store: ClientStore) -> np.random.Generator:
    """Return where the noise on the answer to a message comes from.

    Secret noise is a function of a secret of the device and of everything that is asked. So the same questions, which
    a resumed run asks again, have the same noise: two answers with noise of their own would cost twice as much.

    Not under secure aggregation: of two sums with the same noise, one of which lacks a teacher, the difference is that
    teacher's vote with its share alone. There every answer has noise of its own, and is paid for.
    """
    order, config = VoteOrder.of(message), device.experiment.config
    if not config.privacy.secret_noise:
        return Randomness.public(config.seed).generator("pate-teacher-noise", order.number, device.client)
    if config.secure_aggregation.mode != "none":
        return Randomness.secret().generator("pate-teacher-noise")
    pate = config.pate
    asked = {name: order.values()[name] for name in ASKED}
    facts = [asked, name_of(device, order.start), pate.mechanism, pate.scale, weight_of(device)]
    secret = store.secret(f"{device.client}-noise")
    digest = hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=KEY_BYTES, key=secret)
    for record in (Record.SPEECH, Record.QUESTIONS):
        for name, array in sorted(arrays_of(message, record).items()):
            digest.update(f"{name}{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return Randomness(digest.digest(), is_secret=True).generator("pate-teacher-noise")


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
    chunks = []
    for first in range(0, len(order), size):
        places = order[first : first + size].astype(np.int64)
        features = [np.asarray(frames[starts[place] : starts[place + 1]]) for place in places]
        none = [np.zeros(0, np.int64)] * len(places)
        chunks.append((places, collate(features, none, 0.0, tuple(places.tolist()))))
    return chunks


def sequences(tokens: npt.NDArray[Any], lengths: npt.NDArray[Any]) -> list[list[int]]:
    """Return token sequences that were sent one after the other."""
    ends = np.cumsum(lengths)
    return [tokens[end - length : end].tolist() for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)]
