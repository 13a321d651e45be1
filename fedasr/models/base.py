"""The small interface that every model family offers: a model is a per-utterance loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from fedasr.data.batches import Batch
from fedasr.errors import InputError
from fedasr.models.decoding.best_candidates import best_candidates
from fedasr.models.decoding.choices import check_decoder, encoded
from fedasr.models.decoding.closed_vocabulary import likeliest
from fedasr.models.decoding.lexicon import lexicon_of
from fedasr.models.decoding.prefixes import (
    Prefixes,
    beam_search,
    next_token,
    score_candidates,
    score_transcripts,
)
from fedasr.models.tokenizer import BLANK, Tokenizer


@dataclass(frozen=True)
class Encoded:
    """Utterances as a family's encoder leaves them, what every decoder starts from.

    Shapes: ``frames (batch, time', channels)``, whose meaning is the family's, and ``lengths (batch,)`` int64.
    """

    frames: torch.Tensor
    lengths: torch.Tensor

    def __len__(self) -> int:
        """Return the number of utterances."""
        return len(self.lengths)

    def utterance(self, row: int) -> Encoded:
        """Return one utterance, its padding cut off."""
        return Encoded(self.frames[row : row + 1, : int(self.lengths[row])], self.lengths[row : row + 1])


class SpeechModel(nn.Module, ABC):
    """A recogniser from log-mel frames to characters.

    No BatchNorm anywhere in a model: it breaks both differential privacy and averaging.

    Attributes:
        most_nodes: of a tree of phrases that are all scored where the likeliest is looked for; 0: that is no faster
            than a search.
    """

    most_nodes = 0

    @abstractmethod
    def utterance_loss(self, batch: Batch) -> torch.Tensor:
        """Return what training makes small, of each utterance, in nats, shape ``(batch,)``.

        The negative log-likelihood; a family that adds to it in training mode says so.
        """

    @abstractmethod
    def output_frames(self, feature_lengths: torch.Tensor) -> torch.Tensor:
        """Return how many frames there are to align a transcript with, one a token, shape ``(batch,)``.

        Those of the encoder where a token takes a frame (CTC); the feature frames themselves where it does not.
        """

    @abstractmethod
    def encode(self, batch: Batch) -> Encoded:
        """Return the utterances as the decoders read them."""

    @abstractmethod
    def prefixes(self, encoded: Encoded) -> Prefixes:
        """Return the empty prefix of each utterance, to be extended token by token."""

    @abstractmethod
    def greedy(self, encoded: Encoded) -> list[list[int]]:
        """Return the tokens of each utterance, the best choice at each step."""

    def beam(self, encoded: Encoded, beam: int) -> list[list[int]]:
        """Return the tokens of each utterance: the best of what the beam met and what greedy decoding found.

        Never less likely than the greedy one, nor less likely a token.
        """
        hypotheses = []
        for row, first in enumerate(self.greedy(encoded)):
            one = encoded.utterance(row)
            start = self.prefixes(one)
            known = first, float(score_candidates(start, 1, [first]))
            hypotheses.append(beam_search(start, self.longest(one)[0], beam, known))
        return hypotheses

    def phrase_scores(self, encoded: Encoded, phrases: Sequence[Sequence[int]]) -> torch.Tensor:
        """Return what decoder ``vocabulary`` compares, ``(batch, phrases)``."""
        return score_candidates(self.prefixes(encoded), len(encoded), phrases)

    def likeliest_phrases(
        self, encoded: Encoded, phrases: Sequence[Sequence[int]], bonus: torch.Tensor | None = None
    ) -> list[int]:
        """Return which phrase decoder ``vocabulary`` chooses for each utterance; −1 where none is possible.

        In a large tree of phrases those that cannot win are not scored to their end.

        Args:
            encoded: the utterances.
            phrases: tokens of each; at least one.
            bonus: what is added to the score of each phrase, ``(phrases,)``.
        """
        if len(lexicon_of(phrases)) > self.most_nodes:
            return best_candidates(self.prefixes(encoded), len(encoded), phrases, bonus)
        return likeliest(self.phrase_scores(encoded, phrases), bonus)

    def internal_lm(self, phrases: Sequence[Sequence[int]]) -> torch.Tensor:
        """Return what the model expects to be said before it hears anything, in nats, float64 ``(phrases,)``.

        An estimate of its internal language model (Meng et al. 2021, arXiv 2011.01991): the score with nothing heard.
        Zeros where the family has none.
        """
        return torch.zeros(len(phrases), dtype=torch.float64)

    def longest(self, encoded: Encoded) -> list[int]:
        """Return the most tokens that decoding gives each utterance: more than anybody says in that time."""
        return [8 + 2 * frames for frames in encoded.lengths.tolist()]

    def next_token_log_posteriors(self, speech: Batch | Encoded, prefixes: Sequence[Sequence[int]]) -> torch.Tensor:
        """Return how probable each next token is under a given prefix, float64 ``(batch, tokens)``, in nats.

        They sum to one; column 0 is the end of the sentence. Summed along a transcript, with the end, they are its
        ``sequence_log_probability``. Dropout is off.

        Args:
            speech: the utterances (targets are not read), or what ``encode`` made of them, to encode them once.
            prefixes: the tokens of one prefix an utterance; may be empty.

        Raises:
            ValueError: another number of prefixes than of utterances, or a prefix that holds the blank.
        """
        if len(prefixes) != len(speech):
            raise ValueError(f"{len(prefixes)} prefixes for {len(speech)} utterances; expected one an utterance")
        if any(BLANK in prefix for prefix in prefixes):
            raise ValueError("a prefix holds token 0, the blank; expected characters only")
        with self.as_it_decodes():
            return next_token(self.prefixes(self._encoded(speech)), prefixes)

    def sequence_log_probability(self, speech: Batch | Encoded, candidates: Sequence[Sequence[int]]) -> torch.Tensor:
        """Return log P(candidate | speech) of each candidate transcript, float64 ``(batch, candidates)``, in nats.

        Dropout is off. Speech is encoded once, and common beginnings are scored once.

        Args:
            speech: as in ``next_token_log_posteriors``.
            candidates: tokens of each transcript, the same for every utterance; at least one.

        Raises:
            ValueError: no candidates, or one that holds the blank.
        """
        if not candidates or any(BLANK in candidate for candidate in candidates):
            raise ValueError("expected at least one candidate, of characters only (token 0 is the blank)")
        with self.as_it_decodes():
            return self._sequence_scores(self._encoded(speech), candidates)

    def transcript_log_probability(self, encoded: Encoded, transcripts: Sequence[Sequence[int]]) -> torch.Tensor:
        """Return log P(transcript | speech) of one transcript an utterance, float64 ``(batch,)``, in nats.

        The same as the ``sequence_log_probability`` of each, all utterances together. Dropout is off.

        Args:
            encoded: the utterances.
            transcripts: the tokens of each; may be empty.

        Raises:
            ValueError: another number of transcripts than of utterances, or one that holds the blank.
        """
        if len(transcripts) != len(encoded):
            raise ValueError(f"{len(transcripts)} transcripts for {len(encoded)} utterances; expected one an utterance")
        if any(BLANK in transcript for transcript in transcripts):
            raise ValueError("a transcript holds token 0, the blank; expected characters only")
        with self.as_it_decodes():
            return score_transcripts(self._chained(encoded), transcripts)

    def _chained(self, encoded: Encoded) -> Prefixes:
        """Return the empty prefix of each utterance; what a whole one scores is its ``sequence_log_probability``."""
        return self.prefixes(encoded)

    def _sequence_scores(self, encoded: Encoded, candidates: Sequence[Sequence[int]]) -> torch.Tensor:
        """Return the log-probabilities of the candidates, ``(batch, candidates)``."""
        return self.phrase_scores(encoded, candidates)

    def _encoded(self, speech: Batch | Encoded) -> Encoded:
        return speech if isinstance(speech, Encoded) else self.encode(speech)

    def hypotheses(
        self,
        batch: Batch,
        tokenizer: Tokenizer,
        decoder: str | Decoder = "greedy",
        *,
        beam: int = 8,
        vocabulary: Sequence[str] = (),
    ) -> list[str]:
        """Return one transcript an utterance; dropout is off meanwhile.

        Args:
            batch: the utterances; targets are not read.
            tokenizer: turns tokens into text.
            decoder: ``greedy``, ``beam`` (a beam search of width ``beam``), ``vocabulary`` (the most likely of the
                given phrases), or one of the caller's own.
            beam: width of the beam.
            vocabulary: the phrases of decoder ``vocabulary``.

        Raises:
            InputError: an unknown decoder, an empty vocabulary, a phrase with characters outside the tokenizer, or an
                own decoder that leaves utterances out.
        """
        if not isinstance(decoder, str):
            return [tokenizer.decode(tokens) for tokens in self._decoded(batch, decoder)]
        check_decoder(decoder)
        # In the order given, each once: of equally likely phrases the first wins.
        choices = list(encoded(vocabulary, tokenizer).values()) if decoder == "vocabulary" else []
        with self.as_it_decodes():
            speech = self.encode(batch)
            if decoder == "greedy":
                sequences = self.greedy(speech)
            elif decoder == "beam":
                sequences = self.beam(speech, beam)
            else:
                sequences = [choices[max(index, 0)] for index in self.likeliest_phrases(speech, choices)]
        return [tokenizer.decode(tokens) for tokens in sequences]

    def _decoded(self, batch: Batch, decoder: Decoder) -> list[list[int]]:
        """Return the tokens of each utterance by a decoder of the caller's own."""
        with self.as_it_decodes():
            sequences = decoder.decode(self, self.encode(batch))
        if len(sequences) != len(batch):
            raise InputError(
                f"the decoder {type(decoder).__name__} gives {len(sequences)} token lists for {len(batch)} utterances;"
                " expected one an utterance"
            )
        return [[int(token) for token in tokens] for tokens in sequences]

    @contextmanager
    def as_it_decodes(self) -> Iterator[None]:
        """Inside the block dropout is off and nothing is kept for gradients; then the mode is what it was."""
        training = self.training
        self.eval()
        try:
            with torch.inference_mode():
                yield
        finally:
            self.train(training)


class Decoder(Protocol):
    """Finds the tokens of utterances: a user's own way of decoding."""

    def decode(self, model: SpeechModel, speech: Encoded) -> list[list[int]]:
        """Return the tokens of each utterance.

        Args:
            model: with ``greedy``, ``beam``, ``prefixes`` and ``phrase_scores``.
            speech: the utterances as its encoder leaves them; of a CTC model ``speech.frames`` are the log-posteriors
                of the tokens, ``(batch, time', tokens)`` in nats.
        """
        ...
