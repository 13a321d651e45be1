"""Normalisation of one frame at a time: no statistics over the batch, none over time."""

from __future__ import annotations

import torch
from torch import nn

from fedasr.errors import InputError


class FrameGroupNorm(nn.GroupNorm):
    """GroupNorm (Wu & He 2018) over groups of channels within each frame of ``(batch, time, channels)``.

    The usual statistics over time would mix padding into speech and tie a frame to the length of its utterance.
    """

    def __init__(self, channels: int) -> None:
        # At least four channels a group: normalising one or two leaves little but their signs.
        super().__init__(next(groups for groups in (4, 2, 1) if channels % (4 * groups) == 0 or groups == 1), channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the normalised frames, shape unchanged."""
        return super().forward(x.flatten(0, 1)).view_as(x)


def make_norm(kind: str, channels: int) -> nn.Module:
    """Return a module that normalises ``(batch, time, channels)``: ``layer``, ``group`` or ``none``.

    Raises:
        InputError: another kind.
    """
    if kind == "layer":
        return nn.LayerNorm(channels)
    if kind == "group":
        return FrameGroupNorm(channels)
    if kind == "none":
        return nn.Identity()
    raise InputError(f"'model.norm' is '{kind}'; expected one of: layer, group, none")
