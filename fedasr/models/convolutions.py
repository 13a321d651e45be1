"""Convolutions over ``(batch, time, channels)`` that stay fast when every batch has another length.

The parameters are those of ``nn.Conv1d``. What differs is how the sum is computed: oneDNN compiles a primitive for each
shape it meets, which on short utterances of uneven length takes longer than the convolution itself.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F


class FrameConv1d(nn.Conv1d):
    """Convolution of kernel 3 and padding 1 as one matrix product over unfolded frames."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__(in_channels, out_channels, 3, stride=stride, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``(batch, ceil(time / stride), out_channels)`` of ``x (batch, time, in_channels)``."""
        windows = F.pad(x, (0, 0, 1, 1)).unfold(1, 3, self.stride[0])
        return F.linear(windows.flatten(2), self.weight.flatten(1), self.bias)


class DepthwiseConv1d(nn.Conv1d):
    """Depth-wise convolution that keeps the frame rate, as a sum of shifted products.

    Args:
        channels: channels in and out.
        kernel: frames of the kernel; odd.
        dilation: frames between the taps.
    """

    def __init__(self, channels: int, kernel: int, dilation: int = 1) -> None:
        if kernel % 2 == 0:
            raise ValueError(f"kernel is {kernel}; expected an odd number, so that frames stay aligned")
        reach = dilation * (kernel // 2)
        super().__init__(channels, channels, kernel, padding=reach, dilation=dilation, groups=channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``(batch, time, channels)`` of the same shape."""
        assert self.bias is not None
        result: torch.Tensor = ShiftedProducts.apply(x, self.weight[:, 0].t(), self.bias, self.dilation[0])
        return result


class ShiftedProducts(torch.autograd.Function):
    """The sum, over taps, of the shifted frames times the tap, and its gradient.

    Left to autograd, each tap's gradient would be as large as the padded speech, and be filled with zeros and added up.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: torch.Tensor, taps: torch.Tensor, bias: torch.Tensor, step: int) -> torch.Tensor:
        """Return ``(batch, time, channels)`` of the same shape as ``x``.

        Args:
            ctx: keeps what the gradient needs.
            x: shape ``(batch, time, channels)``.
            taps: shape ``(kernel, channels)``.
            bias: shape ``(channels,)``.
            step: frames between the taps.
        """
        frames, reach = x.shape[1], step * (len(taps) // 2)
        padded, taps = F.pad(x, (0, 0, reach, reach)), taps.contiguous()
        total = torch.addcmul(bias, padded[:, :frames], taps[0])
        for index in range(1, len(taps)):
            total.addcmul_(padded[:, index * step : index * step + frames], taps[index])
        ctx.save_for_backward(padded, taps)
        ctx.step = step  # type: ignore[attr-defined]
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of ``x``, the taps and the bias where they are needed."""
        (gradient,) = gradients
        padded, taps = ctx.saved_tensors
        frames, reach = gradient.shape[1], ctx.step * (len(taps) // 2)
        of_x, of_taps, of_bias, _ = ctx.needs_input_grad
        inputs = torch.zeros_like(padded) if of_x else None
        products = []
        for index, tap in enumerate(taps):
            window = slice(index * ctx.step, index * ctx.step + frames)
            if inputs is not None:
                inputs[:, window].addcmul_(gradient, tap)
            if of_taps:
                products.append((padded[:, window] * gradient).sum((0, 1)))
        return (
            None if inputs is None else inputs[:, reach : reach + frames],
            torch.stack(products) if of_taps else None,
            gradient.sum((0, 1)) if of_bias else None,
            None,
        )
