"""The attention speller of "Listen, attend and spell" (Chan et al. 2016), in one fused pass over the transcript.

What was attended to is not fed back into the recurrence: the LSTM reads the tokens alone, so that under teacher forcing
it runs over all of them at once, attention is one product, and the states of a prefix are the same for all utterances.
Positions, of tokens in the queries and of frames in the keys, tell attention roughly where it is, which a fed back
context otherwise would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from fedasr.models.decoding.lexicon import lexicon_of
from fedasr.models.decoding.prefixes import END, LARGEST_STEP, Prefixes
from fedasr.models.dropout import dropout
from fedasr.models.padding import padding_mask

POSITIONS = 16
"""Channels of a position."""

Hidden = tuple[torch.Tensor, torch.Tensor]


def positions(start: int, count: int, like: torch.Tensor) -> torch.Tensor:
    """Return sines and cosines of ``count`` places from ``start``, wavelengths 6 to 600, ``(count, POSITIONS)``."""
    rates = 2 * torch.pi / torch.logspace(0.78, 2.78, POSITIONS // 2, device=like.device, dtype=torch.float32)
    angles = torch.arange(start, start + count, device=like.device).unsqueeze(1) * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1).to(like.dtype)


def with_positions(x: torch.Tensor, start: int = 0) -> torch.Tensor:
    """Return ``x (batch, time, channels)`` and the position of each frame beside it."""
    return torch.cat([x, positions(start, x.shape[1], x).expand(len(x), -1, -1)], dim=2)


@dataclass(frozen=True)
class Memory:
    """What the speller attends to: keys and values ``(batch, heads, time', channels)``.

    ``attend (batch, 1, 1, time')`` is true on speech; None where all of it is.
    """

    keys: torch.Tensor
    values: torch.Tensor
    attend: torch.Tensor | None

    def rows(self, rows: torch.Tensor) -> Memory:
        """Return the memory of some utterances, int64 ``(hypotheses,)``."""
        return Memory(self.keys[rows], self.values[rows], None if self.attend is None else self.attend[rows])


class Speller(nn.Module):
    """Previous tokens and the speech to the next token.

    Args:
        inputs: channels of the encoder's states.
        hidden: width of the token embedding, the LSTM and the attention; ``heads`` divides it.
        heads: attention heads.
        vocabulary_size: tokens; token 0 starts and ends a sentence.
        dropout: of the embedded tokens and before the output.
    """

    def __init__(self, inputs: int, hidden: int, heads: int, vocabulary_size: int, dropout: float) -> None:
        super().__init__()
        if hidden % heads:
            raise ValueError(f"heads is {heads}; it must divide hidden ({hidden})")
        self.heads = heads
        self.dropout = dropout
        self.embedding = nn.Embedding(vocabulary_size, hidden)
        self.lstm = nn.LSTM(hidden, hidden, batch_first=True)
        self.query = nn.Linear(hidden + POSITIONS, hidden)
        self.key = nn.Linear(inputs + POSITIONS, hidden)
        self.value = nn.Linear(inputs, hidden)
        self.mix = nn.Linear(2 * hidden, hidden)
        self.output = nn.Linear(hidden, vocabulary_size)

    def read(self, states: torch.Tensor, lengths: torch.Tensor) -> Memory:
        """Return the memory of the encoder's states ``(batch, time', channels)``."""
        mask = padding_mask(lengths, states.shape[1])
        attend = None if mask is None else ~mask[:, None, None, :]
        return Memory(self._split(self.key(with_positions(states))), self._split(self.value(states)), attend)

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def forward(
        self, memory: Memory, tokens: torch.Tensor, start: int = 0, hidden: Hidden | None = None
    ) -> tuple[torch.Tensor, Hidden]:
        """Return the logits of what follows each token ``(batch, tokens, vocabulary)``, and the LSTM's last states.

        Args:
            memory: the speech.
            tokens: previous tokens, int64 ``(batch, tokens)``; the first of a sentence is ``END``.
            start: place of the first of them.
            hidden: the LSTM's states before it.
        """
        embedded = dropout(self.embedding(tokens), self.dropout, self.training)
        states, hidden = self.lstm(embedded) if hidden is None else self.lstm(embedded, hidden)
        query = self._split(self.query(with_positions(states, start)))
        context = F.scaled_dot_product_attention(query, memory.keys, memory.values, attn_mask=memory.attend)
        context = context.transpose(1, 2).flatten(2)
        mixed = F.silu(self.mix(torch.cat([states, context], dim=2)))
        return self.output(dropout(mixed, self.dropout, self.training)), hidden

    def losses(
        self, memory: Memory, targets: torch.Tensor, target_lengths: torch.Tensor, smoothing: float
    ) -> torch.Tensor:
        """Return the negative log-likelihood of each transcript and its end, in nats, ``(batch,)``.

        Args:
            memory: the speech.
            targets: int64 ``(batch, tokens)``; what stands in the padding does not matter.
            target_lengths: int64 ``(batch,)``.
            smoothing: share of each target that is spread over all tokens (label smoothing, Szegedy et al. 2016).
        """
        longest = int(target_lengths.max())
        beyond = torch.arange(longest, device=targets.device) >= target_lengths.unsqueeze(1)
        targets = targets[:, :longest].masked_fill(beyond, END)
        logits, _ = self(memory, F.pad(targets, (1, 0), value=END))
        log_posteriors = logits.log_softmax(dim=2)
        wanted = F.pad(targets, (0, 1), value=END)
        losses: torch.Tensor = -log_posteriors.gather(2, wanted.unsqueeze(2)).squeeze(2)
        if smoothing:
            losses = (1 - smoothing) * losses - smoothing * log_posteriors.mean(dim=2)
        return losses.masked_fill(F.pad(beyond, (1, 0)), 0.0).sum(1)

    def phrase_scores(self, memory: Memory, phrases: Sequence[Sequence[int]]) -> torch.Tensor:
        """Return the log-probability of each phrase for each utterance, in nats, float64 ``(batch, phrases)``.

        The states of a beginning are the same for all utterances; each beginning of the phrases attends once.

        Args:
            memory: the speech.
            phrases: tokens of each; at least one.
        """
        tree = lexicon_of(phrases)
        device = memory.keys.device
        depths, ends = tree.depths.to(device), tree.ends.to(device)
        states, _ = self.lstm(self.embedding(F.pad(tree.phrases, (1, 0), value=END).to(device)))
        states = states[tree.spelt_by, tree.depths]  # (nodes, hidden)
        place = positions(0, int(depths.max()) + 1, states)[depths]
        query = self._split(self.query(torch.cat([states, place], dim=1)).unsqueeze(0))
        # The two halves of ``mix``: what a beginning says is the same for all utterances.
        of_states, of_context = self.mix.weight[:, : states.shape[1]], self.mix.weight[:, states.shape[1] :]
        spelled = F.linear(states, of_states, self.mix.bias)
        parents, tokens, paths = tree.parents.to(device), tree.tokens.to(device), tree.paths.to(device)
        a_node = 2 * states.shape[1] + 3 * self.output.out_features + memory.keys.shape[2] * self.heads
        together = max(1, LARGEST_STEP // (len(tree) * a_node))
        parts = []
        for start in range(0, len(memory.keys), together):
            some = memory.rows(torch.arange(start, min(start + together, len(memory.keys)), device=device))
            asked = query.expand(len(some.keys), -1, -1, -1)
            context = F.scaled_dot_product_attention(asked, some.keys, some.values, attn_mask=some.attend)
            mixed = F.silu(spelled + F.linear(context.transpose(1, 2).flatten(2), of_context))
            logits = self.output(mixed)
            normaliser = logits.double().logsumexp(2)
            steps = logits[:, parents, tokens].double() - normaliser[:, parents]
            last = logits[:, ends, END].double() - normaliser[:, ends]
            parts.append(F.pad(steps, (0, 1))[:, paths].sum(2) + last)
        return torch.cat(parts)

    def internal_lm(self, phrases: Sequence[Sequence[int]]) -> torch.Tensor:
        """Return the log-probability of each phrase where attention finds nothing, in nats, float64 ``(phrases,)``."""
        nothing = self.output.weight.new_zeros(1, self.heads, 1, self.output.in_features // self.heads)
        return self.phrase_scores(Memory(nothing, nothing, None), phrases)[0]


class SpellerPrefixes(Prefixes):
    """Prefixes of transcripts under a speller.

    Args:
        speller: called once a token.
        memory: the speech of each utterance.
        utterances: of each hypothesis, int64 ``(hypotheses,)``.
        place: tokens of each, the same number for all.
        total: their log-posteriors so far, added up, float64 ``(hypotheses,)``.
        log_posteriors: of the next token, float64 ``(hypotheses, tokens)``.
        hidden: the states of the speller's LSTM.
    """

    def __init__(
        self,
        speller: Speller,
        memory: Memory,
        utterances: torch.Tensor,
        place: int,
        total: torch.Tensor,
        log_posteriors: torch.Tensor,
        hidden: Hidden,
    ) -> None:
        self.speller = speller
        self.memory = memory
        self.utterances = utterances
        self.place = place
        self.total = total
        self._log_posteriors = log_posteriors
        self.hidden = hidden

    @classmethod
    def of(cls, speller: Speller, memory: Memory) -> SpellerPrefixes:
        """Return the empty prefix of each utterance."""
        utterances = torch.arange(len(memory.keys), device=memory.keys.device)
        logits, hidden = speller(memory, torch.full_like(utterances, END).unsqueeze(1))
        log_probabilities = logits.squeeze(1).double().log_softmax(1)
        return cls(
            speller, memory, utterances, 0, torch.zeros_like(log_probabilities[:, END]), log_probabilities, hidden
        )

    def weight(self) -> int:
        """Return the scalars that a step takes a hypothesis."""
        return 2 * self.memory.keys[0].numel()

    def log_posteriors(self) -> torch.Tensor:
        """Return the log-posteriors of the next token, ``(hypotheses, tokens)``; ``END`` is the end."""
        return self._log_posteriors

    def whole(self) -> torch.Tensor:
        """Return the log-probability of the prefix as the whole transcript, ``(hypotheses,)``."""
        return self.total + self._log_posteriors[:, END]

    def extended(self, rows: torch.Tensor, tokens: torch.Tensor) -> SpellerPrefixes:
        """Return the hypotheses of ``rows``, each with one more token."""
        tokens = tokens.to(self.utterances.device)
        utterances, place = self.utterances[rows], self.place + 1
        before = (self.hidden[0][:, rows], self.hidden[1][:, rows])
        logits, hidden = self.speller(self.memory.rows(utterances), tokens.unsqueeze(1), place, before)
        log_probabilities = logits.squeeze(1).double().log_softmax(1)
        total = self.total[rows] + self._log_posteriors[rows, tokens]
        return SpellerPrefixes(self.speller, self.memory, utterances, place, total, log_probabilities, hidden)

    def only(self, rows: torch.Tensor) -> SpellerPrefixes:
        """Return the hypotheses of ``rows``."""
        hidden = (self.hidden[0][:, rows], self.hidden[1][:, rows])
        return SpellerPrefixes(
            self.speller,
            self.memory,
            self.utterances[rows],
            self.place,
            self.total[rows],
            self._log_posteriors[rows],
            hidden,
        )
