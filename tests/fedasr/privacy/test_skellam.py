"""The Skellam mechanism: published figures, exact small cases, and that its noise is what its account says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fedasr.errors import InputError
from fedasr.privacy.accountants import epsilon_of
from fedasr.privacy.events import Gaussian, Skellam, event_from_json
from fedasr.privacy.ledger import Budget, Ledger
from fedasr.privacy.rdp import ORDERS, rdp_curve, rdp_epsilon
from fedasr.privacy.skellam import conditional_rounding, integer_scale, skellam, skellam_rdp, square_bound
from fedasr.results.pages.privacy_card import card_of

Z, CLIENTS, ENTRIES, ROUNDS, DELTA = 4.0, 300, 2**18, 30, 1e-5


def event(bits: int, clip: float = 1.0) -> Skellam:
    scale = integer_scale(bits, CLIENTS, ENTRIES, clip, Z * clip / math.sqrt(CLIENTS))
    return Skellam(unit="user", noise_multiplier=Z, dimensions=ENTRIES, scaled_clip=scale * clip, steps=ROUNDS)


@pytest.mark.parametrize(("bits", "epsilon"), [(20, 6.838), (16, 6.900), (14, 7.81), (12, 19.2)])
def test_epsilon_costs_what_the_bits_cost(bits: int, epsilon: float) -> None:
    result = epsilon_of([event(bits)], DELTA, "rdp").epsilon
    assert result == pytest.approx(epsilon, rel=1.5e-3)


def test_with_many_bits_epsilon_is_that_of_the_gaussian() -> None:
    """The bound is one of whole orders, where the Gaussian's ε is the same; between them that is a little lower."""
    central = Gaussian(unit="user", adjacency="zero-out", noise_multiplier=Z, steps=ROUNDS)
    whole = tuple(float(order) for order in range(2, 65))
    exact = rdp_epsilon([central], DELTA, whole)[0]
    assert exact == pytest.approx(6.838, abs=1e-3)
    assert exact <= rdp_epsilon([event(30)], DELTA, whole)[0] <= exact * 1.00001
    assert epsilon_of([central], DELTA, "rdp").epsilon <= epsilon_of([event(30)], DELTA, "rdp").epsilon


def test_the_clip_norm_is_a_unit_and_costs_nothing() -> None:
    assert event(14, clip=0.01).scaled_clip == pytest.approx(event(14).scaled_clip, rel=1e-12)


def test_the_curve_is_the_formula_at_whole_orders_and_never_below_it_between() -> None:
    z, entries, clip = 1.5, 64, 10.0
    square = min((clip + 8) ** 2, clip**2 + 16 + math.sqrt(1.0) * (clip + 4))
    absolute = min(8 * math.sqrt(square), square)
    variance = (z * clip) ** 2

    def formula(order: float) -> float:
        tail = min(((2 * order - 1) * square + 6 * absolute) / (4 * variance**2), 3 * absolute / (2 * variance))
        return order * square / (2 * variance) + tail

    result = skellam_rdp(z, entries, clip, (2.0, 2.5, 3.0, 17.0))
    assert result[[0, 2, 3]] == pytest.approx([formula(2), formula(3), formula(17)], rel=1e-12)
    assert result[1] >= formula(2.5)
    curve = rdp_curve([Skellam(unit="user", noise_multiplier=z, dimensions=entries, scaled_clip=clip)], ORDERS)
    assert np.all(np.diff((np.array(ORDERS) - 1) * curve) > 0)


def test_too_few_bits_are_refused() -> None:
    with pytest.raises(InputError, match="is 8, which cannot hold a sum of 5000 clients"):
        integer_scale(8, 5000, 4096, 1.0, 0.1)


def test_rounding_never_makes_a_vector_longer_than_the_bound() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal(256)
    values *= 20 / np.linalg.norm(values)
    bound = square_bound(20.0, 256)
    rounded = np.stack([conditional_rounding(values, bound, rng) for _ in range(400)])
    assert np.einsum("ij,ij->i", rounded, rounded).max() <= bound
    assert np.abs(rounded - values).max() < 1
    assert np.abs(rounded.mean(0) - values).max() < 0.15


def test_noise_of_shares_adds_up_to_the_noise_of_the_sum() -> None:
    rng = np.random.default_rng(1)
    total = sum(skellam(rng, 9.0, 50_000) for _ in range(4))
    assert total.dtype == np.int64
    assert total.mean() == pytest.approx(0, abs=0.1)
    assert total.var() == pytest.approx(36.0, rel=0.03)


def test_a_card_says_that_the_server_sees_sums() -> None:
    ledger = Ledger("rdp", secret=True)
    ledger.charge(event(16), released="update", population=300, round=1, seen_by="server")
    (guarantee,) = card_of(ledger, DELTA, {})["guarantees"]
    assert guarantee["setting"].startswith("distributed: each device adds a share of the noise")
    assert guarantee["accesses_covered"].startswith("the noisy sum of clipped updates of every round")


def test_the_event_survives_json_and_is_charged_and_budgeted() -> None:
    one = Skellam(unit="user", noise_multiplier=Z, dimensions=ENTRIES, scaled_clip=event(16).scaled_clip)
    assert event_from_json(one.as_json()) == one
    ledger = Ledger("pld")
    for round in range(1, ROUNDS + 1):
        ledger.charge(one, released="update", population=300, round=round, seen_by="server")
    assert len(ledger.entries) == 1
    spending = ledger.spent(DELTA)[0]
    assert spending.epsilon == pytest.approx(6.900, abs=2e-3)
    assert spending.accountant == "rdp"
    assert Ledger("pld").room(Budget(6.901, DELTA, "user"), one, seen_by="server") == ROUNDS
