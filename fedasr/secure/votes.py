"""Votes of teachers as whole numbers modulo 2ᵇ, each with a share of the noise, and what their sums cost.

A vote is a whole number of steps, and the shares are drawn on the same grid: Skellam noise in the place of Gaussian,
discrete Laplace noise. Both are infinitely divisible there: the shares of ``least`` teachers add up to exactly the
noise that is accounted for, and those of more to more of it. Nothing is rounded after the noise, and that sums wrap
around is post-processing. Posteriors are rounded down before it, teacher by teacher, so that exchanging one still moves
a sum by √2 votes at most (in L1 by 2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fedasr.config.schema import Config
from fedasr.errors import InputError
from fedasr.privacy.events import PateVotes
from fedasr.privacy.pate.analysis import ORDERS
from fedasr.privacy.pate.mechanisms import discrete_soft_laplace_rdp, lnmax_data_independent
from fedasr.privacy.pate.noise import LAPLACE, laplace_share
from fedasr.privacy.rdp import Orders
from fedasr.privacy.skellam import bounded_rdp, skellam
from fedasr.secure.modulus import Residues, centred
from fedasr.secure.terms import least_updates
from fedasr.typing import Floats, Integers

FINEST = 16
"""A vote has at most two to this power steps."""
COARSEST = 4
"""Of posteriors at least so: coarser ones would all be rounded down to nothing. A vote may be one step."""
NOISE_BITS = 10
"""Where there is room, the noise of a share is at least two to this power steps: then the grid costs nothing."""
LARGEST_SHARE = 1 << 16
"""Standard deviation of a share, in steps: beyond it a sampler of Poisson numbers in float64 is no longer exact."""
CHANCE = 2.0**-50
"""That a count wraps around, at most."""


@dataclass(frozen=True)
class VoteCoder:
    """Makes whole numbers of a teacher's votes, and counts of sums.

    Attributes:
        mechanism: how labels are drawn.
        scale: of the noise that is accounted for, in votes: σ, or λ of Laplace.
        least: how many shares make that noise.
        bits: of the modulus.
        steps: in a vote, a power of two.
    """

    mechanism: str
    scale: float
    least: int
    bits: int
    steps: int

    @classmethod
    def of(cls, config: Config, teachers: int) -> VoteCoder:
        """Return the coder of a run: the finest that is of use and does not wrap around.

        Args:
            config: with ``pate.noise_at: teachers``.
            teachers: whose votes are summed, at most.

        Raises:
            InputError: the bits cannot hold the sum, or there is too much noise to be drawn exactly.
        """
        pate, bits, least = config.pate, config.secure_aggregation.bits, least_updates(config)
        lowest = COARSEST if pate.mechanism.startswith("soft-") else 0
        share = pate.scale if pate.mechanism in LAPLACE else pate.scale / math.sqrt(least)
        if pate.mechanism not in LAPLACE and share * (1 << lowest) > LARGEST_SHARE:
            raise InputError(
                f"'pate.scale' is {pate.scale:g}, too much noise for {least} exact shares of it"
                f" (secure_aggregation.least_clients); expected at most {LARGEST_SHARE / (1 << lowest):g} votes times"
                " the square root of that"
            )
        wanted = min(max(NOISE_BITS + 1 - math.frexp(share)[1], lowest), FINEST)
        for exponent in range(wanted, lowest - 1, -1):
            coder = cls(pate.mechanism, pate.scale, least, bits, 1 << exponent)
            if coder.largest(teachers) < 1 << (bits - 1):
                return coder
        raise InputError(
            f"'secure_aggregation.bits' is {bits}, which cannot hold the votes of {teachers} teachers with their noise"
            f" ('pate.scale' is {pate.scale:g}); set more bits, at most 32"
        )

    @property
    def laplace(self) -> bool:
        """Whether the noise is Laplace's."""
        return self.mechanism in LAPLACE

    @property
    def units(self) -> int:
        """λ in steps, rounded up."""
        return max(1, math.ceil(self.scale * self.steps))

    @property
    def variance(self) -> float:
        """Of Skellam noise of ``least`` shares, in steps squared."""
        return (self.scale * self.steps) ** 2

    def largest(self, teachers: int) -> float:
        """Return what no sum of so many is beyond, in steps, but by ``CHANCE``."""
        unlikely, shares = math.log(2 / CHANCE), teachers / self.least
        if self.laplace:  # Chernoff, with half of the largest exponent for which there is a moment
            tail = 2 * self.units * (unlikely + shares * math.log(4 / 3))
        else:  # Bernstein: Skellam noise is a sum of steps of ±1
            tail = unlikely / 3 + math.sqrt(unlikely**2 / 9 + 2 * unlikely * shares * self.variance)
        return teachers * self.steps + tail

    def encode(self, counts: Floats, rng: np.random.Generator) -> Integers:
        """Return a teacher's votes, or posteriors, in steps with its share of the noise; int64, shape of ``counts``.

        Args:
            counts: each from 0 to 1, a row at most 1 together, shape ``(queries, classes)``.
            rng: of this answer.
        """
        whole = np.floor(counts * self.steps).astype(np.int64)
        whole += self.share(counts.size, rng).reshape(counts.shape)
        return whole

    def share(self, count: int, rng: np.random.Generator) -> Integers:
        """Return one share of the noise of so many counts, in steps, int64, shape ``(count,)``."""
        if self.laplace:
            return laplace_share(rng, self.units, count, 1 / self.least)
        return skellam(rng, self.variance / self.least, count)

    def decode(self, total: Residues) -> Floats:
        """Return a sum in votes, float64, shape of ``total``."""
        return np.asarray(centred(total, self.bits) / self.steps, np.float64)

    def rdp(self, orders: Orders = ORDERS) -> Floats:
        """Return the RDP of a query whose noisy counts are all seen, whatever the votes, shape ``(orders,)``."""
        return np.array(query_rdp(self, orders))

    def event(self, queries: int) -> PateVotes:
        """Return what so many queries are in a ledger."""
        curve = tuple((queries * self.rdp()).tolist())
        kind = "discrete Laplace" if self.laplace else "Skellam"
        return PateVotes(
            mechanism=f"{self.mechanism} of sums with {self.least} shares of {kind} noise on a grid of"
            f" 1/{self.steps} votes",
            scales=(self.scale,),
            steps=queries,
            orders=ORDERS,
            rdp=curve,
            rdp_data_independent=curve,
        )


@lru_cache(maxsize=64)
def query_rdp(coder: VoteCoder, orders: Orders) -> tuple[float, ...]:
    """Return ``VoteCoder.rdp``; two counts change by a vote, one up and one down, or as much in more of them."""
    if coder.mechanism == "lnmax":
        curve = lnmax_data_independent(coder.units / coder.steps, orders)
    elif coder.laplace:
        curve = discrete_soft_laplace_rdp(coder.units, coder.steps, orders)
    else:
        curve = bounded_rdp(coder.variance, 2.0 * coder.steps**2, 2.0 * coder.steps, orders)
    return tuple(curve.tolist())
