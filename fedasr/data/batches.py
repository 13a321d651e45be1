"""A batch of utterances."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass
class Batch:
    """Padded utterances.

    Shapes: ``features (batch, time, mel)`` float32, ``feature_lengths (batch,)`` int64 in frames,
    ``targets (batch, tokens)`` int64 padded with 0, ``target_lengths (batch,)`` int64.
    ``seconds`` is the audio in the batch; ``indices`` are the corpus rows.
    """

    features: torch.Tensor
    feature_lengths: torch.Tensor
    targets: torch.Tensor
    target_lengths: torch.Tensor
    seconds: float
    indices: tuple[int, ...]

    def __len__(self) -> int:
        """Return the number of utterances."""
        return int(self.feature_lengths.shape[0])

    def to(self, device: torch.device) -> Batch:
        """Return the batch on ``device``; the batch itself where it is there already."""
        if self.features.device == device:
            return self
        return Batch(
            self.features.to(device),
            self.feature_lengths.to(device),
            self.targets.to(device),
            self.target_lengths.to(device),
            self.seconds,
            self.indices,
        )
