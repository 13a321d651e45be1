"""Dropout whose draws, where the batch's utterances must not meet, belong to each utterance alone.

In private training one utterance less must change nobody else's gradient. One generator for the whole batch breaks
that: whoever comes later in the batch, or in the epoch, gets other masks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

LEVELS = 1 << 16
"""A mask is drawn with 16 bits a number."""

Fill = Callable[[memoryview, int, int], None]
"""Writes the random bytes of an utterance (its place in the batch) for the n-th dropout of a pass; what a shorter
memory gets is the beginning of what a longer one gets."""


class PerUtterance:
    """The masks of one forward pass.

    Args:
        fill: where the bytes come from.
    """

    def __init__(self, fill: Fill) -> None:
        self.fill = fill
        self.passed = 0

    def mask(self, shape: torch.Size, probability: float) -> torch.Tensor:
        """Return what to multiply by: 0 with the probability, else what keeps the mean, float32 of the shape.

        Args:
            shape: ``(batch, time, ...)``: frames come in order, so that padding behind an utterance changes nothing.
            probability: rounded to multiples of 2⁻¹⁶.
        """
        drawn = np.empty((shape[0], int(np.prod(shape[1:]))), np.uint16)
        for row in range(len(drawn)):
            self.fill(drawn[row].data.cast("B"), row, self.passed)
        self.passed += 1
        return kept(drawn, probability).view(shape)

    def squares(self, lengths: Sequence[int], heads: int, probability: float) -> list[torch.Tensor]:
        """Return the same for the attention weights of each utterance, ``(length, length, heads)``."""
        masks = []
        for row, length in enumerate(lengths):
            drawn = np.empty((length, length, heads), np.uint16)
            self.fill(drawn.reshape(-1).data.cast("B"), row, self.passed)
            masks.append(kept(drawn, probability))
        self.passed += 1
        return masks


def kept(drawn: npt.NDArray[np.uint16], probability: float) -> torch.Tensor:
    """Return zeros, with the probability, and what keeps the mean, float32 of the shape of the random numbers."""
    dropped = min(LEVELS - 1, round(probability * LEVELS))
    return torch.from_numpy((drawn >= dropped).astype(np.float32)).mul_(LEVELS / (LEVELS - dropped))


_draws: PerUtterance | None = None


@contextmanager
def per_utterance(fill: Fill) -> Iterator[None]:
    """Inside the block, which holds one forward pass, every utterance has masks of its own."""
    global _draws
    before, _draws = _draws, PerUtterance(fill)
    try:
        yield
    finally:
        _draws = before


def dropout(x: torch.Tensor, probability: float, training: bool) -> torch.Tensor:
    """Return ``x (batch, time, ...)`` with entries set to zero, the rest scaled up (Srivastava et al. 2014)."""
    if not training or not probability:
        return x
    if _draws is None:
        return F.dropout(x, probability, True)
    return x * _draws.mask(x.shape, probability).to(x)


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attend: torch.Tensor | None,
    probability: float,
    training: bool,
) -> torch.Tensor:
    """Return scaled dot-product attention with dropout of its weights.

    Args:
        query: ``(batch, heads, time, width)``, as ``key`` and ``value``.
        key: of the frames.
        value: of the frames.
        attend: ``(batch, 1, 1, time)``, true on speech, which comes before the padding; None: all is speech.
        probability: of each weight to be dropped.
        training: whether any is.
    """
    if not training or not probability or _draws is None:
        dropped = probability if training else 0.0
        return F.scaled_dot_product_attention(query, key, value, attn_mask=attend, dropout_p=dropped)
    batch, heads, time, width = query.shape
    scores = (query @ key.mT) * width**-0.5
    if attend is not None:
        scores = scores.masked_fill(~attend, -torch.inf)
    lengths = [time] * batch if attend is None else attend.view(batch, time).sum(1).tolist()
    # An utterance's own square of weights: with the padding in the rows its numbers would depend on it.
    mask = query.new_zeros(batch, time, time, heads)
    for row, own in enumerate(_draws.squares(lengths, heads, probability)):
        mask[row, : len(own), : len(own)] = own.to(mask)
    attended: torch.Tensor = (scores.softmax(3) * mask.permute(0, 3, 1, 2)) @ value
    return attended
