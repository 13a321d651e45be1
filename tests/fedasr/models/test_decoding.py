"""Decoders against brute force on lattices small enough to enumerate."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedasr.models.decoding.closed_vocabulary import CHUNK, first_best, score, scores
from fedasr.models.decoding.greedy import greedy
from fedasr.models.decoding.prefix_beam import beam_search, log_add, prefix_beam
from tests.tiers import examples

Label = tuple[int, ...]


def collapse(path: tuple[int, ...]) -> Label:
    return tuple(token for token, _ in itertools.groupby(path) if token)


def every_label(log_probabilities: np.ndarray) -> dict[Label, float]:
    """Return the log-probability of each label that some alignment spells."""
    result: dict[Label, float] = defaultdict(float)
    for path in itertools.product(range(log_probabilities.shape[1]), repeat=len(log_probabilities)):
        result[collapse(path)] += math.exp(sum(row[token] for row, token in zip(log_probabilities, path, strict=True)))
    return {label: math.log(probability) for label, probability in result.items()}


def lattice(seed: int, frames: int, tokens: int, sharpness: float = 2.0) -> np.ndarray:
    logits = sharpness * np.random.default_rng(seed).standard_normal((frames, tokens))
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def one_hot(rows: list[list[int]], tokens: int = 4) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(rows), tokens).double().mul(20).log_softmax(2)


small = st.tuples(st.integers(0, 10_000), st.integers(1, 5), st.integers(2, 4))


def test_greedy_collapses_repeats_and_drops_blanks() -> None:
    posteriors = one_hot([[1, 1, 0, 1, 2, 2], [0, 0, 0, 0, 0, 0], [3, 0, 0, 3, 3, 1]])
    assert greedy(posteriors, torch.tensor([6, 6, 6])) == [[1, 1, 2], [], [3, 3, 1]]
    assert greedy(posteriors, torch.tensor([3, 6, 4])) == [[1], [], [3, 3]]


@given(small)
def test_greedy_is_the_collapsed_best_path(shape: tuple[int, int, int]) -> None:
    log_probabilities = lattice(*shape)
    rows = torch.from_numpy(log_probabilities)[None]
    assert tuple(greedy(rows, torch.tensor([shape[1]]))[0]) == collapse(tuple(log_probabilities.argmax(1).tolist()))


@settings(max_examples=examples(60), deadline=None)
@given(small)
def test_a_wide_beam_is_exact(shape: tuple[int, int, int]) -> None:
    log_probabilities = lattice(*shape)
    expected = every_label(log_probabilities)
    result = prefix_beam(log_probabilities, beam=10_000)
    assert dict(result).keys() >= expected.keys()
    for label, probability in expected.items():
        assert dict(result)[label] == pytest.approx(probability, abs=1e-9)
    assert [p for _, p in result] == sorted((p for _, p in result), reverse=True)
    assert result[0][1] == pytest.approx(max(expected.values()), abs=1e-9)


@settings(max_examples=examples(60), deadline=None)
@given(small, st.integers(1, 4), st.integers(1, 4))
def test_a_narrow_beam_never_claims_more_than_there_is(shape: tuple[int, int, int], beam: int, kept: int) -> None:
    log_probabilities = lattice(*shape)
    expected = every_label(log_probabilities)
    result = prefix_beam(log_probabilities, beam, kept)
    assert 1 <= len(result) <= beam
    for label, probability in result:
        assert probability <= expected.get(label, -math.inf) + 1e-9


@settings(max_examples=examples(60), deadline=None)
@given(small, st.integers(1, 3))
def test_beam_search_is_at_least_as_likely_as_greedy(shape: tuple[int, int, int], beam: int) -> None:
    rows, lengths = torch.from_numpy(lattice(*shape))[None], torch.tensor([shape[1]])
    labels = [greedy(rows, lengths)[0], beam_search(rows, lengths, beam)[0]]
    best, result = score(rows[0], labels).tolist()
    assert result >= best


def test_beam_sums_alignments_where_greedy_takes_one() -> None:
    # Greedy sees two blanks (0.36); the token has 0.4·0.4 + 2·0.4·0.6 = 0.64.
    rows = torch.tensor([[[0.6, 0.4], [0.6, 0.4]]], dtype=torch.float64).log()
    assert greedy(rows, torch.tensor([2])) == [[]]
    assert beam_search(rows, torch.tensor([2]), beam=4) == [[1]]
    assert prefix_beam(rows[0].numpy(), 4)[0] == ((1,), pytest.approx(math.log(0.64)))


def test_beam_search_reads_each_utterance_to_its_length() -> None:
    rows = torch.from_numpy(np.stack([lattice(1, 6, 4), lattice(2, 6, 4)]))
    together = beam_search(rows, torch.tensor([3, 6]), 4)
    assert together == [
        beam_search(rows[:1, :3], torch.tensor([3]), 4)[0],
        beam_search(rows[1:], torch.tensor([6]), 4)[0],
    ]


def test_equal_prefixes_are_ordered_by_their_tokens() -> None:
    result = prefix_beam(np.log(np.full((1, 3), 1 / 3)), 2)
    assert [prefix for prefix, _ in result] == [(), (1,)]


@settings(max_examples=examples(60), deadline=None)
@given(small)
def test_scores_are_the_sum_over_alignments(shape: tuple[int, int, int]) -> None:
    log_probabilities = lattice(*shape)
    expected = every_label(log_probabilities)
    result = score(torch.from_numpy(log_probabilities), [list(label) for label in expected]).tolist()
    assert result == pytest.approx(list(expected.values()), abs=1e-9)


def test_a_phrase_that_does_not_fit_is_impossible() -> None:
    rows = torch.from_numpy(lattice(0, 2, 3))
    assert score(rows, [[1, 1], [1, 2], [1, 2, 1]]).isinf().tolist() == [True, False, True]
    assert score(rows, [[1, 1]]).tolist() == [-math.inf]


def test_chunks_give_the_same_scores() -> None:
    rows = torch.from_numpy(lattice(0, 6, 4))
    phrases = [list(label) for n in range(1, 6) for label in itertools.product((1, 2, 3), repeat=n)]
    phrases = [*phrases, *phrases]
    assert len(phrases) > CHUNK
    singly = torch.cat([score(rows, [phrase]) for phrase in phrases])
    torch.testing.assert_close(score(rows, phrases), singly)


@settings(max_examples=examples(60), deadline=None)
@given(small, st.integers(0, 5), st.floats(0.0, 400.0))
def test_scores_on_a_tree_are_those_of_lattices_one_by_one(
    shape: tuple[int, int, int], shorter: int, sharp: float
) -> None:
    """Also where posteriors are so sharp that most phrases leave the range of a float."""
    sequence = torch.from_numpy(np.stack([lattice(*shape), lattice(shape[0] + 1, *shape[1:])]))
    rows = (sequence * (1 + sharp)).log_softmax(dim=2)
    lengths = torch.tensor([rows.shape[1], max(1, rows.shape[1] - shorter)])
    phrases = [[], [1], [1, 1], [1, 2], [2, 1, 2], [1, 2], [2, 2, 2, 2]]
    phrases = [[min(token, rows.shape[2] - 1) for token in phrase] for phrase in phrases]
    result = scores(rows, lengths, phrases)
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(result[row], score(rows[row, :length], phrases), rtol=1e-9, atol=1e-9)


def test_closed_vocabulary_takes_the_likeliest_and_of_equals_the_first() -> None:
    posteriors = one_hot([[1, 1, 0, 2, 0, 0], [3, 0, 2, 2, 1, 1]])
    phrases = [[2, 1], [1, 2], [3, 2], [3, 2]]
    assert first_best(scores(posteriors, torch.tensor([6, 4]), phrases)) == [1, 2]
    uniform = torch.full((1, 4, 3), 1 / 3).log()
    assert first_best(scores(uniform, torch.tensor([4]), [[2], [1]])) == [0]
    assert first_best(scores(uniform, torch.tensor([1]), [[1, 2], [2, 1]])) == [0]


@given(st.floats(-50, 0), st.floats(-50, 0))
def test_log_add(a: float, b: float) -> None:
    assert log_add(a, b) == pytest.approx(float(np.logaddexp(a, b)), abs=1e-12)
    assert log_add(-math.inf, a) == a
    assert log_add(-math.inf, -math.inf) == -math.inf
