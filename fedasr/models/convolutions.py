"""Convolutions over ``(batch, time, channels)`` that stay fast when every batch has another length.

The parameters are those of ``nn.Conv1d``. What differs is how the sum is computed: oneDNN compiles a primitive for each
shape it meets, which on short utterances of uneven length takes longer than the convolution itself.
"""

from __future__ import annotations

import torch
from torch import nn
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
        frames, step = x.shape[1], self.dilation[0]
        reach = step * (self.kernel_size[0] // 2)
        padded = F.pad(x, (0, 0, reach, reach))
        taps = self.weight[:, 0].t().contiguous().unbind(0)
        assert self.bias is not None
        total = self.bias
        for index, tap in enumerate(taps):
            total = torch.addcmul(total, padded[:, index * step : index * step + frames], tap)
        return total
