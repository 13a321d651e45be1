"""Best scores: the log likelihood ratios of the mechanisms that an accountant knows.

x_it is the product of canary i's direction with the noisy sum of step t, less what all others are known to have added,
in clip norms: N(1, z²) where the canary is in the sum and N(0, z²) where it is not.
"""

from __future__ import annotations

import numpy as np

from fedasr.typing import Floats


def poisson(
    products: Floats, noise_multiplier: Floats | float, probability: Floats | float, length: float = 1.0
) -> Floats:
    """Return Σ_t ln(1 − q + q·e^{(2ℓx − ℓ²)/2z²}): whether a canary takes part in a step is not known.

    Args:
        products: x, shape ``(steps, canaries)``.
        noise_multiplier: z, or one a step, shape ``(steps, 1)``.
        probability: q, alike.
        length: ℓ, of the canary in clip norms.
    """
    ratio = (2 * length * products - length**2) / (2 * np.square(noise_multiplier))
    with np.errstate(divide="ignore"):  # q = 1: everybody is in every step
        absent = np.log1p(-np.asarray(probability, np.float64))
    return np.asarray(np.logaddexp(absent, np.log(probability) + ratio).sum(0))


def exchanged(products: Floats, noise_multiplier: Floats | float, probability: Floats | float) -> Floats:
    """Return the same for canaries that are always members and send +c in one world and −c in the other."""
    with np.errstate(divide="ignore"):
        there, gone = np.log(probability), np.log1p(-np.asarray(probability, np.float64))
    up, down = ((2 * sign * products - 1) / (2 * np.square(noise_multiplier)) for sign in (1, -1))
    return np.asarray((np.logaddexp(gone, there + up) - np.logaddexp(gone, there + down)).sum(0))


def matched(products: Floats, pattern: Floats, matrix: Floats, noise_multiplier: float) -> Floats:
    """Return ⟨M·p, M·x⟩/(z·‖M·p‖) of canaries whose turns are known: N(μ, 1) with μ = ‖M·p‖/z inside, N(0, 1) outside.

    Args:
        products: x, shape ``(rounds, canaries)``.
        pattern: p, 1 in the rounds of a canary's turns, else 0, shape ``(rounds, canaries)``.
        matrix: M of correlated noise, whose product with the releases has independent noise; the identity otherwise.
        noise_multiplier: z.
    """
    expected = matrix @ pattern
    lengths = np.linalg.norm(expected, axis=0)
    result = np.einsum("ti,ti->i", expected, matrix @ products)
    return np.asarray(result / (noise_multiplier * np.where(lengths > 0, lengths, 1.0)))
