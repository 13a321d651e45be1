import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedasr.config.schema import ClientConfig, DevicesConfig
from fedasr.runtime.clock import Devices, audio_to_train
from tests.tiers import examples

TWO = {
    "tiers": ["fast", "slow"],
    "shares": [0.5, 0.5],
    "compute": [0.1, 1.0],
    "down_mbps": [8.0, 1.0],
    "up_mbps": [4.0, 0.5],
}


def devices(clients=1000, seed=0, **keys):
    return Devices(DevicesConfig(clock=True, **{**TWO, **keys}), seed, clients)


def test_durations_without_spread_are_download_training_and_upload():
    population = devices(jitter=0.0)
    fast, slow = (int(np.flatnonzero(population.tier == tier)[0]) for tier in (0, 1))
    # 1 MB at 8 Mb/s: 1 s; 10 s of audio at 0.1: 1 s; 0.5 MB at 4 Mb/s: 1 s.
    # 1 MB at 1 Mb/s: 8 s; 30 s of audio at 1.0: 30 s; 0.5 MB at 0.5 Mb/s: 8 s.
    result = population.durations(1, np.array([fast, slow]), np.array([10.0, 30.0]), 1_000_000, 500_000)
    assert result == pytest.approx([3.0, 46.0], rel=1e-12)
    apart = population.durations(9, np.array([slow]), 30.0, np.array([1_000_000]), np.array([0]))
    assert apart == pytest.approx([38.0], rel=1e-12)
    assert population.durations(1, np.array([fast]), 0.0, 0, 0).tolist() == [0]


def test_tiers_follow_their_shares():
    population = Devices(DevicesConfig(clock=True), 3, 100_000)
    assert population.tier.dtype == np.int8
    counts = np.bincount(population.tier, minlength=3)
    wanted = np.array([20_000, 50_000, 30_000])
    assert ((counts - wanted) ** 2 / wanted).sum() < 13.8, "chi-square, 2 degrees of freedom, 0.1 %"
    assert (Devices(DevicesConfig(clock=True), 4, 100_000).tier != population.tier).any()


def test_a_tier_does_not_depend_on_how_many_devices_there_are():
    np.testing.assert_array_equal(devices(10).tier, devices(1000).tier[:10])


def test_a_tier_without_a_share_gets_no_device():
    for shares in ([0.0, 1.0], [1.0, 0.0]):
        assert set(devices(10_000, shares=shares).tier.tolist()) == {shares.index(1.0)}
    thirds = [1 / 3, 1 / 3, 1 / 3, 0.0]
    names = {name: [1.0] * 4 for name in ("compute", "down_mbps", "up_mbps")}
    assert devices(100_000, tiers=list("abcd"), shares=thirds, **names).tier.max() == 2


def test_spread_is_log_normal_with_the_tiers_speed_as_median():
    population = devices(100_000, jitter=0.25)
    everyone = np.arange(100_000)
    base = np.array(TWO["compute"])[population.tier]
    compute = np.log(population.durations(2, everyone, 1.0, 0, 0) / base)
    network = np.log(population.durations(2, everyone, 0.0, 125_000, 0) * np.array(TWO["down_mbps"])[population.tier])
    for drawn in (compute, network):
        assert drawn.mean() == pytest.approx(0, abs=4 * 0.25 / np.sqrt(100_000))
        assert drawn.std() == pytest.approx(0.25, rel=0.01)
        assert (drawn > 0.5).mean() == pytest.approx(0.02275, abs=0.002)
    assert abs(np.corrcoef(compute, network)[0, 1]) < 0.013
    later = np.log(population.durations(3, everyone, 1.0, 0, 0) / base)
    assert abs(np.corrcoef(compute, later)[0, 1]) < 0.013


def test_drop_out_has_its_probability():
    population = devices(100_000, dropout=0.1)
    lost = population.dropped(1, np.arange(100_000))
    assert lost.mean() == pytest.approx(0.1, abs=0.004)
    assert abs(np.corrcoef(lost, population.dropped(2, np.arange(100_000)))[0, 1]) < 0.013
    assert not devices(dropout=0.0).dropped(1, np.arange(1000)).any()


@settings(max_examples=examples(50), deadline=None)
@given(st.lists(st.integers(0, 999), min_size=1, max_size=30), st.integers(1, 500), st.integers(0, 2**40))
def test_a_device_alone_takes_as_long_as_among_others(clients, round, seed):
    population = devices(seed=seed, dropout=0.3)
    chosen = np.array(clients)
    audio = chosen / 7
    durations = population.durations(round, chosen, audio, 10**6, 10**5)
    dropped = population.dropped(round, chosen)
    for position, client in enumerate(clients):
        alone = np.array([client])
        again = devices(seed=seed, dropout=0.3)
        assert again.durations(round, alone, audio[[position]], 10**6, 10**5)[0] == durations[position]
        assert again.dropped(round, alone)[0] == dropped[position]


def test_audio_to_train():
    utterances, seconds = np.array([10, 0, 4]), np.array([30.0, 0.0, 8.0])
    assert audio_to_train(ClientConfig(epochs=3), utterances, seconds).tolist() == [90, 0, 24]
    # Batches of 4: passes of 3 and 1 batches; 6 steps are 2 and 6 passes.
    assert audio_to_train(ClientConfig(steps=6, batch_size=4), utterances, seconds).tolist() == [60, 0, 48]
    # Batches of 10 s: passes of 3 and 1 batches.
    assert audio_to_train(ClientConfig(steps=1, batch_seconds=10.0), utterances, seconds).tolist() == [10, 0, 8]
