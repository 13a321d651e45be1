"""The most that a ledger allows any attack on membership: true positives at each rate of false ones, and the area."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedasr.privacy.audit.curves import Curve
from fedasr.typing import Floats

CELLS = 4000
"""Into which the area is cut; each counts with its larger end."""


@dataclass(frozen=True)
class Ceiling:
    """TPR ≤ 1 − f(FPR), with the trade-off f of the accountant's curve (Kairouz, Oh and Viswanath 2015; Dong et al.).

    Args:
        curve: δ(ε) of the ledger.
        steps: neighbours between the two worlds: 2 where a unit is changed that the ledger lets be added or removed,
            for that is one removal and one addition.
    """

    curve: Curve
    steps: int = 1

    def true_rates(self, false: Floats) -> Floats:
        """Return the largest true-positive rate at each false-positive rate, shape as given."""
        rate = np.asarray(false, np.float64)
        for _ in range(self.steps):
            rate = 1 - self.curve.least_missed_at(rate)
        return rate

    def true_rate(self, false: float) -> float:
        """Return the same at one."""
        return float(self.true_rates(np.array([false]))[0])

    def area(self) -> float:
        """Return the largest area under the curve."""
        return float(self.true_rates(np.arange(1, CELLS + 1) / CELLS).mean())
