"""What everybody in a round of secure aggregation has to agree on, and why a round releases nothing."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from fedasr.config.schema import Config

DEFAULT_NEIGHBOURS = 20
ESTIMATE = "estimate"
"""Purpose of a sum that is not of updates: counts for an estimate of the error rate."""
VOTES = "votes"
"""Purpose of a sum of the votes of teachers."""
PURPOSES = (ESTIMATE, VOTES)
"""All beside the updates."""
ESTIMATE_BITS = 64
"""Of the modulus of a sum of counts, whatever that of updates is: its numbers are few and large."""


class Aborted(Exception):
    """The protocol cannot go on without telling more than the sum: nothing is opened. The message says why."""


def least_updates(config: Config) -> int:
    """Return how many updates a sum has at least, or it is not opened: as given, or more than two thirds of a cohort.

    Where noise comes in shares it is the number of them that an account may count on.
    """
    given = config.secure_aggregation.least_clients
    return more_than_two_thirds(config.selection.clients_per_round) if given is None else given


def more_than_two_thirds(count: int) -> int:
    """Return the least number that is more than two thirds."""
    return 2 * count // 3 + 1


def round_of_votes(number: int) -> int:
    """Return the round of the sum of the votes on questions the first of which has this number, counted over a run."""
    return number + 1


def session_of_run(config_json: str, purpose: str | None = None) -> bytes:
    """Return what tells the sums of a run from those of others, and those for one purpose from those for another.

    Args:
        config_json: the run's config, as its clients find it in each message.
        purpose: None: updates.
    """
    return hashlib.blake2b(config_json.encode(), digest_size=16, person=(purpose or "").encode()).digest()


@dataclass(frozen=True)
class Terms:
    """The terms of a round.

    Attributes:
        run: what tells the sums of the run, for one purpose, from others.
        round: counted from 1.
        bits: of the modulus.
        length: numbers that each client sends.
        neighbours: with how many others each client shares masks and shares; all others where there are no more.
        threshold: how many shares open a secret; None: more than two thirds of those who hold one.
        least: how many updates a sum has at least; a client that shares masks with all others sees to it.
        floor: how many of a client and those that it shares masks with are in the sum at least, whatever the run says.
    """

    run: bytes
    round: int
    bits: int
    length: int
    neighbours: int = DEFAULT_NEIGHBOURS
    threshold: int | None = None
    least: int = 0
    floor: int = 0

    @classmethod
    def of(
        cls, config: Config, config_json: str, round: int, length: int, floor: int = 0, purpose: str | None = None
    ) -> Terms:
        """Return the terms of a sum of a round of a config."""
        secure, run = config.secure_aggregation, session_of_run(config_json, purpose)
        bits = ESTIMATE_BITS if purpose == ESTIMATE else secure.bits
        return cls(run, round, bits, length, secure.neighbours, secure.threshold, least_updates(config), floor)

    def holders(self, clients: int) -> int:
        """Return how many hold a share of a client's secrets: its neighbours, and the client itself.

        A ring has a neighbour on either side, so that an odd number of them becomes the next even one.
        """
        return min(self.neighbours + self.neighbours % 2, clients - 1) + 1

    def needed(self, clients: int) -> int:
        """Return how many shares open a secret in a round of so many clients.

        More than half of the holders, in any case: nobody answers twice, so that no two secrets of one client can both
        be opened. Of more than two thirds that holds even where up to a third of the holders answer as they like.

        Raises:
            Aborted: there are too few clients for the threshold.
        """
        holders = self.holders(clients)
        needed = more_than_two_thirds(holders) if self.threshold is None else self.threshold
        if clients < 2 or not holders / 2 < needed <= holders:
            raise Aborted(f"{needed} shares are to open a secret (secure_aggregation.threshold), {holders} hold one")
        return needed
