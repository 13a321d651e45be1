"""What is told of an attribute, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fedasr.errors import InputError
from fedasr.evaluation.fairness.comparison import Outcomes, compare_groups


def said(speakers: str, errors: list[int]) -> Outcomes:
    return Outcomes(np.array(list(speakers)), np.full(len(speakers), 10), np.array(errors))


def test_utterances_without_a_value_are_left_out_and_counted() -> None:
    groups = np.array(["x", "x", "y", "y", ""], object)
    result = compare_groups("accent", said("abcde", [1, 2, 3, 4, 9]), groups, 0, 0.05)
    assert result["without_value"] == 1
    assert set(result["groups"]) == {"x", "y"}
    assert result["gap"]["difference"] == pytest.approx(0.2)
    assert "1 utterances have no value" in result["warnings"][0]


def test_a_group_of_one_speaker_is_shown_and_not_in_the_gap() -> None:
    groups = np.array(list("xxyyz"), object)
    result = compare_groups("accent", said("abcde", [1, 2, 3, 4, 9]), groups, 0, 0.05)
    assert result["groups"]["z"]["wer"] == 0.9
    assert math.isnan(result["groups"]["z"]["low"])
    assert result["gap"]["worst"] == "y"
    assert any("one speaker is not in the gap: 'z'" in warning for warning in result["warnings"])


def test_where_one_group_alone_has_several_speakers_the_gap_has_no_interval() -> None:
    result = compare_groups("gender", said("abc", [1, 2, 6]), np.array(list("xxy"), object), 0, 0.05)
    assert result["gap"]["difference"] == pytest.approx(0.45)
    assert math.isnan(result["gap"]["low"])
    assert result["power"]["speakers"] is None
    assert any("nor has the gap: 'y'" in warning for warning in result["warnings"])


def test_few_speakers_are_warned_of_with_the_gap_that_they_would_show() -> None:
    result = compare_groups("gender", said("abcd", [1, 2, 2, 4]), np.array(list("xxyy"), object), 0, 0.05)
    assert result["gap"]["low"] == 0
    assert any("fewer than 10 speakers" in warning and "'x' (2)" in warning for warning in result["warnings"])
    assert any("no two groups are told apart" in warning for warning in result["warnings"])


@pytest.mark.parametrize(
    ("speakers", "groups", "word"),
    [
        ("abcd", ["", "", "", ""], "no utterance"),
        ("abcd", ["x", "x", "x", "x"], "all of the test speech has 'accent' 'x'"),
        ("abcd", ["w", "x", "y", "z"], "is of one test speaker"),
        ("aabb", ["x", "x", "y", "y"], "is of one test speaker"),
    ],
)
def test_where_there_is_nothing_to_compare_it_says_so(speakers: str, groups: list[str], word: str) -> None:
    with pytest.raises(InputError, match=word):
        compare_groups("accent", said(speakers, [1, 2, 3, 4]), np.array(groups, object), 0, 0.05)


def test_as_many_groups_as_utterances_are_refused() -> None:
    speakers = np.array([f"s{number}" for number in range(200)])
    speech = Outcomes(speakers, np.full(200, 5), np.arange(200) % 3)
    groups = np.array([f"g{number // 2}" for number in range(200)], object)
    with pytest.raises(InputError, match="at most 60 groups"):
        compare_groups("age", speech, groups, 0, 0.05)
