"""Connectionist temporal classification (Graves et al. 2006) over any encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from fedasr.data.batches import Batch
from fedasr.errors import InputError, nearest
from fedasr.models.base import SpeechModel
from fedasr.models.decoding.closed_vocabulary import closed_vocabulary
from fedasr.models.decoding.greedy import greedy
from fedasr.models.decoding.prefix_beam import beam_search
from fedasr.models.encoders.base import Encoder
from fedasr.models.subsampling import Subsampling
from fedasr.models.tokenizer import BLANK, Tokenizer, UnknownCharacters

DECODERS = ("greedy", "beam", "vocabulary")


class CTCModel(SpeechModel):
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

    def utterance_loss(self, batch: Batch) -> torch.Tensor:
        """Return the negative log-likelihood of each utterance, in nats, shape ``(batch,)``.

        An utterance with fewer output frames than its transcript needs (tokens, and a blank between equal neighbours)
        has no alignment. The data room refuses it; here its loss and gradient are zero, so that it spoils no model.
        """
        log_probabilities, lengths = self.log_probabilities(batch)
        return F.ctc_loss(
            log_probabilities.transpose(0, 1),
            batch.targets,
            lengths,
            batch.target_lengths,
            blank=BLANK,
            reduction="none",
            zero_infinity=True,
        )

    def hypotheses(
        self,
        batch: Batch,
        tokenizer: Tokenizer,
        decoder: str = "greedy",
        *,
        beam: int = 8,
        vocabulary: Sequence[str] = (),
    ) -> list[str]:
        """Return one transcript an utterance; dropout is off meanwhile. Arguments as in ``SpeechModel``.

        Raises:
            InputError: an unknown decoder, an empty vocabulary, or a phrase with characters outside the tokenizer.
        """
        if decoder not in DECODERS:
            raise InputError(f"decoder '{decoder}'{nearest(decoder, DECODERS)}; expected one of: {', '.join(DECODERS)}")
        # In the order given, each once: of equally likely phrases the first wins.
        phrases = encoded(vocabulary, tokenizer) if decoder == "vocabulary" else {}
        training = self.training
        self.eval()
        try:
            with torch.inference_mode():
                log_probabilities, lengths = self.log_probabilities(batch)
                if decoder == "greedy":
                    found = greedy(log_probabilities, lengths)
                elif decoder == "beam":
                    found = beam_search(log_probabilities, lengths, beam)
                else:
                    choices = list(phrases.values())
                    found = [choices[index] for index in closed_vocabulary(log_probabilities, lengths, choices)]
        finally:
            self.train(training)
        return [tokenizer.decode(tokens) for tokens in found]


def encoded(vocabulary: Sequence[str], tokenizer: Tokenizer) -> dict[str, list[int]]:
    """Return the tokens of each distinct phrase, in the order of their first mention.

    Raises:
        InputError: no phrases, or one with characters outside the tokenizer.
    """
    phrases: dict[str, list[int]] = {}
    for phrase in vocabulary:
        try:
            phrases[tokenizer.normalise(phrase)] = tokenizer.encode(phrase)
        except UnknownCharacters as error:
            raise InputError(f"vocabulary of the decoder: {error}") from None
    if not phrases:
        raise InputError("decoder 'vocabulary' has no phrases; list them in 'evaluate.vocabulary'")
    return phrases
