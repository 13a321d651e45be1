"""What is asked next, and what labels come out of released votes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fedasr.config.schema import DataConfig
from fedasr.models.decoding.prefixes import END
from fedasr.models.tokenizer import Tokenizer
from strategies.pate import questions
from strategies.pate.questions import TokenVotes, UtteranceVotes, joined
from strategies.pate.record import NO_LABEL, Record

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
    monkeypatch.setattr(questions, "BLOCK", 2)
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
    monkeypatch.setattr(questions, "BLOCK", 3)
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
