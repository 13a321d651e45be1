"""Steps at the server on transcribed public speech, after the updates of a round are in the model.

They hold the model to what is right for sure, while devices learn from labels that may be wrong. In a private run they
cost nothing: they read what was released, and public speech.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from fedasr import seeds
from fedasr.config.schema import DataConfig
from fedasr.data.quality import usable_rows
from fedasr.errors import InputError, nearest
from fedasr.experiment import Experiment
from fedasr.models.weights import Layout, Vector
from fedasr.training import local
from fedasr.training.batching import batches_of_a_round
from fedasr.training.schedules import learning_rate


def public_rows(run: Experiment) -> npt.NDArray[np.int64]:
    """Return the rows of the transcribed public speech that can be used.

    Raises:
        InputError: there are none, or one cannot be used and ``data.on_bad_audio`` is ``stop``.
    """
    split = run.config.self_labels.public_split
    there = run.splits == split
    if not there.any():
        known = sorted({str(each) or "(none)" for each in np.unique(run.splits)})
        raise InputError(
            f"'self_labels.server_steps' is set, and 'self_labels.public_split' is '{split}'{nearest(split, known)},"
            f" which no utterance has; the corpus has: {', '.join(known)}. Set some speakers aside with"
            " 'data.public_share', or choose another split"
        )
    data: DataConfig = replace(run.config.data, train_split=split, test_split=split)
    usable, _ = usable_rows(run.corpus, data, run.tokenizer, run.model().output_frames)
    rows = np.flatnonzero(there & usable)
    if not len(rows):
        raise InputError(
            f"none of the {int(there.sum())} utterances of 'self_labels.public_split', '{split}', can be used"
        )
    return rows


class ServerSteps:
    """Takes the steps of each round; every draw is a function of the seed and the round.

    Args:
        run: the experiment.
        layout: of the model.
    """

    def __init__(self, run: Experiment, layout: Layout) -> None:
        self.run = run
        self.layout = layout
        self.steps = run.config.self_labels.server_steps
        self.config = replace(run.config.client, steps=self.steps, proximal=0.0)
        self.rows = public_rows(run) if self.steps else np.zeros(0, np.int64)
        self.resident: local.Resident | None = None
        """made when it is first needed"""

    def after(self, round: int, weights: Vector) -> Vector:
        """Return the weights after the steps of a round, shape ``(parameters,)``; without steps as they are."""
        if not self.steps:
            return weights
        run, where = self.run, (self.run.config.seed, "server-steps", round)
        if self.resident is None:
            self.resident = local.Resident(run.model().to(local.chosen_device(run.config.runtime.device)))
        rate = learning_rate(run.config.client, round, run.config.rounds) * run.config.self_labels.server_rate
        state = local.init(self.resident, self.layout.views(weights), self.config, rate)
        rng = seeds.generator(*where)
        device = self.resident.parameters.device
        with seeds.torch_scope(*where):
            for rows in batches_of_a_round(self.rows, run.speech.durations[self.rows], self.config, rng):
                local.step(state, run.speech.batch(rows, rng).to(device))
        return self.resident.parameters.detach().cpu().numpy().copy()
