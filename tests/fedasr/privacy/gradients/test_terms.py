"""Norms and weighted sums of each kind of term, by hand and against the gradients written out."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedasr.privacy.gradients import terms
from fedasr.privacy.gradients.terms import Direct, Lookup, Product, Term, merged
from tests.tiers import examples


def added(term: Term, factors: torch.Tensor, entries: int) -> torch.Tensor:
    out = torch.ones(entries, dtype=factors.dtype)
    term.add(factors, out)
    return out - 1


def test_a_product_by_hand() -> None:
    """Two frames of one sample: [1, 2]ᵀ[3] + [0, 1]ᵀ[5] = [3, 11]; the second sample is silent."""
    term = Product(torch.tensor([[[1.0, 2], [0, 1]], [[0, 0], [0, 0]]]), torch.tensor([[[3.0], [5]], [[7], [7]]]))
    assert term.samples().tolist() == [[3, 11], [0, 0]]
    squares, kept = term.measured(torch.empty(2, 2))
    assert squares.tolist() == [130, 0]
    assert added(kept, torch.tensor([0.5, 9.0]), 2).tolist() == [1.5, 5.5]


def test_a_lookup_by_hand() -> None:
    """The same token twice: its gradients add before the norm is taken, 3 + 4 and not √(9 + 16)."""
    term = Lookup(torch.tensor([[[3.0], [4.0], [1.0]]]), torch.tensor([[2, 2, 0]]), 4)
    assert term.samples().tolist() == [[1, 0, 7, 0]]
    for room in (None, torch.empty(1, 4)):
        squares, kept = term.measured(room)
        assert squares.tolist() == [50]
        assert added(kept, torch.tensor([2.0]), 4).tolist() == [2, 0, 14, 0]


def test_uses_of_the_same_parameter_add_before_the_norm() -> None:
    once = Product(torch.tensor([[[1.0]]]), torch.tensor([[[2.0]]]))
    again = Product(torch.tensor([[[1.0]]]), torch.tensor([[[-2.0]]]))
    both = merged([once, again])
    assert both.measured(None)[0].tolist() == [0]
    mixed = merged([once, Direct(torch.tensor([[5.0]]))])
    assert mixed.samples().tolist() == [[7]]
    assert merged([once]) is once


@settings(max_examples=examples(60), deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 6)] * 4),
    groups=st.none() | st.integers(1, 3),
    seed=st.integers(0, 1000),
    roomy=st.booleans(),
    ghost=st.booleans(),
)
def test_products_both_ways(
    shape: tuple[int, int, int, int], groups: int | None, seed: int, roomy: bool, ghost: bool
) -> None:
    batch, frames, rows, columns = shape
    generator = torch.Generator().manual_seed(seed)
    lead = (batch,) if groups is None else (batch, groups)
    outputs = torch.randn(*lead, frames, rows, generator=generator, dtype=torch.float64)
    inputs = torch.randn(*lead, frames, columns, generator=generator, dtype=torch.float64)
    wanted = torch.einsum("...tp,...td->...pd", outputs, inputs).reshape(batch, -1)
    factors = torch.rand(batch, generator=generator, dtype=torch.float64)
    term = Product(outputs, inputs)
    before, terms.GHOST_BELOW = terms.GHOST_BELOW, 1e9 if ghost else 0.0
    try:
        squares, kept = term.measured(torch.empty_like(wanted) if roomy else None)
    finally:
        terms.GHOST_BELOW = before
    assert isinstance(kept, Direct) == (roomy and not ghost)
    torch.testing.assert_close(squares, wanted.square().sum(1))
    torch.testing.assert_close(added(kept, factors, wanted.shape[1]), factors @ wanted)
    rows_wanted = factors > 0.5
    torch.testing.assert_close(kept.only(rows_wanted).samples(), wanted[rows_wanted])
    assert len(kept) == batch


def test_the_cheaper_way() -> None:
    few, many = torch.zeros(1, 2, 100), torch.zeros(1, 400, 100)
    assert Product(few, few).ghost_is_cheaper()
    assert not Product(many, many).ghost_is_cheaper()
