"""What a model listens to: its sensitivity to what tells an attribute, with a probe trained on the run's speech."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr.data.corpus import Corpus
from fedasr.evaluation.fairness.probe import train_probe
from fedasr.evaluation.fairness.sensitivity import listen, summary
from fedasr.evaluation.recognizer import Recognizer
from fedasr.experiment import Experiment

LEAST = 10
"""Training utterances of a group, below which the probe does not learn it."""
CLEARLY = 1.2
"""How much better than chance a probe tells the groups of unheard speakers, for its gradient to mean something."""


def sensitivity_to(
    values: npt.NDArray[Any],
    training: npt.NDArray[Any],
    rows: npt.NDArray[np.integer],
    recognizer: Recognizer,
    experiment: Experiment,
    seed: int,
) -> dict[str, Any]:
    """Return the accumulated prediction sensitivity as ``fairness.json`` holds it, or the ``reason`` why there is none.

    Args:
        values: the group of each test utterance, empty where it has none, shape ``(utterances,)``.
        training: the same of the rows of the training split.
        rows: of the test utterances.
        recognizer: of the run.
        experiment: of the run.
        seed: of the draws.
    """
    config, corpus = recognizer.config, experiment.corpus
    learnt = experiment.rows(config.data.train_split)
    names, counts = np.unique(training[training != ""].astype(str), return_counts=True)
    groups = [name for name in names[counts >= LEAST].tolist() if (values == name).any()]
    if len(groups) < 2:
        return {
            "reason": f"fewer than two groups of the test speech have {LEAST} training utterances to learn them from"
        }
    place = {name: number for number, name in enumerate(groups)}
    known, heard = np.isin(training, groups), np.isin(values, groups)
    speech = experiment.speech
    labels = np.array([place[name] for name in training[known].tolist()], np.int64)
    probe = train_probe(speech, learnt[known], labels, len(groups), seed)
    of_row = {row: place[name] for row, name in zip(rows[heard].tolist(), values[heard].tolist(), strict=True)}
    wanted = np.array(list(of_row.values()), np.int64)
    measured = listen(recognizer.model, probe, speech, rows[heard], wanted, config.evaluate.batch_size)
    labels = np.array([of_row[row] for row in measured.rows.tolist()], np.int64)
    return summary(measured, labels, speakers_of(corpus, measured.rows), len(groups), seed)


def speakers_of(corpus: Corpus, rows: npt.NDArray[np.integer]) -> npt.NDArray[Any]:
    """Return who said each utterance, shape ``(utterances,)``."""
    return np.array([str(name) for name in corpus.columns["speaker"][rows]], object)


def doubts(given: dict[str, Any]) -> list[str]:
    """Return what a reader must know of a sensitivity, a sentence each."""
    if "reason" in given:
        return [f"no sensitivity: {given['reason']}"]
    told = given["probe"]
    if not told["accuracy"] >= CLEARLY * told["chance"]:
        return [
            f"the probe tells {100 * told['accuracy']:.0f} % of the test utterances right, by chance"
            f" {100 * told['chance']:.0f} %: the sensitivity is not to the attribute"
        ]
    return []
