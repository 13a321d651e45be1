import io
import itertools
import re
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

import fedasr
from fedasr.errors import InputError
from fedasr.results.figures import plot
from fedasr.results.figures.style import name_axes, remark, spread
from tests.fedasr.results.run_folders import add_activity, add_fairness, add_periods, make_run, two_strategies


def png(figure) -> bytes:
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=60)
    return target.getvalue()


def texts(figure) -> str:
    return " | ".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))


def test_compare_draws_means_bands_labels_and_units(tmp_path):
    figure = fedasr.plot.compare(two_strategies(tmp_path), x="bytes")
    (ax,) = figure.axes
    assert len(ax.get_lines()) == 2
    assert len(ax.collections) == 2
    said = texts(figure)
    for wanted in ("Word error rate (%)", "Data sent up and down (MB)", "selection.name", "uniform", "activity"):
        assert wanted in said
    assert "mean of 3 seeds, 95 % interval" in said
    assert ax.get_ylim()[0] == 0
    assert png(figure).startswith(b"\x89PNG")


def test_only_evaluated_rounds_are_drawn(tmp_path):
    figure = plot.compare([make_run(tmp_path / "a", rounds=10, every=5)])
    np.testing.assert_array_equal(figure.axes[0].get_lines()[0].get_xdata(), [5, 10])


def test_the_wide_band_of_two_seeds_does_not_flatten_the_curve(tmp_path):
    runs = [
        make_run(tmp_path / "a", seed=0, rounds=2, wer=[0.9, 0.1]),
        make_run(tmp_path / "b", seed=1, rounds=2, wer=[0.2, 0.2]),
    ]
    assert plot.compare(runs).axes[0].get_ylim()[1] < 100


def test_many_groups_get_a_legend_below(tmp_path):
    runs = [make_run(tmp_path / str(i), config={"client.learning_rate": float(i)}) for i in range(8)]
    figure = plot.compare(runs)
    assert len(figure.legends[0].get_texts()) == 8
    assert png(figure)


def test_a_label_that_begins_with_an_underscore_is_in_the_legend(tmp_path):
    runs = [make_run(tmp_path / str(i), selection=f"_{i}") for i in range(8)]
    result = [text.get_text() for text in plot.compare(runs).legends[0].get_texts()]
    assert [name.strip() for name in result] == [f"_{i}" for i in range(8)]


def test_a_dollar_in_a_label_is_no_formula(tmp_path):
    runs = [make_run(tmp_path / str(i), config={"data.root": name}) for i, name in enumerate(("$x_{$", "y"))]
    assert png(plot.compare(runs))


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [0, 1, 30])
def test_a_run_at_a_glance(tmp_path, rounds):
    folder = make_run(tmp_path / "a", rounds=rounds, every=10, status="running")
    for figure in (plot.run(folder), plot.participation(folder), plot.losses(folder), plot.traffic(folder)):
        assert png(figure)
    said = texts(plot.run(folder))
    assert ("no evaluation yet" in said) == (rounds == 0)
    assert "Rounds taken part in" in said


def test_participation_counts_updates_that_arrived(tmp_path):
    run = fedasr.load_run(make_run(tmp_path / "a", summary={"clients": 60}))
    heights = [bar.get_height() for bar in plot.participation(run).axes[0].patches]
    assert sum(heights) == 60
    assert sum(times * height for times, height in enumerate(heights)) == run.rounds["clients_replied"].sum()


def test_participation_of_several_groups_names_their_gini(tmp_path):
    figure = plot.participation(two_strategies(tmp_path))
    (ax,) = figure.axes
    assert len(ax.get_lines()) == 2
    assert [text.get_text().split(" 0.")[0] for text in ax.get_legend().get_texts()] == [
        "uniform, Gini",
        "activity, Gini",
    ]
    assert "Clients, most frequent first (%)" in texts(figure)
    assert png(figure)


def test_deciles_are_drawn_in_percent_with_their_interval(tmp_path):
    rates = [0.5 - index / 50 for index in range(10)]
    runs = [add_activity(run, rates) for run in two_strategies(tmp_path)]
    figure = plot.deciles(runs)
    (ax,) = figure.axes
    line = ax.get_lines()[0]
    np.testing.assert_allclose(line.get_xdata(), range(1, 11))
    np.testing.assert_allclose(line.get_ydata(), [100 * rate for rate in rates])
    assert len(ax.collections) == 2
    assert "mean of 3 seeds, 95 % interval" in texts(figure)
    assert png(figure)
    assert png(plot.deciles(runs[0]))


def test_periods_draw_a_line_a_test_period(tmp_path):
    run = add_periods(make_run(tmp_path / "a"), [[0.5], [0.4, 0.3], [0.45, 0.28, 0.2]])
    figure = plot.periods(run)
    lines = [line for line in figure.axes[0].get_lines() if str(line.get_label()).startswith("of period")]
    assert [list(np.asarray(line.get_xdata())) for line in lines] == [[1, 2, 3], [2, 3], [3]]
    np.testing.assert_allclose(lines[1].get_ydata(), [30, 28])
    assert png(figure)


def test_forgetting_is_drawn_around_zero(tmp_path):
    runs = [add_periods(run, [[0.5], [0.4, 0.3], [0.55, 0.28, 0.2]]) for run in two_strategies(tmp_path)]
    figure = plot.forgetting(runs)
    zero, *lines = figure.axes[0].get_lines()
    assert list(np.asarray(zero.get_ydata())) == [0, 0]
    np.testing.assert_allclose(lines[0].get_ydata(), [5, -2])
    assert png(figure)


def test_a_long_title_gives_way_to_the_remark(tmp_path):
    figure = plot.forgetting([add_periods(run, [[0.5], [0.4, 0.3]]) for run in two_strategies(tmp_path)])
    assert figure.axes[0].get_title(loc="left") == "Forgetting (percentage points)\n"  # a line above the remark
    ax = Figure().subplots()
    name_axes(ax, "round", "WER (%)")
    remark(ax, "3 seeds")
    assert ax.get_title(loc="left") == "WER (%)"


@pytest.mark.parametrize("draw", [plot.deciles, plot.forgetting, plot.periods, plot.participation])
def test_nothing_to_draw_is_said(tmp_path, draw):
    figure = draw(make_run(tmp_path / "a", rounds=0, status="running"))
    assert png(figure)
    assert re.search("no run evaluated|no period|no client", texts(figure))


def test_no_global_state_is_touched(tmp_path):
    plot.run(make_run(tmp_path / "a"))
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


@given(st.lists(st.floats(0, 100), min_size=1, max_size=6))
def test_labels_never_overlap_and_stay_on_the_axes(wanted):
    placed = sorted(spread(wanted, 10.0, 0.0, 100.0))
    assert all(after - before >= 10 - 1e-9 for before, after in itertools.pairwise(placed))
    assert placed[0] >= -1e-9
    assert placed[-1] <= 100 + 1e-9


def test_groups_of_speakers_are_drawn_with_their_intervals_worst_on_top(tmp_path):
    run = add_fairness(make_run(tmp_path / "run"))
    figure = fedasr.plot.fairness(run)
    (ax,) = figure.axes
    assert [label.get_text() for label in ax.get_yticklabels()][-1] == "f (12)"
    assert len(ax.get_lines()[0].get_xdata()) == 3
    assert png(figure).startswith(b"\x89PNG")
    with pytest.raises(InputError, match="did you mean 'gender'"):
        fedasr.plot.fairness(run, "gendre")
    with pytest.raises(InputError, match="no attribute was compared"):
        fedasr.plot.fairness(make_run(tmp_path / "plain"))
