"""Do the scores contradict a claim? The one test that may raise an alarm.

A claim is a whole curve δ(ε), so a contradiction needs no choice of δ: with confidence 1 − α no mechanism that keeps to
the curve has a false-alarm rate of at most F̄ and a miss rate of at most M̄ where M̄ < f(F̄).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from fedasr.privacy.accountants import settled
from fedasr.privacy.audit.bounds import ranks_of, rates
from fedasr.privacy.audit.curves import Curve, curve_of
from fedasr.privacy.audit.result import FIXED_BEFOREHAND, INDEPENDENT, Bound, checked
from fedasr.privacy.events import Event
from fedasr.typing import Floats

Claim = Callable[[float], Sequence[Event]]
"""The events of the ledger with all noise multiplied by a factor; 1 is the ledger itself."""
MOST_NOISE, LEAST_NOISE = 256.0, 1 / 16
"""Factors between which the noise is looked for that the scores refute."""
HALVINGS = 7
COARSE = 8
"""Rényi orders passed over in the search: it asks many curves."""


def contradicts(
    inside: Floats, outside: Floats, curve: Curve, alpha: float = 0.001, ranks: Sequence[int] | None = None
) -> bool:
    """Say whether the scores contradict the curve with confidence 1 − α.

    Args:
        inside: scores of canaries that took part, shape ``(n₁,)``.
        outside: of canaries that did not, shape ``(n₀,)``.
        curve: of the claim.
        alpha: probability of a false alarm, at most.
        ranks: of the outside scores that are thresholds, fixed beforehand; None: some shares of them.

    Raises:
        InputError: as ``checked``.
    """
    inside, outside = checked(inside, outside, alpha)
    ranks = ranks_of(len(outside)) if ranks is None else ranks
    for rank in ranks:
        false, missed = rates(inside, outside, rank, alpha / len(ranks))
        if missed < curve.least_missed(false):
            return True
    return False


def ledger_bound(inside: Floats, outside: Floats, claim: Claim, delta: float, alpha: float = 0.001) -> Bound:
    """Return ε of the most noise that the scores refute, within the family of the claimed mechanism.

    Args:
        inside: scores of canaries that took part.
        outside: of canaries that did not.
        claim: the mechanism's events for a factor of noise.
        delta: of ε.
        alpha: error probability.

    Raises:
        InputError: as ``checked``.
    """
    inside, outside = checked(inside, outside, alpha)

    def refutes(factor: float) -> bool:
        return contradicts(inside, outside, curve_of(claim(factor), "rdp", COARSE), alpha)

    low, high = math.log(LEAST_NOISE), math.log(MOST_NOISE)
    epsilon = 0.0
    if refutes(math.exp(high)):
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (low, middle) if refutes(math.exp(middle)) else (middle, high)
        epsilon = settled(claim(math.exp(high)), delta).epsilon
    assumes = (
        "the mechanism is the claimed one with more or less noise (the alarm itself does not assume this)",
        INDEPENDENT,
        FIXED_BEFOREHAND,
    )
    return Bound("ledger test", epsilon, delta, 1 - alpha, len(inside) + len(outside), assumes)
