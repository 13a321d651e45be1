"""Whatever legal numbers an accountant is given: an ε, or one line, in bounded time and memory."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fedasr.config import load
from fedasr.errors import InputError
from fedasr.privacy.accountants import calibrate, delta_of, epsilon_of, steps_within
from fedasr.privacy.checks import MOST_STEPS
from fedasr.privacy.events import (
    Event,
    FixedSizeGaussian,
    Gaussian,
    Laplace,
    MicroBatchGaussian,
    PoissonGaussian,
    ZeroConcentrated,
)
from fedasr.privacy.pld import LARGEST_EPSILON, MOST_DISTRIBUTIONS, one_step_extent, out_of_reach, width_of
from tests.tiers import examples

SECONDS = 20.0
"""Of one processor, for one question; it took 142."""
BYTES = 600e6
"""It took 1.8 GB."""


def powers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high).map(lambda exponent: min(10.0**exponent, 10.0**high))


noises = st.one_of(powers(-12, 12), powers(-2, 2))
probabilities = st.one_of(st.just(1.0), powers(-300, 0), powers(-4, 0), st.floats(0.5, 0.9999))
many = st.one_of(st.integers(1, 5000), powers(0, 15).map(int))
deltas = st.one_of(powers(-300, -0.001), powers(-9, -1), st.floats(0.1, 0.99))


def sampled(kind: type[Any]) -> Callable[..., Event]:
    return lambda z, q, steps: kind(unit="user", noise_multiplier=z, sampling_probability=q, steps=steps)


KINDS: dict[str, Callable[..., Event]] = {
    "poisson": sampled(PoissonGaussian),
    "micro-batches": sampled(MicroBatchGaussian),
    "fixed-size": sampled(FixedSizeGaussian),
    "gaussian": lambda z, q, steps: Gaussian(unit="user", noise_multiplier=z, steps=steps),
    "laplace": lambda z, q, steps: Laplace(unit="user", scale=z, steps=steps),
    "zcdp": lambda z, q, steps: ZeroConcentrated(unit="user", rho=z, steps=steps),
    "zcdp of another noise": lambda z, q, steps: ZeroConcentrated(unit="user", rho=z, gaussian=False, steps=steps),
}


def bounded(question: Callable[[], float]) -> float | None:
    """Return the answer, which is a number and came in time; None where it was refused in a line."""
    started = time.process_time()
    result: float | None = None
    with suppress(InputError):
        result = question()
    assert time.process_time() - started < SECONDS
    assert result is None or result >= 0
    return result


@pytest.mark.slow
@settings(max_examples=examples(25), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(sorted(KINDS)), noises, probabilities, many, deltas, st.sampled_from(["pld", "rdp", "prv"]))
@example("poisson", 1.0, 0.5, 1, 0.5, "pld")
@example("poisson", 1e-12, 0.5, 1, 1e-5, "pld")
@example("poisson", 0.05, 1e-9, 1000, 0.4, "pld")
@example("laplace", 1e-12, 1.0, 1000, 1e-5, "pld")
@example("fixed-size", 1e-12, 1e-300, MOST_STEPS, 1e-5, "rdp")
@example("fixed-size", 1e12, 1.0, 1, 1e-300, "rdp")
def test_every_question_is_answered_in_bounded_time(
    kind: str, noise: float, q: float, steps: int, delta: float, accountant: str
) -> None:
    event = KINDS[kind](noise, q, steps)
    bounded(lambda: epsilon_of([event], delta, accountant).epsilon)
    if accountant != "prv":
        told = bounded(lambda: delta_of([event], 1.0, accountant))
        assert told is None or told <= 1


@pytest.mark.thorough
@settings(max_examples=examples(200), deadline=None)
@given(noises, probabilities, many, deltas)
def test_no_distribution_has_more_points_than_memory_allows(z: float, q: float, steps: int, delta: float) -> None:
    """A step of 1e-6 nats over losses of tens of nats is 1.8 GB."""
    event = KINDS["poisson"](z, q, steps)
    if not out_of_reach([event], delta):
        points = one_step_extent(event) / width_of([event], delta)
        assert 8 * 100 * points < BYTES  # a hundred arrays of doubles


def test_many_different_distributions_are_left_to_rdp() -> None:
    events = [KINDS["poisson"](1 + number / 1000, 0.01, 3) for number in range(MOST_DISTRIBUTIONS + 1)]
    started = time.process_time()
    assert epsilon_of(events, 1e-5).accountant == "rdp"
    assert time.process_time() - started < SECONDS


def test_an_epsilon_beyond_doubles_comes_from_rdp() -> None:
    event = KINDS["poisson"](1e-3, 0.5, 1000)
    result = epsilon_of([event], 1e-5)
    assert result.accountant == "rdp"
    assert LARGEST_EPSILON < result.epsilon < math.inf


@pytest.mark.slow
@pytest.mark.parametrize(("epsilon", "delta"), [(1e-9, 1e-300), (1e9, 0.5), (1.0, 0.99)])
@pytest.mark.parametrize("accountant", ["rdp", "pld"])
def test_noise_is_found_or_refused_in_bounded_time(epsilon: float, delta: float, accountant: str) -> None:
    result = bounded(lambda: calibrate(lambda z: [KINDS["poisson"](z, 0.01, 100)], epsilon, delta, accountant, 1e-2))
    if result:
        assert epsilon_of([KINDS["poisson"](result, 0.01, 100)], delta, accountant).epsilon <= epsilon


def test_steps_are_counted_in_bounded_time() -> None:
    assert bounded(lambda: steps_within(KINDS["poisson"](100.0, 1e-6, 1), 1.0, 1e-5)) == 10_000_000
    assert bounded(lambda: steps_within(KINDS["poisson"](1e-12, 0.5, 1), 1.0, 1e-5)) == 0


@pytest.mark.parametrize("value", [1e-13, 1e13, 1e-200, 1e200])
@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"zcdp", "zcdp of another noise"}))
def test_noise_that_nobody_can_reckon_with_is_refused(kind: str, value: float) -> None:
    with pytest.raises(InputError, match="expected a number from 1e-12 to 1e\\+12"):
        KINDS[kind](value, 0.5, 1)


def test_steps_beyond_counting_are_refused() -> None:
    with pytest.raises(InputError, match="'steps' has 401 digits"):
        KINDS["poisson"](1.0, 0.5, 10**400)


@pytest.mark.thorough
@pytest.mark.parametrize("noise", [1e-12, 1e-10, 1e7])
@pytest.mark.parametrize("unit", ["user", "example"])
def test_a_run_is_refused_before_it_trains(unit: str, noise: float) -> None:
    """``noise_multiplier=1e-12`` overflowed when the first round was charged, after it had trained."""
    privacy = {"unit": unit, "noise_multiplier": noise}
    with pytest.raises(InputError, match=r"privacy\.noise_multiplier"):
        load({"privacy": privacy, "strategy": {"weighting": "uniform"}, "client": {"optimizer": "sgd"}})
