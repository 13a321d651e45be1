"""The student: learns the released labels of the public speech, and sees nothing else.

No private speech decides anything about it, not even when to stop: the number of rounds is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fedasr import seeds
from fedasr.data.ctc_frames import frames_needed
from fedasr.experiment import Experiment
from fedasr.models.weights import Vector
from fedasr.training import local
from fedasr.training.batching import batches_of_a_round
from fedasr.training.optimizers import load_state, state_of
from fedasr.training.schedules import learning_rate
from fedasr.typing import Floats

from .public import Labelled

Choices = tuple[list[str], Floats]
"""Answers, and the share of each, adding up to one."""


class Student:
    """Trains round by round; the optimiser goes on.

    Args:
        run: the experiment.
        speech: the labelled utterances; None: nothing was labelled, and the student stays what it is.
        choices: answers of each utterance and their shares, one of which is learnt a pass; None: the one label.
        start: its weights, shape ``(parameters,)``.
        optimizer: its state, from a checkpoint.
        before: rounds before those of this student, which its schedule does not count.
        rounds: of its schedule; None: all of the run.

    Attributes:
        examples: utterances that it was trained on in the last round.
        seconds: their audio.
    """

    def __init__(
        self,
        run: Experiment,
        speech: Labelled | None,
        choices: Sequence[Choices] | None,
        start: Vector,
        optimizer: Mapping[str, npt.NDArray[Any]],
        before: int = 0,
        rounds: int | None = None,
    ) -> None:
        self.run = run
        self.before, self.rounds = before, run.config.rounds if rounds is None else rounds
        self.examples, self.seconds = 0, 0.0
        self.settings = run.config.pate.student
        self.speech = speech
        resident = local.Resident(run.model().to(local.chosen_device(run.config.runtime.device)))
        arrays = resident.layout.views(start)
        self.state = local.init(resident, arrays, self.settings, self.settings.learning_rate)
        load_state(self.state.optimizer, optimizer, resident.parameters.device)
        self.rows = np.zeros(0, np.int64)
        self.choices: list[Choices] | None = None
        if speech is not None and choices is None:
            labels = speech.corpus.columns["text"].tolist()
            self.rows = np.array([row for row, label in enumerate(labels) if self.fits(row, label)], np.int64)
        elif speech is not None and choices is not None:
            self.choices = [self.that_fit(row, *choice) for row, choice in enumerate(choices)]
            self.rows = np.array([row for row, (texts, _) in enumerate(self.choices) if texts], np.int64)

    def fits(self, row: int, label: str) -> bool:
        """Say whether the model can learn a label of an utterance: it is not empty, nor longer than its frames."""
        assert self.speech is not None
        frames = self.state.resident.model.output_frames(torch.tensor([len(self.speech.features(row))]))
        return 0 < frames_needed(self.run.tokenizer.encode(label)) <= int(frames)

    def that_fit(self, row: int, texts: list[str], shares: Floats) -> Choices:
        """Return the answers of an utterance that the model can learn, their shares adding up to one."""
        usable = np.array([self.fits(row, text) for text in texts], bool)
        kept = shares[usable]
        return [text for text, fits in zip(texts, usable, strict=True) if fits], kept / max(kept.sum(), 1e-300)

    def redraw(self, rng: np.random.Generator) -> None:
        """Draw the label of each utterance anew among its answers: on average the loss is that of the soft label."""
        if self.speech is None or self.choices is None:
            return
        labels = np.full(len(self.choices), "", object)
        for row in self.rows.tolist():
            texts, shares = self.choices[row]
            labels[row] = texts[rng.choice(len(texts), p=shares)]
        self.speech.corpus.relabel(labels)

    def round(self, round: int) -> tuple[Vector, float]:
        """Train one round; return the weights, shape ``(parameters,)``, and the mean loss in nats a token.

        Args:
            round: counted from 1.
        """
        config, state = self.run.config, self.state
        state.learning_rate = learning_rate(self.settings, round - self.before, self.rounds)
        state.loss, state.utterances = 0.0, 0
        self.examples, self.seconds = 0, 0.0
        if self.speech is not None:
            where = (config.seed, "student-training", round)
            rng = seeds.generator(*where)
            state.resident.model.train()
            durations = self.speech.durations
            with seeds.torch_scope(*where):
                for rows in batches_of_a_round(
                    self.rows, durations[self.rows], self.settings, rng, lambda: self.redraw(rng)
                ):
                    local.step(state, self.speech.batch(rows, rng).to(state.resident.parameters.device))
                    self.examples += len(rows)
                    self.seconds += float(durations[rows].sum(dtype=np.float64))
        loss = state.loss / state.utterances if state.utterances else float("nan")
        return state.resident.parameters.detach().cpu().numpy().copy(), loss

    def optimizer(self) -> dict[str, npt.NDArray[Any]]:
        """Return the state of the optimiser, as arrays."""
        return state_of(self.state.optimizer)
