"""Connectionist temporal classification (Graves et al. 2006) over any encoder."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from fedasr.data.batches import Batch
from fedasr.models.base import Encoded, SpeechModel
from fedasr.models.decoding.closed_vocabulary import scores
from fedasr.models.decoding.ctc_prefixes import CTCPrefixes
from fedasr.models.decoding.greedy import greedy
from fedasr.models.decoding.prefix_beam import beam_search
from fedasr.models.encoders.base import Encoder
from fedasr.models.subsampling import Subsampling
from fedasr.models.tokenizer import BLANK


def ctc_losses(log_probabilities: torch.Tensor, lengths: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Return the negative log-likelihood of each utterance, in nats, shape ``(batch,)``.

    An utterance with fewer output frames than its transcript needs (tokens, and a blank between equal neighbours)
    has no alignment. The data room refuses it; here its loss and gradient are zero, so that it spoils no model.

    Args:
        log_probabilities: ``(batch, time', tokens)``, in nats.
        lengths: frames of each utterance, int64 ``(batch,)``.
        batch: has the targets.
    """
    return F.ctc_loss(
        log_probabilities.transpose(0, 1),
        batch.targets,
        lengths,
        batch.target_lengths,
        blank=BLANK,
        reduction="none",
        zero_infinity=True,
    )


class CTC(SpeechModel):
    """What every CTC model has in common: log-posteriors of the tokens, frame by frame."""

    most_nodes = sys.maxsize

    @abstractmethod
    def log_probabilities(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the log-posteriors of the tokens ``(batch, time', tokens)`` in nats, and the lengths ``(batch,)``."""

    def utterance_loss(self, batch: Batch) -> torch.Tensor:
        """Return the negative log-likelihood of each utterance, in nats, shape ``(batch,)``; see ``ctc_losses``."""
        return ctc_losses(*self.log_probabilities(batch), batch)

    def encode(self, batch: Batch) -> Encoded:
        """Return the log-posteriors of the frames."""
        return Encoded(*self.log_probabilities(batch))

    def prefixes(self, encoded: Encoded) -> CTCPrefixes:
        """Return the empty prefix of each utterance; probabilities are sums over all alignments."""
        return CTCPrefixes(encoded.frames, encoded.lengths)

    def greedy(self, encoded: Encoded) -> list[list[int]]:
        """Return the likeliest alignment of each utterance, collapsed."""
        return greedy(encoded.frames, encoded.lengths)

    def beam(self, encoded: Encoded, beam: int) -> list[list[int]]:
        """Return the likeliest transcripts that prefix beam search meets, frame by frame."""
        return beam_search(encoded.frames, encoded.lengths, beam)

    def phrase_scores(self, encoded: Encoded, phrases: Sequence[Sequence[int]]) -> torch.Tensor:
        """Return the log-probability of each phrase, float64 ``(batch, phrases)``."""
        return scores(encoded.frames, encoded.lengths, phrases).double()


class CTCModel(CTC):
    """Subsampling, an encoder, and a linear head over the tokens.

    Args:
        subsampling: features to fewer frames.
        encoder: reads what the subsampling gives.
        vocabulary_size: tokens, the blank included.
    """

    def __init__(self, subsampling: Subsampling, encoder: Encoder, vocabulary_size: int) -> None:
        super().__init__()
        self.subsampling = subsampling
        self.encoder = encoder
        self.head = nn.Linear(encoder.width, vocabulary_size)

    def log_probabilities(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the log-posteriors of the tokens ``(batch, time', tokens)`` in nats, and the lengths ``(batch,)``."""
        frames, lengths = self.subsampling(batch.features, batch.feature_lengths)
        return self.head(self.encoder(frames, lengths)).log_softmax(dim=2), lengths

    def output_frames(self, feature_lengths: torch.Tensor) -> torch.Tensor:
        """Return how many output frames the encoder makes of so many feature frames, shape ``(batch,)``."""
        return self.subsampling.output_frames(feature_lengths)
