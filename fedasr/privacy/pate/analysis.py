"""What a run of noisy votes costs: per query, in total, data-dependent and not, and as an event for the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedasr.errors import InputError
from fedasr.privacy.checks import noise_scale, one_of, strict_fraction
from fedasr.privacy.events import PateVotes
from fedasr.privacy.pate import mechanisms
from fedasr.privacy.rdp import Orders, as_orders
from fedasr.typing import Floats

MECHANISMS = ("lnmax", "gnmax", "confident-gnmax", "threshold", "soft-gaussian", "soft-laplace")
"""``threshold`` is the check of ``confident-gnmax`` alone, without any label released. The soft ones release the whole
noisy sum of the teachers' posteriors, not its winner."""
# The grid of the 2018 analysis, with what it lacks below 2, where the best order of a large ε lies.
ORDERS: Orders = as_orders(
    [1.005],
    np.arange(1.01, 1.3, 0.01),
    np.arange(1.3, 2.0, 0.05),
    np.arange(2.0, 100.5, 0.5),
    np.geomspace(100, 500, 100),
    [600, 800, 1000, 1500, 2000, 3000, 5000],
)
CHUNK = 4096
"""Queries analysed at once: memory is this times the orders, times eight bytes and a few."""


@dataclass(frozen=True)
class VoteMechanism:
    """How labels are drawn from votes.

    Args:
        name: of ``MECHANISMS``.
        scale: of the noise on each count, in votes: λ of Laplace, σ of Gauss.
        threshold: votes that the most voted class must have, noise included, for an answer.
        threshold_scale: σ₁, the standard deviation of that noise.

    Raises:
        InputError: the name is unknown, a scale is out of range, or a number is missing or has no use.
    """

    name: str
    scale: float | None = None
    threshold: float | None = None
    threshold_scale: float | None = None

    def __post_init__(self) -> None:
        one_of("mechanism", self.name, MECHANISMS)
        if self.votes_on_labels:
            if self.scale is None:
                raise InputError(f"'scale' is missing; {self.name} needs the scale of its noise, in votes")
            noise_scale("scale", self.scale)
        elif self.scale is not None:
            raise InputError(f"'scale' has no use with {self.name}, which releases no label; leave it out")
        for name, value in (("threshold", self.threshold), ("threshold-scale", self.threshold_scale)):
            if self.has_threshold and value is None:
                raise InputError(f"'{name}' is missing; {self.name} needs a threshold and a threshold-scale")
            if not self.has_threshold and value is not None:
                raise InputError(f"'{name}' has no use with {self.name}; leave it out")
        if self.has_threshold:
            if not np.isfinite(float(self.threshold or 0)):
                raise InputError(f"'threshold' is {self.threshold}; expected a finite number of votes")
            noise_scale("threshold-scale", float(self.threshold_scale or 0))

    @property
    def has_threshold(self) -> bool:
        """Whether it checks for a consensus first."""
        return self.name in ("confident-gnmax", "threshold")

    @property
    def votes_on_labels(self) -> bool:
        """Whether it releases labels."""
        return self.name != "threshold"

    @property
    def soft(self) -> bool:
        """Whether it releases noisy sums of posteriors, which cost the same whatever they are."""
        return self.name.startswith("soft-")

    @property
    def scales(self) -> tuple[float, ...]:
        """The numbers that make it what it is."""
        return tuple(v for v in (self.scale, self.threshold, self.threshold_scale) if v is not None)

    def log_q(self, votes: Floats) -> Floats:
        """Return ln of a bound on the probability that the plurality does not win, shape ``(queries,)``."""
        if not self.votes_on_labels or self.soft:
            return np.full(len(votes), np.nan)
        by = mechanisms.log_q_lnmax if self.name == "lnmax" else mechanisms.log_q_gnmax
        return by(votes, float(self.scale or 0))

    def label_rdp(self, votes: Floats, orders: Orders) -> Floats:
        """Return RDP of releasing the label of each query, data-dependent, shape ``(queries, orders)``."""
        if not self.votes_on_labels:
            return np.zeros((len(votes), len(orders)))
        if self.soft:
            return np.tile(self.label_rdp_data_independent(orders), (len(votes), 1))
        by = mechanisms.laplace_rdp if self.name == "lnmax" else mechanisms.gaussian_rdp
        return by(self.log_q(votes), float(self.scale or 0), orders)

    def label_rdp_data_independent(self, orders: Orders) -> Floats:
        """Return RDP of releasing a label whatever the votes, shape ``(orders,)``."""
        if not self.votes_on_labels:
            return np.zeros(len(orders))
        if self.name == "soft-laplace":
            return mechanisms.soft_laplace_rdp(float(self.scale or 0), orders)
        # GNMax is bounded as the release of all its noisy counts, so the sum of posteriors costs the same.
        of_laplace = self.name == "lnmax"
        by = mechanisms.lnmax_data_independent if of_laplace else mechanisms.gnmax_data_independent
        return by(float(self.scale or 0), orders)

    def check_rdp(self, votes: Floats, orders: Orders) -> Floats:
        """Return RDP of the check for a consensus, data-dependent, shape ``(queries, orders)``; zero without one."""
        if not self.has_threshold:
            return np.zeros((len(votes), len(orders)))
        return mechanisms.threshold_rdp(votes, float(self.threshold or 0), float(self.threshold_scale or 0), orders)

    def check_rdp_data_independent(self, orders: Orders) -> Floats:
        """Return RDP of the check whatever the votes, shape ``(orders,)``; zero without one."""
        if not self.has_threshold:
            return np.zeros(len(orders))
        return mechanisms.threshold_data_independent(float(self.threshold_scale or 0), orders)

    def query_rdp(self, votes: Floats, answered: Floats, orders: Orders) -> Floats:
        """Return RDP of each query, data-dependent, shape ``(queries, orders)``.

        The label is paid for as far as it is released: by ``answered``, 0, 1 or a probability, shape ``(queries,)``.
        """
        return self.check_rdp(votes, orders) + answered[:, None] * self.label_rdp(votes, orders)

    def answer_probability(self, votes: Floats) -> Floats:
        """Return how likely each query is to be answered, shape ``(queries,)``; one without a check."""
        if not self.has_threshold:
            return np.ones(len(votes))
        yes, _ = mechanisms.log_answered(votes, float(self.threshold or 0), float(self.threshold_scale or 0))
        return np.exp(yes)


@dataclass(frozen=True)
class Analysis:
    """What the votes of a file cost."""

    mechanism: VoteMechanism
    queries: int
    answered: float
    """how many were answered; where it is not known which, how many are expected to be"""
    expected: bool
    """whether ``answered`` is an expectation: right for a plan or a table, not for a ledger"""
    orders: Orders
    rdp: Floats
    """total at each order, data-dependent"""
    rdp_data_independent: Floats
    delta: float
    conversion: str

    @property
    def best(self) -> tuple[float, float]:
        """The data-dependent ε and its order."""
        return to_epsilon(self.rdp, self.orders, self.delta, self.conversion)

    @property
    def best_data_independent(self) -> tuple[float, float]:
        """The ε that holds whatever the votes, and its order."""
        return to_epsilon(self.rdp_data_independent, self.orders, self.delta, self.conversion)

    def event(self) -> PateVotes:
        """Return the event for the ledger, which is told which queries were answered, never how many to expect.

        Raises:
            InputError: it is not known which queries were answered.
        """
        if self.expected:
            raise InputError("a ledger needs to know which queries were answered, not how many are expected to be")
        return PateVotes(
            mechanism=self.mechanism.name,
            scales=self.mechanism.scales,
            steps=self.queries,
            orders=self.orders,
            rdp=tuple(self.rdp.tolist()),
            rdp_data_independent=tuple(self.rdp_data_independent.tolist()),
        )


def analyse(
    votes: npt.ArrayLike,
    mechanism: VoteMechanism,
    delta: float,
    *,
    orders: Orders = ORDERS,
    answered: npt.ArrayLike | None = None,
    conversion: str = "classic",
) -> Analysis:
    """Return what the votes cost.

    Args:
        votes: counts, shape ``(queries, classes)``; each teacher votes once a query.
        mechanism: how labels are drawn.
        delta: between 0 and 1.
        orders: Rényi orders, above 1, rising.
        answered: which queries were answered, shape ``(queries,)``; None: expect as many as are likely to be.
        conversion: ``classic`` (ε = RDP + ln(1/δ)/(α − 1), as published PATE results), or ``improved`` as the ledger.

    Raises:
        InputError: δ, the orders or the conversion are wrong, or ``answered`` has another length.
    """
    strict_fraction("delta", delta)
    one_of("conversion", conversion, ("classic", "improved"))
    check_orders(orders)
    counts = np.atleast_2d(np.asarray(votes, float))
    chances = answer_chances(counts, mechanism, answered)
    total = np.zeros(len(orders))
    for part in chunks(len(counts)):
        total += mechanism.query_rdp(counts[part], chances[part], orders).sum(axis=0)
    plain = len(counts) * mechanism.check_rdp_data_independent(orders)
    plain = plain + float(chances.sum()) * mechanism.label_rdp_data_independent(orders)
    return Analysis(
        mechanism=mechanism,
        queries=len(counts),
        answered=float(chances.sum()),
        expected=answered is None and mechanism.has_threshold,
        orders=orders,
        rdp=np.minimum(total, plain),
        rdp_data_independent=plain,
        delta=delta,
        conversion=conversion,
    )


def query_costs(
    votes: npt.ArrayLike, mechanism: VoteMechanism, orders: Orders, answered: npt.ArrayLike | None = None
) -> Floats:
    """Return the data-dependent RDP of each query, shape ``(queries, orders)``; arguments as of ``analyse``."""
    counts = np.atleast_2d(np.asarray(votes, float))
    chances = answer_chances(counts, mechanism, answered)
    costs = np.zeros((len(counts), len(orders)))
    for part in chunks(len(counts)):
        costs[part] = mechanism.query_rdp(counts[part], chances[part], orders)
    return costs


def to_epsilon(rdp: Floats, orders: Orders, delta: float, conversion: str = "classic") -> tuple[float, float]:
    """Return ε at δ of a curve, and the order where it is least."""
    if conversion == "improved":
        from dp_accounting.rdp import compute_epsilon

        epsilon, order = compute_epsilon(orders, rdp, delta)
        return float(epsilon), float(order)
    alpha = np.asarray(orders)
    epsilons = rdp - np.log(delta) / (alpha - 1)
    best = int(np.argmin(epsilons))
    return float(epsilons[best]), float(alpha[best])


def answer_chances(votes: Floats, mechanism: VoteMechanism, answered: npt.ArrayLike | None) -> Floats:
    """Return 1 and 0 for queries that were answered or not, else how likely each is; shape ``(queries,)``.

    Raises:
        InputError: ``answered`` has another length than the votes, or has queries without an answer of a mechanism that
            answers every one.
    """
    if answered is None:
        return mechanism.answer_probability(votes)
    known = np.asarray(answered, bool)
    if known.shape != (len(votes),):
        raise InputError(f"'answered' has {known.size} values for {len(votes)} queries")
    if not mechanism.has_threshold and not known.all():
        raise InputError(
            f"'answered' says that {int((~known).sum())} queries were not answered, but {mechanism.name} answers every"
            " one; leave it out"
        )
    return known.astype(float)


def check_orders(orders: Orders) -> None:
    """Raise where orders are not above one and rising.

    Raises:
        InputError: they are not.
    """
    values = np.asarray(orders, float)
    if not len(values) or not np.all(np.isfinite(values)) or values[0] <= 1 or np.any(np.diff(values) <= 0):
        raise InputError("'orders' expected numbers above 1 that rise, such as 1.5,2,5,10")


def chunks(queries: int) -> Iterator[slice]:
    """Yield slices over the queries."""
    for start in range(0, queries, CHUNK):
        yield slice(start, min(start + CHUNK, queries))
