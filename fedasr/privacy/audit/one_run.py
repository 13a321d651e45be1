"""Bounds from guesses about many canaries of a single run, each of which took part by a fair coin of its own."""

from __future__ import annotations

import numpy as np
from scipy import special

from fedasr.errors import InputError
from fedasr.privacy.audit.result import COINS, FIXED_BEFOREHAND, Bound
from fedasr.privacy.checks import strict_fraction
from fedasr.privacy.pld import gaussian_epsilon
from fedasr.typing import Floats

LARGEST = 60.0
"""ε beyond which nobody looks; more than any number of guesses proves."""


def guesses(inside: Floats, outside: Floats, share: float) -> tuple[int, int]:
    """Return how many guesses are made, and how many are right, when the most and the least extreme are guessed.

    Args:
        inside: scores of canaries that took part.
        outside: of canaries that did not.
        share: of all canaries that are guessed, half of them as present (the largest scores), half as absent.
    """
    scores = np.concatenate([inside, outside])
    present = np.repeat([True, False], [len(inside), len(outside)])[np.argsort(-scores, kind="stable")]
    half = int(share * len(scores) / 2)
    return 2 * half, int(present[:half].sum() + (~present[len(present) - half :]).sum())


def check(canaries: int, guessed: int, right: int, alpha: float) -> None:
    """Raise where the counts are none.

    Raises:
        InputError: they are not, or α is no probability.
    """
    strict_fraction("alpha", alpha)
    if not 0 <= right <= guessed <= canaries or canaries < 1:
        raise InputError(
            f"{right} of {guessed} guesses about {canaries} canaries are right; expected right ≤ guessed ≤ all"
        )


def one_run(canaries: int, guessed: int, right: int, delta: float, alpha: float = 0.05) -> Bound:
    """Return the largest ε that the guesses refute (Steinke, Nasr and Jagielski 2023, arXiv 2305.08846).

    p = P[Bin(r, e^ε/(1+e^ε)) ≥ v] + 2mδ·max_i P[v − i ≤ Bin < v]/i must be at most α.

    Args:
        canaries: m, each in or out by a fair coin.
        guessed: r, fixed beforehand: to maximise over it uncorrected claims ε > 0 where nothing leaks.
        right: v.
        delta: of ε.
        alpha: error probability.

    Raises:
        InputError: the counts are none.
    """
    check(canaries, guessed, right, alpha)
    back = np.arange(1, right + 1)

    def p(epsilon: float) -> float:
        chance = float(special.expit(epsilon))
        if not right:
            return 1.0
        below = special.bdtr(right - 1, guessed, chance)
        farther = np.where(back < right, special.bdtr(np.maximum(right - 1 - back, 0), guessed, chance), 0.0)
        return float(
            special.bdtrc(right - 1, guessed, chance) + 2 * canaries * delta * ((below - farther) / back).max()
        )

    low, high = 0.0, LARGEST
    if p(0.0) > alpha:
        high = 0.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if p(middle) <= alpha else (low, middle)
    assumes = ("nothing about the noise, nor about how the scores depend on one another", COINS, FIXED_BEFOREHAND)
    return Bound("one-run", low, delta, 1 - alpha, canaries, assumes)


def f_dp_one_run(canaries: int, guessed: int, right: int, delta: float, alpha: float = 0.05) -> Bound:
    """Return ε of the largest Gaussian μ that the guesses refute (Mahloujifar et al. 2024, arXiv 2410.22235).

    Arguments and errors as of ``one_run``.
    """
    check(canaries, guessed, right, alpha)
    low, high = 0.0, 1.0
    if not refuted(canaries, guessed, right, 0.0, alpha):
        high = 0.0
    while high and refuted(canaries, guessed, right, high, alpha) and high < LARGEST:
        low, high = high, 2 * high
    while high - low > 1e-4 * max(high, 1.0):
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(canaries, guessed, right, middle, alpha) else (low, middle)
    assumes = ("the trade-off curve is that of a Gaussian mechanism (no sampling)", COINS, FIXED_BEFOREHAND)
    return Bound("f-DP one-run", gaussian_epsilon(low, delta), delta, 1 - alpha, canaries, assumes)


def refuted(canaries: int, guessed: int, right: int, mu: float, alpha: float) -> bool:
    """Say whether a Gaussian trade-off curve with this μ makes so many right guesses rarer than α."""
    rho, h = alpha * right / canaries, alpha * (guessed - right) / canaries
    for i in range(right - 1, -1, -1):
        following = max(h, float(special.ndtr(special.ndtri(rho) - mu)))
        if following == h:
            break
        rho, h = min(1.0, rho + i * (following - h) / (guessed - i)), following
    return rho + h > guessed / canaries
