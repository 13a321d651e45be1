"""Where the code that was said stands among all that could have been, under a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fedasr.data.ctc_frames import frames_needed
from fedasr.data.speech import collate
from fedasr.data.synthetic import SyntheticCorpus
from fedasr.data.synthetic.secrets import spoken
from fedasr.experiment import Experiment
from fedasr.models.base import Encoded, SpeechModel
from fedasr.models.tokenizer import Tokenizer
from fedasr.privacy.audit.exposure import rank_of
from fedasr.typing import Floats, Integers

CHUNK = 1000
"""Phrases that are scored together; bounds the memory."""


@dataclass(frozen=True)
class Ranked:
    """The codes that one attack looked at.

    Args:
        codes: which of those planted, shape ``(n,)``.
        ranks: of each, 1 the likeliest, shape ``(n,)``.
        right: digits that the likeliest code has in common with it, in place, shape ``(n,)``.
        short: codes whose noise has too few frames for a code.
    """

    codes: Integers
    ranks: Integers
    right: Integers
    short: int = 0


class Phrases:
    """All codes after one beginning, as tokens; each beginning once.

    Args:
        tokenizer: the model's.
        digits: of a code.
    """

    def __init__(self, tokenizer: Tokenizer, digits: int) -> None:
        self.tokenizer = tokenizer
        self.codes = [spoken(code, digits) for code in range(10**digits)]
        self.made: dict[str, list[list[int]]] = {}

    def after(self, carrier: str) -> list[list[int]]:
        """Return the tokens of the carrier with each code, in the order of the codes."""
        if carrier not in self.made:
            self.made = {carrier: [self.tokenizer.encode(f"{carrier} {code}") for code in self.codes]}
        return self.made[carrier]


def in_chunks(score: Callable[[Sequence[Sequence[int]]], torch.Tensor], phrases: Sequence[Sequence[int]]) -> Floats:
    """Return the score of each phrase, shape ``(phrases,)``."""
    with torch.inference_mode():
        parts = [
            score(phrases[start : start + CHUNK]).double().cpu().numpy() for start in range(0, len(phrases), CHUNK)
        ]
    return np.concatenate([part.reshape(-1) for part in parts])


def by_language(model: SpeechModel, tokenizer: Tokenizer, corpus: SyntheticCorpus, codes: Integers) -> Ranked:
    """Rank codes by the internal language model, without any speech."""
    planted = corpus.planted
    phrases = Phrases(tokenizer, planted.digits)
    scores = {
        carrier: in_chunks(model.internal_lm, phrases.after(carrier))
        for carrier in dict.fromkeys(planted.carrier(int(code)) for code in codes)
    }
    return ranked(corpus, codes, [scores[planted.carrier(int(code))] for code in codes])


def has_language(model: SpeechModel, tokenizer: Tokenizer) -> bool:
    """Return whether a model has a language model of its own: not where all texts are as likely."""
    with torch.inference_mode():
        return bool((model.internal_lm([tokenizer.encode("one"), tokenizer.encode("one one")]) != 0).any())


def by_speech(
    model: SpeechModel,
    tokenizer: Tokenizer,
    experiment: Experiment,
    corpus: SyntheticCorpus,
    codes: Integers,
    other: bool,
) -> Ranked:
    """Rank codes by what the model hears in noise after the beginning of the sentence.

    Args:
        model: any.
        tokenizer: the model's.
        experiment: whose features the model reads.
        corpus: that the secrets were planted in.
        codes: which.
        other: in another voice.
    """
    phrases = Phrases(tokenizer, corpus.planted.digits)
    order = codes[np.argsort([hash_of(corpus.planted.carrier(int(code))) for code in codes], kind="stable")]
    kept: list[int] = []
    scores: list[Floats] = []
    for code in order.tolist():
        features = experiment.speech.log_mel(corpus.masked(code, other))
        batch = collate([features], [np.zeros(0, np.int64)], len(features) * 0.01, (0,))
        candidates = phrases.after(corpus.planted.carrier(code))
        frames = int(model.output_frames(batch.feature_lengths)[0])
        if max(map(frames_needed, candidates)) > frames:
            continue
        with torch.inference_mode():
            encoded = model.encode(batch)
        kept.append(code)
        scores.append(in_chunks(scorer(model, encoded), candidates))
    return ranked(corpus, np.array(kept, np.int64), scores, len(codes) - len(kept))


def scorer(model: SpeechModel, encoded: Encoded) -> Callable[[Sequence[Sequence[int]]], torch.Tensor]:
    """Return what scores phrases on one utterance."""
    return lambda phrases: model.sequence_log_probability(encoded, phrases)[0]


def hash_of(carrier: str) -> int:
    """Return a number that is the same for the same carrier: codes of one follow each other."""
    return sum(map(ord, carrier))


def ranked(corpus: SyntheticCorpus, codes: Integers, scores: Sequence[Floats], short: int = 0) -> Ranked:
    """Return the ranks of codes, each by scores of all."""
    planted = corpus.planted
    true = [int(planted.codes[code]) for code in codes]
    best = [int(score.argmax()) for score in scores]
    width = planted.digits
    right = [
        sum(a == b for a, b in zip(f"{one:0{width}d}", f"{two:0{width}d}", strict=True))
        for one, two in zip(true, best, strict=True)
    ]
    ranks = [rank_of(score, place) for score, place in zip(scores, true, strict=True)]
    return Ranked(codes, np.array(ranks, np.int64), np.array(right, np.int64), short)
