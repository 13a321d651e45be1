"""How each kind of layer runs while the books are kept, and what its gradients are made of.

A layer's parameters require no gradient meanwhile, so that autograd computes what flows through and nothing else; a
hook on the output keeps its gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Protocol, cast

import torch
from torch import nn
from torch.nn import functional as F

from fedasr.models.convolutions import DepthwiseConv1d, FrameConv1d
from fedasr.models.norms import FrameGroupNorm
from fedasr.privacy.gradients.terms import Direct, Lookup, Product, Term

Terms = Callable[[torch.Tensor], dict[str, Term]]
"""Makes the terms of a layer's parameters, by name, from the gradient of the layer's output."""


class Hook(Protocol):
    """Takes a layer's output, samples first, and what to do with its gradient; returns the output.

    ``names`` are the parameters that ``make`` gives terms of; empty: all of the layer.
    """

    def __call__(self, output: torch.Tensor, make: Terms, names: Collection[str] = ()) -> torch.Tensor:
        """Return ``output``."""
        ...


Forward = Callable[..., Any]
"""A layer's ``forward`` with its books kept: the layer, what watches, and the arguments."""


def frames(x: torch.Tensor) -> torch.Tensor:
    """Return ``x (batch, ..., channels)`` as ``(batch, frames, channels)``."""
    return x.flatten(1, -2) if x.dim() > 2 else x.unsqueeze(1)


def of_matrix(gradient: torch.Tensor, inputs: torch.Tensor, bias: bool) -> dict[str, Term]:
    """Return the terms of a weight and a bias that every frame meets."""
    outputs = frames(gradient)
    terms: dict[str, Term] = {"weight": Product(outputs, frames(inputs))}
    if bias:
        terms["bias"] = Direct(outputs.sum(1))
    return terms


def linear(layer: nn.Linear, watch: Hook, x: torch.Tensor) -> torch.Tensor:
    """Run a linear layer on ``(batch, ..., channels)``."""
    inputs, bias = x.detach(), layer.bias is not None
    return watch(F.linear(x, layer.weight, layer.bias), lambda gradient: of_matrix(gradient, inputs, bias))


def frame_convolution(layer: FrameConv1d, watch: Hook, x: torch.Tensor) -> torch.Tensor:
    """Run a convolution over ``(batch, time, channels)``: a linear layer over windows."""
    windows = F.pad(x, (0, 0, 1, 1)).unfold(1, 3, layer.stride[0]).flatten(2)
    inputs, bias = windows.detach(), layer.bias is not None
    y = F.linear(windows, layer.weight.flatten(1), layer.bias)
    return watch(y, lambda gradient: of_matrix(gradient, inputs, bias))


def depthwise_convolution(layer: DepthwiseConv1d, watch: Hook, x: torch.Tensor) -> torch.Tensor:
    """Run a depth-wise convolution over ``(batch, time, channels)``."""
    inputs, step, taps = x.detach(), layer.dilation[0], layer.kernel_size[0]
    reach, time = step * (taps // 2), x.shape[1]

    def terms(gradient: torch.Tensor) -> dict[str, Term]:
        # Of each tap only the frames that meet speech, not the padding that keeps the length.
        parts = []
        for tap in range(taps):
            shift = tap * step - reach
            low, high = max(0, -shift), min(time, time - shift)
            if low < high:
                parts.append((gradient[:, low:high] * inputs[:, low + shift : high + shift]).sum(1))
            else:
                parts.append(gradient.new_zeros(gradient.shape[0], gradient.shape[2]))
        return {"weight": Direct(torch.stack(parts, dim=2).flatten(1)), "bias": Direct(gradient.sum(1))}

    return watch(DepthwiseConv1d.forward(layer, x), terms)


def convolution(layer: nn.Conv1d, watch: Hook, x: torch.Tensor) -> torch.Tensor:
    """Run a convolution over ``(batch, channels, time)``, with groups or without."""
    inputs, kernel, groups = x.detach(), layer.kernel_size[0], layer.groups
    reach, step = layer.dilation[0] * (kernel - 1), layer.dilation[0]

    def terms(gradient: torch.Tensor) -> dict[str, Term]:
        if layer.padding == "same":
            padding = (reach // 2, reach - reach // 2)
        else:
            padding = (0, 0) if layer.padding == "valid" else (int(layer.padding[0]),) * 2
        padded = F.pad(inputs, padding, "constant" if layer.padding_mode == "zeros" else layer.padding_mode)
        # (batch, channels, time', kernel), the taps of a window apart by the dilation
        windows = padded.unfold(2, reach + 1, layer.stride[0])[..., ::step]
        batch, channels, time, _ = windows.shape
        taken = windows.reshape(batch, groups, channels // groups, time, kernel).transpose(2, 3).flatten(3)
        outputs = gradient.reshape(batch, groups, -1, time).transpose(2, 3)
        if groups == 1:
            by_parameter: dict[str, Term] = {"weight": Product(outputs[:, 0], taken[:, 0])}
        else:
            by_parameter = {"weight": Product(outputs, taken)}
        if layer.bias is not None:
            by_parameter["bias"] = Direct(gradient.sum(2))
        return by_parameter

    return watch(nn.Conv1d.forward(layer, x), terms)


def scaled(
    normal: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, watch: Hook, over: Callable[..., Any]
) -> torch.Tensor:
    """Scale and shift normalised values; ``over`` sums a gradient into ``(batch, entries)``."""
    values = normal.detach()

    def terms(gradient: torch.Tensor) -> dict[str, Term]:
        by_parameter: dict[str, Term] = {"weight": Direct(over(gradient * values))}
        if bias is not None:
            by_parameter["bias"] = Direct(over(gradient))
        return by_parameter

    return watch(normal * weight if bias is None else torch.addcmul(bias, normal, weight), terms)


def layer_norm(layer: nn.LayerNorm, watch: Hook, x: torch.Tensor) -> torch.Tensor:
    """Run layer normalisation over the last dimensions."""
    bias = cast("torch.Tensor | None", layer.bias)
    y, mean, scale = torch.native_layer_norm(x, layer.normalized_shape, layer.weight, bias, layer.eps)
    inputs, mean, scale = x.detach(), mean.detach(), scale.detach()
    entries = layer.weight.numel()

    def terms(gradient: torch.Tensor) -> dict[str, Term]:
        # The normalised values once more: cheaper than keeping them, since autograd keeps what they come from anyway.
        weighted = (inputs - mean).mul_(scale).mul_(gradient)
        by_parameter: dict[str, Term] = {"weight": Direct(weighted.view(len(x), -1, entries).sum(1))}
        if bias is not None:
            by_parameter["bias"] = Direct(gradient.reshape(len(x), -1, entries).sum(1))
        return by_parameter

    return watch(y, terms)


def frame_group_norm(layer: FrameGroupNorm, watch: Hook, x: torch.Tensor) -> torch.Tensor:
    """Run group normalisation within each frame of ``(batch, time, channels)``."""
    normal = F.group_norm(x.flatten(0, 1), layer.num_groups, None, None, layer.eps).view_as(x)
    return scaled(normal, layer.weight, layer.bias, watch, lambda g: g.sum(1))


def group_norm(layer: nn.GroupNorm, watch: Hook, x: torch.Tensor) -> torch.Tensor:
    """Run group normalisation over ``(batch, channels, ...)``."""
    normal = F.group_norm(x, layer.num_groups, None, None, layer.eps)
    shape = (-1, *[1] * (x.dim() - 2))
    weight, bias = layer.weight.view(shape), layer.bias.view(shape)
    return scaled(normal, weight, bias, watch, lambda g: g.flatten(2).sum(2) if g.dim() > 2 else g)


def embedding(layer: nn.Embedding, watch: Hook, tokens: torch.Tensor) -> torch.Tensor:
    """Look rows up for ``(batch, ...)`` tokens."""
    entries, silent = layer.num_embeddings, layer.padding_idx

    def terms(gradient: torch.Tensor) -> dict[str, Term]:
        indices, outputs = tokens.reshape(len(tokens), -1), gradient.reshape(len(tokens), -1, gradient.shape[-1])
        if silent is not None:
            outputs = outputs.masked_fill((indices == silent).unsqueeze(2), 0.0)
        return {"weight": Lookup(outputs, indices, entries)}

    return watch(F.embedding(tokens, layer.weight, layer.padding_idx), terms)
