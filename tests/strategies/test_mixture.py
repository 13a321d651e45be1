"""Which batch is of which source: exact ratios that follow from the seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedasr.strategies.mixture import LABELLED, MACHINE, machine_rounds, source_of


@given(seed=st.integers(0, 2**32), labelled=st.integers(0, 5), unlabelled=st.integers(1, 9), blocks=st.integers(1, 4))
def test_every_block_has_exactly_the_ratio(seed: int, labelled: int, unlabelled: int, blocks: int) -> None:
    together = labelled + unlabelled
    sources = np.array([source_of(drawn, seed, labelled, unlabelled) for drawn in range(blocks * together)])
    assert set(sources.tolist()) <= {LABELLED, MACHINE}
    assert (sources.reshape(blocks, together) == LABELLED).sum(1).tolist() == [labelled] * blocks


def test_the_order_is_drawn_from_the_seed_and_differs_from_block_to_block() -> None:
    def order(seed: int) -> list[int]:
        return [source_of(drawn, seed, 2, 4) for drawn in range(60)]

    assert order(0) == order(0)
    assert order(0) != order(1)
    assert len({tuple(order(0)[start : start + 6]) for start in range(0, 60, 6)}) > 3


@pytest.mark.parametrize(
    ("rounds", "labelled", "unlabelled", "expected"), [(10, 1, 4, 8), (10, 0, 1, 10), (3, 1, 1, 2), (1, 1, 4, 1)]
)
def test_segregated_rounds_are_in_the_same_ratio(rounds: int, labelled: int, unlabelled: int, expected: int) -> None:
    assert machine_rounds(rounds, labelled, unlabelled) == expected
