"""Speech as the trainer sees it: rows of a corpus in, padded batches out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from fedasr.config.schema import DataConfig
from fedasr.data.augment import augment_waveform, spec_augment
from fedasr.data.batches import Batch
from fedasr.data.cache import FeatureCache
from fedasr.data.corpus import SAMPLE_RATE_HZ, BadAudio, Corpus, Waveform
from fedasr.data.features import LogMel
from fedasr.data.files import input_error

Features = npt.NDArray[np.float32]


class Encoder(Protocol):
    """What turns a transcript into tokens: the tokenizer's half that this module needs."""

    def encode(self, text: str) -> list[int]:
        """Return the tokens of ``text``."""
        ...


class Speech:
    """Features and tokens of a corpus's utterances, cached, and augmented where a generator is given.

    A corpus that has a method ``features(row) -> (frames, mel)`` of its own is taken at its word: nothing is decoded,
    augmented in the waveform, or cached.
    """

    def __init__(self, corpus: Corpus, tokenizer: Encoder, config: DataConfig) -> None:
        self.corpus = corpus
        self.tokenizer = tokenizer
        self.config = config
        self.log_mel = LogMel(config.features)
        self.cache = FeatureCache(config.cache)
        self.tokens: dict[str, npt.NDArray[np.int64]] = {}
        augment = config.augment
        self.changes_waveform = bool(
            augment.time_shift_ms or augment.speed or augment.gain_db or augment.noise_snr_db is not None
        )
        self.changes_features = bool(augment.frequency_masks or augment.time_masks)

    def without_damage(self) -> Speech:
        """Return the same speech, with caches shared, as under ``data.on_bad_audio: skip``."""
        if self.config.on_bad_audio == "skip":
            return self
        speech = copy(self)
        speech.config = replace(self.config, on_bad_audio="skip")
        return speech

    @cached_property
    def durations(self) -> npt.NDArray[np.float32]:
        """Seconds of every utterance of the corpus, shape ``(utterances,)``."""
        return np.asarray(self.corpus.columns["duration_s"], dtype=np.float32)

    def features(self, row: int, rng: np.random.Generator | None = None) -> Features:
        """Return the log-mel features of an utterance, shape ``(frames, mel)``; augmented with ``rng``.

        Raises:
            BadAudio: the audio cannot be used.
        """
        own = getattr(self.corpus, "features", None)
        if own is not None:
            features: Features = own(row)
        elif rng is not None and self.changes_waveform:
            features = self.log_mel(augment_waveform(self.waveform(row), self.config.augment, rng))
        else:
            key = self.log_mel.key + self.corpus.content_key(row)
            features = self.cache.get_or_compute(key, lambda: self.log_mel(self.corpus.waveform(row)))
        if rng is not None and self.changes_features:
            features = spec_augment(features, self.config.augment, rng)
        return features

    def waveform(self, row: int) -> Waveform:
        """Return the waveform of an utterance through the cache, shape ``(samples,)``."""
        key = b"waveform" + self.corpus.content_key(row)
        waveform: Waveform = self.cache.get_or_compute(key, lambda: self.corpus.waveform(row))
        return waveform

    def transcripts(self, rows: Sequence[int]) -> list[str]:
        """Return what is taken for the transcript of each utterance."""
        texts = self.corpus.columns["text"]
        return [str(texts[row]) for row in rows]

    def targets(self, text: str) -> npt.NDArray[np.int64]:
        """Return the tokens of a transcript, shape ``(tokens,)``."""
        tokens = self.tokens.get(text)
        if tokens is None:
            tokens = self.tokens[text] = np.asarray(self.tokenizer.encode(text), dtype=np.int64)
        return tokens

    def batch(
        self,
        rows: Sequence[int] | npt.NDArray[np.integer],
        rng: np.random.Generator | Callable[[int], np.random.Generator] | None = None,
    ) -> Batch:
        """Return the utterances ``rows`` as a padded batch; augmented with ``rng``, or with that of each row.

        Damage in the middle of a file shows only here. Under ``data.on_bad_audio: skip`` such an utterance is left
        out of the batch, which may then be smaller than asked for, or empty.

        Raises:
            InputError: the audio of an utterance cannot be used, and ``data.on_bad_audio`` is ``stop``.
        """
        features: list[Features] = []
        usable: list[int] = []
        for row in map(int, rows):
            try:
                features.append(self.features(row, rng(row) if callable(rng) else rng))
                usable.append(row)
            except BadAudio as error:
                if self.config.on_bad_audio == "stop":
                    raise input_error(error) from None
        indices = tuple(usable)
        targets = [self.targets(text) for text in self.transcripts(indices)]
        seconds = float(self.durations[list(indices)].sum(dtype=np.float64))
        return collate(features, targets, seconds, indices)


def collate(
    features: Sequence[Features], targets: Sequence[npt.NDArray[np.int64]], seconds: float, indices: tuple[int, ...]
) -> Batch:
    """Return utterances as a padded batch; ``features`` of shape ``(frames, mel)``, ``targets`` ``(tokens,)``."""
    lengths = [len(f) for f in features]
    target_lengths = [len(t) for t in targets]
    mel = features[0].shape[1] if features else 0
    padded = np.zeros((len(features), max(lengths, default=0), mel), np.float32)
    for position, frames in enumerate(features):
        padded[position, : len(frames)] = frames
    tokens = np.zeros((len(targets), max([1, *target_lengths])), np.int64)
    for position, target in enumerate(targets):
        tokens[position, : len(target)] = target
    return Batch(
        torch.from_numpy(padded),
        torch.tensor(lengths, dtype=torch.int64),
        torch.from_numpy(tokens),
        torch.tensor(target_lengths, dtype=torch.int64),
        seconds,
        indices,
    )


def frames_of(seconds: npt.NDArray[np.float32], hop_ms: float) -> npt.NDArray[np.int64]:
    """Return the feature frames of utterances of so many seconds, shape as given."""
    samples = np.round(seconds.astype(np.float64) * SAMPLE_RATE_HZ)
    return (samples // round(hop_ms * SAMPLE_RATE_HZ / 1000) + 1).astype(np.int64)
