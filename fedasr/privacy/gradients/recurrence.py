"""One direction of one LSTM layer (Hochreiter & Schmidhuber 1997), with the gradient of its gates laid open.

Everything about a weight's per-sample gradient is in the gradients of the gates' pre-activations, delta: the gradient
of the recurrent matrix is the sum over the frames of delta_t h_{t-1}^T, that of the input matrix of delta_t x_t^T, and
that of the biases of delta_t. A fused LSTM keeps delta to itself, so the recurrence is run here, forward and backward,
without autograd inside; only the products with the previous frame are in the loop.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from fedasr.errors import InputError
from fedasr.privacy.gradients.compiled import Kernels, kernels

RECURRENCES = ("auto", "compiled", "torch")


class States(NamedTuple):
    """What a run over the frames leaves.

    ``gates`` are activated, ``(batch, time, 4 * hidden)`` in the order of ``nn.LSTM``: input, forget, cell, output.
    """

    gates: torch.Tensor
    hidden: torch.Tensor
    cells: torch.Tensor
    c0: torch.Tensor


def choose(recurrence: str) -> Kernels | None:
    """Return the compiled recurrence, or None for the one in PyTorch.

    Args:
        recurrence: ``auto`` (compiled where there is a compiler), ``compiled`` or ``torch``.

    Raises:
        InputError: another name, or ``compiled`` without a compiler.
    """
    if recurrence not in RECURRENCES:
        raise InputError(f"recurrence is '{recurrence}'; expected one of: {', '.join(RECURRENCES)}")
    if recurrence == "torch":
        return None
    compiled = kernels()
    if compiled is None and recurrence == "compiled":
        raise InputError("recurrence 'compiled' needs a C++ compiler (g++ or clang++) on the path; or take 'auto'")
    return compiled


def usable(compiled: Kernels | None, x: torch.Tensor) -> Kernels | None:
    """Return ``compiled`` where it can work on tensors like ``x``: float32 on the CPU."""
    return compiled if x.device.type == "cpu" and x.dtype == torch.float32 else None


@torch.no_grad()
def run(
    gates: torch.Tensor, weight: torch.Tensor, h0: torch.Tensor, c0: torch.Tensor, compiled: Kernels | None
) -> States:
    """Run over the frames.

    Args:
        gates: the inputs' share of the pre-activations with the biases, ``(batch, time, 4 * hidden)``; overwritten.
        weight: of the recurrence, ``(4 * hidden, hidden)``.
        h0: hidden states before the first frame, ``(batch, hidden)``.
        c0: cell states before the first frame, ``(batch, hidden)``.
        compiled: the compiled recurrence, or None.
    """
    gates, fast = gates.contiguous(), usable(compiled, gates)
    if fast is not None:
        return States(gates, *fast.forward(gates, weight, h0, c0), c0)
    batch, time, width = gates.shape
    n = width // 4
    hidden, cells = gates.new_empty(batch, time, n), gates.new_empty(batch, time, n)
    # An operation in the loop costs more to call than to compute, so there are as few as can be. One sigmoid does for
    # all gates, since tanh(x) = 2 sigmoid(2x) - 1 and the candidates' share can be doubled beforehand. With -h and -c
    # in place of h and c the cell takes two operations: -c = f (-c') + i - 2 i s, where s is the candidate's sigmoid.
    across = weight.clone()
    across[2 * n : 3 * n].mul_(2)
    across = across.t()
    all_inputs, all_forgets, all_candidates, all_outputs = gates.view(batch, time, 4, n).unbind(2)
    all_candidates.mul_(2)
    h, c = -h0, -c0
    for frame, i, f, s, o, h_now, c_now in zip(
        *(x.unbind(1) for x in (gates, all_inputs, all_forgets, all_candidates, all_outputs, hidden, cells)),
        strict=True,
    ):
        frame.addmm_(h, across, alpha=-1).sigmoid_()
        torch.addcmul(i, i, s, value=-2, out=c_now).addcmul_(f, c)
        torch.tanh(c_now, out=h_now).mul_(o)
        h, c = h_now, c_now
    hidden.neg_()
    cells.neg_()
    all_candidates.mul_(2).sub_(1)
    return States(gates, hidden, cells, c0)


@torch.no_grad()
def run_back(
    states: States,
    weight: torch.Tensor,
    grad_hidden: torch.Tensor,
    grad_cells: torch.Tensor | None,
    compiled: Kernels | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the gradients of the pre-activations ``(batch, time, 4 * hidden)``, of ``h0`` and of ``c0``.

    Args:
        states: what ``run`` returned; left as it is, so that a graph may be walked twice.
        weight: of the recurrence, ``(4 * hidden, hidden)``.
        grad_hidden: gradient of the hidden states, ``(batch, time, hidden)``.
        grad_cells: gradient of the cell states, the same shape; None: zeros.
        compiled: the compiled recurrence, or None.
    """
    gates, _, cells, c0 = states
    fast = usable(compiled, gates)
    if fast is not None:
        return fast.backward(gates, weight, c0, cells, grad_hidden, grad_cells)
    batch, time, n = cells.shape
    i, f, g, o = gates.view(batch, time, 4, n).unbind(2)
    squashed = cells.tanh()
    into_cell = torch.addcmul(o, o * squashed, squashed, value=-1)
    # What turns the cell's gradient into those of the three gates that feed it, and the hidden state's into the fourth.
    slopes = torch.addcmul(gates, gates, gates, value=-1)
    of_input, of_forget, of_candidate, of_output = slopes.view(batch, time, 4, n).unbind(2)
    of_input.mul_(g)
    of_forget[:, 1:].mul_(cells[:, :-1])
    of_forget[:, :1].mul_(c0.unsqueeze(1))
    torch.addcmul(i, i * g, g, value=-1, out=of_candidate)
    of_output.mul_(squashed)
    deltas = slopes.unbind(1)
    three, last = slopes.view(batch, time, 4, n)[:, :, :3].unbind(1), of_output.unbind(1)
    grad_h, grad_c = grad_hidden.new_zeros(batch, n), grad_hidden.new_zeros(batch, n)
    arrived = grad_hidden.unbind(1)
    into, forget = into_cell.unbind(1), f.unbind(1)
    extra = None if grad_cells is None else grad_cells.unbind(1)
    later = None
    for t in range(time - 1, -1, -1):
        if later is None:
            grad_h = arrived[t]
        else:
            grad_h = torch.addmm(arrived[t], later, weight)
        if extra is not None:
            grad_c = grad_c + extra[t]
        grad_c.addcmul_(grad_h, into[t])
        three[t].mul_(grad_c.unsqueeze(1))
        last[t].mul_(grad_h)
        grad_c.mul_(forget[t])
        later = deltas[t]
    return slopes, grad_h.new_zeros(batch, n) if later is None else later @ weight, grad_c


class Unrolled(torch.autograd.Function):
    """Put what ``run`` found into the graph, behind the pre-activations that its gradient belongs to.

    The gradient that arrives at ``pre`` is delta, whole: what flows along the frames is in it. ``weight`` and the
    states get none through here; whoever wants the weight's gradient has it from delta.
    """

    @staticmethod
    def forward(
        ctx: Any,
        pre: torch.Tensor,
        h0: torch.Tensor,
        c0: torch.Tensor,
        weight: torch.Tensor,
        states: States,
        compiled: Kernels | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return hidden and cell states ``(batch, time, hidden)``."""
        ctx.save_for_backward(states.gates, states.cells, states.c0, weight)
        ctx.compiled = compiled
        ctx.set_materialize_grads(False)
        return states.hidden, states.cells

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        """Return delta and the gradients of the states before the first frame."""
        grad_hidden, grad_cells = gradients
        gates, cells, c0, weight = ctx.saved_tensors
        if grad_hidden is None:
            grad_hidden = torch.zeros_like(cells)
        states = States(gates, cells, cells, c0)
        delta, grad_h0, grad_c0 = run_back(states, weight, grad_hidden, grad_cells, ctx.compiled)
        return delta, grad_h0, grad_c0, None, None, None


def unrolled(
    pre: torch.Tensor, weight: torch.Tensor, h0: torch.Tensor, c0: torch.Tensor, compiled: Kernels | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return hidden and cell states ``(batch, time, hidden)``; the gradient that ``pre`` receives is delta.

    Args:
        pre: the inputs' share of the pre-activations with the biases, ``(batch, time, 4 * hidden)``; overwritten.
        weight: of the recurrence, ``(4 * hidden, hidden)``; gets no gradient here.
        h0: hidden states before the first frame, ``(batch, hidden)``.
        c0: cell states before the first frame, ``(batch, hidden)``.
        compiled: the compiled recurrence, or None.
    """
    fixed = weight.detach()
    # `data`, not `detach`: a graph that saw the values go would take `pre` for another tensor, without its hooks.
    states = run(pre.data, fixed, h0.detach(), c0.detach(), compiled)
    hidden, cells = Unrolled.apply(pre, h0, c0, fixed, states, compiled)
    return hidden, cells
