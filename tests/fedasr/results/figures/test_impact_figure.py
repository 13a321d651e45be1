"""What configs do to groups, drawn: names of any length leave the axes room."""

from __future__ import annotations

import warnings

from fedasr.results.figures.impact import draw


def test_long_names_leave_room_for_what_they_name() -> None:
    change = {"change": {"difference": 0.1, "low": 0.0, "high": 0.2}}
    named = {"label": f"data.exclude.speaker={[f's{n:06d}' for n in range(20)]}", "groups": {"f": change, "m": change}}
    one = {"attribute": "gender", "baseline": "all", "configs": [{"label": "all", "groups": {}}, {**named, **change}]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = draw({"attributes": [one]})
        figure.draw_without_rendering()
    (axes,) = figure.axes
    (label,) = axes.get_yticklabels()
    assert label.get_text().endswith("…")
    assert axes.get_position().width > 0.4


def test_groups_are_told_apart_though_there_are_more_than_colours() -> None:
    change = {"change": {"difference": 0.1, "low": 0.0, "high": 0.2}}
    groups = {f"group {number}": change for number in range(9)}
    one = {"attribute": "accent", "baseline": "all", "configs": [{"label": "one", "groups": groups, **change}]}
    (axes,) = draw({"attributes": [one]}).axes
    looks = [(line.get_color(), line.get_marker()) for line in axes.get_lines() if line.get_label() in groups]
    assert len(looks) == len(set(looks)) == 9
