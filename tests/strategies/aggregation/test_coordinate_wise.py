"""Median and trimmed mean: exact values, the order of the replies, and how many Byzantine clients they tolerate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedasr.models.weights import Layout
from fedasr.strategies.aggregation.base import UpdateRefused
from fedasr.strategies.aggregation.coordinate_wise import Centre, CoordinateWise, median, trimmed, trimmed_mean
from fedasr.strategies.aggregation.exact_mean import ExactMean
from fedasr.strategies.aggregation.update_file import UpdateFile
from tests.tiers import examples

LAYOUT = Layout.of({"w": np.zeros((2, 2), np.float32), "b": np.zeros(1, np.float32)})
SIZE = LAYOUT.size
LAW = settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

Updates = npt.NDArray[np.float32]


def centre_of(
    centre: Centre, updates: Updates, folder: Path, start: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.float32]:
    """Return the centre of updates, shape ``(clients, 5)``, through the aggregate."""
    aggregate = CoordinateWise(LAYOUT, centre, UpdateFile(folder))
    begin = np.zeros(SIZE, np.float32) if start is None else start
    for update in updates:
        size = aggregate.rule.add(aggregate.sum, begin, LAYOUT.views(begin + update), 1)
        aggregate.count(1, size)
    assert aggregate.updates == len(updates)
    return aggregate.mean()


def column(*values: float) -> Updates:
    """Return updates that have the same value in each parameter."""
    return np.repeat(np.array(values, np.float32)[:, None], SIZE, axis=1)


def test_median_of_three_and_of_four(tmp_path: Path) -> None:
    np.testing.assert_array_equal(centre_of(median, column(5, -1, 2), tmp_path), column(2)[0])
    np.testing.assert_array_equal(centre_of(median, column(5, -1, 2, 3), tmp_path), column(2.5)[0])
    np.testing.assert_array_equal(centre_of(median, column(7), tmp_path), column(7)[0])


def test_each_parameter_has_a_median_of_its_own(tmp_path: Path) -> None:
    updates = np.array([[0, 9, 1, 0, 0], [1, 8, 5, 0, -1], [2, 7, 3, 1, 1]], np.float32)
    np.testing.assert_array_equal(centre_of(median, updates, tmp_path), np.array([1, 8, 3, 0, 0], np.float32))


def test_trimmed_mean_leaves_the_ends_out(tmp_path: Path) -> None:
    values = column(100, 1, 2, 3, -100)
    np.testing.assert_array_equal(centre_of(trimmed_mean(0.2), values, tmp_path), column(2)[0])
    np.testing.assert_array_equal(centre_of(trimmed_mean(0.4), values, tmp_path), column(2)[0])
    np.testing.assert_array_equal(centre_of(trimmed_mean(0.2), column(1, 2, 3, 4, 5, 60), tmp_path), column(3.5)[0])


@pytest.mark.parametrize(
    ("clients", "share", "left_out"),
    [
        *((10, 0.2, 2), (10, 0.1, 1), (10, 0.01, 1), (9, 0.2, 2), (100, 0.29, 29), (30, 0.1, 3)),
        *((5, 0.49, 2), (4, 0.49, 1), (3, 0.2, 1), (2, 0.2, 0), (1, 0.2, 0)),
    ],
)
def test_how_many_are_left_out(clients: int, share: float, left_out: int) -> None:
    assert trimmed(clients, share) == left_out
    assert clients - 2 * left_out >= 1


def test_the_update_is_what_the_client_changed(tmp_path: Path) -> None:
    start = np.array([1, -2, 3, 0.5, 100], np.float32)
    np.testing.assert_array_equal(centre_of(median, column(5, -1, 2), tmp_path, start), column(2)[0])


def test_nobody_replied_changes_nothing(tmp_path: Path) -> None:
    np.testing.assert_array_equal(CoordinateWise(LAYOUT, median, UpdateFile(tmp_path)).mean(), np.zeros(SIZE))


@pytest.mark.parametrize(
    ("values", "why"), [(np.nan, "not finite"), (np.inf, "not finite"), (1e9, "too large"), (1e30, "too large")]
)
def test_what_cannot_be_an_update_is_refused_and_leaves_no_trace(values: float, why: str, tmp_path: Path) -> None:
    aggregate = CoordinateWise(LAYOUT, median, UpdateFile(tmp_path))
    start = np.zeros(SIZE, np.float32)
    for update in column(1, 2, 3):
        aggregate.rule.add(aggregate.sum, start, LAYOUT.views(update), 1)
    with pytest.raises(UpdateRefused, match=why):
        aggregate.rule.add(aggregate.sum, start, LAYOUT.views(column(values)[0]), 1)
    np.testing.assert_array_equal(aggregate.mean(), column(2)[0])


centres = st.sampled_from([median, trimmed_mean(0.1), trimmed_mean(0.25), trimmed_mean(0.49)])


@LAW
@given(seed=st.integers(0, 2**32 - 1), clients=st.integers(1, 30), centre=centres, coarse=st.booleans())
def test_any_order_gives_the_same_bits(seed: int, clients: int, centre: Centre, coarse: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    updates = rng.normal(size=(clients, SIZE)).astype(np.float32)
    if coarse:  # ties, and zeros of both signs
        updates = np.rint(updates) * np.float32(0.1)
    result = {centre_of(centre, updates[rng.permutation(clients)], tmp_path).tobytes() for _ in range(3)}
    assert len(result) == 1


@LAW
@given(
    seed=st.integers(0, 2**32 - 1),
    honest=st.integers(1, 20),
    share=st.floats(0.01, 0.49),
    value=st.sampled_from([-1000.0, -1.0, 0.0, 3.0, 1000.0]),
)
def test_too_few_byzantine_clients_leave_the_result_between_honest_values(
    seed: int, honest: int, share: float, value: float, tmp_path: Path
) -> None:
    """Median: fewer than half. Trimmed mean: at most the share of all that is left out at either end."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(honest, SIZE)).astype(np.float32)
    spread = 1e-6 + 1e-6 * np.abs(truth).max(axis=0)  # the mean of equal numbers is rounded
    for centre, byzantine in ((median, honest - 1), (trimmed_mean(share), int(share / (1 - share) * honest))):
        updates = np.concatenate([truth, np.full((byzantine, SIZE), value, np.float32)])
        result = centre_of(centre, rng.permutation(updates), tmp_path)
        assert (result >= truth.min(axis=0) - spread).all()
        assert (result <= truth.max(axis=0) + spread).all()


def test_one_byzantine_client_more_breaks_them(tmp_path: Path) -> None:
    """So the laws above could fail."""
    assert centre_of(median, column(1, 2, 900, 900), tmp_path)[0] > 2
    assert centre_of(trimmed_mean(0.2), column(1, 2, 3, 900, 900), tmp_path)[0] > 3


def test_the_mean_breaks_with_a_single_byzantine_client() -> None:
    mean = ExactMean(LAYOUT, np.zeros(SIZE, np.float32), 5)
    for update in column(1, 1, 1, 1, -900):
        mean.add(LAYOUT.views(update), 1)
    assert mean.mean()[0] < -100
