"""The error rate on the devices' own speech from a secure sum of their counts: of a single device nothing is told."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping

import numpy as np
from flwr.app import ArrayRecord, Message

from fedasr.errors import InputError
from fedasr.evaluation.secure_sums import MOST_GROUPS, OTHER, ROOM, CountCoder
from fedasr.experiment import Experiment
from fedasr.flower.records import content_bytes, entries
from fedasr.models.weights import Layout, Vector
from fedasr.protocol import Kind, Longest, Masking, Name, Record
from fedasr.runtime.run_folder import RunFolder
from fedasr.secure.modulus import Residues, kind_of, unpack
from fedasr.secure.server import Server
from fedasr.secure.terms import ESTIMATE, ESTIMATE_BITS, Aborted

from ..aggregation.replies import ReplyRefused, Store, check_array
from ..fleet_estimates import ALL, EstimateTraffic, FleetEstimates, Tally
from ..selection.base import Ids
from .rounds import SecureRounds, check_least, confirmed_masking, not_opened, unconfirmed_masking


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
        rounds.sent, rounds.received, rounds.begun, rounds.circles = Counter(), Counter(), False, None
        coder = CountCoder([ALL, *map(json.dumps, self.groups)], self.words, len(asked))
        try:
            tallies = self.tallies(coder, *self.summed(round, weights, asked, coder))
        except Aborted as why:
            rounds.notes.append(f"the error rate is not estimated: {not_opened(why)}")
        except NoSum as why:
            rounds.notes.append(f"the error rate is not estimated: {why}")
        return tallies, EstimateTraffic(rounds.sent.total(), rounds.received.total())

    def summed(self, round: int, weights: Vector, asked: list[int], coder: CountCoder) -> tuple[Residues, int]:
        """Return the sum of devices' counts, and of how many.

        Raises:
            Aborted: it is not opened.
            InputError: a client met wrong input.
        """
        rounds, missing = self.rounds, dict[int, str]()
        terms, server, living = rounds.terms(round, coder.length, ESTIMATE), None, list[int]()
        masking = unconfirmed_masking(len(asked), 1, terms.holders(len(asked)))
        check_least(len(asked), rounds.config)
        rounds.begun = True
        if rounds.protocol:
            server = Server(terms)
            try:
                rounds.share_secrets(server, round, asked, missing, ESTIMATE)
            finally:
                rounds.notes += [f"client {rounds.partition.names[client]}: {why}" for client, why in missing.items()]
            masking = confirmed_masking(masking, server.confirmed)
        else:
            terms.needed(len(asked))
        try:
            told = self.told(round, weights, [client for client in asked if client not in missing], masking, coder)
            check_least(len(told), rounds.config)
            living = sorted(told)
        finally:
            if server is None:
                rounds.suppose(round, asked, living, ESTIMATE)
        total = np.zeros(coder.length, kind_of(ESTIMATE_BITS))
        for client in living:
            total += told[client]
        if server is not None:
            total = server.unmasked(total, rounds.open_shares(server, round, living, ESTIMATE))
        return total, len(living)

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
                told[client] = residues_of(reply, coder.length)
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


def residues_of(reply: Message, length: int) -> Residues:
    """Return what a device has sent to be summed.

    Raises:
        ReplyRefused: it is something else.
    """
    record = reply.content.get(Record.COUNTED)
    arrays = entries(record) if isinstance(record, ArrayRecord) else {}
    if list(arrays) != [Name.ENCODED]:
        raise ReplyRefused("the reply has no masked counts ('secure_aggregation' is set in the run's config)")
    array = arrays[Name.ENCODED]
    shape = tuple(array.shape)
    check_array(Name.ENCODED, array, "uint8", shape if len(shape) == 1 else (-1,))
    try:
        return unpack(array.numpy(), length, ESTIMATE_BITS)
    except ValueError as error:
        raise ReplyRefused(str(error)) from None


def known_groups(run: Experiment) -> list[tuple[str, str]]:
    """Return column and value of the groups of ``evaluate.by`` that the test speech has, and ``OTHER`` of each column.

    Raises:
        InputError: there are too many.
    """
    groups = []
    for column in run.config.evaluate.by:
        tested = {str(value)[: Longest.DETAIL] for value in run.corpus.columns[column][run.test_rows]}
        groups += [(column, value) for value in sorted(tested | {OTHER})]
    if len(groups) > MOST_GROUPS:
        raise InputError(
            f"'evaluate.by' has {len(groups)} groups, and a secure sum for 'evaluate.estimate' has one part for each;"
            f" expected at most {MOST_GROUPS}: leave out columns such as the speaker"
        )
    return groups
