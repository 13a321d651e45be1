"""The model by differences: exact tiny cases, and laws of any models, codecs and devices that come and go."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedasr import seeds
from fedasr.codecs import CODECS, Codec, CodecTraits, make_codec
from fedasr.codecs.checks import check_compression
from fedasr.codecs.differences import Differences, added
from fedasr.config import load
from fedasr.config.schema import CompressionConfig
from fedasr.errors import InputError, RunFailed
from fedasr.experiment import as_json
from fedasr.models.weights import Layout, Vector
from tests.tiers import examples

LAWS = settings(max_examples=examples(40), deadline=None)
NAMES = sorted(CODECS)
FIRST = np.array([4.0, 0.0, 0.0, 0.0], np.float32)


def codec(name: str, parameters: int, **options: Any) -> Codec:
    options = {"unbiased": False, **options} if name == "random-k" else options
    config = CompressionConfig(down=name, down_options=options)
    return make_codec(config, Layout.of({"w": np.zeros(parameters, np.float32)}), "down")


class Plain:
    """The vector as it is."""

    traits = CodecTraits(unbiased=True, feedback="possible", additive=True)

    def encode(self, vector: Any, rng: np.random.Generator) -> bytes:
        return bytes(vector.astype("<f4").tobytes())

    def decode(self, content: bytes) -> Any:
        return np.frombuffer(content, "<f4").copy()


class Short(Plain):
    def decode(self, content: bytes) -> Any:
        return super().decode(content)[1:]


def test_the_first_model_is_sent_as_it_is_and_then_what_lies_beyond_the_threshold() -> None:
    server = Differences(codec("threshold", 4, tau=1.0), 4, seed=0)
    assert server.advance(1, FIRST).tolist() == [4, 0, 0, 0]
    assert server.messages == {}
    moved = FIRST + np.array([0.75, 1.5, -1.0, 0.0], np.float32)
    assert server.advance(2, moved).tolist() == [4, 1, -1, 0]
    assert server.unsent(moved).tolist() == [0.75, 0.5, 0, 0]
    # What was not sent comes with the next difference: 0.75 + 0.5, and 0.5 − 2.
    again = moved + np.array([0.5, -2.0, 0.0, 0.25], np.float32)
    assert server.advance(3, again).tolist() == [5, 0, -1, 0]
    assert server.unsent(again).tolist() == [0.25, -0.5, 0, 0.25]


def test_the_same_number_is_encoded_once() -> None:
    server = Differences(codec("top-k", 4, density=0.25), 4, seed=0)
    server.advance(1, FIRST)
    there = server.advance(2, FIRST + 8)
    assert server.advance(2, FIRST + 100) is there
    assert list(server.messages) == [2]


def test_what_a_codec_leaves_out_is_sent_while_the_model_rests() -> None:
    server = Differences(codec("top-k", 4, density=0.25, coding="none"), 4, seed=0)
    server.advance(1, FIRST)
    goal = FIRST + np.array([1, 8, 4, 2], np.float32)
    left = [int(np.count_nonzero(server.unsent(goal)))]
    for number in range(2, 6):
        server.advance(number, goal)
        left.append(int(np.count_nonzero(server.unsent(goal))))
    assert left == [4, 3, 2, 1, 0]


def test_a_device_is_sent_what_it_missed_until_that_takes_more_bytes_than_the_model() -> None:
    server = Differences(codec("fp16", 100), 100, seed=0)
    weights = np.zeros(100, np.float32)
    server.advance(1, weights)
    server.delivered([7])
    server.advance(2, weights + 1)
    size = len(server.messages[2])
    assert 400 / 2 <= size < 400
    server.delivered([8])
    assert (server.holders, list(server.since(1)), list(server.since(2))) == ({7: 1, 8: 2}, [2], [])
    server.advance(3, weights + 2)
    # Two of them would take as much as the model: who holds the first model is sent the whole.
    assert (server.oldest, server.holders, list(server.since(2))) == (2, {8: 2}, [3])
    server.lost([8, 9])
    assert server.holders == {}


def test_a_difference_that_is_no_smaller_than_the_model_is_not_kept() -> None:
    server = Differences(Plain(), 4, seed=0)
    server.advance(1, FIRST)
    server.delivered([0])
    server.advance(2, FIRST + 1)
    assert (server.messages, server.holders, server.oldest) == ({}, {}, 2)


def test_what_is_no_model_is_refused_in_a_line() -> None:
    server = Differences(Short(), 4, seed=0)
    server.advance(1, FIRST)
    with pytest.raises(InputError, match=r"'compression.down': the codec decodes to float32 of shape \(3,\)"):
        server.advance(2, FIRST + 1)
    server = Differences(Plain(), 4, seed=0)
    server.advance(1, FIRST - np.float32(3e38))
    with pytest.raises(RunFailed, match="round 2: the model that devices would hold is no longer finite"):
        server.advance(2, FIRST + np.float32(3e38))


@pytest.mark.parametrize(
    ("compression", "sentence"),
    [
        ({"down": "random-k"}, "set compression.down_options.unbiased=false"),
        ({"down": "int4", "down_options": {"block": 4096}}, "the devices hold would drift away"),
        ({"down": "eden", "down_options": {"block": 3}}, "'compression.down_options.block' is 3; expected a power of"),
        ({"down": "random-k", "down_options": {"unbiased": 1}}, "options.unbiased' is 1; expected true or false"),
        ({"down": "fp16", "down_options": {"blocks": 3}}, "unknown option 'compression.down_options.blocks'"),
        ({"down": "builtins:dict"}, "'compression.down' is 'builtins:dict', whose parameters cannot be read"),
    ],
)
def test_codecs_that_do_not_fit_are_refused(compression: dict[str, Any], sentence: str) -> None:
    config = load({"name": "small", "compression": compression})
    with pytest.raises(InputError) as caught:
        check_compression(config, Layout.of({"w": np.zeros(5000, np.float32)}))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tree", "sentence"),
    [
        ({"compression": {"down_options": {"block": 8}}}, "'compression.down_options' is set but 'compression.down'"),
        ({"compression": {"down": "int8", "decay": 0.5}}, "'compression.decay' is set but 'compression.up' is 'none'"),
        ({"compression": {"down": "int8"}, "strategy": {"name": "central"}}, "are sent no models of rounds"),
        ({"compression": {"down": "int9"}}, "'compression.down'"),
    ],
)
def test_keys_that_nothing_reads_are_refused(tree: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        load({"name": "small", **tree})
    assert sentence in str(caught.value)


def test_a_config_without_it_travels_as_it_did() -> None:
    assert "down" not in json.loads(as_json(load({"name": "small", "compression": {"up": "int8"}})))["compression"]
    sent = json.loads(as_json(load({"name": "small", "compression": {"down": "int8"}})))["compression"]
    assert sent["down"] == "int8"


@st.composite
def models(draw: st.DrawFn, whole: bool = False) -> list[Vector]:
    """Return the server's models of some rounds; ``whole``: of small whole numbers, whose differences are exact."""
    size = draw(st.integers(1, 40))
    floats = st.floats(-8, 8, width=32)
    elements = st.integers(-512, 512).map(float) if whole else floats
    return draw(st.lists(arrays(np.float32, size, elements=elements), min_size=1, max_size=6))


@LAWS
@given(models(), st.sampled_from(NAMES), st.integers(0, 2**32))
def test_all_that_was_sent_and_what_is_unsent_is_all_that_the_server_has(
    weights: list[Vector], name: str, seed: int
) -> None:
    server = Differences(codec(name, len(weights[0])), len(weights[0]), seed)
    before, total = server.advance(1, weights[0]), weights[0].astype(np.float64)
    for number, each in enumerate(weights[1:], 2):
        content = server.codec.encode(each - before, seeds.generator(seed, "broadcast", number))
        total += server.codec.decode(content)
        before = server.advance(number, each)
    largest = max(float(np.abs(each).max()) for each in weights)
    np.testing.assert_allclose(total + server.unsent(weights[-1]), weights[-1], atol=1e-5 * (1 + largest))


@LAWS
@given(models(), st.sampled_from(NAMES), st.integers(0, 2**32), st.data())
def test_devices_that_come_and_go_hold_the_bits_of_the_server(
    weights: list[Vector], name: str, seed: int, data: st.DataObject
) -> None:
    parameters = len(weights[0])
    server = Differences(codec(name, parameters), parameters, seed)
    devices: dict[int, Vector] = {}
    for number, each in enumerate(weights, 1):
        model = server.advance(number, each)
        assert sum(map(len, server.messages.values())) < 4 * parameters
        for client in data.draw(st.sets(st.integers(0, 3))):
            held = server.holders.get(client)
            if held is None:
                devices[client] = model.copy()
            for content in server.since(held).values() if held is not None else ():
                devices[client] = added(codec(name, parameters), devices[client], content)
            assert devices[client].tobytes() == model.tobytes()
            server.delivered([client])
        server.lost(data.draw(st.sets(st.integers(0, 3), max_size=1)))


@LAWS
@given(models(whole=True), st.integers(0, 2**32))
def test_a_codec_that_loses_nothing_gives_the_bits_of_none(weights: list[Vector], seed: int) -> None:
    server = Differences(Plain(), len(weights[0]), seed)
    for number, each in enumerate(weights, 1):
        np.testing.assert_array_equal(server.advance(number, each), each)
        assert not server.unsent(each).any()


@LAWS
@given(models(), st.sampled_from(NAMES), st.integers(0, 2**32), st.integers(0, 6))
def test_a_server_that_was_killed_goes_on_with_the_same_bits(
    weights: list[Vector], name: str, seed: int, kill_after: int
) -> None:
    parameters = len(weights[0])
    steady, killed = (Differences(codec(name, parameters), parameters, seed) for _ in range(2))
    for number, each in enumerate(weights, 1):
        for server in (steady, killed):
            server.advance(number, each)
            server.delivered([number, 100])
        if number == kill_after:
            saved = {name: array.copy() for name, array in killed.arrays().items()}
            killed = Differences(codec(name, parameters), parameters, seed)
            other = np.ones(1)
            assert killed.load_arrays({**saved, "other": other}) == {"other": other}
    assert killed.model.tobytes() == steady.model.tobytes()
    assert killed.messages == steady.messages
    assert (killed.holders, killed.number, killed.oldest) == (steady.holders, steady.number, steady.oldest)
