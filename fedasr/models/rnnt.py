"""The RNN transducer (Graves 2012) over any encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from fedasr.data.batches import Batch
from fedasr.models.base import Encoded, SpeechModel
from fedasr.models.decoding.lexicon import MOST_NODES
from fedasr.models.decoding.transducer import GreedySearch, TransducerPrefixes
from fedasr.models.decoding.transducer_tree import scores
from fedasr.models.encoders.base import Encoder
from fedasr.models.prediction import Hidden, Prediction
from fedasr.models.subsampling import Subsampling
from fedasr.models.tokenizer import BLANK


def transducer_loss(
    logits: torch.Tensor, frames: torch.Tensor, targets: torch.Tensor, target_lengths: torch.Tensor
) -> torch.Tensor:
    """Return the negative log-likelihood of each transcript, all alignments summed, in nats, ``(batch,)``.

    An alignment passes blanks and the transcript's own tokens only, so ``rnnt_loss`` gets a lattice of these two,
    already normalised: over the whole alphabet it takes most of a training step.

    Args:
        logits: ``(batch, time', tokens + 1, vocabulary)``, as large as the largest utterance.
        frames: of each utterance, int64 ``(batch,)``.
        targets: int64 ``(batch, tokens)``.
        target_lengths: int64 ``(batch,)``.
    """
    from torchaudio.functional import rnnt_loss  # here, since torchaudio takes long to import

    following = F.pad(targets, (0, 1), value=BLANK)
    either = torch.stack([torch.full_like(following, BLANK), following], dim=2).unsqueeze(1)
    steps = logits.log_softmax(dim=3).gather(3, either.expand(-1, logits.shape[1], -1, -1))
    losses: torch.Tensor = rnnt_loss(
        steps,
        torch.ones_like(targets, dtype=torch.int32),
        frames.int(),
        target_lengths.int(),
        blank=BLANK,
        clamp=-1,
        reduction="none",
        fused_log_softmax=False,
    )
    return losses


class TransducerModel(SpeechModel):
    """Subsampling and an encoder, a prediction network over the tokens, and a joint network over both.

    Args:
        subsampling: features to fewer frames.
        encoder: reads what the subsampling gives.
        prediction: reads what was said so far.
        vocabulary_size: tokens, the blank included; the blank also starts the prediction network.
        joint: width of the joint network.
    """

    def __init__(
        self,
        subsampling: Subsampling,
        encoder: Encoder,
        prediction: Prediction,
        vocabulary_size: int,
        joint: int,
    ) -> None:
        super().__init__()
        self.subsampling = subsampling
        self.encoder = encoder
        self.prediction = prediction
        self.heard = nn.Linear(encoder.width, joint)
        self.said = nn.Linear(prediction.width, joint)
        self.output = nn.Linear(joint, vocabulary_size)
        if prediction.context is not None:
            self.most_nodes = MOST_NODES

    def output_frames(self, feature_lengths: torch.Tensor) -> torch.Tensor:
        """Return the feature frames, ``(batch,)``: a frame of the encoder may carry several tokens."""
        return feature_lengths

    def encode(self, batch: Batch) -> Encoded:
        """Return the encoder's part of the joint network, ``(batch, time', joint)``."""
        frames, lengths = self.subsampling(batch.features, batch.feature_lengths)
        return Encoded(self.heard(self.encoder(frames, lengths)), lengths)

    def predict(self, tokens: torch.Tensor, hidden: Hidden | None) -> tuple[torch.Tensor, Hidden]:
        """Return the prediction network's part of the joint network, ``(batch, tokens, joint)``, and what goes on.

        Args:
            tokens: what was said, int64 ``(batch, tokens)``; a sentence starts with the blank.
            hidden: what the call before returned; None at the start.
        """
        states, hidden = self.prediction(tokens, hidden)
        return self.said(states), hidden

    def join(self, frames: torch.Tensor, predicted: torch.Tensor) -> torch.Tensor:
        """Return the logits of what is emitted, ``(..., tokens)``; the arguments broadcast to ``(..., joint)``."""
        return self.output((frames + predicted).tanh())  # type: ignore[no-any-return]

    def lattice(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logits ``(batch, time', tokens + 1, vocabulary)`` and the frames ``(batch,)``."""
        encoded = self.encode(batch)
        # The loss wants the lattice as large as its largest utterance, no larger.
        frames = encoded.frames[:, : int(encoded.lengths.max())]
        targets = batch.targets[:, : int(batch.target_lengths.max())]
        predicted, _ = self.predict(F.pad(targets, (1, 0), value=BLANK), None)
        return self.join(frames.unsqueeze(2), predicted.unsqueeze(1)), encoded.lengths

    def utterance_loss(self, batch: Batch) -> torch.Tensor:
        """Return the negative log-likelihood of each utterance, in nats, shape ``(batch,)``."""
        logits, lengths = self.lattice(batch)
        return transducer_loss(logits, lengths, batch.targets[:, : logits.shape[2] - 1], batch.target_lengths)

    def prefixes(self, encoded: Encoded) -> TransducerPrefixes:
        """Return the empty prefix of each utterance; probabilities are sums over all alignments."""
        return TransducerPrefixes(self, encoded.frames, encoded.lengths)

    def phrase_scores(self, encoded: Encoded, phrases: Sequence[Sequence[int]]) -> torch.Tensor:
        """Return the log-probability of each phrase, float64 ``(batch, phrases)``."""
        context = self.prediction.context
        if context is None:
            return super().phrase_scores(encoded, phrases)
        return scores(self, context, encoded.frames, encoded.lengths, phrases)

    def internal_lm(self, phrases: Sequence[Sequence[int]]) -> torch.Tensor:
        """Return the log-probability of each phrase's tokens by the prediction network alone, float64 ``(phrases,)``.

        The joint network gets what the encoder adds to silence as zero, and blanks are left out.
        """
        lengths = torch.tensor([len(phrase) for phrase in phrases])
        tokens = torch.zeros(len(phrases), max(1, int(lengths.max())), dtype=torch.int64)
        for row, phrase in enumerate(phrases):
            tokens[row, : len(phrase)] = torch.tensor(phrase, dtype=torch.int64)
        tokens, device = tokens.to(self.heard.bias.device), self.heard.bias.device
        predicted, _ = self.predict(F.pad(tokens[:, :-1], (1, 0), value=BLANK), None)
        logits = self.join(self.heard.bias, predicted).double()
        logits[:, :, BLANK] = -torch.inf
        beyond = torch.arange(tokens.shape[1], device=device) >= lengths.to(device).unsqueeze(1)
        log_probabilities = logits.log_softmax(2).gather(2, tokens.unsqueeze(2)).squeeze(2)
        return log_probabilities.masked_fill(beyond, 0.0).sum(1)

    def greedy(self, encoded: Encoded) -> list[list[int]]:
        """Return the tokens of the path that takes the likeliest step each time."""
        search = GreedySearch(self, len(encoded), encoded.frames.device)
        search.feed(encoded.frames, encoded.lengths)
        return search.tokens
