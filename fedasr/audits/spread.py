"""The interval of a mean, by drawing what it is a mean of anew."""

from __future__ import annotations

import numpy as np

from fedasr.typing import Floats

DRAWS = 1000


def interval(values: Floats) -> tuple[float | None, float | None]:
    """Return the 95 % interval of a mean; None for fewer than two values."""
    if len(values) < 2:
        return None, None
    rng = np.random.default_rng(0)
    means = values[rng.integers(len(values), size=(DRAWS, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
