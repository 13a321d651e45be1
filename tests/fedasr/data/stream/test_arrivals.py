import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedasr.data.stream.arrivals import PoissonArrivals, TraceArrivals
from fedasr.errors import InputError
from tests.fedasr.data.stream.tables import table
from tests.tiers import examples

WORDS = np.array([f"word {i}" for i in range(10)], object)


def poisson(rows, periods=5, drift=0.0, seed=0, words=10):
    law = PoissonArrivals(seed, periods, drift, WORDS[np.arange(rows) % words])
    return law, law.periods(law.times(np.arange(rows)))


def trace(*stamps, periods, held=None):
    corpus = table(len(stamps), timestamp=list(stamps))
    return TraceArrivals(corpus, np.arange(len(stamps)) if held is None else np.array(held), periods)


def periods_of(law, rows):
    return law.periods(law.times(np.arange(rows))).tolist()


def test_without_drift_arrivals_are_uniform():
    _, periods = poisson(100_000)
    counts = np.bincount(periods, minlength=5)
    assert ((counts - 20_000) ** 2 / 20_000).sum() < 18.5, "chi-square, 4 degrees of freedom, 0.1 %"
    by_text = np.bincount(periods * 10 + np.arange(100_000) % 10, minlength=50)
    assert ((by_text - 2000) ** 2 / 2000).sum() < 85.4, "whatever is said: 49 degrees of freedom, 0.1 %"


def test_gaps_of_a_device_are_those_of_a_poisson_process():
    """Given n arrivals in [0, T), the first one is later than t with probability (1 - t/T)^n."""
    law, _ = poisson(100_000)
    first = law.times(np.arange(100_000)).reshape(-1, 4).min(axis=1)
    for t in (0.5, 1.0, 2.0):
        wanted = (1 - t / 5) ** 4
        assert (first > t).mean() == pytest.approx(wanted, abs=4 * np.sqrt(wanted * (1 - wanted) / 25_000))


def test_with_full_drift_every_text_has_its_period_and_every_period_its_texts():
    _, periods = poisson(1000, drift=1.0)
    by_text = periods.reshape(-1, 10)
    assert (by_text == by_text[0]).all()
    assert np.bincount(by_text[0], minlength=5).tolist() == [2, 2, 2, 2, 2]
    _, other = poisson(1000, drift=1.0, seed=1)
    assert (other[:10] != by_text[0]).any()
    within = poisson(1000, drift=1.0)[0].times(np.arange(1000)) % 1
    assert within.mean() == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize("drift", [0.25, 0.5, 0.9])
def test_drift_is_the_probability_of_a_texts_own_period(drift):
    law, periods = poisson(100_000, drift=drift)
    own = law.own_periods
    wanted = drift + (1 - drift) / 5
    assert (periods == own).mean() == pytest.approx(wanted, abs=4 * np.sqrt(wanted * (1 - wanted) / 100_000))
    counts = np.bincount(periods, minlength=5)
    assert counts / 100_000 == pytest.approx([0.2] * 5, abs=0.005), "over all texts, arrivals stay uniform"


def test_a_frequent_text_takes_the_place_of_several():
    texts = np.array(["often"] * 60 + [f"rare {i}" for i in range(40)], object)
    law = PoissonArrivals(0, 5, 1.0, texts)
    counts = np.bincount(law.own_periods, minlength=5)
    assert counts.sum() == 100
    assert counts.max() <= 60 + 20
    assert len(set(law.own_periods[:60].tolist())) == 1


def test_held_out_speech_of_a_text_has_the_period_of_the_text():
    law, _ = poisson(1000, drift=1.0)
    again = PoissonArrivals(0, 5, 1.0, np.concatenate([law.texts, law.texts]))
    np.testing.assert_array_equal(again.own_periods[:1000], again.own_periods[1000:])
    np.testing.assert_array_equal(again.own_periods[:1000], law.own_periods)


def test_any_text_can_drift():
    law = PoissonArrivals(0, 2, 1.0, np.array(["", None, "إغلاق", "\ud800", "a"], object))
    assert set(law.periods(law.times(np.arange(5))).tolist()) <= {0, 1}


@settings(max_examples=examples(100), deadline=None)
@given(st.integers(0, 2**50), st.integers(1, 1000), st.sampled_from([0.0, 0.3, 1.0]))
def test_times_lie_in_their_periods(seed, count, drift):
    law = PoissonArrivals(seed, count, drift, WORDS)
    rows = np.arange(10)
    times = law.times(rows)
    periods = law.periods(times)
    assert (periods == np.floor(times)).all()
    assert periods.min() >= 0
    assert periods.max() < count
    np.testing.assert_array_equal(times, [law.times(rows[i : i + 1])[0] for i in rows])


def test_a_trace_is_cut_into_equal_spans():
    hours = trace(*[f"2024-05-01T{hour:02d}:00" for hour in range(11)], periods=5)
    assert periods_of(hours, 11) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 4]
    assert periods_of(trace("2024-05-01", "2024-05-02", "2024-05-03", periods=1), 3) == [0, 0, 0]


def test_time_zones_are_brought_together():
    law = trace(
        "2024-05-01T00:00:00Z",
        "2024-05-01T12:00:00+02:00",
        "2024-05-01T10:00:00",
        "2024-05-01T05:00:00-05:00",
        "2024-05-01T20:00:00Z",
        periods=2,
    )
    assert periods_of(law, 5) == [0, 1, 1, 1, 1]
    times = law.times(np.arange(5))
    assert times[1] == times[2] == times[3]
    assert times[4] - times[0] == 20 * 3600 * 10**6


def test_only_what_clients_hold_spans_the_run_and_the_rest_is_put_at_its_ends():
    law = trace("2020-01-01", "2024-01-01", "2024-01-03", "2024-01-05", "2030-01-01", periods=2, held=[1, 2, 3])
    assert periods_of(law, 5) == [0, 0, 1, 1, 1]


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.integers(0, 400), min_size=2, max_size=12), st.integers(1, 9))
def test_spans_are_exact(minutes, periods):
    """The period is ⌊periods · (t - first) / (last - first)⌋ in whole numbers; the last time is in the last one."""
    first, last = min(minutes), max(minutes)
    stamps = [f"2024-05-01T{m // 60:02d}:{m % 60:02d}:00Z" for m in minutes]
    law = trace(*stamps, periods=periods)
    if first == last and periods > 1:
        with pytest.raises(InputError, match="all training utterances have the same 'timestamp'"):
            periods_of(law, len(minutes))
        return
    wanted = [min(periods - 1, periods * (m - first) // max(1, last - first)) for m in minutes]
    assert periods_of(law, len(minutes)) == wanted


def test_all_of_history_in_many_periods_overflows_nothing():
    law = trace("0001-01-01T00:00:00+14:00", "5000-07-01", "9999-12-31T23:59:59.999999-14:00", periods=100_000)
    first, middle, last = periods_of(law, 3)
    assert (first, last) == (0, 99_999)
    assert 49_990 < middle < 50_010


def test_a_corpus_without_timestamps():
    with pytest.raises(
        InputError, match=r"needs the column 'timestamp' \(ISO 8601\); the corpus has: text, duration_s"
    ):
        TraceArrivals(table(1, text=["a"]), np.arange(1), 1)


@pytest.mark.parametrize(
    ("value", "said"),
    [("", "is empty"), (None, "is empty"), ("yesterday", "is 'yesterday'"), ("2024-13-01", "is '2024-13-01'")],
)
def test_a_wrong_timestamp_names_its_row(value, said):
    law = trace("2024-05-01", value, "2024-05-02", periods=2)
    with pytest.raises(InputError, match=rf"^table.csv:3: the timestamp {said}; .* ISO 8601, such as"):
        law.times(np.arange(3))
    assert len(law.times(np.array([0, 2]))) == 2
