"""Options of parts of a user's own, in the config."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from fedasr.config import load
from fedasr.errors import InputError


def test_options_of_a_part_of_ones_own_are_taken() -> None:
    result = load({"model": {"name": "mine:Model", "options": {"width": 3, "deep": {"a": [1, "b", None]}}}})
    assert result.model.options == {"width": 3, "deep": {"a": [1, "b", None]}}
    assert load("quickstart", ["model.name=mine:Model", "model.options.width=4"]).model.options == {"width": 4}


@pytest.mark.parametrize(
    ("tree", "line"),
    [
        ({"model": {"options": {"a": 1}}}, "'model.options' is set but 'model.name' is 'ctc', which reads none"),
        ({"client": {"optimizer_options": {"a": 1}}}, "'client.optimizer_options' is set but 'client.optimizer' is"),
        ({"model": {"name": "m:M", "options": {"a": datetime.date(2020, 1, 1)}}}, "'model.options.a': Value 'date'"),
        ({"model": {"name": "m:M", "options": {"a b": 1}}}, "'model.options' has the key 'a b'"),
    ],
)
def test_options_that_nothing_reads_or_that_cannot_travel_are_refused(tree: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError) as caught:
        load(tree)
    assert line in str(caught.value)
