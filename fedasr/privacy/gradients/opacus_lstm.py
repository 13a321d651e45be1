"""An LSTM layer for Opacus, whose own DPLSTM is a loop in Python over the frames and the gates.

The recurrence is that of ``recurrence``; the parameters live in a child whose output's gradient is that of the gates,
which is all that Opacus' hooks need. Importing this module registers the child's grad sampler with Opacus.
"""

from __future__ import annotations

import math

import torch
from opacus.grad_sample import register_grad_sampler
from torch import nn
from torch.nn import functional as F

from fedasr.privacy.gradients.recurrence import Unrolled, choose, run


class LSTMGates(nn.Module):
    """The pre-activations of the gates of all frames, from the inputs and the hidden states one frame earlier.

    Args:
        inputs: channels of the inputs.
        hidden: width of the layer.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.weight_ih_l0 = nn.Parameter(torch.empty(4 * hidden, inputs))
        self.weight_hh_l0 = nn.Parameter(torch.empty(4 * hidden, hidden))
        self.bias_ih_l0 = nn.Parameter(torch.empty(4 * hidden))
        self.bias_hh_l0 = nn.Parameter(torch.empty(4 * hidden))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -1 / math.sqrt(hidden), 1 / math.sqrt(hidden))  # as nn.LSTM

    def forward(self, x: torch.Tensor, earlier: torch.Tensor) -> torch.Tensor:
        """Return ``(batch, time, 4 * hidden)`` of ``x (batch, time, inputs)`` and ``earlier (batch, time, hidden)``."""
        return F.linear(x, self.weight_ih_l0, self.bias_ih_l0) + F.linear(earlier, self.weight_hh_l0, self.bias_hh_l0)


class OpacusLSTM(nn.Module):
    """One layer in one direction, batch first; the function of ``nn.LSTM`` with the parameters of the same names.

    Works under Opacus' hooks and its fast gradient clipping, and as a plain layer.

    Args:
        inputs: channels of the inputs.
        hidden: width of the layer.
        recurrence: ``auto``, ``compiled`` or ``torch`` (``recurrence.choose``).
    """

    def __init__(self, inputs: int, hidden: int, recurrence: str = "auto") -> None:
        super().__init__()
        self.hidden_size = hidden
        self.gates = LSTMGates(inputs, hidden)
        self._recurrence = recurrence

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """Return hidden states ``(batch, time, hidden)`` of ``x (batch, time, inputs)``, and the last states.

        The last states are ``(1, batch, hidden)`` each.
        """
        gates, compiled = self.gates, choose(self._recurrence)
        start = x.new_zeros(len(x), self.hidden_size)
        weight = gates.weight_hh_l0.detach()
        with torch.no_grad():
            inward = F.linear(x, gates.weight_ih_l0, gates.bias_ih_l0 + gates.bias_hh_l0)
            states = run(inward, weight, start, start, compiled)
            earlier = torch.cat([start.unsqueeze(1), states.hidden[:, :-1]], dim=1)
        # Once more, for the graph: what arrives here is the gradient of the gates, and goes on to weights and inputs.
        pre = gates(x, earlier)
        hidden, cells = Unrolled.apply(pre, start, start, weight, states, compiled)
        return hidden, (hidden[:, -1].unsqueeze(0), cells[:, -1].unsqueeze(0))


@register_grad_sampler(LSTMGates)  # type: ignore[untyped-decorator]
def gates_grad_sample(
    layer: LSTMGates, activations: list[torch.Tensor], backprops: torch.Tensor
) -> dict[nn.Parameter, torch.Tensor]:
    """Return the per-sample gradients of a layer's parameters, ``(batch, ...)`` each.

    Args:
        layer: the layer.
        activations: ``x`` and ``earlier`` of its ``forward``.
        backprops: gradient of its output, ``(batch, time, 4 * hidden)``.
    """
    x, earlier = activations
    bias = backprops.sum(1)
    return {
        layer.weight_ih_l0: backprops.mT @ x,
        layer.weight_hh_l0: backprops.mT @ earlier,
        layer.bias_ih_l0: bias,
        layer.bias_hh_l0: bias,
    }
