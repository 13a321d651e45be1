"""Power-of-Choice."""

from __future__ import annotations

import numpy as np
import pytest

from fedasr.errors import InputError
from fedasr.strategies.selection import PowerOfChoice
from fedasr.strategies.selection.drawing import inclusion

from .populations import p_value, rng, roster


class Loss:
    """A probe that answers from a list and remembers whom it asked."""

    def __init__(self, losses: list[float]) -> None:
        self.losses = np.array(losses)
        self.asked: list[tuple[int, list[int]]] = []

    def __call__(self, round: int, clients: np.ndarray) -> np.ndarray:
        self.asked.append((round, clients.tolist()))
        result: np.ndarray = self.losses[clients]
        return result


def choose(losses: list[float], k: int, candidates: int = 0, seed: int = 0) -> tuple[list[int], list[int]]:
    """Return whom it chose among equals, and whom it asked."""
    selector = PowerOfChoice(candidates)
    probe = selector.probe = Loss(losses)
    chosen = selector.select(3, roster([1] * len(losses)), k, rng(3, seed))
    assert np.isnan(chosen.probabilities).all()
    ((round, asked),) = probe.asked
    assert round == 3
    return chosen.clients.tolist(), asked


def test_the_highest_losses_of_the_candidates_are_chosen() -> None:
    losses = [0.1, 0.9, 0.5, 0.7, 0.3, 0.8]
    assert choose(losses, 2, candidates=6)[0] == [1, 5]
    for seed in range(20):
        chosen, asked = choose(losses, 2, candidates=3, seed=seed)
        assert len(set(asked)) == 3
        assert chosen == sorted(asked, key=lambda client: -losses[client])[:2]


def test_by_default_twice_the_cohort_is_asked() -> None:
    assert len(choose([1.0] * 20, 3)[1]) == 6
    assert len(choose([1.0] * 4, 3)[1]) == 4


def test_candidates_are_drawn_by_what_they_store() -> None:
    counts = [1, 2, 3, 4, 40, 0]
    result = np.zeros((3000, 6))
    for seed, row in enumerate(result):
        selector = PowerOfChoice(2, "seconds")
        probe = selector.probe = Loss([1.0] * 6)
        selector.select(1, roster(counts), 1, rng(1, seed))
        row[probe.asked[0][1]] = 1
    assert p_value(result, inclusion(np.array(counts, float), 2)) > 1e-3


def test_who_does_not_answer_is_chosen_only_where_too_few_are_left() -> None:
    nan = float("nan")
    assert choose([nan, 0.2, nan, 0.1], 2, candidates=4)[0] == [1, 3]
    chosen, _ = choose([nan, 0.2, nan, nan], 3, candidates=4)
    assert chosen[0] == 1
    assert len(set(chosen)) == 3
    chosen, _ = choose([nan, float("inf"), float("-inf"), 5.0], 3, candidates=4)
    assert chosen == [1, 3, 2] or chosen == [1, 3, 0]


def test_ties_are_broken_at_random() -> None:
    firsts = {choose([1.0] * 4, 1, candidates=4, seed=seed)[0][0] for seed in range(60)}
    assert firsts == {0, 1, 2, 3}


def test_the_last_loss_needs_no_probe_and_puts_who_never_took_part_first() -> None:
    table = roster([1] * 5)
    table.last_loss[:] = [0.3, np.nan, 0.9, 0.5, np.nan]
    chosen = PowerOfChoice(5, ask=False).select(1, table, 4, rng()).clients.tolist()
    assert set(chosen[:2]) == {1, 4}
    assert chosen[2:] == [2, 3]


def test_a_probe_is_needed_and_must_answer_for_everybody() -> None:
    with pytest.raises(InputError, match=r"nothing has been set as its 'probe'; set it, or use selection.probe=last"):
        PowerOfChoice().select(1, roster([1, 1]), 1, rng())
    selector = PowerOfChoice()
    selector.probe = lambda round, clients: np.zeros(1)
    with pytest.raises(InputError, match=r"asked for 2 losses and answered shape \(1,\)"):
        selector.select(1, roster([1, 1]), 1, rng())


def test_nobody_is_asked_where_nobody_is_there() -> None:
    assert len(PowerOfChoice().select(1, roster([0, 0]), 1, rng()).clients) == 0
