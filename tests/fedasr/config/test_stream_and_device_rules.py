"""Combinations of the keys of ``stream`` and ``devices``: refused in one line, or accepted."""

from __future__ import annotations

from typing import Any

import pytest

from fedasr.config import load
from fedasr.errors import InputError

POISSON = {"arrival": "poisson"}


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"stream": {"keep": "period"}}, "'stream.keep' is set but 'stream.arrival' is 'static'"),
        ({"stream": {"periods": 3}}, "'stream.periods' is set but 'stream.arrival' is 'static'"),
        ({"stream": {"arrival": "trace", "drift": 0.5}}, "'stream.drift' is set but 'stream.arrival' is 'trace'"),
        ({"stream": {**POISSON, "periods": 11}}, "'stream.periods' is 11 but 'rounds' is 10"),
        ({"devices": {"dropout": 0.1}}, "'devices.dropout' is set but 'devices.clock' is false"),
        ({"devices": {"trace": "/a.csv"}}, "'devices.trace' is set but 'devices.clock' is false"),
        ({"devices": {"clock": True, "tiers": []}}, "'devices.tiers' must be a list of 1 to 100 different names"),
        ({"devices": {"clock": True, "tiers": ["a", "a", "b"]}}, "'devices.tiers' must be a list"),
        (
            {"devices": {"clock": True, "tiers": ["a", "b"]}},
            "'devices.shares' has 3 entries and 'devices.tiers' 2; expected one per tier",
        ),
        ({"devices": {"clock": True, "compute": [0.1]}}, "'devices.compute' has 1 entries"),
        ({"devices": {"clock": True, "shares": [0.2, 0.2, 0.2]}}, "'devices.shares' adds up to 0.6; expected 1"),
        ({"devices": {"clock": True, "shares": [1.5, -0.5, 0.0]}}, "expected numbers of at least 0"),
        ({"devices": {"clock": True, "up_mbps": [1.0, 0.0, 1.0]}}, "'devices.up_mbps' is [1.0, 0.0, 1.0]; expected"),
        ({"devices": {"clock": True, "compute": [1.0, float("nan"), 1.0]}}, "expected numbers of more than 0"),
        ({"devices": {"clock": True, "down_mbps": [1.0, float("inf"), 1.0]}}, "expected numbers of more than 0"),
        ({"devices": {"clock": True, "availability": "trace"}}, "'devices.trace' is not set; give the path of a CSV"),
        (
            {"devices": {"clock": True, "over_commit": 1.3}, "selection": {"name": "poisson"}},
            "'devices.over_commit' is 1.3 but 'selection.name' is 'poisson'",
        ),
    ],
)
def test_refused(tree: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        load(tree)
    assert str(error.value).startswith("config: ")
    assert said in str(error.value)


@pytest.mark.parametrize(
    "tree",
    [
        {"stream": {**POISSON, "periods": 10, "drift": 1.0, "keep": "window"}},
        {"stream": {"arrival": "trace", "keep": "count", "count": 3}},
        {"stream": POISSON, "rounds": 0},
        {"devices": {"clock": True}},
        {"devices": {"clock": True, "shares": [0.0, 0.0, 1.0]}},
        {"devices": {"clock": True, "tiers": ["one"], "shares": [1], "compute": [1], "down_mbps": [1], "up_mbps": [1]}},
        {"devices": {"clock": True, "over_commit": 1.3, "deadline_s": 60, "dropout": 0.1, "availability": "diurnal"}},
        {"devices": {"clock": True, "dropout": 0.1}, "selection": {"name": "poisson"}},
    ],
)
def test_accepted(tree: dict[str, Any]) -> None:
    load(tree)
