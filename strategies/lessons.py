"""What a student learns of machine-labelled speech: batches, and their loss, by the kind of targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from fedasr import seeds
from fedasr.data.batches import Batch
from fedasr.data.counterfactual import InTurn
from fedasr.data.ctc_frames import frames_needed
from fedasr.data.posteriors import PosteriorStore
from fedasr.data.posteriors.frames import unpacked
from fedasr.data.posteriors.layout import FRAMES, HYPOTHESES, NODES
from fedasr.data.posteriors.store import keys_of
from fedasr.data.relabelled import NoTokens, untranscribed
from fedasr.data.speech import Speech, frames_of
from fedasr.errors import InputError
from fedasr.experiment import Experiment
from fedasr.models.base import SpeechModel
from fedasr.models.ctc import CTC
from fedasr.models.rnnt import TransducerModel
from fedasr.models.tokenizer import Tokenizer
from fedasr.teaching.asked import hypotheses_of, padded
from fedasr.teaching.writing import in_other_voices
from fedasr.training.distillation.frames import FrameLoss, FrameTargets
from fedasr.training.distillation.nodes import NodeTargets, node_losses
from fedasr.training.local import normalised_loss
from fedasr.typing import Floats, Integers

from .passes import Rows

Losses = Callable[[SpeechModel, Batch], torch.Tensor]
"""The loss of each utterance, in nats a frame, node or token, shape ``(batch,)``."""


class Lessons(Protocol):
    """Machine-labelled speech of one kind of targets.

    Attributes:
        usable: rows of the corpus from which something can be learnt, shape ``(utterances,)``.
    """

    usable: npt.NDArray[np.bool_]

    def losses(self, model: SpeechModel, batch: Batch) -> torch.Tensor:
        """Return what a step makes small, of each utterance of a batch, shape ``(batch,)``."""
        ...

    def batch(self, rows: Rows, rng: np.random.Generator, number: int) -> Batch:
        """Return rows of the corpus as the student hears them.

        Args:
            rows: of the corpus.
            rng: of the augmentation.
            number: of the pass.
        """
        ...


class Stored:
    """What a store has of the rows of a run's corpus.

    Args:
        store: with all that the teacher says.
        experiment: of the student.
        rows: that the teacher has labelled.
        table: that must have rows for an utterance to be usable.

    Attributes:
        speech: of the whole corpus, without transcripts.
        voices: by turns each utterance's own voice and the other one in which the teacher has heard it; None: it has
            heard none.
    """

    def __init__(self, store: PosteriorStore, experiment: Experiment, rows: Rows, table: str) -> None:
        self.store = store
        corpus = experiment.corpus
        other = in_other_voices(corpus, store.header)
        self.voices = None if other is None else InTurn(other)
        heard = corpus if self.voices is None else self.voices
        self.speech = Speech(untranscribed(heard), NoTokens(), experiment.config.data)
        self.speech.cache = experiment.speech.cache
        self.places: Integers = np.full(len(corpus), -1, np.int64)
        self.places[rows] = store.find(keys_of(corpus if other is None else other, rows))
        there = np.flatnonzero(self.places >= 0)
        self.usable = np.zeros(len(self.places), bool)
        self.usable[there] = store.counts(table)[self.places[there]] > 0

    def heard(self, rows: Rows, rng: np.random.Generator, number: int) -> Batch:
        """Return rows of the corpus in the voices of a pass; arguments as in ``Lessons.batch``."""
        if self.voices is not None:
            self.voices.turn = number
        return self.speech.batch(rows, rng)


class FrameLessons(Stored):
    """Posteriors of frames; arguments as ``Stored``."""

    def __init__(self, store: PosteriorStore, experiment: Experiment, rows: Rows) -> None:
        super().__init__(store, experiment, rows, FRAMES)
        config = experiment.config.distillation
        self.loss = FrameLoss(config.tail, config.temperature, config.shift_frames)

    def batch(self, rows: Rows, rng: np.random.Generator, number: int) -> Batch:
        """Return rows of the corpus as the student hears them."""
        return self.heard(rows, rng, number)

    def losses(self, model: SpeechModel, batch: Batch) -> torch.Tensor:
        """Return the divergence from what the teacher says, in nats a frame."""
        assert isinstance(model, CTC)
        log_posteriors, lengths = model.log_probabilities(batch)
        targets = self.targets(batch).to(log_posteriors.device)
        return self.loss(log_posteriors, lengths, targets)

    def targets(self, batch: Batch) -> FrameTargets:
        """Return what the teacher says of a batch."""
        posteriors = [unpacked(self.store.rows(int(self.places[row]), FRAMES)) for row in batch.indices]
        lengths = [len(rest) for _, _, rest in posteriors]
        shape = (len(posteriors), max(lengths), posteriors[0][0].shape[1])
        ids, logp = np.zeros(shape, np.int64), np.zeros(shape, np.float32)
        rest = np.zeros(shape[:2], np.float32)
        for place, (classes, values, others) in enumerate(posteriors):
            ids[place, : len(classes)], logp[place, : len(classes)] = classes, values
            rest[place, : len(classes)] = others
        return FrameTargets(
            torch.from_numpy(ids), torch.from_numpy(logp), torch.from_numpy(rest), torch.tensor(lengths)
        )


class NodeLessons(Stored):
    """Posteriors at the nodes of RNN-T lattices; arguments as ``Stored``."""

    def __init__(self, store: PosteriorStore, experiment: Experiment, rows: Rows) -> None:
        super().__init__(store, experiment, rows, HYPOTHESES)
        # Of an empty hypothesis there is the end alone: that nothing is said, which a student is all too glad to learn.
        usable = np.flatnonzero(self.usable)
        self.usable[usable] = store.counts(HYPOTHESES)[self.places[usable]] > 1

    def batch(self, rows: Rows, rng: np.random.Generator, number: int) -> Batch:
        """Return rows of the corpus as the student hears them, with what the teacher heard for targets."""
        batch = self.heard(rows, rng, number)
        tokens = [self.tokens(row) for row in batch.indices]
        targets, lengths = padded(tokens, batch.features.device)
        return replace(batch, targets=targets, target_lengths=lengths)

    def tokens(self, row: int) -> list[int]:
        """Return what the teacher heard in a row of the corpus."""
        return hypotheses_of(self.store.rows(int(self.places[row]), HYPOTHESES))[0][0]

    def losses(self, model: SpeechModel, batch: Batch) -> torch.Tensor:
        """Return the divergence from what the teacher says, in nats a node."""
        assert isinstance(model, TransducerModel)
        logits, frames = model.lattice(batch)
        width = logits.shape[2]
        token = torch.zeros(len(batch), logits.shape[1], width)
        blank = torch.zeros_like(token)
        for place, (row, length) in enumerate(zip(batch.indices, batch.target_lengths.tolist(), strict=True)):
            nodes = self.store.rows(int(self.places[row]), NODES).reshape(-1, length + 1)
            token[place, : len(nodes), : length + 1] = torch.from_numpy(nodes["token"].astype(np.float32))
            blank[place, : len(nodes), : length + 1] = torch.from_numpy(nodes["blank"].astype(np.float32))
        teacher = NodeTargets(token, blank).to(logits.device)
        return node_losses(logits, frames, batch.targets[:, : width - 1], batch.target_lengths, teacher)


class TextLessons(Stored):
    """Transcripts: the likeliest, or several, of which each pass draws one by its share.

    On average over the draws the loss is the mean over the transcripts, weighted by their shares.

    Args:
        store: as in ``Stored``.
        experiment: as in ``Stored``.
        rows: as in ``Stored``.
        teacher: its tokenizer.
    """

    def __init__(self, store: PosteriorStore, experiment: Experiment, rows: Rows, teacher: Tokenizer) -> None:
        super().__init__(store, experiment, rows, HYPOTHESES)
        config = experiment.config
        self.seed = config.seed
        self.speech.tokenizer = experiment.tokenizer
        self.choices: dict[int, tuple[list[str], Floats]] = {}
        there = np.flatnonzero(self.usable)
        seconds = experiment.speech.durations[there]
        frames = experiment.model().output_frames(torch.from_numpy(frames_of(seconds, config.data.features.hop_ms)))
        for row, most in zip(there.tolist(), frames.tolist(), strict=True):
            result = hypotheses_of(store.rows(int(self.places[row]), HYPOTHESES))
            if not result or np.exp(result[0][1] / (len(result[0][0]) + 1)) < config.distillation.min_confidence:
                continue
            texts = [teacher.decode(tokens) for tokens, _ in result]
            fits = [learnable(text, experiment.tokenizer, most) for text in texts]
            if any(fits):
                scores = np.array([score for _, score in result])[fits]
                shares = np.exp(scores - scores.max())
                kept = [text for text, good in zip(texts, fits, strict=True) if good]
                self.choices[row] = kept, shares / shares.sum()
        self.usable[:] = False
        self.usable[list(self.choices)] = True
        self.texts = self.speech.corpus.columns["text"]

    def batch(self, rows: Rows, rng: np.random.Generator, number: int) -> Batch:
        """Return rows of the corpus as the student hears them, each with a transcript that the pass has drawn."""
        for row in rows.tolist():
            texts, shares = self.choices[row]
            draw = seeds.generator(self.seed, "machine-transcripts", number, row)
            self.texts[row] = texts[int(draw.choice(len(texts), p=shares))]
        return self.heard(rows, rng, number)

    def losses(self, model: SpeechModel, batch: Batch) -> torch.Tensor:
        """Return the loss that transcribed speech has, in nats a token."""
        return normalised_loss(model, batch)


def learnable(text: str, tokenizer: Tokenizer, frames: int) -> bool:
    """Say whether a transcript can be learnt: it is not empty, has tokens, and no more than its frames can align."""
    try:
        return 0 < frames_needed(tokenizer.encode(text)) <= frames
    except InputError:
        return False
