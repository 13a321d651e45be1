"""What is stored of a frame, and how many bytes that is."""

from __future__ import annotations

import numpy as np
import pytest

from fedasr.data.posteriors.frames import packed, unpacked
from fedasr.data.posteriors.layout import frame_type


def log_posteriors(frames: int, classes: int) -> np.ndarray:
    logits = np.random.default_rng(0).normal(0, 3, (frames, classes))
    return (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)


@pytest.mark.parametrize(
    ("classes", "top_k", "bytes_a_frame"), [(3183, 20, 82), (3000, 20, 82), (29, 20, 62), (29, 4, 14), (29, 29, 58)]
)
def test_bytes_of_a_frame(classes: int, top_k: int, bytes_a_frame: int) -> None:
    assert frame_type(classes, top_k).itemsize == bytes_a_frame


@pytest.mark.parametrize(("classes", "top_k"), [(29, 1), (29, 4), (29, 28), (29, 29), (29, 40), (3000, 20)])
def test_what_comes_back(classes: int, top_k: int) -> None:
    """The largest first, to half precision; with the rest they add up to one."""
    said = log_posteriors(7, classes)
    ids, logp, rest = unpacked(packed(said, top_k))
    kept = min(top_k, classes)
    largest = np.sort(said, axis=1)[:, ::-1][:, :kept]
    np.testing.assert_allclose(np.sort(logp, axis=1)[:, ::-1], largest, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(np.take_along_axis(said, ids, 1), logp, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(np.exp(logp).sum(1) + np.exp(rest), 1.0, rtol=1e-6)
    expected = 1 - np.exp(largest.astype(np.float64)).sum(1)
    np.testing.assert_allclose(np.exp(rest), np.maximum(expected, 0), rtol=5e-3, atol=1e-6)


def test_equals_keep_their_order() -> None:
    ids, _, _ = unpacked(packed(np.full((2, 8), np.log(1 / 8), np.float32), 3))
    assert ids.tolist() == [[0, 1, 2], [0, 1, 2]]


def test_certainty_and_impossibility_are_numbers() -> None:
    said = np.array([[0.0, -np.inf, -np.inf, -np.inf], [-np.inf, 0.0, -np.inf, -np.inf]], np.float32)
    for top_k in (1, 2, 4):
        ids, logp, rest = unpacked(packed(said, top_k))
        assert not np.isnan(logp).any()
        assert not np.isnan(rest).any()
        np.testing.assert_allclose(np.exp(logp).sum(1), 1.0)
        assert ids[:, 0].tolist() == [0, 1] or top_k == 4
