"""Error rates on examples that can be counted by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedasr.evaluation.wer import ErrorCounts, by_group, error_counts, utterance_errors

sentences = st.lists(st.tuples(st.text("ab ب", max_size=8), st.text("ab ب", max_size=8)), max_size=6)


def test_substitution_deletion_and_insertion() -> None:
    counts = error_counts(["turn the light on", "stop"], ["turn a light", "please stop"])
    # the→a, on deleted; please inserted. Characters: "the"→"a" costs 3, " on" 3, "please " 7.
    assert counts == ErrorCounts(utterances=2, words=5, word_errors=3, characters=21, character_errors=13)
    assert counts.wer == 3 / 5
    assert counts.cer == 13 / 21


def test_rates_are_of_the_corpus_and_may_exceed_one() -> None:
    counts = error_counts(["a", "b c d"], ["x y", "b c d"])
    assert counts.wer == 2 / 4
    assert error_counts(["a"], ["x y z"]).wer == 3


def test_arabic() -> None:
    counts = error_counts(["أربعة خمسة", "نعم"], ["أربعة ستة", "نعم"])
    assert (counts.words, counts.word_errors) == (3, 1)
    # خمسة → ستة keeps seen and teh marbuta: two letters deleted, one inserted. 10 characters with the space, and 3.
    assert (counts.characters, counts.character_errors) == (13, 3)
    assert error_counts(["أسفل"], ["ا\u0654سفل"]).wer == 0


def test_white_space_does_not_count_and_case_does() -> None:
    assert error_counts([" a  b\t"], ["a b"]) == ErrorCounts(1, 2, 0, 3, 0)
    assert error_counts(["A"], ["a"]).word_errors == 1


def test_an_empty_hypothesis_deletes_everything() -> None:
    assert error_counts(["a bc"], [""]) == ErrorCounts(1, 2, 2, 4, 4)


def test_an_empty_reference_counts_insertions() -> None:
    assert error_counts(["", "  ", "a"], ["x yz", "", "a"]) == ErrorCounts(3, 1, 2, 1, 4)
    alone = error_counts([""], ["x"])
    assert alone == ErrorCounts(1, 0, 1, 0, 1)
    assert math.isnan(alone.wer)
    assert math.isnan(alone.cer)


def test_nothing() -> None:
    assert error_counts([], []) == ErrorCounts()
    assert math.isnan(ErrorCounts().wer)


def test_unequal_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="2 references but 1 hypotheses"):
        error_counts(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="1 references, 1 hypotheses, 2 groups"):
        by_group(["a"], ["a"], ["x", "y"])


def test_groups_are_sorted_and_add_up() -> None:
    references, hypotheses = ["a b", "c", "d e f"], ["a x", "c", "d"]
    groups = by_group(references, hypotheses, ["us", "gb", "us"])
    assert list(groups) == ["gb", "us"]
    assert (groups["gb"].wer, groups["us"].wer) == (0, 3 / 5)
    assert groups["gb"] + groups["us"] == error_counts(references, hypotheses)
    assert list(by_group(["a"], ["a"], [7])) == ["7"]


@settings(deadline=None)  # the first example may import jiwer
@given(sentences)
def test_errors_of_utterances_add_up(pairs: list[tuple[str, str]]) -> None:
    references, hypotheses = [r for r, _ in pairs], [h for _, h in pairs]
    words, errors = utterance_errors(references, hypotheses)
    counts = error_counts(references, hypotheses)
    assert (words.sum(), errors.sum()) == (counts.words, counts.word_errors)
    alone = [error_counts([r], [h]) for r, h in pairs]
    assert list(zip(words, errors, strict=True)) == [(one.words, one.word_errors) for one in alone]


@given(sentences, st.integers(0, 6))
def test_counts_add_up_over_any_split(pairs: list[tuple[str, str]], cut: int) -> None:
    references, hypotheses = [r for r, _ in pairs], [h for _, h in pairs]
    halves = [error_counts(references[part], hypotheses[part]) for part in (slice(cut), slice(cut, None))]
    assert halves[0] + halves[1] == error_counts(references, hypotheses)


def edits(a: list[str], b: list[str]) -> int:
    """Return the Levenshtein distance by the textbook recurrence."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, start=1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]


@given(sentences)
def test_errors_are_edit_distances(pairs: list[tuple[str, str]]) -> None:
    counts = error_counts([r for r, _ in pairs], [h for _, h in pairs])
    clean = [(" ".join(r.split()), " ".join(h.split())) for r, h in pairs]
    assert counts.word_errors == sum(edits(r.split(), h.split()) for r, h in clean)
    assert counts.character_errors == sum(edits(list(r), list(h)) for r, h in clean)
