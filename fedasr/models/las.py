"""Listen, attend and spell (Chan et al. 2016): a pyramid that listens, attention, and a speller."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fedasr.data.batches import Batch
from fedasr.models.base import Encoded, SpeechModel
from fedasr.models.decoding.lexicon import MOST_NODES
from fedasr.models.decoding.prefixes import greedy_search
from fedasr.models.encoders.pyramid import Pyramid
from fedasr.models.speller import Speller, SpellerPrefixes
from fedasr.models.subsampling import Subsampling


class LASModel(SpeechModel):
    """Subsampling, a pyramidal BLSTM listener and an attention speller.

    Args:
        subsampling: features to fewer frames.
        listener: frames to still fewer states.
        speller: states to tokens.
        label_smoothing: share of a target spread over all tokens in training mode.
    """

    def __init__(self, subsampling: Subsampling, listener: Pyramid, speller: Speller, label_smoothing: float) -> None:
        super().__init__()
        self.subsampling = subsampling
        self.listener = listener
        self.speller = speller
        self.label_smoothing = label_smoothing
        self.most_nodes = MOST_NODES

    def output_frames(self, feature_lengths: torch.Tensor) -> torch.Tensor:
        """Return the feature frames, ``(batch,)``: attention reads a state as often as it likes."""
        return feature_lengths

    def encode(self, batch: Batch) -> Encoded:
        """Return the listener's states."""
        return Encoded(*self.listener(*self.subsampling(batch.features, batch.feature_lengths)))

    def utterance_loss(self, batch: Batch) -> torch.Tensor:
        """Return the negative log-likelihood of each utterance, in nats, shape ``(batch,)``.

        In training mode the targets are smoothed.
        """
        states = self.encode(batch)
        memory = self.speller.read(states.frames, states.lengths)
        smoothing = self.label_smoothing if self.training else 0.0
        return self.speller.losses(memory, batch.targets, batch.target_lengths, smoothing)

    def prefixes(self, encoded: Encoded) -> SpellerPrefixes:
        """Return the empty prefix of each utterance."""
        return SpellerPrefixes.of(self.speller, self.speller.read(encoded.frames, encoded.lengths))

    def phrase_scores(self, encoded: Encoded, phrases: Sequence[Sequence[int]]) -> torch.Tensor:
        """Return the log-probability of each phrase, float64 ``(batch, phrases)``."""
        return self.speller.phrase_scores(self.speller.read(encoded.frames, encoded.lengths), phrases)

    def internal_lm(self, phrases: Sequence[Sequence[int]]) -> torch.Tensor:
        """Return the log-probability of each phrase with nothing to attend to, float64 ``(phrases,)``."""
        return self.speller.internal_lm(phrases)

    def greedy(self, encoded: Encoded) -> list[list[int]]:
        """Return the tokens that are likeliest one by one."""
        return greedy_search(self.prefixes(encoded), self.longest(encoded))
