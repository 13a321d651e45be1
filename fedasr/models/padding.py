"""Padding never leaks: an utterance in a padded batch gives what it gives alone."""

from __future__ import annotations

import torch


def padding_mask(lengths: torch.Tensor, frames: int) -> torch.Tensor | None:
    """Return which frames are padding, bool ``(batch, frames)``; None where none is, so that nobody computes with it.

    Args:
        lengths: frames of each utterance, int64 ``(batch,)``.
        frames: frames of the padded batch.
    """
    if int(lengths.min()) >= frames:
        return None
    return torch.arange(frames, device=lengths.device) >= lengths.unsqueeze(1)


def silence(x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Return ``x (batch, time, channels)`` with zeros in the padding, whatever was there, NaN included."""
    return x if mask is None else x.masked_fill(mask.unsqueeze(2), 0.0)
