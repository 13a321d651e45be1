"""Each law of an aggregator, a partitioner, a model and an attack is broken by some part, and the message says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fedasr.data.partition import Partition
from fedasr.testing import check_aggregator, check_attack, check_model, check_partitioner


def breaks(check: Callable[[], None], sentence: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check()
    assert sentence in str(caught.value)
    assert "Broken by: " in str(caught.value)


class Mean:
    """A streaming weighted mean in double precision."""

    def __init__(self, parameters: int) -> None:
        self.total, self.weight = np.zeros(parameters), 0

    def accumulate(self, update: Any, weight: int) -> None:
        self.total += weight * update.astype(np.float64)
        self.weight += weight

    def result(self) -> Any:
        return (self.total / self.weight).astype(np.float32)


class Newest(Mean):
    def accumulate(self, update: Any, weight: int) -> None:
        self.total, self.weight = update.astype(np.float64), 1


class Sum(Mean):
    def result(self) -> Any:
        return self.total.astype(np.float32)


class Half(Mean):
    def result(self) -> Any:
        return super().result() / 2


class Scalar(Mean):
    def result(self) -> Any:
        return np.zeros(1, np.float32)


class Infinite(Mean):
    def result(self) -> Any:
        return super().result() * np.float32(np.inf)


class Writes(Mean):
    def accumulate(self, update: Any, weight: int) -> None:
        super().accumulate(update, weight)
        update[:] = 0


class Remembers(Mean):
    kept: Any = []  # noqa: RUF012

    def accumulate(self, update: Any, weight: int) -> None:
        self.kept.append(update.copy())

    def result(self) -> Any:
        return np.mean(self.kept, axis=0)


class KeepsAll(Mean):
    def __init__(self, parameters: int) -> None:
        super().__init__(parameters)
        self.kept: list[Any] = []

    def accumulate(self, update: Any, weight: int) -> None:
        super().accumulate(update, weight)
        self.kept.append(update.copy())


def test_a_sound_aggregator_keeps_all_laws() -> None:
    check_aggregator(Mean, streams=True)


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (Newest, "the order of the updates does not matter"),
        (Sum, "a common factor of the weights does not matter"),
        (Half, "equal updates give that update"),
        (Scalar, "the result has shape (parameters,)"),
        (Infinite, "the result of finite updates is finite"),
        (Writes, "an aggregator only reads updates"),
        (Remembers, "a round does not depend on earlier rounds"),
        (KeepsAll, "memory does not grow with the number of updates"),
    ],
)
def test_a_broken_aggregator_breaks_its_law(broken: type, sentence: str) -> None:
    breaks(lambda: check_aggregator(broken, streams=True), sentence)


def dealt(columns: Any, rows: Any, clients: int, seed: int) -> Partition:
    """Deal the rows out in a random order."""
    order = np.random.default_rng(seed).permutation(len(rows))
    return Partition.from_ids(order % clients, rows, [f"c{client}" for client in range(clients)])


def undrawn(columns: Any, rows: Any, clients: int, seed: int) -> Partition:
    return dealt(columns, rows, clients, int(np.random.default_rng().integers(2**31)))


def first_half(columns: Any, rows: Any, clients: int, seed: int) -> Partition:
    return dealt(columns, rows[: len(rows) // 2], clients, seed)


def foreign(columns: Any, rows: Any, clients: int, seed: int) -> Partition:
    return dealt(columns, np.arange(len(columns["speaker"])), clients, seed)


def doubled(columns: Any, rows: Any, clients: int, seed: int) -> Partition:
    return dealt(columns, np.concatenate([rows, rows[:1]]), clients, seed)


def one_more(columns: Any, rows: Any, clients: int, seed: int) -> Partition:
    return dealt(columns, rows, clients + 1, seed)


def empty(columns: Any, rows: Any, clients: int, seed: int) -> Partition:
    return Partition.from_ids(np.zeros(len(rows), np.int64), rows, [f"c{client}" for client in range(clients)])


def unnamed(columns: Any, rows: Any, clients: int, seed: int) -> Partition:
    result = dealt(columns, rows, clients, seed)
    return Partition(np.full(clients, "c", object), result.offsets, result.rows)


def sorts(columns: Any, rows: Any, clients: int, seed: int) -> Partition:
    rows.sort()
    return dealt(columns, rows, clients, seed)


def test_a_sound_partitioner_keeps_all_laws() -> None:
    check_partitioner(dealt)


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (undrawn, "the same seed gives the same partition"),
        (first_half, "every row has a client"),
        (foreign, "only rows of the training split are handed out"),
        (doubled, "no utterance has two clients"),
        (one_more, "there are as many clients as were asked for"),
        (empty, "each client holds something"),
        (unnamed, "names of clients differ"),
        (sorts, "a partitioner only reads the rows"),
        (lambda **arguments: [], "a partitioner returns a Partition"),
    ],
)
def test_a_broken_partitioner_breaks_its_law(broken: Any, sentence: str) -> None:
    breaks(lambda: check_partitioner(broken), sentence)


class Recogniser(nn.Module):
    """The example of docs/own-parts.md."""

    def __init__(self, mel_bins: int, tokens: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(mel_bins, 16, 3, stride=2, padding=1)
        self.head = nn.Linear(16, tokens)

    def frames(self, features: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.convolution(features.mT)).mT

    def forward(self, features: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.head(self.frames(features)).log_softmax(2), (lengths + 1) // 2


class AcrossTheBatch(Recogniser):
    def frames(self, features: torch.Tensor) -> torch.Tensor:
        return super().frames(features - features.mean(dim=(0, 1)))


class DeafToNothing(Recogniser):
    """Two convolutions: the second one hears what the first makes of the padding."""

    def __init__(self, mel_bins: int, tokens: int) -> None:
        super().__init__(mel_bins, tokens)
        self.second = nn.Conv1d(16, 16, 9, padding=4)

    def frames(self, features: torch.Tensor) -> torch.Tensor:
        return self.second(super().frames(features).mT + 5).mT


class Unused(Recogniser):
    def __init__(self, mel_bins: int, tokens: int) -> None:
        super().__init__(mel_bins, tokens)
        self.other = nn.Linear(3, 3)


class Root(Recogniser):
    """The gradient of a square root at zero is infinite."""

    def frames(self, features: torch.Tensor) -> torch.Tensor:
        frames = super().frames(features)
        return frames + (frames - frames).sqrt()


class Undrawn(Recogniser):
    def __init__(self, mel_bins: int, tokens: int) -> None:
        super().__init__(mel_bins, tokens)
        with torch.no_grad():
            self.head.weight.add_(float(np.random.default_rng().random()))


class Noisy(Recogniser):
    """Its noise moves each loss by several units in the last place of float32, and far less than other laws allow."""

    def frames(self, features: torch.Tensor) -> torch.Tensor:
        return super().frames(features + 3e-5 * torch.randn_like(features))


class Short(Recogniser):
    def output_frames(self, lengths: torch.Tensor) -> torch.Tensor:
        return (lengths - 40).clamp(min=0)


def test_a_sound_model_keeps_all_laws() -> None:
    check_model(Recogniser)


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (AcrossTheBatch, "the loss of an utterance does not depend on the others of its batch, nor on padding"),
        (DeafToNothing, "the loss of an utterance does not depend on the others of its batch, nor on padding"),
        (Unused, "gradients reach every parameter"),
        (Root, "gradients are finite"),
        (Undrawn, "the same seed gives the same model"),
        (Noisy, "without dropout the same batch gives the same losses"),
        (Short, "output_frames gives one count of at least 1 for each utterance"),
        (lambda mel_bins, tokens: None, "a model is an nn.Module"),
    ],
)
def test_a_broken_model_breaks_its_law(broken: Any, sentence: str) -> None:
    breaks(lambda: check_model(broken), sentence)


def flip(update: Any, weights: Any, collusion: Any, rng: Any) -> Any:
    return -update


def test_a_sound_attack_keeps_all_laws() -> None:
    check_attack(lambda: flip)


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (lambda update, weights, collusion, rng: update[:3], "an attack returns shape (parameters,)"),
        (lambda update, weights, collusion, rng: np.zeros(12, int), "an attack returns floats"),
        (
            lambda update, weights, collusion, rng: np.random.default_rng().normal(size=12),
            "the same inputs and generators give the same update",
        ),
        (
            lambda update, weights, collusion, rng: collusion.updates.__imul__(2)[0],
            "an attack only reads collusion.updates",
        ),
    ],
)
def test_a_broken_attack_breaks_its_law(broken: Any, sentence: str) -> None:
    breaks(lambda: check_attack(lambda: broken), sentence)
