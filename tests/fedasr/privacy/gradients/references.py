"""What the fast gradients are compared with: plain autograd, one sample at a time, and models to compare on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from fedasr import seeds
from fedasr.config.schema import ConformerConfig, ModelConfig
from fedasr.data.batches import Batch
from fedasr.models.base import SpeechModel
from fedasr.models.factory import build_model

MEL, TOKENS = 8, 6

STACKS = {
    "lstm": {"name": "ctc", "encoder": "lstm", "layers": 2},
    "blstm": {"name": "ctc", "encoder": "blstm", "layers": 2},
    "dsconv": {"name": "ctc", "encoder": "dsconv", "layers": 4, "kernel": 5},
    "conformer": {"name": "ctc-conformer", "layers": 2, "conformer": ConformerConfig(heads=2, kernel=5)},
}


def speech_model(stack: str, norm: str = "layer", hidden: int = 12, channels: int = 16) -> SpeechModel:
    """Return a small model of a family, in training mode; gains and biases are not the usual ones and zeros."""
    config = ModelConfig(hidden=hidden, channels=[8, channels], strides=[2, 1], norm=norm, **STACKS[stack])  # type: ignore[arg-type]
    with seeds.torch_scope(3, "test"):
        model = build_model(config, MEL, TOKENS)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 1:
                    parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model.train()


def speech_batch(lengths: tuple[int, ...] = (31, 40, 17, 24), seed: int = 0) -> Batch:
    """Return random utterances of so many frames, padded, with other lengths of transcript each."""
    with seeds.torch_scope(seed, "test batch"):
        features = torch.randn(len(lengths), max(lengths), MEL)
        targets = torch.randint(1, TOKENS, (len(lengths), 4))
    target_lengths = torch.tensor([2 + number % 3 for number in range(len(lengths))])
    return Batch(features, torch.tensor(lengths), targets, target_lengths, 1.0, tuple(range(len(lengths))))


def utterance(batch: Batch, row: int) -> Batch:
    """Return one utterance of a batch, without padding."""
    frames, tokens = int(batch.feature_lengths[row]), int(batch.target_lengths[row])
    part = slice(row, row + 1)
    return Batch(
        batch.features[part, :frames],
        batch.feature_lengths[part],
        batch.targets[part, :tokens],
        batch.target_lengths[part],
        1.0,
        (row,),
    )


def one_by_one(model: nn.Module, loss: Callable[[int], torch.Tensor], batch: int) -> torch.Tensor:
    """Return the gradient of each sample's loss, ``(batch, scalars)``."""
    parameters = list(model.parameters())
    rows = []
    for row in range(batch):
        result = torch.autograd.grad(loss(row), parameters, allow_unused=True)
        rows.append(
            torch.cat(
                [
                    torch.zeros(p.numel(), dtype=p.dtype) if g is None else g.flatten()
                    for g, p in zip(result, parameters, strict=True)
                ]
            )
        )
    return torch.stack(rows)


def relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return the largest distance between two rows over the norm of the wanted one."""
    wide = wanted.double()
    return float(((found.double() - wide).norm(dim=-1) / wide.norm(dim=-1)).max())
