"""Hybrid CTC and attention (Watanabe et al. 2017): one encoder, two readers, trained and decoded together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from fedasr.data.batches import Batch
from fedasr.models.base import Encoded, SpeechModel
from fedasr.models.ctc import ctc_losses
from fedasr.models.decoding.closed_vocabulary import scores
from fedasr.models.decoding.ctc_prefixes import CTCPrefixes
from fedasr.models.decoding.lexicon import MOST_NODES
from fedasr.models.decoding.prefixes import Chained, Prefixes, greedy_search, score_candidates
from fedasr.models.encoders.base import Encoder
from fedasr.models.speller import Speller, SpellerPrefixes
from fedasr.models.subsampling import Subsampling


@dataclass(frozen=True)
class HybridPrefixes(Prefixes):
    """Prefixes under both readers.

    The score of a token is λ·log P_CTC + (1 − λ)·log P_attention, each given the prefix; summed up to the end that is
    λ·log P_CTC(transcript) + (1 − λ)·log P_attention(transcript). The posteriors are the scores, normalised at each
    token.
    """

    ctc: CTCPrefixes
    speller: SpellerPrefixes
    ctc_weight: float

    def scores(self) -> torch.Tensor:
        """Return what joint decoding adds up, ``(hypotheses, tokens)``."""
        if self.ctc_weight == 0:
            return self.speller.log_posteriors()
        return self.ctc_weight * self.ctc.log_posteriors() + (1 - self.ctc_weight) * self.speller.log_posteriors()

    def log_posteriors(self) -> torch.Tensor:
        """Return the log-posteriors of the next token, ``(hypotheses, tokens)``; ``END`` is the end."""
        return self.scores().log_softmax(1)

    def whole(self) -> torch.Tensor:
        """Return the joint score of the prefix as the whole transcript, ``(hypotheses,)``."""
        if self.ctc_weight == 0:
            return self.speller.whole()
        return self.ctc_weight * self.ctc.whole() + (1 - self.ctc_weight) * self.speller.whole()

    def weight(self) -> int:
        """Return the scalars that a step takes a hypothesis."""
        return self.ctc.weight() + self.speller.weight()

    def extended(self, rows: torch.Tensor, tokens: torch.Tensor) -> HybridPrefixes:
        """Return the hypotheses of ``rows``, each with one more token."""
        return HybridPrefixes(self.ctc.extended(rows, tokens), self.speller.extended(rows, tokens), self.ctc_weight)

    def only(self, rows: torch.Tensor) -> HybridPrefixes:
        """Return the hypotheses of ``rows``."""
        return HybridPrefixes(self.ctc.only(rows), self.speller.only(rows), self.ctc_weight)


class HybridModel(SpeechModel):
    """Subsampling and an encoder, with a CTC head and an attention speller on the same states.

    Args:
        subsampling: features to fewer frames.
        encoder: reads what the subsampling gives.
        speller: states to tokens.
        vocabulary_size: tokens, the blank included.
        ctc_weight: λ, the share of CTC in training and in decoding.
        label_smoothing: share of a target of the speller spread over all tokens in training mode.
    """

    def __init__(
        self,
        subsampling: Subsampling,
        encoder: Encoder,
        speller: Speller,
        vocabulary_size: int,
        ctc_weight: float,
        label_smoothing: float,
    ) -> None:
        super().__init__()
        self.subsampling = subsampling
        self.encoder = encoder
        self.head = nn.Linear(encoder.width, vocabulary_size)
        self.speller = speller
        self.ctc_weight = ctc_weight
        self.label_smoothing = label_smoothing
        self.most_nodes = MOST_NODES

    def output_frames(self, feature_lengths: torch.Tensor) -> torch.Tensor:
        """Return how many output frames the encoder makes of so many feature frames, shape ``(batch,)``."""
        return self.subsampling.output_frames(feature_lengths)

    def encode(self, batch: Batch) -> Encoded:
        """Return the encoder's states."""
        frames, lengths = self.subsampling(batch.features, batch.feature_lengths)
        return Encoded(self.encoder(frames, lengths), lengths)

    def log_probabilities(self, encoded: Encoded) -> torch.Tensor:
        """Return the CTC log-posteriors of the tokens, in nats, ``(batch, time', tokens)``."""
        return self.head(encoded.frames).log_softmax(dim=2)  # type: ignore[no-any-return]

    def utterance_loss(self, batch: Batch) -> torch.Tensor:
        """Return λ·CTC + (1 − λ)·attention of each utterance, in nats, shape ``(batch,)``.

        Both are negative log-likelihoods; in training mode the speller's targets are smoothed.
        """
        encoded = self.encode(batch)
        aligned = ctc_losses(self.log_probabilities(encoded), encoded.lengths, batch)
        smoothing = self.label_smoothing if self.training else 0.0
        memory = self.speller.read(encoded.frames, encoded.lengths)
        spelt = self.speller.losses(memory, batch.targets, batch.target_lengths, smoothing)
        return self.ctc_weight * aligned + (1 - self.ctc_weight) * spelt

    def prefixes(self, encoded: Encoded) -> HybridPrefixes:
        """Return the empty prefix of each utterance, under both readers."""
        ctc = CTCPrefixes(self.log_probabilities(encoded), encoded.lengths)
        speller = SpellerPrefixes.of(self.speller, self.speller.read(encoded.frames, encoded.lengths))
        return HybridPrefixes(ctc, speller, self.ctc_weight)

    def _chained(self, encoded: Encoded) -> Chained:
        return Chained(self.prefixes(encoded))

    def _sequence_scores(self, encoded: Encoded, candidates: Sequence[Sequence[int]]) -> torch.Tensor:
        return score_candidates(self._chained(encoded), len(encoded), candidates)

    def phrase_scores(self, encoded: Encoded, phrases: Sequence[Sequence[int]]) -> torch.Tensor:
        """Return the joint score of each phrase, float64 ``(batch, phrases)``."""
        memory = self.speller.read(encoded.frames, encoded.lengths)
        spelt = (1 - self.ctc_weight) * self.speller.phrase_scores(memory, phrases)
        if self.ctc_weight == 0:
            return spelt
        return self.ctc_weight * scores(self.log_probabilities(encoded), encoded.lengths, phrases) + spelt

    def internal_lm(self, phrases: Sequence[Sequence[int]]) -> torch.Tensor:
        """Return the speller's share of each phrase's score with nothing to attend to, float64 ``(phrases,)``."""
        return (1 - self.ctc_weight) * self.speller.internal_lm(phrases)

    def greedy(self, encoded: Encoded) -> list[list[int]]:
        """Return the tokens with the best joint score one by one: joint decoding with a beam of 1."""
        return greedy_search(self.prefixes(encoded), self.longest(encoded))
