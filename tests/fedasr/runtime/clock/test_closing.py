import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fedasr.runtime.clock import close
from tests.tiers import examples

CLIENTS = np.array([7, 3, 9, 5])
DURATIONS = np.array([4.0, 2.0, 8.0, 2.0])
NOBODY = np.zeros(4, bool)


def closing(dropped=(), cohort=4, deadline=None, overhead=0.0):
    result = close(CLIENTS, DURATIONS, np.isin(CLIENTS, dropped), cohort, deadline, overhead)
    return (
        result.accepted.tolist(),
        result.durations.tolist(),
        sorted(result.late.tolist()),
        sorted(result.dropped.tolist()),
        result.seconds,
    )


def test_everybody_answers():
    assert closing() == ([3, 5, 7, 9], [2, 2, 4, 8], [], [], 8)
    assert closing(overhead=1.5) == ([3, 5, 7, 9], [2, 2, 4, 8], [], [], 9.5)


def test_the_first_of_too_many_are_taken_and_of_equal_ones_the_smaller_number():
    assert closing(cohort=2) == ([3, 5], [2, 2], [7, 9], [], 2)
    assert closing(cohort=1) == ([3], [2], [5, 7, 9], [], 2)


def test_a_device_that_drops_out_is_not_waited_for_where_the_cohort_is_full():
    assert closing(dropped=[9], cohort=3) == ([3, 5, 7], [2, 2, 4], [], [9], 4)


def test_a_device_that_drops_out_is_found_lost_when_its_answer_was_due():
    assert closing(dropped=[9]) == ([3, 5, 7], [2, 2, 4], [], [9], 8)
    assert closing(dropped=[3]) == ([5, 7, 9], [2, 4, 8], [], [3], 8)


def test_a_deadline():
    assert closing(deadline=4.0) == ([3, 5, 7], [2, 2, 4], [9], [], 4), "an answer at the deadline is in time"
    assert closing(deadline=3.0, overhead=1.0) == ([3, 5], [2, 2], [7, 9], [], 4)
    assert closing(deadline=3.0, cohort=2) == ([3, 5], [2, 2], [7, 9], [], 2), "the cohort was full before it"
    assert closing(deadline=100.0) == ([3, 5, 7, 9], [2, 2, 4, 8], [], [], 8), "all were in before it"
    assert closing(deadline=6.0, dropped=[9]) == ([3, 5, 7], [2, 2, 4], [], [9], 6)


def test_nobody_answers_and_the_round_still_takes_its_time():
    assert closing(deadline=1.0, overhead=0.5) == ([], [], [3, 5, 7, 9], [], 1.5)
    assert closing(dropped=[3, 5, 7, 9], overhead=0.5) == ([], [], [], [3, 5, 7, 9], 8.5)
    nobody = close(CLIENTS[:0], DURATIONS[:0], NOBODY[:0], 10, None, 1.0)
    assert (len(nobody.accepted), nobody.seconds) == (0, 1.0)
    assert close(CLIENTS[:0], DURATIONS[:0], NOBODY[:0], 0).seconds == 0


device = st.tuples(st.integers(0, 50).map(float), st.booleans())


@settings(max_examples=examples(300), deadline=None)
@given(
    st.dictionaries(st.integers(0, 100), device, max_size=12),
    st.integers(0, 14),
    st.none() | st.integers(1, 60).map(float),
    st.floats(0, 10),
    st.randoms(use_true_random=False),
)
def test_laws(devices, cohort, deadline, overhead, random):
    order = list(devices)
    random.shuffle(order)
    clients = np.array(order, np.int64)
    durations = np.array([devices[c][0] for c in order])
    dropped = np.array([devices[c][1] for c in order], bool)
    result = close(clients, durations, dropped, cohort, deadline, overhead)

    everyone = [*result.accepted.tolist(), *result.late.tolist(), *result.dropped.tolist()]
    assert sorted(everyone) == sorted(devices), "everyone is accounted for, once"
    assert len(result.accepted) <= cohort
    assert result.durations.tolist() == [devices[c][0] for c in result.accepted.tolist()]
    assert sorted(result.dropped.tolist()) == sorted(c for c, (_, lost) in devices.items() if lost)
    closed = result.seconds - overhead
    assert closed <= max(durations.max(initial=0.0), 0) + 1e-9
    if deadline is not None:
        assert closed <= deadline + 1e-9
    assert all(d <= closed + 1e-9 for d in result.durations)
    if len(result.accepted) < cohort:
        assert all(deadline is not None and devices[c][0] > deadline for c in result.late.tolist())
    ranked = [(devices[c][0], c) for c in result.accepted.tolist()]
    assert ranked == sorted(ranked)
    assert all((devices[c][0], c) > ranked[-1] for c in result.late.tolist() if ranked)
    again = close(clients[::-1], durations[::-1], dropped[::-1], cohort, deadline, overhead)
    assert again.accepted.tolist() == result.accepted.tolist(), "the order of the selection makes no difference"
    assert again.seconds == result.seconds
