"""The small interface that every model family offers: a model is a per-utterance loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import nn

from fedasr.data.batches import Batch
from fedasr.models.tokenizer import Tokenizer


class SpeechModel(nn.Module, ABC):
    """A recogniser from log-mel frames to characters.

    No BatchNorm anywhere in a model: it breaks both differential privacy and averaging.
    """

    @abstractmethod
    def utterance_loss(self, batch: Batch) -> torch.Tensor:
        """Return the negative log-likelihood of each utterance, in nats, shape ``(batch,)``."""

    @abstractmethod
    def output_frames(self, feature_lengths: torch.Tensor) -> torch.Tensor:
        """Return how many output frames the encoder makes of so many feature frames, shape ``(batch,)``."""

    @abstractmethod
    def hypotheses(
        self,
        batch: Batch,
        tokenizer: Tokenizer,
        decoder: str = "greedy",
        *,
        beam: int = 8,
        vocabulary: Sequence[str] = (),
    ) -> list[str]:
        """Return one transcript an utterance.

        Args:
            batch: the utterances; targets are not read.
            tokenizer: turns tokens into text.
            decoder: ``greedy``, ``beam`` (prefix beam search of width ``beam``) or ``vocabulary`` (the most likely
                of the given phrases).
            beam: width of the beam.
            vocabulary: the phrases of decoder ``vocabulary``.
        """
