"""Small models of every family, and utterances of noise for them."""

from __future__ import annotations

import math

import torch
from torch import nn

from fedasr.config.schema import ConformerConfig, ModelConfig, SpellerConfig, TransducerConfig
from fedasr.data.batches import Batch
from fedasr.models.base import SpeechModel
from fedasr.models.factory import build_model
from fedasr.models.tokenizer import Tokenizer
from fedasr.seeds import torch_scope
from fedasr.testing import models
from fedasr.testing.models import alone

__all__ = ["FAMILIES", "LABELS", "LENGTHS", "MEL", "NEW", "PADDINGS", "TOKENS", "alone", "batch_of", "build", "config"]

MEL, TOKENS = 12, 7

FAMILIES: dict[str, dict[str, object]] = {
    "ctc": {"name": "ctc", "encoder": "blstm"},
    "las": {"name": "las", "layers": 2, "strides": [2, 1]},
    "hybrid": {"name": "hybrid", "encoder": "blstm"},
    "hybrid-conformer": {"name": "hybrid", "encoder": "conformer"},
    "rnnt": {"name": "rnnt", "encoder": "lstm"},
    "rnnt-context": {
        "name": "rnnt",
        "encoder": "lstm",
        "transducer": TransducerConfig(prediction=10, context=2, joint=14),
    },
    "rnnt-conformer": {"name": "rnnt", "encoder": "conformer"},
    "rnnt-dsconv": {"name": "rnnt", "encoder": "dsconv"},
}
NEW = [name for name in FAMILIES if name != "ctc"]


def config(family: str, **changes: object) -> ModelConfig:
    settings: dict[str, object] = {"channels": [10, 12], "strides": [2, 2], "hidden": 16, "layers": 1, "kernel": 5}
    settings |= {"conformer": ConformerConfig(heads=2, feedforward=2, kernel=5)}
    settings |= {"speller": SpellerConfig(hidden=12, heads=2), "transducer": TransducerConfig(prediction=10, joint=14)}
    return ModelConfig(**(settings | FAMILIES[family] | changes))  # type: ignore[arg-type]


def build(family: str, seed: int = 0, tokens: int = TOKENS, sharpness: float = 1.0, **changes: object) -> SpeechModel:
    """Return a model; with a ``sharpness`` above 1 its posteriors are far from uniform."""
    with torch_scope(seed, "model"):
        model = build_model(config(family, **changes), MEL, tokens)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(sharpness)
    return model


def batch_of(lengths: list[int], labels: list[list[int]], padding: float = 0.0, extra: int = 0) -> Batch:
    """Return utterances of noise, each a function of its place, with ``padding`` behind them."""
    return models.batch_of(lengths, labels, MEL, padding, extra)


LENGTHS = [37, 50, 9, 24, 1]
LABELS = [[1, 2, 2], [3, 1, 4, 1, 5], [6], [2, 3], [4]]
PADDINGS = [0.0, 1e3, math.nan]


def learns_by_heart(model: SpeechModel, steps: int, to: float) -> None:
    """Train on five utterances until each decoder says them; the loss must fall below ``to``."""
    batch = batch_of([40, 37, 33, 28, 24], [[1, 2], [3, 3, 4], [5, 6, 1], [2], [4, 2]])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model.utterance_loss(batch).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
    assert float(loss.detach()) < to
    tokenizer = Tokenizer("abcdef")
    expected = ["ab", "ccd", "efa", "b", "db"]
    assert model.hypotheses(batch, tokenizer) == expected
    assert model.hypotheses(batch, tokenizer, "beam") == expected
    assert model.hypotheses(batch, tokenizer, "vocabulary", vocabulary=["a", *expected, "ccd"]) == expected
