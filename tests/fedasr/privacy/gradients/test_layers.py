"""Every layer alone: norms, weighted sums and gradients of each sample, against autograd one sample at a time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from fedasr.models.convolutions import DepthwiseConv1d, FrameConv1d
from fedasr.models.norms import FrameGroupNorm
from fedasr.privacy.gradients import bookkeeping, compiled
from fedasr.privacy.gradients.bookkeeping import BookKeeper
from tests.fedasr.privacy.gradients.references import one_by_one, relative

needs_compiler = pytest.mark.skipif(compiled.find_compiler() is None, reason="no C++ compiler")
BATCH = 4

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(5, 3), (BATCH, 5)),
    "linear over frames": (lambda: nn.Linear(5, 3), (BATCH, 7, 5)),
    "linear over frames and tokens": (lambda: nn.Linear(5, 3, bias=False), (BATCH, 7, 2, 5)),
    "linear, many frames": (lambda: nn.Linear(2, 3), (BATCH, 60, 2)),
    "conv": (lambda: nn.Conv1d(4, 6, 3), (BATCH, 4, 11)),
    "conv, stride and padding": (lambda: nn.Conv1d(4, 6, 3, stride=2, padding=2, bias=False), (BATCH, 4, 11)),
    "conv, dilation, same": (lambda: nn.Conv1d(4, 6, 4, dilation=2, padding="same"), (BATCH, 4, 11)),
    "conv, valid": (lambda: nn.Conv1d(4, 6, 5, padding="valid"), (BATCH, 4, 11)),
    "conv, groups": (lambda: nn.Conv1d(4, 6, 3, groups=2, padding=1), (BATCH, 4, 11)),
    "conv, depth-wise": (lambda: nn.Conv1d(4, 4, 3, groups=4, dilation=3, padding=3), (BATCH, 4, 11)),
    "conv, mirrored": (lambda: nn.Conv1d(4, 6, 3, padding=2, padding_mode="reflect"), (BATCH, 4, 11)),
    "conv, circular": (lambda: nn.Conv1d(4, 6, 3, padding=2, padding_mode="circular"), (BATCH, 4, 11)),
    "frame conv": (lambda: FrameConv1d(4, 6, 2), (BATCH, 11, 4)),
    "depth-wise frame conv": (lambda: DepthwiseConv1d(4, 5, dilation=2), (BATCH, 11, 4)),
    "depth-wise frame conv, few frames": (lambda: DepthwiseConv1d(4, 5, dilation=4), (BATCH, 3, 4)),
    "layer norm": (lambda: nn.LayerNorm(6), (BATCH, 5, 6)),
    "layer norm, one frame": (lambda: nn.LayerNorm(6), (BATCH, 6)),
    "layer norm, no bias": (lambda: nn.LayerNorm(6, bias=False), (BATCH, 5, 6)),
    "layer norm, two dimensions": (lambda: nn.LayerNorm((5, 6)), (BATCH, 3, 5, 6)),
    "group norm": (lambda: nn.GroupNorm(2, 6), (BATCH, 6, 5)),
    "group norm, one frame": (lambda: nn.GroupNorm(2, 6), (BATCH, 6)),
    "frame group norm": (lambda: FrameGroupNorm(8), (BATCH, 5, 8)),
    "layer norm without parameters": (
        lambda: nn.Sequential(nn.LayerNorm(6, elementwise_affine=False), nn.Linear(6, 2)),
        (BATCH, 5, 6),
    ),
}


def shuffled(module: nn.Module, kind: torch.dtype = torch.float64) -> nn.Module:
    """Return the module with parameters that are neither ones nor zeros."""
    torch.manual_seed(5)
    module.to(kind)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.7)
    return module


def agrees(
    module: nn.Module,
    together: Callable[[], torch.Tensor],
    alone: Callable[[int], torch.Tensor],
    recurrence: str = "torch",
    tolerance: float = 1e-10,
    batch: int = BATCH,
) -> None:
    """Check losses, norms by parameter, weighted sums and gradients, with and without room to write them out."""
    wanted = one_by_one(module, alone, batch)
    keeper = BookKeeper(module, recurrence)
    by_parameter = torch.stack([wanted[:, part].square().sum(1) for part in keeper.layout.slices], dim=1)
    factors = torch.linspace(0.2, 1.3, batch, dtype=wanted.dtype)
    own = torch.rand(by_parameter.shape, generator=torch.Generator().manual_seed(1), dtype=wanted.dtype)
    weights = torch.cat([own[:, [i]].expand(-1, p.stop - p.start) for i, p in enumerate(keeper.layout.slices)], dim=1)
    largest = bookkeeping.LARGEST_WORKSPACE
    for limit in (largest, 0):
        bookkeeping.LARGEST_WORKSPACE = limit
        try:
            result = keeper.gradients(together)
        finally:
            bookkeeping.LARGEST_WORKSPACE = largest
        torch.testing.assert_close(result.losses, torch.stack([alone(row).detach() for row in range(batch)]))
        assert relative(result.samples(), wanted) < tolerance
        assert relative(result.norms(), wanted.norm(dim=1)) < tolerance
        torch.testing.assert_close(result.square_norms, by_parameter, rtol=tolerance * 10, atol=tolerance)
        for weighting, sums in ((factors, factors @ wanted), (own, (weights * wanted).sum(0))):
            out = torch.ones(wanted.shape[1], dtype=wanted.dtype)
            result.add_weighted_sum(weighting, out)
            assert relative(out - 1, sums) < tolerance * 10
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert not any("forward" in part.__dict__ for part in module.modules())


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("first", [True, False], ids=["first layer", "later layer"])
def test_a_layer(name: str, first: bool) -> None:
    make, shape = LAYERS[name]
    layer = shuffled(make())
    x = torch.randn(shape, dtype=torch.float64)
    scale = torch.randn(shape[-1], dtype=torch.float64, requires_grad=not first)

    def losses(inputs: torch.Tensor) -> torch.Tensor:
        # Not linear, so that every sample and entry has a gradient of its own.
        return layer(inputs * scale).sin().flatten(1).square().sum(1)

    agrees(layer, lambda: losses(x), lambda row: losses(x[row : row + 1])[0])


@pytest.mark.parametrize("silent", [None, 2])
@pytest.mark.parametrize("entries", [5, 300])
def test_an_embedding(silent: int | None, entries: int) -> None:
    """Tokens that repeat within a sample; a padding token has no gradient."""
    table = shuffled(nn.Embedding(entries, 3, padding_idx=silent))
    tokens = torch.tensor([[0, 1, 1, 2, 4], [3, 3, 3, 3, 3], [2, 2, 2, 0, 1], [4, 0, 2, 1, 3]])
    weights = torch.randn(4, 5, 3, dtype=torch.float64)

    def losses(rows: slice) -> torch.Tensor:
        return (table(tokens[rows]) * weights[rows]).sum(1).sin().sum(1)

    agrees(table, lambda: losses(slice(None)), lambda row: losses(slice(row, row + 1))[0])


def test_a_token_a_sample() -> None:
    table = shuffled(nn.Embedding(5, 3))
    tokens = torch.tensor([0, 1, 1, 4])
    agrees(table, lambda: table(tokens).sin().sum(1), lambda row: table(tokens[row : row + 1]).sin().sum(1)[0])


LSTMS = {
    "plain": {"batch_first": True},
    "time first": {},
    "no bias": {"batch_first": True, "bias": False},
    "both directions": {"batch_first": True, "bidirectional": True},
    "layers": {"num_layers": 3, "batch_first": True},
    "all": {"num_layers": 2, "bidirectional": True},
}
KINDS = [
    pytest.param("torch", torch.float64, 1e-10, id="torch"),
    pytest.param("compiled", torch.float32, 3e-6, id="compiled", marks=needs_compiler),
]


@pytest.mark.parametrize("options", LSTMS.values(), ids=LSTMS)
@pytest.mark.parametrize("given", [False, True], ids=["", "from states"])
@pytest.mark.parametrize(("how", "kind", "tolerance"), KINDS)
def test_an_lstm(options: dict[str, object], given: bool, how: str, kind: torch.dtype, tolerance: float) -> None:
    """All that the layer puts out enters the loss: the frames, and the last hidden and cell states."""
    layer = shuffled(nn.LSTM(4, 5, **options), kind)  # type: ignore[arg-type]
    assert isinstance(layer, nn.LSTM)
    levels = layer.num_layers * (2 if layer.bidirectional else 1)
    x = torch.randn(BATCH, 7, 4, dtype=kind)
    states = torch.randn(2, levels, BATCH, 5, dtype=kind)

    def losses(rows: slice) -> torch.Tensor:
        inputs = x[rows] if layer.batch_first else x[rows].transpose(0, 1)
        y, (h, c) = layer(inputs, (states[0][:, rows], states[1][:, rows]) if given else None)
        y = y if layer.batch_first else y.transpose(0, 1)
        parts = (y, h.transpose(0, 1), c.transpose(0, 1))
        return sum(part.flatten(1).sin().sum(1) * weight for part, weight in zip(parts, (1.0, 0.7, 0.3), strict=True))

    agrees(layer, lambda: losses(slice(None)), lambda row: losses(slice(row, row + 1))[0], how, tolerance)


@pytest.mark.parametrize("options", LSTMS.values(), ids=LSTMS)
@pytest.mark.parametrize("lengths", [(7, 6, 3, 1), (2, 7, 5, 7)], ids=["sorted", "unsorted"])
@pytest.mark.parametrize(("how", "kind", "tolerance"), KINDS)
def test_a_packed_lstm(
    options: dict[str, object], lengths: tuple[int, ...], how: str, kind: torch.dtype, tolerance: float
) -> None:
    """Packed sequences of other lengths: outputs and states those of each utterance alone."""
    layer = shuffled(nn.LSTM(4, 5, **options), kind)  # type: ignore[arg-type]
    x = torch.randn(BATCH, 7, 4, dtype=kind)

    def together() -> torch.Tensor:
        ordered = list(lengths) == sorted(lengths, reverse=True)
        packed = pack_padded_sequence(x, torch.tensor(lengths), batch_first=True, enforce_sorted=ordered)
        y, (h, c) = layer(packed)
        frames, _ = pad_packed_sequence(y, batch_first=True)
        return frames.sin().sum((1, 2)) + (h * 0.7 + c * 0.3).transpose(0, 1).flatten(1).sin().sum(1)

    def alone(row: int) -> torch.Tensor:
        inputs = x[row : row + 1, : lengths[row]]
        y, (h, c) = layer(inputs if layer.batch_first else inputs.transpose(0, 1))
        return y.sin().sum() + (h * 0.7 + c * 0.3).sin().sum()

    agrees(layer, together, alone, how, tolerance)


def test_dropout_between_lstm_layers_is_that_of_training() -> None:
    layer = shuffled(nn.LSTM(4, 64, num_layers=2, batch_first=True, dropout=0.5))
    keeper, x = BookKeeper(layer, "torch"), torch.randn(BATCH, 7, 4, dtype=torch.float64)

    def losses() -> torch.Tensor:
        return layer(x)[0].sum((1, 2))

    drawn = {float(keeper.gradients(losses).losses[0]) for _ in range(3)}
    assert len(drawn) == 3
    layer.eval()
    torch.testing.assert_close(keeper.gradients(losses).losses, losses().detach())


@pytest.mark.parametrize("bias", [True, False])
def test_an_lstm_cell_step_by_step(bias: bool) -> None:
    """A decoder's layer: used once a token, its gradients add before the norm."""
    cell = shuffled(nn.LSTMCell(4, 5, bias=bias))
    x = torch.randn(BATCH, 6, 4, dtype=torch.float64)

    def losses(rows: slice) -> torch.Tensor:
        state = None
        total = torch.zeros(len(x[rows]), dtype=torch.float64)
        for token in range(6):
            state = cell(x[rows, token], state)
            total = total + state[0].sin().sum(1) + 0.3 * state[1].sum(1)
        return total

    agrees(cell, lambda: losses(slice(None)), lambda row: losses(slice(row, row + 1))[0])


def test_a_layer_used_twice() -> None:
    layer = shuffled(nn.Linear(4, 4))
    norm = shuffled(nn.LayerNorm(4))
    model = nn.ModuleList([layer, norm])
    x = torch.randn(BATCH, 3, 4, dtype=torch.float64)

    def losses(inputs: torch.Tensor) -> torch.Tensor:
        return norm(layer(norm(layer(inputs)).tanh())).sin().sum((1, 2))

    agrees(model, lambda: losses(x), lambda row: losses(x[row : row + 1])[0])
