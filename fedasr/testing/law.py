"""How a broken law is reported."""

from __future__ import annotations

from typing import Any

import numpy as np


def law(holds: bool, sentence: str, example: str) -> None:
    """Raise where a law does not hold.

    Args:
        holds: whether it does, in this example.
        sentence: the law.
        example: what was tried, and what came out.

    Raises:
        AssertionError: it does not.
    """
    if not holds:
        raise AssertionError(f"law: {sentence}. Broken by: {example}")


def same(a: Any, b: Any) -> bool:
    """Say whether two arrays are equal in shape and every value, NaN included."""
    return bool(np.array_equal(np.asarray(a), np.asarray(b), equal_nan=np.asarray(a).dtype.kind == "f"))


def close(a: Any, b: Any, tolerance: float) -> bool:
    """Say whether two arrays are equal up to a share of their largest value; 0: bit for bit."""
    a, b = np.asarray(a), np.asarray(b)
    if tolerance == 0 or a.shape != b.shape:
        return same(a, b)
    largest = max(float(np.abs(b).max(initial=0)), 1e-30)
    return bool(np.isfinite(a).all() and np.abs(a - b).max(initial=0) <= tolerance * largest)


def shown(values: Any) -> str:
    """Return the beginning of an array for a message."""
    return str(np.asarray(values).ravel()[:8].tolist())
