"""What a person is told of a fleet's estimates."""

from __future__ import annotations

from fedasr.strategies.estimates.fleet import notes_of


def test_a_group_that_a_device_names_writes_to_no_terminal() -> None:
    row = {"column": "accent", "value": "\x1b[2Jwelsh\n", "alarms": "worse harder"}
    first, second = notes_of([row, {"column": "", "value": "", "alarms": ""}])
    assert first == r"alarm: the estimated error rate is above that of an earlier round (accent \x1b[2Jwelsh\n)"
    assert second.isprintable()
