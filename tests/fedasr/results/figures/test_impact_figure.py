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
