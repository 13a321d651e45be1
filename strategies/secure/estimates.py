"""The error rate on the devices' own speech from a secure sum of their counts: of a single device nothing is told."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from fedasr.evaluation.secure_sums import ALL, ROOM, CountCoder
from fedasr.experiment import Experiment
from fedasr.flower.records import content_bytes
from fedasr.models.weights import Layout, Vector
from fedasr.protocol import Kind, Masking, Record
from fedasr.runtime.run_folder import RunFolder
from fedasr.secure.modulus import Residues
from fedasr.secure.terms import ESTIMATE, ESTIMATE_BITS, Aborted

from ..aggregation.replies import ReplyRefused, Store
from ..estimates.fleet import EstimateTraffic, FleetEstimates, Tally
from ..estimates.groups import known_groups
from ..selection.base import Ids
from .messages import residues_of
from .rounds import SecureRounds, not_opened


class NoSum(Exception):
    """What was opened is not what devices count: one of them has sent something else. The message says why."""


class SecureEstimates(FleetEstimates):
    """Estimates from sums alone. The groups are named beforehand: those of the test speech, and all others together.

    Args:
        run: the experiment.
        rounds: sends the messages of the protocol.
        layout: of the model.
        folder: of the run.

    Raises:
        InputError: there are too many groups.
    """

    rounds: SecureRounds

    def __init__(self, run: Experiment, rounds: SecureRounds, layout: Layout, folder: RunFolder) -> None:
        super().__init__(run, rounds, layout, folder)
        self.groups = known_groups(run) if self.settings.every else []
        self.words = self.settings.words or 0
        CountCoder([ALL], self.words, len(run.partition))  # that a sum would not fit is said before anybody trains

    def gathered(
        self, round: int, weights: Vector, clients: Ids, stored: Mapping[int, Store]
    ) -> tuple[dict[str, Tally], EstimateTraffic]:
        """Return group → the sums of its counts, and the bytes sent; nobody's counts where no sum is opened."""
        rounds, asked, tallies = self.rounds, clients.tolist(), {ALL: Tally()}
        coder = CountCoder([ALL, *map(json.dumps, self.groups)], self.words, len(asked))

        def tell(clients: list[int], masking: Masking) -> dict[int, Residues]:
            return self.told(round, weights, clients, masking, coder)

        try:
            tallies = self.tallies(coder, *rounds.summed(round, asked, coder.length, ESTIMATE, tell))
        except Aborted as why:
            rounds.notes.append(f"the error rate is not estimated: {not_opened(why)}")
        except NoSum as why:
            rounds.notes.append(f"the error rate is not estimated: {why}")
        return tallies, EstimateTraffic(rounds.sent.total(), rounds.received.total())

    def told(
        self, round: int, weights: Vector, clients: list[int], masking: Masking, coder: CountCoder
    ) -> dict[int, Residues]:
        """Return client → what it has sent to be summed.

        Raises:
            InputError: a client met wrong input.
        """
        rounds = self.rounds
        content = self.content(round, weights, json.dumps(self.groups))
        content[Record.SECURE] = masking.to_record()
        sizes = rounds.charged(content, np.array(clients, np.int64)).tolist()
        rounds.received.update(dict(zip(clients, sizes, strict=True)))
        messages = rounds.messages(Kind.ESTIMATE, round, content, clients)
        by_node = {m.metadata.dst_node_id: client for m, client in zip(messages, clients, strict=True)}
        told: dict[int, Residues] = {}
        for reply in rounds.replies(messages):
            client = by_node[reply.metadata.src_node_id]
            rounds.sent[client] += 0 if reply.has_error() else content_bytes(reply.content)
            try:
                self.check(reply)
                told[client] = residues_of(reply, Record.COUNTED, coder.length, ESTIMATE_BITS, "counts")
            except ReplyRefused as error:
                rounds.refuse(Kind.ESTIMATE, client, error)
        rounds.settle(clients, told)
        return told

    def tallies(self, coder: CountCoder, total: Residues, devices: int) -> dict[str, Tally]:
        """Return group → what devices have counted of it.

        Raises:
            NoSum: it is not what so many devices count.
        """
        try:
            groups, shortened = coder.decode(total, devices)
        except ValueError as error:
            raise NoSum(error) from None
        if shortened:
            self.rounds.notes.append(
                f"the error rate is estimated with {shortened} counts that were larger than {ROOM} times"
                f" 'evaluate.estimate.words' ({self.words}) and were scaled down to it; raise it"
            )
        return {group: Tally(*sums) for group, sums in groups.items()}
