"""What an attacker without any model finds: logistic regression on how long and how loud an utterance is."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr.data.batches import Batch
from fedasr.data.speech import Speech
from fedasr.typing import Floats, Integers

FOLDS = 5
RIDGE = 1.0
STEPS = 25


def described(speech: Speech, batches: list[Batch], rows: Integers) -> Floats:
    """Return what is heard and read of each utterance without a recogniser, shape ``(rows, 7)``.

    Frames, characters, words, characters a frame, mean level, its spread, and the mean of the spectrum over the bands,
    which rises with the pitch.
    """
    texts = speech.corpus.columns["text"]
    result: dict[int, list[float]] = {}
    for batch in batches:
        for place, row in enumerate(batch.indices):
            frames = batch.features[place, : int(batch.feature_lengths[place])].double().numpy()
            text, level = str(texts[row]), frames.mean(1)
            loud = np.exp(frames - frames.max())
            centre = float((loud.sum(0) * np.arange(frames.shape[1])).sum() / loud.sum())
            result[row] = [
                len(frames),
                len(text),
                len(text.split()),
                len(text) / len(frames),
                float(level.mean()),
                float(level.std()),
                centre,
            ]
    return np.array([result.get(int(row), [np.nan] * 7) for row in rows])


def without_model(features: Floats, member: npt.NDArray[np.bool_], speakers: npt.NDArray[Any]) -> Floats:
    """Return the log odds of membership by logistic regression, each by one that was fitted on other speakers.

    Args:
        features: shape ``(n, features)``.
        member: shape ``(n,)``.
        speakers: shape ``(n,)``.
    """
    _, person = np.unique(np.asarray(speakers).astype(str), return_inverse=True)
    fold = person % min(FOLDS, int(person.max(initial=0)) + 1)
    spread = features.std(0)
    scaled = (features - features.mean(0)) / np.where(spread > 0, spread, 1.0)
    scaled = np.column_stack([scaled, np.ones(len(scaled))])
    scores = np.zeros(len(member))
    for number in np.unique(fold):
        test = fold == number
        if not test.all():
            scores[test] = scaled[test] @ fitted(scaled[~test], member[~test])
    return scores


def fitted(features: Floats, member: npt.NDArray[np.bool_]) -> Floats:
    """Return the weights of a ridge logistic regression, the last one the intercept, by Newton's method."""
    weights = np.zeros(features.shape[1])
    ridge = np.full(features.shape[1], RIDGE)
    ridge[-1] = 1e-6
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-np.clip(features @ weights, -30, 30)))
        slope = features.T @ (chance - member) + ridge * weights
        bend = (features * (chance * (1 - chance))[:, None]).T @ features + np.diag(ridge)
        step = np.linalg.solve(bend, slope)
        weights -= step
        if np.abs(step).max() < 1e-8:
            break
    return weights
