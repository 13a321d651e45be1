"""Frames that cancel: a norm must not be underestimated, nor what float32 makes of the sum."""

from __future__ import annotations

import pytest
import torch

from fedasr.privacy.gradients import terms
from fedasr.privacy.gradients.terms import Lookup, Product, Term


def cancelling(size: float) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Return outputs and inputs of two frames whose gradients nearly cancel, and the norm of what is left.

    The outputs are (size, …) and (1 − size, …), exact in float32, the inputs alike: what is left is 1 · inputsᵀ.
    """
    outputs = torch.full((1, 2, 64), size)
    outputs[0, 1] = 1 - size
    inputs = torch.full((1, 2, 48), 1.0)
    return outputs, inputs, (64 * 48) ** 0.5  # 55.4


@pytest.mark.parametrize("size", [2.0**10, 2.0**16, 2.0**22])
@pytest.mark.parametrize("kind", ["product", "lookup"])
def test_the_norm_of_what_cancelling_frames_leave_is_not_lost(kind: str, size: float) -> None:
    """In float32 the Gram matrices cancelled to 0, or to anything."""
    outputs, inputs, norm = cancelling(size)
    if kind == "product":
        term: Term = Product(outputs, inputs)
        assert Product(outputs, inputs).ghost_is_cheaper()
    else:
        term, norm = Lookup(outputs, torch.zeros(1, 2, dtype=torch.int64), 1000), 8.0
    squares, kept = term.measured(None)
    bound = float(kept.at_most(squares).sqrt())
    assert bound >= norm
    assert float(squares.sqrt()) == pytest.approx(norm, rel=0.05)


@pytest.mark.parametrize("kind", ["ghost", "written", "lookup"])
@pytest.mark.parametrize("size", [1.0, 1e4, 1e8])
def test_what_is_added_is_no_longer_than_the_bound_whatever_cancels(kind: str, size: float) -> None:
    generator = torch.Generator().manual_seed(1)
    inputs, outputs = torch.randn(8, 6, 40, generator=generator), torch.randn(8, 6, 30, generator=generator) * size
    inputs[:, 3:], outputs[:, 3:] = inputs[:, :3], 1e-3 - outputs[:, :3]
    for row in range(8):
        single: Term
        if kind == "lookup":
            tokens = torch.tensor([[5, 6, 7, 5, 6, 7]])
            single = Lookup(outputs[row : row + 1], tokens, 50)
            scalars = 50 * 30
        else:
            single, scalars = Product(outputs[row : row + 1], inputs[row : row + 1]), 30 * 40
        before, terms.GHOST_BELOW = terms.GHOST_BELOW, 1e9 if kind == "ghost" else 0.0
        try:
            squares, kept = single.measured(None)
        finally:
            terms.GHOST_BELOW = before
        factor = 1 / kept.at_most(squares).sqrt()
        added = torch.zeros(scalars)
        kept.add(factor, added)
        assert float(added.double().norm()) <= 1 + 1e-5
