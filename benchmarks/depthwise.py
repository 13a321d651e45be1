"""What a depth-wise convolution costs: its own gradient, beside the gradient of autograd, and PyTorch's convolution.

    python -m benchmarks.depthwise

Forward and backward in turn, one thread, each repeat with another number of frames, as batches have. A ratio is the
median over the repeats of the CPU seconds of ours / of the other.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import nn
from torch.nn import functional as F

from fedasr.models.convolutions import DepthwiseConv1d
from studies.tables import grid

HEAD = ("dilation", "ours, ms", "of autograd's gradient", "of `nn.Conv1d`")
BATCH, FRAMES, CHANNELS, KERNEL, DILATIONS = 16, 150, 160, 11, (1, 2, 4, 8)


def by_autograd(layer: DepthwiseConv1d, x: torch.Tensor) -> torch.Tensor:
    """Return the same sum of shifted products, whose gradient is left to autograd."""
    frames, step = x.shape[1], layer.dilation[0]
    reach = step * (layer.kernel_size[0] // 2)
    padded = F.pad(x, (0, 0, reach, reach))
    assert layer.bias is not None
    total: torch.Tensor = layer.bias
    for index, tap in enumerate(layer.weight[:, 0].t().contiguous().unbind(0)):
        total = torch.addcmul(total, padded[:, index * step : index * step + frames], tap)
    return total


def by_torch(layer: DepthwiseConv1d, x: torch.Tensor) -> torch.Tensor:
    """Return what ``nn.Conv1d`` makes of it."""
    return nn.Conv1d.forward(layer, x.transpose(1, 2)).transpose(1, 2)


WAYS: tuple[Callable[[DepthwiseConv1d, torch.Tensor], torch.Tensor], ...] = (
    DepthwiseConv1d.__call__,
    by_autograd,
    by_torch,
)


def measured(dilation: int, repeats: int) -> list[str]:
    """Return the cells of a dilation."""
    layer = DepthwiseConv1d(CHANNELS, KERNEL, dilation)
    taken: list[list[float]] = [[] for _ in WAYS]
    for repeat in range(repeats):
        x = torch.randn(BATCH, FRAMES + repeat, CHANNELS, generator=torch.Generator().manual_seed(repeat))
        for way, seconds in zip(WAYS, taken, strict=True):
            given = x.clone().requires_grad_()
            began = time.process_time()
            way(layer, given).square().sum().backward()  # type: ignore[no-untyped-call]
            seconds.append(time.process_time() - began)
    ours, *others = taken
    ratios = [median(a / b for a, b in zip(ours, other, strict=True)) for other in others]
    return [str(dilation), f"{1000 * median(ours):.1f}", *(f"{ratio:.2f}" for ratio in ratios)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=40)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(grid(HEAD, [measured(dilation, given.repeats) for dilation in DILATIONS]))


if __name__ == "__main__":
    main()
