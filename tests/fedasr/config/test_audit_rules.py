"""Where there can be no canary users, and what to do instead: one line each."""

from __future__ import annotations

from typing import Any

import pytest

from fedasr.config import load
from fedasr.errors import InputError
from fedasr.experiment import as_json

USERS = {"unit": "user", "noise_multiplier": 1.0}
TWO = {"audit": {"canaries": 2}}


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"privacy": {"unit": "example", "noise_multiplier": 1.0}}, ("'privacy.unit' is 'example'", "audit mechanism")),
        ({"privacy": {"unit": "teacher"}, "strategy": {"name": "pate"}}, ("'privacy.unit' is 'teacher'",)),
        ({"runtime": {"name": "deployment"}}, ("'runtime.name' is 'deployment'", "leave 'audit' out")),
        (
            {"privacy": USERS, "secure_aggregation": {"mode": "simulate"}, "strategy": {"weighting": "uniform"}},
            ("'secure_aggregation.mode' is 'simulate'",),
        ),
        (
            {"devices": {"clock": True, "availability": "trace", "trace": "there.csv"}},
            ("'devices.trace'", "leave one of them out"),
        ),
    ],
)
def test_a_run_that_canaries_cannot_be_in(sections: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        load({**sections, **TWO})
    assert "'audit.canaries' is 2" in str(caught.value)
    assert all(word in str(caught.value) for word in words)


def test_held_out_canaries_beside_none_that_are_inserted() -> None:
    with pytest.raises(InputError, match=r"'audit\.held_out'"):
        load({"audit": {"held_out": 5}})


def test_clients_are_sent_nothing_of_an_audit_that_there_is_not() -> None:
    assert "audit" not in as_json(load({}))
    assert '"audit":{"canaries":2,' in as_json(load({"privacy": USERS, "strategy": {"weighting": "uniform"}, **TWO}))
