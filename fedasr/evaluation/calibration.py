"""How many errors are to be expected in a hypothesis, by how sure the recogniser is of it."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from fedasr.typing import Floats, Integers

MOST_STEPS = 64


@dataclass(frozen=True)
class Calibration:
    """Errors a word, a falling step function of the confidence; fitted on transcribed speech.

    Attributes:
        sure: confidence from which each step holds, rising; the first holds below it too.
        rates: errors a word on each step.
        words: spoken words for each word of a hypothesis that has any.
        words_a_second: spoken words in each second of speech in which nothing is heard; all of them are errors.
    """

    sure: tuple[float, ...] = (0.0,)
    rates: tuple[float, ...] = (1.0,)
    words: float = 1.0
    words_a_second: float = 2.0

    def expected(self, heard_words: Integers, confidence: Floats, seconds: Floats) -> tuple[Floats, Floats]:
        """Return the errors and the words that are expected in utterances, shape ``(utterances,)`` each."""
        step = np.clip(np.searchsorted(self.sure, confidence, side="right") - 1, 0, None)
        words = np.where(heard_words > 0, self.words * heard_words, self.words_a_second * seconds)
        return np.where(heard_words > 0, np.array(self.rates)[step], 1.0) * words, words

    def to_json(self) -> str:
        """Return the calibration as it is sent."""
        return json.dumps([self.sure, self.rates, self.words, self.words_a_second])

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """Return what ``to_json`` has written.

        Raises:
            ValueError: it was not written by it.
        """
        try:
            sure, rates, words, words_a_second = json.loads(text)
            made = cls(tuple(map(float, sure)), tuple(map(float, rates)), float(words), float(words_a_second))
        except (TypeError, ValueError) as error:
            raise ValueError(f"no calibration: {error}") from None
        numbers = [*made.sure, *made.rates, made.words, made.words_a_second]
        if (
            not 0 < len(made.sure) == len(made.rates) <= MOST_STEPS
            or not np.isfinite(numbers).all()
            or min(numbers) < 0
        ):
            raise ValueError("no calibration: its steps cannot be")
        return made


def fitted(
    heard_words: Integers, confidence: Floats, seconds: Floats, words: Integers, errors: Integers
) -> Calibration:
    """Return the calibration that transcribed utterances give, all arrays of shape ``(utterances,)``.

    Errors a word are made to fall with confidence by pooling neighbours that do not (isotonic regression, weighted by
    words).

    Args:
        heard_words: in each hypothesis.
        confidence: in it.
        seconds: of audio.
        words: that were spoken.
        errors: of the hypothesis.
    """
    heard = heard_words > 0
    default = Calibration()
    audio = float(seconds.sum())
    a_second = float(words.sum()) / audio if audio > 0 and words.sum() else default.words_a_second
    if not heard.any() or not words[heard].sum():
        return Calibration(words_a_second=a_second)
    ratio = float(words[heard].sum() / heard_words[heard].sum())
    order = np.argsort(confidence[heard], kind="stable")
    sure, spoken = confidence[heard][order], ratio * heard_words[heard][order]
    steps: list[list[float]] = []  # first confidence, errors, words
    for least, wrong, many in zip(sure.tolist(), errors[heard][order].tolist(), spoken.tolist(), strict=True):
        steps.append([least, float(wrong), many])
        while len(steps) > 1 and steps[-1][1] * steps[-2][2] >= steps[-2][1] * steps[-1][2]:
            last = steps.pop()
            steps[-1][1] += last[1]
            steps[-1][2] += last[2]
    while len(steps) > MOST_STEPS:
        least_words = min(range(1, len(steps)), key=lambda place: steps[place][2])
        last = steps.pop(least_words)
        steps[least_words - 1][1] += last[1]
        steps[least_words - 1][2] += last[2]
    return Calibration(tuple(step[0] for step in steps), tuple(step[1] / step[2] for step in steps), ratio, a_second)
