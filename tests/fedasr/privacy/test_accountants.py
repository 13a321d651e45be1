import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedasr.errors import InputError
from fedasr.privacy.accountants import calibrate, delta_of, epsilon_of, round_up, steps_within
from fedasr.privacy.events import (
    FixedSizeGaussian,
    Gaussian,
    Laplace,
    MicroBatchGaussian,
    PateVotes,
    PoissonGaussian,
    ZeroConcentrated,
)
from fedasr.privacy.pld import gaussian_delta, gaussian_epsilon, pld_epsilon
from fedasr.privacy.rdp import ORDERS, rdp_curve, rdp_epsilon
from tests.fedasr.privacy.vectors import vectors
from tests.tiers import examples


def poisson(z=1.0, q=0.01, steps=100, **options):
    return PoissonGaussian(unit="user", noise_multiplier=z, sampling_probability=q, steps=steps, **options)


@pytest.mark.thorough
@pytest.mark.parametrize("vector", vectors("accountant/sgm"), ids=lambda v: v["id"])
def test_the_published_settings(vector):
    given, wanted, tolerance = vector["inputs"], vector["expected"], vector["tolerance"]
    event = poisson(given["noise_multiplier"], given["q_numerator"] / given["q_denominator"], given["steps"])
    result = epsilon_of([event], given["delta"], "rdp")
    assert result.epsilon == pytest.approx(wanted["epsilon_recomputed"], rel=tolerance["recomputed_rel"])
    assert result.epsilon == pytest.approx(wanted["epsilon_published"], rel=tolerance["published_rel"])
    assert result.order == pytest.approx(wanted["optimal_order"], abs=0.11)
    assert epsilon_of([event], given["delta"]).epsilon < result.epsilon


def test_whole_orders_alone_would_overstate_a_large_epsilon():
    given = vectors("accountant/sgm/apple-z0.512")[0]["inputs"]
    event = poisson(given["noise_multiplier"], given["q_numerator"] / given["q_denominator"], given["steps"])
    whole = tuple(float(order) for order in range(2, 64))
    assert rdp_epsilon([event], given["delta"], whole)[0] == pytest.approx(95.1, rel=0.01)


@pytest.mark.parametrize("vector", vectors("accountant/zcdp"), ids=lambda v: v["id"])
def test_a_gaussian_rho_is_converted_exactly_and_the_rdp_route_is_above(vector):
    event = ZeroConcentrated(unit="user", rho=vector["inputs"]["rho"])
    result = epsilon_of([event], vector["inputs"]["delta"])
    assert result.epsilon == pytest.approx(vector["expected"]["epsilon"], rel=vector["tolerance"]["rel"])
    assert epsilon_of([event], vector["inputs"]["delta"], "rdp").epsilon == pytest.approx(3.583, abs=1e-3)
    # ρ is worth as much noise as one Gaussian release of 1/√(2ρ)
    one = Gaussian(unit="user", adjacency="zero-out", noise_multiplier=(2 * event.rho) ** -0.5)
    assert epsilon_of([one], vector["inputs"]["delta"]).epsilon == pytest.approx(result.epsilon, rel=1e-9)


def test_a_rho_without_gaussian_noise_has_no_loss_distribution():
    event = ZeroConcentrated(unit="user", rho=0.1, gaussian=False)
    with pytest.raises(InputError, match="pld cannot account"):
        epsilon_of([event], 1e-6)
    assert epsilon_of([event], 1e-6, "rdp").epsilon > epsilon_of([ZeroConcentrated(unit="user", rho=0.1)], 1e-6).epsilon


@pytest.mark.thorough
def test_one_poisson_step_is_the_known_formula():
    # Of one step, δ(ε) = q·δ_Gauss(ε′) with e^ε′ = 1 + (e^ε − 1)/q: amplification by sampling, exactly.
    z, q, delta = 0.8, 0.1, 1e-6
    result = epsilon_of([poisson(z, q, 1)], delta).epsilon
    inner = math.log1p(math.expm1(result) / q)
    assert q * gaussian_delta(1 / z, inner) == pytest.approx(delta, rel=1e-3)
    assert q * gaussian_delta(1 / z, inner) <= delta


def test_gaussian_steps_compose_to_one_with_less_noise():
    many = Gaussian(unit="user", noise_multiplier=10.0, steps=25)
    assert epsilon_of([many], 1e-6).epsilon == pytest.approx(gaussian_epsilon(0.5, 1e-6), rel=1e-9)
    assert gaussian_delta(0.5, gaussian_epsilon(0.5, 1e-6)) <= 1e-6


@pytest.mark.thorough
def test_the_true_sensitivity_counts():
    delta = 1e-6
    halved = epsilon_of([poisson(0.6, 0.02)], delta)
    means = MicroBatchGaussian(unit="user", noise_multiplier=1.2, sampling_probability=0.02, steps=100)
    assert epsilon_of([means], delta) == halved
    exchanged = Gaussian(unit="user", adjacency="replace-one", noise_multiplier=4.0)
    assert epsilon_of([exchanged], delta).epsilon == pytest.approx(
        epsilon_of([Gaussian(unit="user", noise_multiplier=2.0)], delta).epsilon
    )


@pytest.mark.thorough
def test_a_fixed_size_sample_costs_more_than_poisson_is_accounted_for():
    fixed = FixedSizeGaussian(unit="user", noise_multiplier=2.0, sampling_probability=0.02, steps=50)
    as_if = poisson(1.0, 0.02, 50)  # the same noise over the true sensitivity
    assert epsilon_of([fixed], 1e-6, "rdp").epsilon > epsilon_of([as_if], 1e-6, "rdp").epsilon
    everybody = FixedSizeGaussian(unit="user", noise_multiplier=2.0, sampling_probability=1.0, steps=50)
    plain = Gaussian(unit="user", adjacency="replace-one", noise_multiplier=2.0, steps=50)
    assert epsilon_of([everybody], 1e-6, "rdp") == epsilon_of([plain], 1e-6, "rdp")
    for accountant in ("pld", "prv"):
        with pytest.raises(InputError, match=f"{accountant} cannot account for this event; use rdp"):
            epsilon_of([fixed], 1e-6, accountant)


def test_laplace_is_pure():
    event = Laplace(unit="user", scale=2.0, steps=3)
    assert epsilon_of([event], 1e-9).epsilon <= 1.5 + 1e-3  # three times ε = ½, rounded up to the width
    assert epsilon_of([event], 1e-9).epsilon == pytest.approx(1.5, rel=1e-3)


def test_the_three_accountants_agree():
    event = poisson(1.1, 0.01, 1000)
    pld, rdp, prv = (epsilon_of([event], 1e-5, name).epsilon for name in ("pld", "rdp", "prv"))
    assert prv == pytest.approx(pld, rel=0.01)
    assert pld <= prv <= rdp <= 1.25 * pld


@pytest.mark.thorough
def test_prv_composes_unlike_steps():
    events = [poisson(1.1, 0.01, 300), poisson(0.9, 0.02, 200)]
    assert epsilon_of(events, 1e-5, "prv").epsilon == pytest.approx(epsilon_of(events, 1e-5).epsilon, rel=0.01)


def test_prv_refuses_what_it_cannot_resolve():
    with pytest.raises(InputError, match="prv cannot resolve an ε of about"):
        epsilon_of([poisson(0.05, 0.5, 1000)], 1e-5, "prv")


def test_rdp_answers_where_the_distribution_cannot():
    assert epsilon_of([poisson(50.0, 1e-5, 10**7)], 1e-6).accountant == "rdp"  # steps beyond the composition
    assert epsilon_of([poisson(1.0, 0.01, 1000)], 1e-30).accountant == "rdp"  # δ below its truncation


@pytest.mark.thorough
def test_delta_and_epsilon_are_inverse():
    events = [poisson(1.0, 0.01, 500)]
    for accountant in ("pld", "rdp"):
        epsilon = epsilon_of(events, 1e-5, accountant).epsilon
        assert delta_of(events, epsilon, accountant) == pytest.approx(1e-5, rel=1e-2)
    assert delta_of(events, 1.0) <= delta_of(events, 1.0, "rdp")


def test_units_and_adjacencies_do_not_mix():
    example = PoissonGaussian(unit="example", noise_multiplier=1, sampling_probability=0.1)
    with pytest.raises(InputError, match="example and user cannot be composed: an ε has one unit"):
        epsilon_of([example, poisson()], 1e-5)
    fixed = FixedSizeGaussian(unit="user", noise_multiplier=1, sampling_probability=0.1)
    with pytest.raises(InputError, match="one adjacency"):
        epsilon_of([fixed, poisson()], 1e-5, "rdp")


def test_nothing_costs_nothing():
    for accountant in ("pld", "rdp", "prv"):
        assert epsilon_of([poisson(steps=0)], 1e-5, accountant).epsilon == 0
        assert epsilon_of([], 1e-5, accountant).epsilon == 0


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: poisson(z=0), "'noise_multiplier' is 0; expected a number above 0"),
        (lambda: poisson(z=math.nan), "'noise_multiplier' is nan"),
        (lambda: poisson(z=math.inf), "'noise_multiplier' is inf"),
        (lambda: poisson(q=0), "'sampling_probability' is 0; expected a probability above 0, at most 1"),
        (lambda: poisson(q=1.01), "'sampling_probability' is 1.01"),
        (lambda: poisson(steps=-1), "'steps' is -1; expected a whole number"),
        (lambda: poisson(adjacency="replace-one"), "'adjacency' is 'replace-one'"),
        (lambda: PoissonGaussian(unit="uzer", noise_multiplier=1, sampling_probability=0.1), "did you mean 'user'"),
        (lambda: Laplace(unit="user", scale=-1), "'scale' is -1"),
        (lambda: ZeroConcentrated(unit="user", rho=0), "'rho' is 0"),
        (lambda: epsilon_of([poisson()], 0.0), "'delta' is 0; expected a number between 0 and 1"),
        (lambda: epsilon_of([poisson()], 1.0), "'delta' is 1"),
        (lambda: epsilon_of([poisson()], 1e-5, "gdp"), "'accountant' is 'gdp'"),
        (lambda: delta_of([poisson()], -1.0), "'epsilon' is -1"),
        (lambda: steps_within(poisson(), 0, 1e-5), "'epsilon' is 0"),
    ],
)
def test_what_is_out_of_range_is_named(make, says):
    with pytest.raises(InputError, match=says.replace("(", r"\(")):
        make()


def votes(orders, rdp, **options):
    return PateVotes(mechanism="gnmax", scales=(40.0,), orders=orders, rdp=rdp, rdp_data_independent=rdp, **options)


def test_a_curve_between_known_orders_is_bounded_from_above():
    orders = (1.5, 2.0, 4.0, 16.0)
    event = votes(orders, tuple(order / 50 for order in orders))
    true = Gaussian(unit="teacher", adjacency="replace-one", noise_multiplier=5.0, sensitivity=1.0)
    between = (1.2, 1.5, 1.7, 3.0, 9.0, 16.0, 20.0)
    upper, exact = rdp_curve([event], between), rdp_curve([true], between)
    assert (upper >= exact - 1e-12).all()
    assert upper[1] == pytest.approx(exact[1])
    assert upper[-1] == math.inf


@pytest.mark.thorough
def test_noise_that_decays_is_composed_step_by_step():
    noisy, less = poisson(2.0, 0.05, 50), poisson(1.0, 0.05, 50)
    both = epsilon_of([noisy, less], 1e-5).epsilon
    mean = epsilon_of([poisson(1.5, 0.05, 100)], 1e-5).epsilon
    assert both > mean  # averaging the noise would understate
    assert (
        epsilon_of([poisson(2.0, 0.05, 100)], 1e-5).epsilon < both < epsilon_of([poisson(1.0, 0.05, 100)], 1e-5).epsilon
    )


NOISE, PROBABILITY = st.floats(0.5, 5.0), st.floats(1e-4, 0.3)
STEPS, DELTA = st.integers(1, 2000), st.sampled_from([1e-9, 1e-6, 1e-5, 1e-3])


@pytest.mark.thorough
@settings(max_examples=examples(25), deadline=None)
@given(NOISE, PROBABILITY, STEPS, DELTA, st.floats(1.05, 3.0))
def test_more_steps_more_sampling_and_less_noise_cost_more(z, q, steps, delta, factor):
    base = epsilon_of([poisson(z, q, steps)], delta, "rdp").epsilon
    dearer = (
        poisson(z, q, math.ceil(steps * factor)),
        poisson(z, min(1, q * factor), steps),
        poisson(z / factor, q, steps),
    )
    for event in dearer:
        assert epsilon_of([event], delta, "rdp").epsilon >= base * (1 - 1e-9)


@pytest.mark.slow
@settings(max_examples=examples(6), deadline=None)
@given(st.floats(0.7, 3.0), st.floats(1e-3, 0.1), st.integers(1, 300), DELTA, st.floats(1.2, 3.0))
def test_the_loss_distribution_is_monotone_and_below_rdp(z, q, steps, delta, factor):
    base = pld_epsilon([poisson(z, q, steps)], delta)
    assert base <= rdp_epsilon([poisson(z, q, steps)], delta)[0] + 1e-3
    for event in (
        poisson(z, q, math.ceil(steps * factor)),
        poisson(z, q * factor, steps),
        poisson(z / factor, q, steps),
    ):
        assert pld_epsilon([event], delta) >= base - 1e-6


@settings(max_examples=examples(15), deadline=None)
@given(st.permutations([0, 1, 2, 3]), DELTA)
def test_the_order_of_events_does_not_matter(order, delta):
    events = [
        poisson(1.0, 0.01, 10),
        poisson(2.0, 0.05, 30),
        Gaussian(unit="user", noise_multiplier=9.0),
        Laplace(unit="user", scale=20.0),
    ]
    there = epsilon_of(events, delta, "rdp").epsilon
    assert epsilon_of([events[i] for i in order], delta, "rdp").epsilon == pytest.approx(there, rel=1e-12)


@pytest.mark.thorough
def test_the_order_of_events_does_not_matter_to_the_loss_distribution():
    events = [poisson(1.0, 0.01, 10), poisson(2.0, 0.05, 30), Laplace(unit="user", scale=20.0)]
    assert epsilon_of(events[::-1], 1e-6).epsilon == pytest.approx(epsilon_of(events, 1e-6).epsilon, rel=1e-9)


def check_calibrated(epsilon, q, steps, delta, accountant):
    z = calibrate(lambda noise: [poisson(noise, q, steps)], epsilon, delta, accountant)
    assert epsilon_of([poisson(z, q, steps)], delta, accountant).epsilon <= epsilon
    # and is not wasteful: a thousandth less noise is too little
    assert epsilon_of([poisson(z * 0.999, q, steps)], delta, accountant).epsilon > epsilon


@pytest.mark.thorough
@settings(max_examples=examples(6), deadline=None)
@given(st.floats(0.2, 20.0), st.floats(1e-3, 0.2), st.integers(1, 1000), st.sampled_from([1e-8, 1e-5]))
def test_calibrated_noise_never_exceeds_what_was_asked(epsilon, q, steps, delta):
    check_calibrated(epsilon, q, steps, delta, "rdp")


@pytest.mark.slow
@pytest.mark.parametrize(("epsilon", "q", "steps"), [(0.3, 0.01, 200), (1.0, 0.05, 50), (3.0, 1.0, 10)])
def test_nor_does_it_by_the_loss_distribution(epsilon, q, steps):
    check_calibrated(epsilon, q, steps, 1e-6, "pld")


def test_noise_is_calibrated_beside_what_was_spent():
    spent = [poisson(1.0, 0.01, 100)]
    z = calibrate(lambda noise: [*spent, poisson(noise, 0.01, 900)], 2.0, 1e-5, "rdp")
    assert 1.99 < epsilon_of([*spent, poisson(z, 0.01, 900)], 1e-5, "rdp").epsilon <= 2.0


def test_an_epsilon_out_of_reach_is_refused():
    with pytest.raises(InputError, match="so large an ε needs no noise"):
        calibrate(lambda noise: [poisson(noise, 0.5, 10)], 1e15, 1e-5, "rdp")


@settings(max_examples=examples(10), deadline=None)
@given(st.floats(0.5, 8.0), st.floats(0.6, 3.0), st.floats(1e-3, 0.1))
def test_as_many_steps_fit_as_are_said_to(epsilon, z, q):
    one = poisson(z, q, 1)
    fits = steps_within(one, epsilon, 1e-5, "rdp", most=5000)
    if fits:
        assert epsilon_of([one.times(fits)], 1e-5, "rdp").epsilon <= epsilon
    if fits < 5000:
        assert epsilon_of([one.times(fits + 1)], 1e-5, "rdp").epsilon > epsilon


@pytest.mark.slow
def test_steps_after_what_was_spent():
    spent = [poisson(2.0, 0.05, 40)]
    one = poisson(2.0, 0.05, 1)
    assert steps_within(one, 1.0, 1e-5, spent=spent) == steps_within(one, 1.0, 1e-5) - 40
    assert steps_within(one, 0.001, 1e-12, spent=spent) == 0


@settings(deadline=None)
@given(st.floats(1e-6, 1e6))
def test_rounding_up_is_up_and_close(value):
    assert value <= round_up(value, 6) <= value * (1 + 1e-5) + 1e-15


def test_the_grid_reaches_both_ends():
    assert ORDERS[0] < 1.05
    assert ORDERS[-1] >= 4096
    assert sum(1 for order in ORDERS if order < 2) > 20
