"""The aggregator: votes in, noisy labels out, each paid for before it is released, within a budget.

LNMax, GNMax and Confident-GNMax (Papernot et al., arXiv 1610.05755 and 1802.08908), and the average of posteriors with
noise on each (Yang et al., arXiv 2210.05614), which is released whole. Counts are whole numbers, or multiples of 2⁻³²,
so the order in which teachers answer changes nothing. A teacher that fails, or abstains, votes for nothing; a neighbour
still differs in one vote, so the accounts hold.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr.config import Config
from fedasr.privacy.document import privacy_document, with_caveat
from fedasr.privacy.events import PateVotes
from fedasr.privacy.ledger import Budget, Ledger
from fedasr.privacy.pate.analysis import ORDERS, VoteMechanism, analyse, query_costs, to_epsilon
from fedasr.privacy.pate.noise import noise, noise_generator, noisy
from fedasr.secure.votes import VoteCoder
from fedasr.typing import Floats

from ..secure.onlooking import told_of_sums
from .record import NO_LABEL, Record

DEPENDENT, INDEPENDENT = 0, 1
"""The rows of ``Record.rdp``."""


class Aggregator:
    """Releases labels and keeps account of them.

    Args:
        config: of the run.
        teachers: how many there are; what the ledger calls the population.
        record: takes what is released.
    """

    def __init__(self, config: Config, teachers: int, record: Record) -> None:
        pate = config.pate
        self.config = config
        self.teachers = teachers
        self.record = record
        self.mechanism = VoteMechanism(pate.mechanism, pate.scale, pate.threshold, pate.threshold_scale)
        self.released = "labels of public speech"
        if pate.votes_from is not None:
            simulated = "simulated after the votes" if pate.simulated_teachers else "with the votes"
            self.released += f", {simulated} of an earlier run"
        self.trusted = pate.noise_at == "server"
        """whether the server adds the noise, to counts that it sees exactly"""
        self.exact = self.trusted and not self.mechanism.soft
        """whether the votes are known and kept, and decide what they cost"""
        self.data_dependent = pate.budget == "data-dependent"
        in_sums = config.secure_aggregation.mode != "none"
        self.sums = VoteCoder.of(config, teachers) if in_sums else None
        """what comes of votes under secure aggregation"""
        self.seen_by = "server" if in_sums else "everyone"

    def release(self, utterance: int, counts: Floats) -> bool:
        """Pay for the next query and release its label; False: the budget allows no more.

        A check for consensus is paid for by itself. Where it finds one and the label cannot be paid for, labelling ends
        with a query that has no label: that there was consensus is released and paid for, which label is not.

        Args:
            utterance: that the query is about.
            counts: votes, or the sum of posteriors, for each class, shape ``(classes,)``, noisy already where the
                teachers add the noise.
        """
        if not self.affords(counts, answered=not self.mechanism.has_threshold):
            return False
        if self.mechanism.soft:
            counts = self.noisy(counts, len(self.record))
        label = self.label(counts, len(self.record))
        enough = label == NO_LABEL or self.affords(counts, answered=True)
        if not enough:
            label = NO_LABEL
        self.record.rdp += self.cost(counts, label != NO_LABEL)
        self.record.add(utterance, label, counts)
        return enough

    def give_up(self, utterance: int) -> None:
        """Pay for a query whose answer is not known, and that has no label: the sum of the votes was not opened."""
        counts = np.zeros(self.record.classes)
        self.record.rdp += self.cost(counts, answered=True)
        self.record.add(utterance, NO_LABEL, counts)

    def lose(self, queries: int) -> None:
        """Pay for queries whose answers may be known to somebody and are lost: they are no rows of the record."""
        self.record.rdp += queries * self.cost(np.zeros(0), answered=True)
        self.record.lost += queries

    def label(self, counts: Floats, number: int) -> int:
        """Return the noisy winner of query ``number``, or ``NO_LABEL`` where the check finds no consensus."""
        if not self.exact:
            return int(counts.argmax())
        mechanism, rng = self.mechanism, self.generator(number)
        if mechanism.has_threshold:
            assert mechanism.threshold is not None
            assert mechanism.threshold_scale is not None
            if counts.max() + rng.normal(0.0, mechanism.threshold_scale) < mechanism.threshold:
                return NO_LABEL
        assert mechanism.scale is not None
        return int((counts + noise(mechanism.name, mechanism.scale, len(counts), rng)).argmax())

    def noisy(self, counts: Floats, number: int) -> Floats:
        """Return the sum of posteriors of query ``number`` as it is released, shape ``(classes,)``."""
        if not self.trusted:
            return counts
        assert self.mechanism.scale is not None
        return noisy(self.mechanism.name, self.mechanism.scale, counts, self.generator(number))

    def generator(self, number: int) -> np.random.Generator:
        """Return the generator of the noise of query ``number``."""
        return noise_generator(self.config.privacy.secret_noise, self.config.seed, "pate-noise", number)

    def cost(self, counts: Floats, answered: bool) -> Floats:
        """Return RDP of a query, data-dependent and data-independent, shape ``(2, orders)``."""
        mechanism = self.mechanism
        if self.sums is not None:
            return np.stack([self.sums.rdp()] * 2)
        plain = mechanism.check_rdp_data_independent(ORDERS) + answered * mechanism.label_rdp_data_independent(ORDERS)
        if not self.exact:
            return np.stack([plain, plain])
        known = [answered] if mechanism.has_threshold else None
        return np.stack([query_costs(counts[None], mechanism, ORDERS, known)[0], plain])

    def affordable(self, queries: int) -> int:
        """Return how many of so many queries the budget allows: all of them, where only their votes tell.

        What costs the same whatever the votes is not even asked for beyond the budget. Where the teachers add the
        noise, the sums that come back are released to the server by being there.
        """
        budget = self.config.privacy.epsilon
        if budget is None or self.exact:
            return queries
        cost, after = self.cost(np.zeros(0), answered=True)[INDEPENDENT], self.record.rdp[INDEPENDENT]
        for number in range(queries):
            after = after + cost
            if to_epsilon(after, ORDERS, self.config.privacy.delta, "improved")[0] > budget:
                return number
        return queries

    def affords(self, counts: Floats, answered: bool) -> bool:
        """Say whether the budget allows one more query, with its label or with the check alone."""
        budget = self.config.privacy.epsilon
        if budget is None:
            return True
        after = self.record.rdp + self.cost(counts, answered)
        rdp = np.minimum(after[DEPENDENT], after[INDEPENDENT]) if self.data_dependent else after[INDEPENDENT]
        return to_epsilon(rdp, ORDERS, self.config.privacy.delta, "improved")[0] <= budget

    def ledger(self) -> Ledger:
        """Return the ledger: one entry for all votes, checks that found no consensus included."""
        ledger = Ledger("rdp", secret=self.config.privacy.secret_noise)
        queries = len(self.record) + self.record.lost
        if not queries:
            return ledger
        if not self.exact:
            event = self.sums.event(queries) if self.sums is not None else self.plain_event(queries)
            ledger.charge(event, released=self.released, population=self.teachers, seen_by=self.seen_by)
            return ledger
        answered = self.record.answered if self.mechanism.has_threshold else None
        event = analyse(self.record.votes, self.mechanism, self.config.privacy.delta, answered=answered).event()
        ledger.charge(event, released=self.released, population=self.teachers, seen_by=self.seen_by)
        return ledger

    def plain_event(self, queries: int) -> PateVotes:
        """Return what so many queries are in the ledger whose votes nobody knows."""
        curve = tuple((queries * self.cost(np.zeros(0), answered=True)[INDEPENDENT]).tolist())
        return PateVotes(
            mechanism=self.mechanism.name,
            scales=self.mechanism.scales,
            steps=queries,
            orders=ORDERS,
            rdp=curve,
            rdp_data_independent=curve,
        )

    def epsilons(self) -> tuple[float, float]:
        """Return ε as the votes were, and ε whatever they had been, at ``privacy.delta``."""
        ledger, delta = self.ledger(), self.config.privacy.delta
        if not ledger.entries:
            return 0.0, 0.0
        spending = ledger.spent(delta)[0]
        plain = spending.epsilon_data_independent
        return spending.epsilon, spending.epsilon if plain is None else plain

    def document(self) -> dict[str, Any]:
        """Return the content of ``privacy.json``."""
        privacy = self.config.privacy
        budget = None if privacy.epsilon is None else Budget(privacy.epsilon, privacy.delta, "teacher")
        document = privacy_document(self.ledger(), privacy.delta, budget=budget)
        if self.sums is not None:
            document = told_of_sums(document, self.config)
        if self.data_dependent:
            # Two neighbours may end at different queries whatever the noise: no ε holds for where a run ends.
            document = with_caveat(
                document,
                "where labelling ended followed from these votes, which no ε covers: for studies, not for publication",
            )
        if self.config.pate.simulated_teachers is not None and "guarantee" in document:
            # One of the recorded teachers moves several simulated votes.
            why = "simulated teachers, so no guarantee for anybody"
            document["guarantee"] = f"{why}: {document['guarantee']}"
            document["caveats"] = [*document.get("caveats", ()), why]
        return document


def count_votes(counts: Floats, votes: npt.NDArray[np.int64]) -> None:
    """Add one teacher's votes to the counts, in place.

    Args:
        counts: shape ``(queries, classes)``.
        votes: a class for each query, or −1 for none, shape ``(queries,)``.
    """
    cast = np.flatnonzero((votes >= 0) & (votes < counts.shape[1]))
    counts[cast, votes[cast]] += 1.0
