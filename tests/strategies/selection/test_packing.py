"""Arrays as JSON values."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fedasr.strategies.selection.packing import fitted, pack, unpack


@pytest.mark.parametrize("dtype", ["<i4", "<f4", "<f8", ">f8", "|i1"])
def test_what_is_packed_comes_back(dtype: str) -> None:
    array = np.array([0, 1, 100, -7], dtype)
    back = unpack(json.loads(json.dumps(pack(array), allow_nan=False)))
    np.testing.assert_array_equal(back, array)
    assert back.dtype == np.dtype(dtype).newbyteorder("<")


def test_nan_and_nothing_survive() -> None:
    np.testing.assert_array_equal(unpack(pack(np.array([np.nan, np.inf]))), [np.nan, np.inf])
    assert len(unpack(pack(np.zeros(0, np.int32)))) == 0


def test_repetition_is_small() -> None:
    assert len(json.dumps(pack(np.full(100_000, 7, np.int32)))) < 5000


def test_fitted_grows_and_never_shrinks() -> None:
    np.testing.assert_array_equal(fitted(np.array([1, 2], np.int32), 4, 0), [1, 2, 0, 0])
    kept = np.array([1.0, 2.0])
    assert fitted(kept, 1, np.nan) is kept
