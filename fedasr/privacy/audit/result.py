"""What every bound returns: a number that cannot be read without what it assumes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedasr.errors import InputError
from fedasr.privacy.checks import strict_fraction
from fedasr.typing import Floats

INDEPENDENT = (
    "the scores are independent of one another; isotropic noise and orthogonal canaries give that within one run, an"
    " arbitrary mechanism does not"
)
FIXED_BEFOREHAND = "canaries, score and thresholds were fixed before the release"
COINS = "each canary was put in, or left out, by a fair coin of its own, and was guessed without the coins"


@dataclass(frozen=True)
class Bound:
    """A lower bound on ε, or an estimate of it.

    Args:
        method: how it was found.
        epsilon: at least 0; an estimate may be above or below the truth.
        delta: at which ε is meant.
        confidence: 1 − α of a lower bound; NaN for an estimate.
        n: scores that it rests on.
        assumes: what must hold for it to be true, in words.
        estimate: whether it is no bound: never a reason for an alarm.
    """

    method: str
    epsilon: float
    delta: float
    confidence: float
    n: int
    assumes: tuple[str, ...]
    estimate: bool = False


def checked(inside: Floats, outside: Floats, alpha: float) -> tuple[Floats, Floats]:
    """Return the scores as arrays of finite numbers, or infinities, never NaN.

    Args:
        inside: scores of canaries that took part, shape ``(n₁,)``.
        outside: of canaries that did not, shape ``(n₀,)``.
        alpha: error probability.

    Raises:
        InputError: there are none, one is not a number, or α is no probability.
    """
    strict_fraction("alpha", alpha)
    inside, outside = np.asarray(inside, np.float64).ravel(), np.asarray(outside, np.float64).ravel()
    for name, scores in (("inside", inside), ("outside", outside)):
        if not len(scores) or np.isnan(scores).any():
            raise InputError(f"the scores '{name}' are none, or not numbers; an audit needs some of both kinds")
    return inside, outside
