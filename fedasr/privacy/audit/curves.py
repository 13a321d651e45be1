"""What a ledger claims, as a curve δ(ε) of the project's own accountants, and the trade-off that follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fedasr.privacy.accountants import best_accountant
from fedasr.privacy.events import Event
from fedasr.privacy.pld import SMALLEST_DELTA, composed, gaussian_delta, is_gaussian, out_of_reach, total_mu
from fedasr.privacy.rdp import orders_for, rdp_curve, rdp_epsilon
from fedasr.typing import Floats

POINTS = 240
"""ε at which the curve is computed; between them it is not used, which costs power and no validity."""


@dataclass(frozen=True)
class Curve:
    """δ at some ε, from above: shape ``(points,)`` each."""

    epsilons: Floats
    deltas: Floats
    words: str
    """by whom it was computed"""

    def least_missed(self, false: float) -> float:
        """Return the least miss rate that the claim allows at a false-alarm rate: sup over ε of both directions."""
        rest = 1 - self.deltas
        with np.errstate(over="ignore"):
            both = np.maximum(rest - np.exp(self.epsilons) * false, np.exp(-self.epsilons) * (rest - false))
        return max(0.0, float(both.max(initial=0.0)))

    def least_missed_at(self, false: Floats) -> Floats:
        """Return the same at many false-alarm rates, shape as given."""
        rest, rates = 1 - self.deltas, np.asarray(false, np.float64)[..., None]
        with np.errstate(over="ignore"):
            both = np.maximum(rest - np.exp(self.epsilons) * rates, np.exp(-self.epsilons) * (rest - rates))
        return np.asarray(both.max(-1, initial=0.0))


def curve_of(events: Sequence[Event], accountant: str = "pld", every: int = 1) -> Curve:
    """Return the curve of all events together.

    Args:
        events: of one unit and adjacency.
        accountant: ``pld``, where it can account for all events, or ``rdp``.
        every: rdp: how many Rényi orders are passed over for one that is used: sooner, and farther above the truth.
    """
    return known_curve(tuple(events), accountant, every)


@lru_cache(maxsize=64)
def known_curve(events: tuple[Event, ...], accountant: str, every: int) -> Curve:
    """Return the same, once."""
    if all(map(is_gaussian, events)):
        mu = total_mu(events)
        epsilons = np.linspace(0.0, max(mu * mu / 2 + 7 * mu, 1e-6), POINTS)
        return Curve(
            epsilons, np.array([gaussian_delta(mu, float(e)) for e in epsilons]), "exactly, for Gaussian noise"
        )
    from dp_accounting.rdp.rdp_privacy_accountant import compute_delta

    orders = orders_for(events)[::every]
    rdp = rdp_curve(events, orders)
    epsilons = np.linspace(0.0, max(rdp_epsilon(events, 1e-9, orders)[0], 1e-6), POINTS)
    deltas = np.array([float(compute_delta(orders, rdp, float(e))[0]) for e in epsilons])
    if best_accountant(events, accountant) != "pld" or out_of_reach(events, SMALLEST_DELTA):
        return Curve(epsilons, deltas, "rdp")
    exact = np.array(composed(events, SMALLEST_DELTA).get_delta(epsilons.tolist()), np.float64)
    return Curve(epsilons, np.minimum(deltas, exact), "pld")
