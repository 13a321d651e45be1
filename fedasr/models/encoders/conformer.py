"""The Conformer encoder (Gulati et al. 2020), without BatchNorm and deaf to padding."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from fedasr.models.convolutions import DepthwiseConv1d
from fedasr.models.dropout import attention, dropout
from fedasr.models.encoders.base import Encoder
from fedasr.models.norms import make_norm
from fedasr.models.padding import padding_mask, silence


def rotation(frames: int, width: int, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the cosines and sines ``(frames, width // 2)`` of rotary positions (Su et al. 2021)."""
    rates = 10_000.0 ** (-torch.arange(width // 2, device=like.device, dtype=torch.float32) / max(width // 2, 1))
    angles = torch.arange(frames, device=like.device, dtype=torch.float32).unsqueeze(1) * rates
    return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def rotate(x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """Return ``x (batch, heads, time, width)`` turned by its positions; the last channel of an odd width stays."""
    half = cosine.shape[1]
    first, second, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine, rest], dim=-1)


class FeedForward(nn.Module):
    """Pre-normalised feed-forward module with Swish."""

    def __init__(self, width: int, multiple: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, multiple * width)
        self.contract = nn.Linear(multiple * width, width)
        self.dropout = dropout

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what is added to ``x (batch, time, width)``."""
        y = dropout(F.silu(self.expand(self.norm(x))), self.dropout, self.training)
        return dropout(self.contract(y), self.dropout, self.training)


class SelfAttention(nn.Module):
    """Pre-normalised multi-head self-attention with rotary, that is relative, positions (Li et al. 2021)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.mix_in = nn.Linear(width, 3 * width)
        self.mix_out = nn.Linear(width, width)
        self.dropout = dropout

    def forward(self, x: torch.Tensor, attend: torch.Tensor | None) -> torch.Tensor:
        """Return what is added to ``x (batch, time, width)``; ``attend (batch, 1, 1, time)`` is true on speech."""
        batch, frames, width = x.shape
        mixed = self.mix_in(self.norm(x)).view(batch, frames, 3, self.heads, width // self.heads)
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        cosine, sine = rotation(frames, width // self.heads, x)
        turned = rotate(query, cosine, sine), rotate(key, cosine, sine)
        y = attention(*turned, value, attend, self.dropout, self.training)
        y = self.mix_out(y.transpose(1, 2).reshape(batch, frames, width))
        return dropout(y, self.dropout, self.training)


class ConvolutionModule(nn.Module):
    """Pre-normalised gated depth-wise convolution; its BatchNorm gives way to the norm of the config."""

    def __init__(self, width: int, kernel: int, norm: str, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.gate = nn.Linear(width, 2 * width)
        self.depthwise = DepthwiseConv1d(width, kernel)
        self.inner_norm = make_norm(norm, width)
        self.pointwise = nn.Linear(width, width)
        self.dropout = dropout

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Return what is added to ``x (batch, time, width)``; ``mask (batch, time)`` is true in the padding."""
        y = self.depthwise(silence(F.glu(self.gate(self.norm(x)), dim=2), mask))
        return dropout(self.pointwise(F.silu(self.inner_norm(y))), self.dropout, self.training)


class ConformerBlock(nn.Module):
    """Half a feed-forward step, attention, convolution, the other half, LayerNorm."""

    def __init__(self, width: int, heads: int, multiple: int, kernel: int, norm: str, dropout: float) -> None:
        super().__init__()
        self.before = FeedForward(width, multiple, dropout)
        self.attention = SelfAttention(width, heads, dropout)
        self.convolution = ConvolutionModule(width, kernel, norm, dropout)
        self.after = FeedForward(width, multiple, dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None, attend: torch.Tensor | None) -> torch.Tensor:
        """Return ``(batch, time, width)``."""
        x = x + 0.5 * self.before(x)
        x = x + self.attention(x, attend)
        x = x + self.convolution(x, mask)
        x = x + 0.5 * self.after(x)
        normalised: torch.Tensor = self.norm(x)
        return normalised


class ConformerEncoder(Encoder):
    """A projection to ``hidden`` and blocks of Conformer.

    Args:
        inputs: channels of the subsampled frames.
        hidden: width of the blocks; ``heads`` divides it.
        layers: blocks.
        heads: attention heads.
        multiple: width of the feed-forward modules over ``hidden``.
        kernel: kernel of the convolution modules in frames; odd.
        norm: what stands in for BatchNorm in the convolution modules: ``layer``, ``group`` or ``none``.
        dropout: dropout of every module.
    """

    def __init__(
        self, inputs: int, hidden: int, layers: int, heads: int, multiple: int, kernel: int, norm: str, dropout: float
    ) -> None:
        super().__init__()
        if hidden % heads:
            raise ValueError(f"heads is {heads}; it must divide hidden ({hidden})")
        self.width = hidden
        self.projection = nn.Linear(inputs, hidden)
        self.dropout = dropout
        self.blocks = nn.ModuleList(
            ConformerBlock(hidden, heads, multiple, kernel, norm, dropout) for _ in range(layers)
        )

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return ``(batch, time, hidden)``."""
        mask = padding_mask(lengths, x.shape[1])
        attend = None
        if mask is not None:
            # An utterance without frames attends to its first one: softmax over nothing is NaN, and NaN spreads.
            attend = (~mask | (torch.arange(x.shape[1], device=x.device) == 0))[:, None, None, :]
        x = dropout(self.projection(x), self.dropout, self.training)
        for block in self.blocks:
            x = block(x, mask, attend)
        return x
