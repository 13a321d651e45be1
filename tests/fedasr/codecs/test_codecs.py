"""Codecs: exact tiny cases, the numbers of a long vector, and laws of any vector."""

from __future__ import annotations

import contextlib
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedasr import seeds
from fedasr.codecs import CODECS, Codec, make_codec, send
from fedasr.codecs.coding import pack, rice, rice_indices, unpack
from fedasr.codecs.eden import Eden
from fedasr.codecs.top_k import largest
from fedasr.config.schema import CompressionConfig
from fedasr.errors import InputError
from fedasr.hadamard import HalfSums, hadamard
from fedasr.models.weights import Layout, Vector
from tests.tiers import examples

LAWS = settings(max_examples=examples(60), deadline=None)
LONG = 50_000
NORMAL = np.random.default_rng(7).normal(size=LONG).astype(np.float32)


def codec(name: str, parameters: int, **options: Any) -> Codec:
    layout = Layout.of({"w": np.zeros(parameters, np.float32)})
    return make_codec(CompressionConfig(up=name, up_options=options), layout)


def rng(seed: int = 0) -> np.random.Generator:
    return seeds.generator(seed, "compression", 1, 2)


def through(name: str, values: Any, seed: int = 0, **options: Any) -> list[float]:
    vector = np.array(values, np.float32)
    made = codec(name, len(vector), **options)
    return made.decode(made.encode(vector, rng(seed))).tolist()  # type: ignore[no-any-return]


def error(name: str, **options: Any) -> tuple[float, float]:
    """Return the squared error of a normal vector as a share of its square, and bits a weight."""
    made = codec(name, LONG, **options)
    content = made.encode(NORMAL, rng())
    lost = NORMAL - made.decode(content)
    return float(lost @ lost / (NORMAL @ NORMAL)), 8 * len(content) / LONG


vectors = st.integers(1, 300).flatmap(
    lambda size: arrays(np.float32, size, elements=st.floats(-(2.0**60), 2.0**60, width=32))
)


def test_fp16_keeps_what_half_precision_holds_at_any_scale() -> None:
    assert through("fp16", [1.0, -0.5, 0.0, 3.0]) == [1.0, -0.5, 0.0, 3.0]
    small = (np.array([1.0, -0.5, 0.0, 3.0]) * 2.0**-40).tolist()
    assert through("fp16", small) == small
    assert through("fp16", [2.0**100, 2.0**90]) == [2.0**100, 2.0**90]
    assert error("fp16")[1] == pytest.approx(16, abs=0.01)


@pytest.mark.parametrize(("name", "levels"), [("int8", 127), ("int4", 7)])
def test_integers_are_exact_on_their_grid_and_go_to_a_neighbour_beside_it(name: str, levels: int) -> None:
    assert through(name, [levels, -1.0, 3.0, 0.0]) == [levels, -1, 3, 0]
    result = {tuple(through(name, [levels, 2.25], seed)) for seed in range(40)}
    assert result == {(levels, 2.0), (levels, 3.0)}
    assert through(name, [0.0, 0.0, 0.0]) == [0, 0, 0]


def test_each_block_of_integers_has_a_scale_of_its_own() -> None:
    assert through("int4", [7000, 1000, 7, 1, -3], block=2) == [7000, 1000, 7, 1, -3]


def test_eden_sends_signs_of_the_rotated_vector_and_what_makes_it_unbiased() -> None:
    # The rotation of a single entry is flat: its signs and length say all.
    assert through("eden", [0, 0, 3.0, 0], block=4) == pytest.approx([0, 0, 3, 0], abs=1e-6)
    made = codec("eden", LONG)
    decoded = made.decode(made.encode(NORMAL, rng()))
    # ⟨x̂, x⟩ = ‖x‖² in every block, whatever the rotation.
    for start in range(0, LONG, 4096):
        part = slice(start, start + 4096)
        assert float(decoded[part] @ NORMAL[part]) == pytest.approx(float(NORMAL[part] @ NORMAL[part]), rel=1e-3)


def test_eden_averaged_over_twenty_rotations_has_a_twentieth_of_the_error() -> None:
    made = codec("eden", LONG)
    mean = np.mean([made.decode(made.encode(NORMAL, rng(seed))) for seed in range(20)], axis=0)
    lost = NORMAL - mean
    assert float(lost @ lost / (NORMAL @ NORMAL)) == pytest.approx((np.pi / 2 - 1) / 20, rel=0.03)  # 0.0286


@pytest.mark.parametrize("size", [1, 2, 5, 4095, 4096, 4097, 8193])
def test_eden_is_not_padded_to_twice_the_vector(size: int) -> None:
    content = codec("eden", size).encode(np.ones(size, np.float32), rng())
    assert len(content) <= 8 + 4 * (size // 4096 + 1) + 2 * size / 8 + 1
    if size > 4096:
        assert len(content) <= 8 + 4 * (size // 4096 + 1) + size / 8 + 4096 / 8


def test_sign_sends_the_mean_length_of_a_block() -> None:
    assert through("sign", [1, -3, 2, -10, 20], block=3) == [2, -2, 2, -15, 15]


def test_top_k_takes_the_largest_and_the_first_of_equal_ones() -> None:
    assert through("top-k", [1, -4, 2, 3], density=0.5) == [0, -4, 0, 3]
    assert largest(np.array([2, 1, 2, 2, 5], np.float32), 3).tolist() == [0, 2, 4]
    assert largest(np.array([2, 1], np.float32), 2).tolist() == [0, 1]


def test_random_k_scales_what_it_sends_and_takes_the_same_entries_from_the_same_seed() -> None:
    made = codec("random-k", 8, density=0.25)
    one, two = np.arange(1, 9, dtype=np.float32), np.ones(8, np.float32)
    first, second = (made.decode(made.encode(v, rng())) for v in (one, two))
    assert np.count_nonzero(first) == 2
    np.testing.assert_array_equal(first[first != 0], 4 * one[first != 0])
    np.testing.assert_array_equal(made.decode(made.encode(one + two, rng())), first + second)


def test_threshold_sends_tau_and_keeps_the_rest() -> None:
    made = codec("threshold", 4, tau=0.5)
    update = np.array([1.75, -0.5, 0.25, -0.25], np.float32)
    content, kept = send(made, update, None, rng(), True)
    assert made.decode(content).tolist() == [0.5, -0.5, 0, 0]
    assert kept is not None
    assert kept.tolist() == [1.25, 0, 0.25, -0.25]


def test_threshold_loses_nothing_over_the_rounds() -> None:
    """Σ sent + residual = Σ updates, exactly."""
    made = codec("threshold", 200, tau=0.1)
    draws = np.random.default_rng(1)
    kept: Vector | None = None
    sent, wanted = np.zeros(200), np.zeros(200)
    for _ in range(30):
        update = (draws.integers(-40, 41, 200) / 128).astype(np.float32)
        content, kept = send(made, update, kept, rng(), True)
        sent += made.decode(content)
        wanted += update
    assert kept is not None
    np.testing.assert_array_equal(sent + kept, wanted)


@pytest.mark.parametrize(
    ("name", "options", "lost", "bits"),
    [
        ("int8", {"coding": "none"}, 1e-4, 8.13),
        ("int4", {"coding": "none"}, 0.033, 4.13),
        ("eden", {}, np.pi / 2 - 1, 1.04),
        ("sign", {}, 1 - 2 / np.pi, 1.01),
        ("top-k", {"density": 0.1, "coding": "none"}, 0.562, 4.8),
        ("top-k", {"density": 0.1}, 0.562, 2.08),
        ("random-k", {"density": 0.1}, 9.0, 3.2),
        ("threshold", {"tau": 2.5758, "coding": "none"}, 0.92, 0.33),
        ("threshold", {"tau": 2.5758}, 0.92, 0.092),
    ],
)
def test_error_and_bits_of_a_normal_vector(name: str, options: dict[str, Any], lost: float, bits: float) -> None:
    result = error(name, **options)
    assert result[0] == pytest.approx(lost, rel=0.05, abs=2e-5)
    assert result[1] == pytest.approx(bits, rel=0.03)


@pytest.mark.parametrize("name", sorted(CODECS))
def test_the_same_seed_round_and_client_give_the_same_bytes(name: str) -> None:
    made = codec(name, 100)
    vector = NORMAL[:100].copy()
    first = made.encode(vector, seeds.generator(3, "compression", 5, 7))
    assert codec(name, 100).encode(vector, seeds.generator(3, "compression", 5, 7)) == first
    np.testing.assert_array_equal(vector, NORMAL[:100])


@pytest.mark.parametrize("name", sorted(CODECS))
def test_an_unbiased_codec_is_right_on_average(name: str) -> None:
    made = codec(name, 64)
    if not made.traits.unbiased:
        pytest.skip("it is biased")
    vector = NORMAL[:64]
    result = np.stack([made.decode(made.encode(vector, rng(seed))) for seed in range(4000)])
    # Five standard errors; and what a Hadamard transform of 64 leaves of a vector's shape.
    room = 5 * result.std(0).max() / np.sqrt(len(result)) + (0.05 if name == "eden" else 1e-6)
    assert np.abs(result.mean(0) - vector).max() <= room


@pytest.mark.parametrize("name", sorted(CODECS))
def test_where_error_feedback_is_allowed_the_error_is_no_longer_than_the_vector(name: str) -> None:
    shapes = {"one": [1000.0, *np.full(255, 60.0)], "flat": np.ones(256), "normal": NORMAL[:256]}
    for vector in (np.asarray(shape, np.float32) for shape in shapes.values()):
        made = codec(name, 256)
        lost = [np.linalg.norm(vector - made.decode(made.encode(vector, rng(seed)))) ** 2 for seed in range(50)]
        shorter = np.mean(lost) <= (1 + 1e-6) * np.linalg.norm(vector) ** 2
        assert shorter or made.traits.feedback == "never"


def test_integers_with_one_scale_for_many_entries_keep_nothing() -> None:
    assert codec("int4", 10_000, block=None).traits.feedback == "never"
    assert codec("int4", 10_000).traits.feedback == "possible"
    # One large entry, and many that are rounded up to its seventh now and then: the error is longer than the vector.
    vector = np.full(10_000, 0.01, np.float32)
    vector[0] = 1
    lost = vector - np.array(through("int4", vector, block=None))
    assert np.linalg.norm(lost) > np.linalg.norm(vector)


@pytest.mark.parametrize("name", sorted(CODECS))
@LAWS
@given(vectors, st.integers(0, 2**32))
@example(np.zeros(1, np.float32), 0)
@example(np.full(3, 1e-40, np.float32), 0)
def test_any_vector(name: str, vector: Vector, seed: int) -> None:
    """Decoded, it is finite and as long; and sent plus kept is what was to be sent, up to rounding."""
    made = codec(name, len(vector))
    content, kept = send(made, vector, None, rng(seed), True)
    sent = made.decode(content)
    assert sent.shape == vector.shape
    assert sent.dtype == np.float32
    assert np.isfinite(sent).all()
    assert kept is not None
    room = 2e-7 * np.maximum(np.abs(sent), np.abs(vector))
    assert (np.abs(sent.astype(np.float64) + kept - vector) <= room).all()


@pytest.mark.parametrize("name", sorted(CODECS))
@LAWS
@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 255))
def test_bytes_that_nobody_has_encoded_are_refused_or_decoded(name: str, noise: bytes, place: int, value: int) -> None:
    made = codec(name, 100)
    changed = bytearray(made.encode(NORMAL[:100], rng()))
    cut = bytes(changed[:place])
    changed[place % len(changed)] = value
    for content in (noise, bytes(changed), cut, bytes(changed) + noise):
        with contextlib.suppress(ValueError):
            assert made.decode(content).shape == (100,)


def test_a_frame_that_asks_for_memory_is_refused() -> None:
    packed = pack(bytes(10_000_000), "zstd")
    assert len(packed) < 2000
    with pytest.raises(ValueError, match="another size"):
        unpack(packed, 100)


@LAWS
@given(st.sets(st.integers(0, 5000), max_size=200))
def test_rice_gives_the_indices_back(chosen: set[int]) -> None:
    indices = np.array(sorted(chosen), np.int64)
    result, rest = rice_indices(rice(indices) + b"rest", 5001)
    np.testing.assert_array_equal(result, indices)
    assert rest == b"rest"


def test_a_rice_code_refuses_what_is_outside() -> None:
    with pytest.raises(ValueError, match="outside"):
        rice_indices(rice(np.array([7], np.int64)), 7)
    with pytest.raises(ValueError, match="cut short"):
        rice_indices(struct.pack("<BII", 0, 2**31, 0), 100)


@pytest.mark.parametrize("width", [1, 2, 64, 128, 8192])
def test_hadamard_twice_is_the_identity(width: int) -> None:
    rows = np.random.default_rng(0).normal(size=(3, width)).astype(np.float32)
    np.testing.assert_allclose(hadamard(hadamard(rows)), rows, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(hadamard(rows), axis=1), np.linalg.norm(rows, axis=1), rtol=1e-5)
    assert hadamard(np.eye(width, dtype=np.float32)[:1]).tolist() == [[np.float32(width**-0.5)] * width]


def test_a_hadamard_transform_of_four() -> None:
    assert hadamard(np.array([[1, 2, 3, 4]], np.float32)).tolist() == [[5, -1, -2, 0]]


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("top-k", {"density": 0}, "'compression.up_options.density' is 0; expected a number above 0, at most 1"),
        ("top-k", {"density": True}, "'compression.up_options.density' is True"),
        ("eden", {"block": 100}, "'compression.up_options.block' is 100; expected a power of two"),
        ("int8", {"block": 0}, "'compression.up_options.block' is 0; expected a whole number above 0"),
        ("int4", {"coding": "rice"}, "'compression.up_options.coding' is 'rice'; expected one of zstd, none"),
        ("threshold", {"tau": float("nan")}, "'compression.up_options.tau' is nan; expected a number from"),
        ("fp16", {"block": 3}, "unknown option 'compression.up_options.block'"),
        ("fedasr.codecs.blocks:Blocks", {"size": 1, "width": 1}, "makes no codec: it has no method 'encode'"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_a_line(name: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        codec(name, 10, **options)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("width", [8, 16, 64, 512, 4096, 2**15, 2**16])
def test_the_transform_of_packed_signs_is_that_of_the_signs(width: int) -> None:
    """Sums of signs are whole numbers: the same, whatever the order. The largest is that of equal signs."""
    positive = np.random.default_rng(width).random((5, width)) > 0.5
    positive[3:] = [[True], [False]]
    transform = HalfSums(*positive.shape)
    transform.fill(np.packbits(positive, axis=1).reshape(-1))
    signs = np.where(positive, 1, -1).astype(np.float64)
    assert np.array_equal(2 * transform.sums.astype(np.int64), np.rint(hadamard(signs) * np.sqrt(width)))


def test_what_was_decoded_stays_as_it_is() -> None:
    """The working memory of a codec is none of what it returns."""
    codec = Eden(5000)
    vectors = np.random.default_rng(0).standard_normal((2, 5000)).astype(np.float32)
    messages = [codec.encode(vector, np.random.default_rng(1)) for vector in vectors]
    first = codec.decode(messages[0])
    kept = first.copy()
    codec.decode(messages[1])
    assert np.array_equal(first, kept)
