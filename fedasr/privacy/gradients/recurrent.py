"""``nn.LSTM`` while the books are kept: the same function, and the gradients of its gates for its weights."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from fedasr.models.dropout import dropout
from fedasr.models.encoders.recurrent import reversal
from fedasr.privacy.gradients.compiled import Kernels
from fedasr.privacy.gradients.layers import Forward, Hook
from fedasr.privacy.gradients.recurrence import unrolled
from fedasr.privacy.gradients.terms import Direct, Product, Term

Hidden = tuple[torch.Tensor, torch.Tensor]


def lstm(compiled: Kernels | None) -> Forward:
    """Return the ``forward`` of ``nn.LSTM`` with its books kept, arguments and results as documented there.

    Args:
        compiled: the compiled recurrence, or None for the one in PyTorch.
    """

    def forward(
        layer: nn.LSTM, watch: Hook, x: torch.Tensor | PackedSequence, hx: Hidden | None = None
    ) -> tuple[torch.Tensor | PackedSequence, Hidden]:
        if isinstance(x, PackedSequence):
            padded, on_host = pad_packed_sequence(x, batch_first=True)
            y, states = padded_lstm(layer, watch, padded, on_host.to(padded.device), hx, compiled)
            return pack_padded_sequence(y, on_host, True, enforce_sorted=x.sorted_indices is None), states
        if layer.batch_first:
            return padded_lstm(layer, watch, x, None, hx, compiled)
        y, states = padded_lstm(layer, watch, x.transpose(0, 1), None, hx, compiled)
        return y.transpose(0, 1), states

    return forward


def padded_lstm(
    layer: nn.LSTM,
    watch: Hook,
    x: torch.Tensor,
    lengths: torch.Tensor | None,
    hx: Hidden | None,
    compiled: Kernels | None,
) -> tuple[torch.Tensor, Hidden]:
    """Run all layers and directions over ``x (batch, time, channels)``; ``lengths`` None: all frames are speech."""
    directions = 2 if layer.bidirectional else 1
    batch, time, _ = x.shape
    turn = None if lengths is None else reversal(lengths, time)
    last_hidden, last_cells = [], []
    for level in range(layer.num_layers):
        outputs = []
        for direction in range(directions):
            index = level * directions + direction
            zeros = x.new_zeros(batch, layer.hidden_size)
            h0, c0 = (zeros, zeros) if hx is None else (hx[0][index], hx[1][index])
            suffix = f"l{level}{'_reverse' if direction else ''}"
            y, cells = one_direction(
                layer, watch, turned(x, turn) if direction else x, h0, c0, hx is not None, suffix, compiled
            )
            last_hidden.append(at_end(y, lengths))
            last_cells.append(at_end(cells, lengths))
            outputs.append(turned(y, turn) if direction else y)
        x = outputs[0] if directions == 1 else torch.cat(outputs, dim=2)
        if layer.dropout and level + 1 < layer.num_layers:
            x = dropout(x, layer.dropout, layer.training)
    return x, (torch.stack(last_hidden), torch.stack(last_cells))


def turned(x: torch.Tensor, turn: torch.Tensor | None) -> torch.Tensor:
    """Return ``x (batch, time, channels)`` from end to start, its padding where it was."""
    return x.flip(1) if turn is None else x.gather(1, turn.expand(-1, -1, x.shape[2]))


def at_end(x: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
    """Return the last frame of each utterance of ``x (batch, time, channels)``."""
    if lengths is None:
        return x[:, -1]
    return x.gather(1, (lengths - 1).view(-1, 1, 1).expand(-1, 1, x.shape[2])).squeeze(1)


def one_direction(
    layer: nn.LSTM,
    watch: Hook,
    x: torch.Tensor,
    h0: torch.Tensor,
    c0: torch.Tensor,
    given: bool,
    suffix: str,
    compiled: Kernels | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return hidden and cell states ``(batch, time, hidden)``; ``given``: ``h0`` is not zero."""
    across: torch.Tensor = getattr(layer, f"weight_hh_{suffix}")
    inward: torch.Tensor = getattr(layer, f"weight_ih_{suffix}")
    bias = getattr(layer, f"bias_ih_{suffix}") + getattr(layer, f"bias_hh_{suffix}") if layer.bias else None
    inputs, before = x.detach(), h0.detach()
    hidden: torch.Tensor

    def terms(delta: torch.Tensor) -> dict[str, Term]:
        # h_{t-1} is what was put out one frame earlier.
        by_parameter: dict[str, Term] = {f"weight_ih_{suffix}": Product(delta, inputs)}
        if given:
            earlier = torch.cat([before.unsqueeze(1), hidden[:, :-1]], dim=1)
            by_parameter[f"weight_hh_{suffix}"] = Product(delta, earlier)
        else:
            by_parameter[f"weight_hh_{suffix}"] = Product(delta[:, 1:], hidden[:, :-1])
        if layer.bias:
            by_parameter[f"bias_ih_{suffix}"] = by_parameter[f"bias_hh_{suffix}"] = Direct(delta.sum(1))
        return by_parameter

    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh") if layer.bias else ("weight_ih", "weight_hh")
    pre = watch(F.linear(x, inward, bias), terms, [f"{kind}_{suffix}" for kind in kinds])
    y, cells = unrolled(pre, across, h0, c0, compiled)
    hidden = y.detach()
    return y, cells


def lstm_cell(layer: nn.LSTMCell, watch: Hook, x: torch.Tensor, hx: Hidden | None = None) -> Hidden:
    """Run one step, as decoders do, over ``x (batch, channels)``."""
    zeros = x.new_zeros(len(x), layer.hidden_size)
    h, c = (zeros, zeros) if hx is None else hx
    inputs, before = x.detach(), h.detach()

    def terms(delta: torch.Tensor) -> dict[str, Term]:
        frame = delta.unsqueeze(1)
        by_parameter: dict[str, Term] = {
            "weight_ih": Product(frame, inputs.unsqueeze(1)),
            "weight_hh": Product(frame, before.unsqueeze(1)),
        }
        if layer.bias:
            by_parameter["bias_ih"] = by_parameter["bias_hh"] = Direct(delta)
        return by_parameter

    pre = watch(
        F.linear(x, layer.weight_ih, layer.bias_ih) + F.linear(h, layer.weight_hh, layer.bias_hh),
        terms,
    )
    i, f, g, o = pre.chunk(4, dim=1)
    cell = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * cell.tanh(), cell
