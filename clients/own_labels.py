"""What a device trains on where it has no transcripts: hypotheses of a teacher, or corrections of a simulated user.

Labels follow from the device's own speech, a model that the server has sent, and the number of the round; nothing of
them leaves the device but counts, and in a private run not even those.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import Context

from fedasr.data.draws import uniforms
from fedasr.data.machine_labels import MachineLabelled
from fedasr.data.speech import Speech
from fedasr.errors import InputError
from fedasr.evaluation.wer import utterance_errors
from fedasr.models.weights import Arrays
from fedasr.privacy.onlookers import noise_place
from fedasr.protocol import KeptLabels, Record
from fedasr.training.local import Resident
from fedasr.training.self_labels import Hypotheses, chosen, moved

from .hearing import heard_by
from .speech import Device

Rows = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Counts:
    """What became of a device's untranscribed utterances; the names are those of ``protocol.Trained``."""

    untranscribed: int
    kept: int
    empty: int
    agreed: int
    frames: int
    blank_frames: int
    label_words: int | None
    label_errors: int | None


@dataclass(frozen=True)
class Lesson:
    """What a device trains on in a round."""

    speech: Speech
    rows: Rows
    """of the corpus"""
    counts: Counts | None = None
    """None: all has transcripts, or the device tells nothing of it"""
    damaged: frozenset[int] = field(default_factory=frozenset)
    """rows whose audio could not be used when a label was looked for"""

    @property
    def seconds(self) -> npt.NDArray[np.float32]:
        """Audio of each utterance in seconds, shape ``(utterances,)``."""
        durations: npt.NDArray[np.float32] = self.speech.durations[self.rows]
        return durations


def lesson_of(device: Device, model: Resident, arrays: Arrays, teacher: Arrays | None, context: Context) -> Lesson:
    """Return what a device trains on in a round.

    Args:
        device: at work on a message.
        model: this process's; its weights are changed.
        arrays: the global weights.
        teacher: those of the teacher; None: the global ones.
        context: of the device, where it may keep labels.

    Raises:
        InputError: an utterance cannot be decoded, and ``data.on_bad_audio`` is ``stop``.
    """
    run = device.experiment
    labels = run.config.client.labels
    if labels == "truth":
        return Lesson(device.speech, device.rows)
    bare = ~run.transcribed[device.rows]
    if labels == "none" or not bare.any():
        return Lesson(device.speech, device.rows[~bare])
    return Labelling(device, model, context).lesson(device.rows[bare], arrays, teacher)


class Labelling:
    """Labels the untranscribed speech of a device; arguments as those of ``lesson_of``."""

    def __init__(self, device: Device, model: Resident, context: Context) -> None:
        self.device, self.model, self.context = device, model, context
        self.run = device.experiment
        self.config = self.run.config
        self.settings = self.config.self_labels

    def lesson(self, rows: Rows, arrays: Arrays, teacher: Arrays | None) -> Lesson:
        """Return what the device trains on, of which ``rows`` have no transcripts that are read."""
        device, settings = self.device, self.settings
        given = self.feedback(rows)
        asked = np.array([row for row in rows.tolist() if row not in given], np.int64)
        heard = self.hypotheses(asked, arrays if teacher is None else teacher)
        threshold = moved(settings.threshold, device.round, self.config.rounds)
        places = chosen(heard, settings.guard, threshold, settings.keep_share)
        labels = {**given, **{heard.rows[place]: heard.texts[place] for place in places}}
        speech = MachineLabelled.of(device.speech, labels, self.run.transcribed, settings.augment)
        learnt = [row for row in device.rows.tolist() if row in labels or self.run.transcribed[row]]
        damaged = frozenset(asked.tolist()).difference(heard.rows)
        told = noise_place(self.config) not in ("device", "teacher")
        counts = self.counts(heard, labels, len(given), arrays, teacher) if told else None
        return Lesson(speech, np.array(learnt, device.rows.dtype), counts, damaged)

    def feedback(self, rows: Rows) -> dict[int, str]:
        """Return the texts that the simulated user gives, by row; the same for an utterance in every round."""
        settings, seed = self.settings, self.config.seed
        if self.config.client.labels != "feedback":
            return {}
        if self.device.edge_name is not None:
            raise InputError("the server asks for simulated feedback ('client.labels'), which an edge device has not")
        texts = self.run.corpus.columns["text"]
        said = sorted({str(texts[row]) for row in self.run.partition.indices(self.device.client).tolist()})
        draws, others = (uniforms(seed, f"user-feedback/{name}", rows) for name in ("kind", "text"))
        given: dict[int, str] = {}
        for row, draw, other in zip(rows.tolist(), draws.tolist(), others.tolist(), strict=True):
            text = str(texts[row])
            wrong = [each for each in said if each != text]
            if draw < settings.feedback_right:
                given[row] = text
            elif draw < settings.feedback_right + settings.feedback_wrong and wrong:
                given[row] = wrong[int(other * len(wrong))]
        return given

    def hypotheses(self, rows: Rows, teacher: Arrays) -> Hypotheses:
        """Return what the teacher hears in rows, or has heard when they came."""
        if self.settings.made == "each-round":
            return self.heard_by(rows, teacher)
        keys = {row: self.run.corpus.content_key(row).hex() for row in rows.tolist()}
        kept = self.kept()
        new = self.heard_by(np.array([row for row in rows.tolist() if keys[row] not in kept], np.int64), teacher)
        fits = {keys[row]: bool(fit) for row, fit in zip(new.rows, new.fits.tolist(), strict=True)}
        for row, text, sure in zip(new.rows, new.texts, new.confidence.tolist(), strict=True):
            kept[keys[row]] = [text, sure, fits[keys[row]]]
        there = [row for row in rows.tolist() if keys[row] in kept]
        # What is deleted here is forgotten here.
        stored = {keys[row]: kept[keys[row]] for row in there}
        self.context.state[Record.LABELS] = KeptLabels(json.dumps(stored)).to_record()
        result = [stored[keys[row]] for row in there]
        return Hypotheses(
            tuple(there),
            tuple(str(text) for text, _, _ in result),
            np.array([sure for _, sure, _ in result], np.float64),
            np.array([fit for _, _, fit in result], np.bool_),
            new.frames,
            new.blanks,
        )

    def kept(self) -> dict[str, list[Any]]:
        """Return the labels that the device has kept: digest of an utterance → text, confidence, whether it fits."""
        record = self.context.state.get(Record.LABELS)
        kept: dict[str, list[Any]] = {} if record is None else json.loads(KeptLabels.from_record(record, "it").labels)
        return kept

    def heard_by(self, rows: Rows, weights: Arrays) -> Hypotheses:
        """Return what a model with these weights hears in rows, in their order."""
        return heard_by(self.device, self.model, weights, rows)

    def counts(
        self, heard: Hypotheses, labels: Mapping[int, str], given: int, arrays: Arrays, teacher: Arrays | None
    ) -> Counts:
        """Return what became of the speech."""
        empty = sum(not text for text in heard.texts)
        agreed = len(heard.rows)
        if teacher is not None or self.settings.made == "on-arrival":
            now = self.heard_by(np.array(heard.rows, np.int64), arrays)
            agreed = sum(mine == theirs for mine, theirs in zip(now.texts, heard.texts, strict=True))
        words, errors = self.errors(labels)
        return Counts(len(heard.rows) + given, len(labels), empty, agreed, heard.frames, heard.blanks, words, errors)

    def errors(self, labels: Mapping[int, str]) -> tuple[int | None, int | None]:
        """Return the words of the true transcripts and the errors of the labels; None on an edge device, always."""
        if self.device.edge_name is not None:
            return None, None
        texts, normalise = self.run.corpus.columns["text"], self.run.tokenizer.normalise
        there = [row for row in labels if str(texts[row]).strip()]
        words, errors = utterance_errors(
            [normalise(str(texts[row])) for row in there], [normalise(labels[row]) for row in there]
        )
        return int(words.sum()), int(errors.sum())
