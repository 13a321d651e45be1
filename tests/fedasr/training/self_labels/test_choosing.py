"""Which hypotheses are learnt, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fedasr.training.self_labels import Hypotheses, chosen, moved
from fedasr.training.self_labels.choosing import repeated

GUARDS = ("empty", "repeated", "same")


def heard(*pairs: tuple[str, float], fits: bool = True) -> Hypotheses:
    texts, sure = zip(*pairs, strict=True)
    return Hypotheses(tuple(range(10, 10 + len(texts))), texts, np.array(sure), np.full(len(texts), fits))


def test_a_threshold_keeps_what_is_as_sure() -> None:
    said = heard(("one", 0.5), ("two", 0.9), ("six", 0.7))
    assert chosen(said, GUARDS, 0.7) == [1, 2]
    assert chosen(said, GUARDS, 0.0) == [0, 1, 2]
    assert chosen(said, GUARDS, 1.01) == []


def test_a_share_keeps_the_surest_rounded_up_and_the_earlier_of_equals() -> None:
    said = heard(("one", 0.5), ("two", 0.9), ("six", 0.5), ("ten", 0.5))
    assert chosen(said, GUARDS, share=0.5) == [0, 1]
    assert chosen(said, GUARDS, share=0.26) == [0, 1]
    assert chosen(said, GUARDS, share=0.25) == [1]


def test_an_empty_hypothesis_is_surest_and_never_learnt() -> None:
    said = heard(("", 0.99), ("two", 0.6))
    assert chosen(said, ()) == [0, 1]
    assert chosen(said, ("empty",)) == [1]
    # It takes none of the others' share either.
    assert chosen(said, ("empty",), share=0.5) == [1]
    assert chosen(said, (), share=0.5) == [0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("eeeeee", True),
        ("e e e e e e", True),
        ("eeee", False),
        ("eeeabc", False),
        ("eeeeabc", True),
        ("hello", False),
        ("one one one one two six", True),
        ("one one one two two six", False),
        ("", False),
    ],
)
def test_what_repeats_itself(text: str, expected: bool) -> None:
    assert repeated(text) is expected
    assert chosen(heard((text, 1.0)), ("repeated",)) == ([] if expected else [0])


def test_one_text_for_more_than_half_of_a_devices_speech() -> None:
    said = heard(("stop", 1.0), ("stop", 1.0), ("stop", 1.0), ("go", 1.0))
    assert chosen(said, ("same",)) == [3]
    assert chosen(said, ()) == [0, 1, 2, 3]
    half = heard(("stop", 1.0), ("stop", 1.0), ("go", 1.0), ("no", 1.0))
    assert chosen(half, ("same",)) == [0, 1, 2, 3]
    few = heard(("stop", 1.0), ("stop", 1.0), ("stop", 1.0))
    assert chosen(few, ("same",)) == [0, 1, 2]
    # That most are empty is another guard's.
    assert chosen(heard(*[("", 1.0)] * 4), ("same",)) == [0, 1, 2, 3]


def test_what_has_no_alignment_or_no_probability_is_never_learnt() -> None:
    assert chosen(heard(("one", 1.0), fits=False), ()) == []
    assert chosen(heard(("one", float("nan"))), ()) == []


def test_a_threshold_moves_on_a_line() -> None:
    assert [moved([0.9, 0.5], round, 5) for round in range(1, 6)] == pytest.approx([0.9, 0.8, 0.7, 0.6, 0.5])
    assert moved([0.9, 0.5], 1, 1) == 0.9
