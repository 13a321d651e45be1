"""The teacher of the devices' labels as the server keeps it, and what the server is told of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedasr.config import Config, load
from fedasr.strategies.label_counts import LabelCounts
from fedasr.strategies.label_teacher import LabelTeacher

START = np.array([1.0, 2.0, -4.0], np.float32)
NEXT = np.array([3.0, 2.0, 0.5], np.float32)


def config(**settings: Any) -> Config:
    return load({"client": {"labels": "self"}, "self_labels": settings})


def test_a_moving_average_by_hand() -> None:
    teacher = LabelTeacher(config(teacher="ema", decay=0.75), START)
    assert teacher.weights is not None
    assert teacher.weights.tolist() == START.tolist()
    teacher.follow(NEXT)
    assert teacher.weights.tolist() == [1.5, 2.0, -2.875]
    assert teacher.weights.dtype == np.float32


@pytest.mark.parametrize(("decay", "expected"), [(0.0, NEXT), (1.0, START)])
def test_the_ends_of_the_decay(decay: float, expected: np.ndarray) -> None:
    teacher = LabelTeacher(config(teacher="ema", decay=decay), START)
    teacher.follow(NEXT)
    assert teacher.weights is not None
    assert teacher.weights.tobytes() == expected.tobytes()


def test_a_frozen_teacher_stays_though_the_weights_are_changed_in_place() -> None:
    start = START.copy()
    teacher = LabelTeacher(config(teacher="frozen"), start)
    start[:] = 0
    teacher.follow(NEXT)
    assert teacher.weights is not None
    assert teacher.weights.tolist() == START.tolist()
    assert teacher.arrays() == {}


def test_nobody_is_sent_where_the_global_model_labels_or_nobody_does() -> None:
    assert LabelTeacher(config(teacher="global"), START).weights is None
    assert LabelTeacher(load({}), START).weights is None
    assert LabelTeacher(load({"client": {"labels": "none"}}), START).weights is None


def test_a_checkpoint_holds_the_average_and_leaves_the_rest_to_others() -> None:
    teacher = LabelTeacher(config(teacher="ema", decay=0.5), START)
    teacher.follow(NEXT)
    saved = {**teacher.arrays(), "noise/a": np.ones(2)}
    again = LabelTeacher(config(teacher="ema", decay=0.5), START)
    assert list(again.load_arrays(saved)) == ["noise/a"]
    assert again.weights is not None
    assert again.weights.tobytes() == teacher.weights.tobytes()  # type: ignore[union-attr]


def test_counts_add_up_and_a_share_of_nothing_is_not_a_number() -> None:
    one = LabelCounts.of({"untranscribed": 4, "labels-kept": 3, "labels-empty": 1, "labels-agreed": 2})
    two = LabelCounts(untranscribed=6, kept=1, frames=10, blank_frames=4, label_words=5, label_errors=2)
    columns = (one + two).columns()
    assert columns == {
        "kept_share": 0.4,
        "label_wer": 0.4,
        "blank_share": 0.4,
        "empty_share": 0.1,
        "teacher_agreement": 0.2,
    }
    assert np.isnan(list(LabelCounts().columns().values())).all()
