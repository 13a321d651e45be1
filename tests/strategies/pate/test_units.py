"""What is asked next, and what labels come out of released votes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fedasr.config.schema import DataConfig
from fedasr.models.decoding.prefixes import END
from fedasr.models.tokenizer import Tokenizer
from fedasr.strategies.pate.record import NO_LABEL, Record
from fedasr.strategies.pate.units import FrameVotes, TokenVotes, UtteranceVotes, base
from fedasr.strategies.pate.units.base import joined

TOKENIZER = Tokenizer("abc")


def speech(truth: list[str], seconds: list[float] | None = None, candidates: tuple[str, ...] = ()) -> Any:
    """Return what the units read of public speech."""

    class Utterances(SimpleNamespace):
        def __len__(self) -> int:
            return len(self.truth)

    durations = np.array(seconds or [1.0] * len(truth), np.float32)
    return Utterances(
        truth=truth, candidates=candidates, config=DataConfig(), speech=SimpleNamespace(durations=durations)
    )


def answer(record: Record, utterances: Any, labels: list[int]) -> None:
    for utterance, label in zip(utterances, labels, strict=True):
        record.add(int(utterance), label, np.zeros(record.classes))


def test_sequences_one_after_the_other() -> None:
    tokens, lengths = joined([[1, 2], [], [3]])
    assert (tokens.tolist(), lengths.tolist()) == ([1, 2, 3], [2, 0, 1])


def test_utterances_are_asked_about_once_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "BLOCK", 2)
    unit = UtteranceVotes(speech(["a", "b", "a"], candidates=("a", "b")), TOKENIZER)
    record = Record(unit.classes, 1)
    first = unit.following(record)
    assert first is not None
    assert first.utterances.tolist() == [0, 1]
    assert (first.tokens.tolist(), first.lengths.tolist()) == ([1, 2], [1, 1])
    answer(record, first.utterances, [0, NO_LABEL])
    second = unit.following(record)
    assert second is not None
    assert second.utterances.tolist() == [2]
    answer(record, second.utterances, [1])
    assert unit.following(record) is None
    assert unit.transcripts(record) == {0: "a", 2: "b"}
    assert unit.right(record) == [True, None, False]


def test_tokens_continue_what_is_released_until_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "BLOCK", 3)
    unit = TokenVotes(speech(["ab", "c", "b", "a"]), TOKENIZER)
    assert unit.classes == 4
    record = Record(unit.classes, 1)
    asked = unit.following(record)
    assert asked is not None
    assert (asked.utterances.tolist(), asked.lengths.tolist()) == ([0, 1, 2], [0, 0, 0])
    answer(record, asked.utterances, [1, 3, NO_LABEL])  # the third has no consensus and is given up
    asked = unit.following(record)
    assert asked is not None
    assert (asked.utterances.tolist(), asked.tokens.tolist()) == ([0, 1], [1, 3])
    answer(record, asked.utterances, [3, END])
    asked = unit.following(record)
    assert asked is not None
    assert asked.tokens.tolist() == [1, 3]
    answer(record, asked.utterances, [END])
    asked = unit.following(record)
    assert asked is not None
    assert asked.utterances.tolist() == [3]  # the next block
    answer(record, asked.utterances, [END])
    assert unit.following(record) is None
    # Labels that are whole, but not the empty one of the last utterance.
    assert unit.transcripts(record) == {0: "ac", 1: "c"}
    assert unit.right(record) == [True, True, None, False, True, None, False]


def test_a_label_that_grows_too_long_is_given_up() -> None:
    unit = TokenVotes(speech(["a"], seconds=[0.1]), TOKENIZER)
    [longest] = unit.longest
    assert longest == 4  # 11 frames of 10 ms, 30 tokens a second
    record = Record(unit.classes, 1)
    for _ in range(longest):
        asked = unit.following(record)
        assert asked is not None
        answer(record, asked.utterances, [2])
    assert unit.following(record) is None
    assert unit.transcripts(record) == {}


def framed(lengths: list[int]) -> Any:
    """Return public speech of so many feature frames, two of which make an output frame."""
    result = speech(["a"] * len(lengths))
    result.speech.features = lambda row: np.zeros((lengths[row], 1))
    result.run = SimpleNamespace(model=lambda: SimpleNamespace(output_frames=lambda frames: frames // 2))
    return result


def test_every_frame_is_a_query_and_the_label_is_what_they_collapse_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "BLOCK", 2)
    unit = FrameVotes(framed([8, 4, 6]), TOKENIZER)
    record = Record(unit.classes, 1)
    asked = unit.following(record)
    assert asked is not None
    assert (asked.speech.tolist(), asked.utterances.tolist(), len(asked)) == ([0, 1], [0, 0, 0, 0, 1, 1], 6)
    assert len(asked.tokens) == 0
    answer(record, asked.utterances, [1, 1, 0, 1, 0, 0])
    assert unit.transcripts(record) == {0: "aa"}  # the second has blanks alone
    asked = unit.following(record)
    assert asked is not None
    assert asked.utterances.tolist() == [2, 2, 2]
    answer(record, asked.utterances, [2, 2, 3])
    assert unit.following(record) is None
    assert unit.transcripts(record) == {0: "aa", 2: "bc"}
    assert unit.right(record) == [None] * 9


def test_an_utterance_with_a_frame_without_consensus_is_given_up() -> None:
    unit = FrameVotes(framed([8, 4]), TOKENIZER)
    record = Record(unit.classes, 1)
    asked = unit.following(record)
    assert asked is not None
    told = []
    for utterance, label in zip(asked.utterances.tolist(), [1, NO_LABEL, 2, 2, 3, 3], strict=True):
        if unit.goes_on(record, utterance):
            record.add(utterance, label, np.zeros(4))
            told.append(label)
    assert told == [1, NO_LABEL, 3, 3]
    assert unit.transcripts(record) == {1: "c"}
    assert unit.following(record) is None


def test_the_likeliest_answers_and_their_shares() -> None:
    unit = UtteranceVotes(speech(["a"] * 2, candidates=("a", "b", "c")), TOKENIZER)
    record = Record(unit.classes, 1)
    record.add(0, 1, np.array([1.0, 3.0, -2.0]))
    record.add(1, 2, np.array([-1.0, -3.0, -0.5]))
    result = unit.likeliest(record, 3)
    assert result[0][0] == ["b", "a"]
    assert result[0][1] == pytest.approx([0.75, 0.25])
    assert (result[1][0], result[1][1].tolist()) == (["c"], [1.0])
    assert unit.likeliest(record, 1)[0][0] == ["b"]
