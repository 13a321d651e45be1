"""Votes as whole numbers: exact small cases, noise that comes in shares, what it costs, and sums that do not wrap."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kstest, laplace, norm
from scipy.stats import skellam as skellam_law

from fedasr.clients.edge.policy import charged_since
from fedasr.config import Config, load
from fedasr.errors import InputError
from fedasr.privacy.ledger import Ledger
from fedasr.privacy.pate.analysis import ORDERS, to_epsilon
from fedasr.privacy.pate.mechanisms import soft_laplace_rdp
from fedasr.secure.modulus import wrapped
from fedasr.secure.votes import CHANCE, LARGEST_SHARE, NOISE_BITS, VoteCoder

LEAST = 5


def config(mechanism: str = "gnmax", scale: float = 4.0, bits: int = 20, least: int = LEAST) -> Config:
    pate = {"mechanism": mechanism, "scale": scale, "noise_at": "teachers"}
    secure = {"mode": "simulate", "bits": bits, "least_clients": least}
    return load({"strategy": {"name": "pate"}, "pate": pate, "secure_aggregation": secure})


def test_votes_and_their_shares_add_up() -> None:
    coder = VoteCoder.of(config(), 7)
    votes = np.array([[[1.0, 0, 0], [0, 0, 1]], [[0, 1, 0], [0, 0, 1]], [[0, 0, 0], [0, 0, 1]]])  # one abstains
    encoded = [coder.encode(vote, np.random.default_rng(n)) for n, vote in enumerate(votes)]
    shares = sum(coder.share(6, np.random.default_rng(n)).reshape(2, 3) for n in range(3))
    total = wrapped(sum(encoded), coder.bits)
    assert (coder.decode(total) == [[1.0, 1, 0], [0, 0, 3]] + shares / coder.steps).all()
    assert shares.any()


def test_posteriors_are_rounded_down_before_the_noise() -> None:
    """Else a teacher could move a sum by more than the account says."""
    coder = replace(VoteCoder.of(config("soft-gaussian"), 7), steps=16)
    rng = np.random.default_rng(0)
    posterior = rng.dirichlet(np.ones(30), 50)
    whole = coder.encode(posterior, np.random.default_rng(1)) - coder.share(1500, np.random.default_rng(1)).reshape(
        50, 30
    )
    assert (whole >= 0).all()
    assert (whole <= 16 * posterior).all()
    assert (whole.sum(axis=1) <= 16).all()


@pytest.mark.parametrize("mechanism", ["gnmax", "soft-gaussian", "lnmax", "soft-laplace"])
def test_the_noise_of_the_least_shares_is_what_the_account_says(mechanism: str) -> None:
    """Of the law and the variance; with a share less it is not, and with more there is more."""
    coder, count = VoteCoder.of(config(mechanism), 7), 20_000
    rng = np.random.default_rng(5)
    shares = np.array([coder.share(count, rng) for _ in range(7)]) / coder.steps
    total = shares[:LEAST].sum(axis=0)
    law = laplace(scale=4.0) if coder.laplace else norm(scale=4.0)
    assert kstest(total, law.cdf).pvalue > 1e-3
    error = np.sqrt((law.stats("k") + 2) / count)  # relative, of the variance of so many draws
    assert abs(total.var() / law.var() - 1) < 4 * error
    assert not abs(shares[: LEAST - 1].sum(axis=0).var() / law.var() - 1) < 4 * error
    assert shares.sum(axis=0).var() / law.var() == pytest.approx(7 / LEAST, abs=6 * error)


def exact_rdp(log_p: np.ndarray, shift: int, order: float) -> float:  # type: ignore[type-arg]
    """Return RDP of a shift of whole-numbered noise, by summation."""
    moved, still = log_p[:-shift], log_p[shift:]
    return float(np.logaddexp.reduce(order * still - (order - 1) * moved) / (order - 1))


@pytest.mark.parametrize("order", [2.0, 2.5, 4.0, 16.0])
def test_no_neighbour_costs_more_than_skellam_noise_is_charged(order: float) -> None:
    coder = VoteCoder("gnmax", 3.0, LEAST, 20, 2)
    noise = skellam_law(coder.variance / 2, coder.variance / 2).logpmf(np.arange(-400, 401))
    alone = 2 * exact_rdp(noise[100:-100], coder.steps, order)
    charged = coder.rdp((order,))[0]
    assert alone <= charged < 1.2 * alone
    # As fine as there is room for, it costs what Gaussian noise does, of whole orders; between them little more.
    fine = replace(coder, steps=1 << NOISE_BITS).rdp((order,))[0]
    assert fine == pytest.approx(order / 9, rel=1e-5 if order.is_integer() else 0.1)


@pytest.mark.parametrize("order", [1.5, 2.0, 16.0])
@pytest.mark.parametrize("steps", [1, 2, 16])
def test_no_neighbour_costs_more_than_discrete_laplace_noise_is_charged(steps: int, order: float) -> None:
    coder = VoteCoder("soft-laplace", 3.0, LEAST, 20, steps)
    q = np.exp(-1 / coder.units)
    noise = np.log((1 - q) / (1 + q)) - np.abs(np.arange(-1500 * steps, 1500 * steps + 1)) / coder.units
    alone = 2 * exact_rdp(noise, steps, order)
    assert coder.rdp((order,))[0] == pytest.approx(alone, rel=1e-6)
    # The same spread over more classes costs less, and so does a vote that is not whole.
    if steps == 16:
        assert 4 * exact_rdp(noise, steps // 2, order) < alone
    assert replace(coder, mechanism="lnmax").rdp((order,))[0] >= alone
    fine = replace(coder, steps=1 << 14)
    assert fine.rdp((order,))[0] == pytest.approx(soft_laplace_rdp(3.0, (order,))[0], rel=1e-4)


@pytest.mark.parametrize("mechanism", ["gnmax", "soft-gaussian", "lnmax", "soft-laplace"])
@pytest.mark.parametrize(("teachers", "scale", "bits"), [(6, 1.0, 16), (100, 8.0, 16), (100, 0.01, 24), (9, 4.0, 14)])
def test_a_sum_does_not_wrap_around(mechanism: str, teachers: int, scale: float, bits: int) -> None:
    """All vote for one class; the grid is as fine as the bits allow, and no finer than is of use."""
    coder = VoteCoder.of(config(mechanism, scale, bits), teachers)
    assert coder.largest(teachers) < 1 << (bits - 1)
    finer = replace(coder, steps=2 * coder.steps)
    of_use = (scale if coder.laplace else scale / np.sqrt(LEAST)) * coder.steps >= 1 << NOISE_BITS
    assert of_use or coder.steps == 1 << 16 or finer.largest(teachers) >= 1 << (bits - 1)
    rng, counts = np.random.default_rng(3), np.tile([1.0, 0.0], (500, 1))
    total = sum(coder.encode(counts, rng) for _ in range(teachers))
    assert (coder.decode(wrapped(total, bits)) == total / coder.steps).all()
    assert np.abs(total).max() < coder.largest(teachers)
    assert CHANCE < 1e-15


def test_fewer_bits_cost_what_the_page_says() -> None:
    """docs/secure-aggregation.md; and a server that overstates the teachers makes a device charge itself more."""
    found = {}
    for bits in (16, 12, 10):
        coder = VoteCoder.of(config("gnmax", 8.0, bits, 67), 100)
        found[coder.steps] = round(to_epsilon(600 * coder.rdp(), ORDERS, 1e-5, "improved")[0], 3)
    assert found == {128: 28.877, 8: 28.881, 2: 28.986}
    few, many = (VoteCoder.of(config("gnmax", 1.0, 16), teachers).rdp((2.0,))[0] for teachers in (7, 20_000))
    assert many > 1.3 * few


@pytest.mark.parametrize(
    ("given", "teachers", "why"),
    [
        ({"bits": 8, "scale": 1.0}, 300, "is 8, which cannot hold the votes of 300 teachers"),
        ({"bits": 8, "scale": 100.0}, 6, "is 8, which cannot hold the votes of 6 teachers with their noise"),
        ({"bits": 10, "mechanism": "soft-gaussian"}, 60, "is 10, which cannot hold the votes of 60 teachers"),
        ({"bits": 32, "scale": 1e7}, 6, "'pate.scale' is 1e+07, too much noise for 5 exact shares"),
    ],
)
def test_bits_that_hold_no_votes_are_refused(given: dict[str, object], teachers: int, why: str) -> None:
    with pytest.raises(InputError) as refused:
        VoteCoder.of(config(**given), teachers)  # type: ignore[arg-type]
    assert why in str(refused.value)
    assert LARGEST_SHARE == 65536


def test_what_came_to_a_ledger_of_votes_has_no_more_than_its_own_cost() -> None:
    coder, ledger = VoteCoder.of(config(), 7), Ledger("rdp")
    ledger.charge(coder.event(3), released="votes", population=1)
    before = ledger.state_dict()
    ledger.charge(coder.event(4), released="votes", population=1)
    [entry] = ledger.entries
    assert entry.event.steps == 7
    [came] = charged_since(before, ledger)
    assert came.event.steps == 4
    assert came.event.rdp == pytest.approx(4 * coder.rdp(ORDERS))  # type: ignore[attr-defined]
