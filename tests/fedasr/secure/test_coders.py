"""Updates as whole numbers: exact small cases, sums that do not wrap around, and the noise that comes in shares."""

from __future__ import annotations

import numpy as np
import pytest

from fedasr.config import Config, load
from fedasr.errors import InputError
from fedasr.models.weights import Vector
from fedasr.secure.coders import Counts, RangeCoder, ShareCoder, block_widths, make_coder, skellam_event
from fedasr.secure.modulus import Residues, centred, kind_of, pack, packed_bytes, unpack, wrapped


def summed(bits: int, *encoded: Residues) -> Residues:
    return wrapped(sum(part.astype(np.int64) for part in encoded), bits)


@pytest.mark.parametrize("bits", [8, 11, 12, 16, 17, 20, 24, 32])
def test_whole_numbers_have_as_many_bits_as_they_need(bits: int) -> None:
    drawn = np.random.default_rng(bits).integers(0, 1 << bits, 1001).astype(kind_of(bits))
    content = pack(drawn, bits)
    assert content.nbytes == packed_bytes(1001, bits) == -(-1001 * bits // 8)
    assert np.array_equal(unpack(content, 1001, bits), drawn)
    with pytest.raises(ValueError, match=f"expected {packed_bytes(1001, bits)}: 1001 numbers of {bits} bits"):
        unpack(content[:-1], 1001, bits)


def test_negative_numbers_come_back() -> None:
    given = np.array([-2048, -1, 0, 1, 2047])
    assert wrapped(given, 12).tolist() == [2048, 4095, 0, 1, 2047]
    assert centred(wrapped(given, 12), 12).tolist() == given.tolist()


@pytest.mark.parametrize("bits", [12, 16, 24, 32])
def test_the_mean_is_weighted_and_counts_are_exact(bits: int) -> None:
    updates = np.array([[0.05, -0.02, 0.1], [-0.05, 0.04, 0.1], [0.5, -0.5, 0.0]], np.float32)
    counts = [Counts(3, 4, 123_456, 4, 9_999), Counts(1, 2, 7, 0, 0), Counts(2, 2, 2**40, 2, 1)]
    coder = RangeCoder(3, bits, 0.1, 3, 3, 0)
    encoded = [coder.encode(u, c, 1, n) for n, (u, c) in enumerate(zip(updates, counts, strict=True))]
    mean, result = coder.decode(summed(bits, *encoded), 3, 1)
    clipped = np.clip(updates, -0.1, 0.1)
    expected = np.average(clipped, axis=0, weights=[3, 1, 2])
    assert np.abs(mean - expected).max() <= 3 * 0.1 / coder.levels * 3 / 6 + 1e-8
    assert result == Counts(6, 8, 123_456 + 7 + 2**40, 6, 10_000, cut=2)


def test_largest_updates_do_not_wrap_around() -> None:
    coder = RangeCoder(2, 8, 0.1, 100, 1, 0)
    assert coder.levels == 1
    encoded = [coder.encode(np.array([9, -9], np.float32), Counts(1), 1, client) for client in range(100)]
    mean, counts = coder.decode(summed(8, *encoded), 100, 1)
    assert mean == pytest.approx([0.1, -0.1])
    assert counts.weight == 100


@pytest.mark.parametrize("clip", [0.1, 0.03, 1 / 3, 7e-5])
@pytest.mark.parametrize("clients", [2, 3, 5, 7])
def test_no_entry_is_beyond_the_levels(clip: float, clients: int) -> None:
    """By rounding in single precision one in hundreds of the largest entries would be."""
    coder = RangeCoder(20_000, 16, clip, clients, 1, 0)
    for sign in (1, -1):
        encoded = coder.encode(np.full(20_000, sign * clip, np.float32), Counts(1), 1, 0)
        assert np.abs(centred(encoded[:20_000], 16)).max() <= coder.levels


def test_rounding_is_right_on_average_and_a_function_of_seed_round_and_client() -> None:
    coder, update = RangeCoder(1, 16, 0.1, 20_000, 1, 0), np.array([0.0123], np.float32)
    encoded = [coder.encode(update, Counts(1), 1, client) for client in range(2000)]
    mean, _ = coder.decode(summed(16, *encoded), 2000, 1)
    assert coder.levels == 1
    assert mean[0] == pytest.approx(0.0123, abs=0.003)
    assert np.array_equal(encoded[5], coder.encode(update, Counts(1), 1, 5))
    assert len({tuple(coder.encode(update, Counts(1), round, 5)[:1]) for round in range(40)}) == 2


def test_a_client_weighs_no_more_than_the_largest() -> None:
    coder = RangeCoder(1, 16, 0.1, 2, 5, 0)
    _, counts = coder.decode(coder.encode(np.ones(1, np.float32), Counts(weight=99), 1, 0), 1, 1)
    assert counts.weight == 5


def test_too_few_bits_for_the_cohort_are_refused() -> None:
    with pytest.raises(InputError, match="cannot hold a sum of 300 clients; set at least 11"):
        RangeCoder(1, 8, 0.1, 300, 1, 0)


@pytest.mark.parametrize(
    ("parameters", "widths"),
    [
        (1, (1,)),
        (8, (8,)),
        (5, (4, 1)),
        (7, (8,)),
        (146_112, (131_072, 16_384)),
        (131_073, (131_072, 8_192)),
        (200_000, (262_144,)),
    ],
)
def test_blocks_hold_an_update_and_little_more(parameters: int, widths: tuple[int, ...]) -> None:
    assert block_widths(parameters) == widths
    assert parameters <= sum(widths) <= 2 * parameters


def shares(noise: float = 0.5, bits: int = 20, cohort: int = 4, least: int = 2) -> Config:
    return load(
        {
            "data": {"corpus": "synthetic"},
            "model": {"alphabet": "latin"},
            "strategy": {"weighting": "uniform"},
            "selection": {"clients_per_round": cohort},
            "privacy": {"unit": "user", "noise_at": "shares", "noise_multiplier": noise, "clip_norm": 2.0},
            "secure_aggregation": {"mode": "simulate", "bits": bits, "least_clients": least},
        }
    )


def clipped(seed: int, parameters: int) -> Vector:
    drawn = np.random.default_rng(seed).standard_normal(parameters).astype(np.float32)
    return drawn * np.float32(1.999999 / np.linalg.norm(drawn))


def test_shares_of_noise_add_up_to_the_noise_of_the_account() -> None:
    """With the least number of shares it is z·C on the sum; with more of them it is more."""
    coder = make_coder(shares(), 3000, 4, 1)
    assert isinstance(coder, ShareCoder)
    updates = [clipped(client, 3000) for client in range(4)]
    for clients in (2, 4):
        encoded = [coder.encode(updates[client], Counts(1), 1, client) for client in range(clients)]
        mean, counts = coder.decode(summed(20, *encoded), clients, 1)
        noise = clients * (mean - np.mean(updates[:clients], axis=0))
        assert counts == Counts(weight=clients)
        assert noise.std() == pytest.approx(0.5 * 2.0 * (clients / 2) ** 0.5, rel=0.05)


def test_without_much_noise_the_mean_is_the_mean() -> None:
    coder, updates = make_coder(shares(noise=1e-6), 3000, 4, 1), [clipped(client, 3000) for client in range(4)]
    encoded = [coder.encode(updates[client], Counts(1), 7, client) for client in range(4)]
    mean, _ = coder.decode(summed(20, *encoded), 4, 7)
    assert mean == pytest.approx(np.mean(updates, axis=0), abs=2e-4)


def test_the_account_is_that_of_what_is_sent() -> None:
    event = skellam_event(shares(), 3000)
    coder = ShareCoder(shares(), 3000)
    assert event.dimensions == coder.length == 3072
    assert event.noise_multiplier == 0.5
    two_shares = 2 * coder.plan.share_variance
    assert two_shares == pytest.approx((0.5 * event.scaled_clip) ** 2, rel=1e-12)


def test_an_update_that_was_not_clipped_is_not_sent() -> None:
    with pytest.raises(ValueError, match="it was not clipped"):
        make_coder(shares(), 3000, 4, 1).encode(2 * clipped(0, 3000), Counts(1), 1, 0)


def test_an_update_that_is_one_large_entry_is_sent_as_well() -> None:
    update = np.zeros(3000, np.float32)
    update[2999] = 1.999999
    coder = make_coder(shares(noise=1e-6), 3000, 4, 1)
    mean, _ = coder.decode(summed(20, *[coder.encode(update, Counts(1), 1, client) for client in range(4)]), 4, 1)
    assert mean == pytest.approx(update, abs=2e-4)
