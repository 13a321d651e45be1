"""A round of training under secure aggregation, in protocol or simulated."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import Message, RecordDict

from fedasr.config import Config
from fedasr.data.roster import Roster
from fedasr.edge.peers import enrolled_directory
from fedasr.errors import one_line
from fedasr.flower.records import content_bytes, shallow_copy
from fedasr.models.weights import Vector
from fedasr.privacy.update_clipping import Clip
from fedasr.protocol import KeyList, Kind, Masking, OpenedShares, Record, SealedShares, SecureOrder, Status
from fedasr.registry import is_reference
from fedasr.secure.coders import Coder, Counts, make_coder
from fedasr.secure.identity import SIGNATURE_BYTES, Directory, SimulatedDirectory
from fedasr.secure.keys import CLIENT_BYTES, clients_to_bytes, keys_from_bytes
from fedasr.secure.modulus import Residues, kind_of, packed_bytes
from fedasr.secure.server import Server, answered
from fedasr.secure.terms import Aborted, Terms, least_updates

from ..aggregation.accumulating import Expectations, UpdateAccumulator
from ..aggregation.base import Aggregate
from ..aggregation.own import OwnAggregate
from ..aggregation.replies import ReplyRefused, Store, check_size, stores
from ..aggregation.weighting import Weighting
from ..rounds import RoundResult, Rounds, failed_row, first_line
from ..selection.base import Ids, Selection
from .accumulating import SecureAccumulator
from .aggregate import SecureSum
from .messages import listing, traffic, unmasking

Told = Mapping[int, Residues]
"""Client → what it tells."""
SUMMED = (Kind.TRAIN, Kind.ESTIMATE, Kind.VOTE)
"""Messages that ask for a part of a sum."""
MUCH_CUT = 0.01
"""Share of the changes that are cut of which a note is made."""


class SecureRounds(Rounds):
    """Rounds whose updates the server gets as a sum.

    Who is late or drops out by the virtual clock has shared its secrets, as it would have. All arguments are those of
    ``Rounds``.
    """

    server: Server | None = None
    """of the current round, where there is a protocol"""
    masking: Masking
    """of the current round"""
    sent: Counter[int]
    """client → bytes of the protocol that it has sent in the current round"""
    received: Counter[int]
    """client → bytes of the protocol that it was sent in it"""
    aborted: str | None = None
    """why it opens nothing"""
    circles: Mapping[int, Mapping[int, bytes]] | None = None
    """client → whose signatures of the list of keys it needs in the sum that is made; None: it is simulated"""
    cohort: tuple[int, ...] = ()
    """the clients of the current round"""
    begun = False
    """whether they are asked for anything"""

    @property
    def protocol(self) -> bool:
        """Whether there is a protocol; else it is simulated."""
        return self.config.secure_aggregation.mode == "protocol"

    @cached_property
    def directory(self) -> Directory:
        """What is known of the clients' keys."""
        if self.deployed:
            return enrolled_directory(dict(enumerate(map(str, self.partition.names))))
        return SimulatedDirectory(self.config.seed)

    @property
    def deployed(self) -> bool:
        """Whether the clients are edge devices."""
        return self.config.runtime.name == "deployment"

    def names(self, clients: Collection[int]) -> str | None:
        """Return by which names edge devices know each other; None in a simulation."""
        return json.dumps([str(self.partition.names[client]) for client in sorted(clients)]) if self.deployed else None

    def stores(self, roster: Roster, clients: list[int]) -> dict[int, Store]:
        """Return what each client stores, as far as the server knows: of a single one it is not told again."""
        return stores(roster, clients)

    def terms(self, round: int, length: int = 0, purpose: str | None = None) -> Terms:
        """Return the terms of a sum of a round; what tells the run from others is what its clients find in messages."""
        return Terms.of(self.config, self.config_json, round, length, purpose=purpose)

    def order(self, round: int, purpose: str | None = None) -> SecureOrder:
        """Return what a step of the protocol asks."""
        return SecureOrder(round, self.config_json, purpose)

    def prepare(self, round: int, selection: Selection, roster: Roster, weighting: Weighting) -> dict[int, str]:
        """Let clients share their secrets; return who takes no part, and why."""
        clients = [int(client) for client in selection.clients]
        self.sent, self.received, self.aborted, self.server = Counter(), Counter(), None, None
        self.circles = None
        self.cohort, self.begun = tuple(clients), False
        holders = self.terms(round).holders(len(clients))
        self.masking = unconfirmed_masking(len(clients), largest_weight(clients, roster, weighting), holders)
        missing: dict[int, str] = {}
        try:
            check_least(len(clients), self.config)
            self.begun = True
            if self.protocol:
                self.server = Server(self.terms(round, self.coder().length))
                self.share_secrets(self.server, round, clients, missing)
                self.masking = confirmed_masking(self.masking, self.server.confirmed)
            else:
                self.terms(round).needed(len(clients))
        except Aborted as why:
            self.aborted = str(why)
            return dict.fromkeys(clients, not_opened(why))
        return missing

    def coder(self) -> Coder:
        """Return the coder of the current round."""
        return make_coder(self.config, self.layout.size, self.masking.cohort, self.masking.largest)

    def training_content(self, round: int, weights: Vector) -> RecordDict:
        """Return what every client is sent that is to train."""
        content = super().training_content(round, weights)
        content[Record.SECURE] = self.masking.to_record()
        return content

    def narrowed(self, content: RecordDict, client: int) -> RecordDict:
        """Return a message that asks for a part of the sum with the signatures that one client needs."""
        assert self.circles is not None
        result = shallow_copy(content)
        masking = Masking.from_record(content[Record.SECURE], "the round")
        result[Record.SECURE] = confirmed_masking(masking, self.circles.get(client, {})).to_record()
        return result

    def sizes(self, content: RecordDict, clients: Ids) -> npt.NDArray[np.int64]:
        """Return how many bytes of a message each client is sent: in place the grid hands all the same one over."""
        whole = super().sizes(content, clients)
        if self.circles is None or Record.SECURE not in content:
            return whole
        everybody = content_bytes(content)
        sizes = {}
        for client in clients.tolist():
            needed = len(self.circles.get(client, {}))
            if needed not in sizes:
                sizes[needed] = content_bytes(self.narrowed(content, client)) - everybody
        beside = [sizes[len(self.circles.get(client, {}))] for client in clients.tolist()]
        return whole + np.array(beside, np.int64)

    def messages(self, kind: str, round: int, content: RecordDict, clients: list[int]) -> list[Message]:
        """Return one message a client: on a network with the signatures that it needs, and no others."""
        result = super().messages(kind, round, content, clients)
        if self.on_the_wire and self.circles is not None and kind in SUMMED:
            for message, client in zip(result, clients, strict=True):
                message.content = self.narrowed(message.content, client)
        return result

    def aggregate(self, round: int, weights: Vector, weighting: Weighting, clip: Clip | None) -> Aggregate:
        """Return the sum of a round, empty."""
        assert clip is None
        own = is_reference(self.config.strategy.aggregation)
        whole = super().aggregate(round, weights, weighting, clip) if own else None
        assert whole is None or isinstance(whole, OwnAggregate)
        return SecureSum(self.layout, self.coder(), round, whole)

    def accumulator(
        self,
        aggregate: Aggregate,
        weighting: Weighting,
        clients: Mapping[int, int] | None,
        expectations: Expectations,
    ) -> UpdateAccumulator:
        """Return what adds masked replies up."""
        assert isinstance(aggregate, SecureSum)
        return SecureAccumulator(aggregate.rule, weighting, clients, expectations)

    def share_secrets(
        self, server: Server, round: int, clients: list[int], missing: dict[int, str], purpose: str | None = None
    ) -> None:
        """Ask for keys, and for shares of secrets; note who has not answered, and why.

        Raises:
            Aborted: too few have.
        """
        order = self.order(round, purpose)
        ask = RecordDict({Record.CONFIG: order.to_record()})

        def advertised(client: int, reply: Message) -> None:
            keys = keys_from_bytes(KeyList.of(reply, "it").keys)
            if list(keys) != [client]:
                raise ValueError("it advertises keys of another client")
            server.advertised(client, keys[client], self.directory)

        def shared(client: int, reply: Message) -> None:
            sent = SealedShares.of(reply, "it")
            server.shared(client, sent.sealed, sent.signature, self.directory)

        self.ask(Kind.KEYS, round, dict.fromkeys(clients, ask), advertised, missing)
        check_least(len(server.keys), self.config)
        names, listed = self.names(server.keys), server.listed()
        contents = {client: listing(order, shown, names) for client, shown in listed.items()}
        self.ask(Kind.SHARES, round, contents, shared, missing)
        server.check_sharers()
        self.circles = {client: server.confirmed_to(client) for client in sorted(server.sharers)}

    def summed(
        self, round: int, asked: list[int], length: int, purpose: str, tell: Callable[[list[int], Masking], Told]
    ) -> tuple[Residues, int]:
        """Return the sum of what clients tell for a purpose beside the updates, and of how many.

        Args:
            round: of the sum.
            asked: who is asked.
            length: numbers that each tells.
            purpose: of the sum.
            tell: asks clients, with how they are to mask, and returns client → what it tells.

        Raises:
            Aborted: the sum is not opened.
            InputError: a client met wrong input.
        """
        missing, terms = dict[int, str](), self.terms(round, length, purpose)
        server, living = None, list[int]()
        masking = unconfirmed_masking(len(asked), 1, terms.holders(len(asked)))
        self.sent, self.received, self.begun, self.circles = Counter(), Counter(), False, None
        check_least(len(asked), self.config)
        self.begun = True
        if self.protocol:
            server = Server(terms)
            try:
                self.share_secrets(server, round, asked, missing, purpose)
            finally:
                self.notes += [f"client {self.partition.names[client]}: {why}" for client, why in missing.items()]
            masking = confirmed_masking(masking, server.confirmed)
        else:
            terms.needed(len(asked))
        try:
            told = tell([client for client in asked if client not in missing], masking)
            check_least(len(told), self.config)
            living = sorted(told)
        finally:
            if server is None:
                self.suppose(round, asked, living, purpose)
        total = np.zeros(length, kind_of(terms.bits))
        for client in living:
            total += told[client]
        if server is not None:
            return server.unmasked(total, self.open_shares(server, round, living, purpose)), len(living)
        total &= total.dtype.type((1 << terms.bits) - 1)
        return total, len(living)

    def open_shares(
        self, server: Server, round: int, living: list[int], purpose: str | None = None
    ) -> dict[int, bytes]:
        """Ask the living for shares; return client → those that it has opened.

        Raises:
            Aborted: too few are living.
        """
        order = self.order(round, purpose)
        questions = server.questions(living)
        result: dict[int, bytes] = {}
        missing: dict[int, str] = {}

        def opened(client: int, reply: Message) -> None:
            content = OpenedShares.of(reply, "it").opened
            if not answered(questions[client], content):
                raise ValueError("it has not opened the shares that it was asked for")
            result[client] = content

        contents = {client: unmasking(order, question) for client, question in questions.items()}
        self.ask(Kind.UNMASK, round, contents, opened, missing)
        self.notes += [f"client {self.partition.names[client]}: {why}" for client, why in missing.items()]
        return result

    def ask(
        self,
        kind: str,
        round: int,
        contents: Mapping[int, RecordDict],
        take: Callable[[int, Message], None],
        missing: dict[int, str],
    ) -> None:
        """Ask clients for a step of the protocol, and take their answers in; note who has given none, and why."""
        messages = [
            message for client, content in contents.items() for message in self.messages(kind, round, content, [client])
        ]
        by_node = {m.metadata.dst_node_id: client for m, client in zip(messages, contents, strict=True)}
        sizes = {id(content): content_bytes(content) for content in contents.values()}
        self.received.update({client: sizes[id(content)] for client, content in contents.items()})
        waiting = set(contents)
        for reply in self.replies(messages):
            client = by_node[reply.metadata.src_node_id]
            waiting.discard(client)
            if reply.has_error():
                missing[client] = first_line(str(reply.error.reason or f"error {reply.error.code}"))
                continue
            size = content_bytes(reply.content)
            self.sent[client] += size
            try:
                check_size(size)
                take(client, reply)
            except (ReplyRefused, ValueError) as error:
                missing[client] = one_line(f"'{kind}': {error}")
        missing.update(dict.fromkeys(sorted(waiting), f"'{kind}': no reply"))

    def conclude(self, round: int, result: RoundResult, rows: dict[int, dict[str, Any]]) -> None:
        """Open the sum, if enough is in it; note what the server learns of the round."""
        assert isinstance(result.mean, SecureSum)
        result.norm = float("nan")  # of the single updates nobody knows it
        living = [client for client, row in rows.items() if row["status"] == Status.OK]
        if self.aborted is None:
            try:
                check_least(len(living), self.config)
                total = result.mean.residues()
                if self.server is not None:
                    total = self.server.unmasked(total, self.open_shares(self.server, round, living))
                self.note(result, result.mean.open(total))
            except Aborted as why:
                self.aborted = str(why)
        if not self.protocol:
            self.suppose(round, list(self.cohort), living if self.aborted is None else [])
        for client, row in rows.items():
            row["bytes_up"] += self.sent[client]
        result.bytes_up += self.sent.total()
        result.bytes_down += self.received.total()
        if self.aborted is not None:
            self.give_up(result, rows, living)

    def received_beside(self, client: int) -> int:
        """Return how many bytes of the protocol a client of the current round was sent."""
        return self.received[client]

    def note(self, result: RoundResult, counts: Counts) -> None:
        """Note what the server learns of the clients together."""
        if counts.examples:
            result.examples, result.audio_seconds = counts.examples, counts.milliseconds / 1000
        share = counts.cut / (self.layout.size * max(1, result.mean.updates))
        if share > MUCH_CUT:
            self.notes.append(
                f"secure aggregation: {100 * share:.1f} % of the changes were beyond 'secure_aggregation.clip'"
                f" ({self.config.secure_aggregation.clip:g}) and were cut; raise it"
            )
        result.summed_loss = counts.loss / 1000 / counts.heard if counts.heard else float("nan")

    def give_up(self, result: RoundResult, rows: dict[int, dict[str, Any]], living: list[int]) -> None:
        """Count no client's work: the sum was not opened. That is nobody's failure."""
        assert isinstance(result.mean, SecureSum)
        reason = not_opened(self.aborted)
        result.mean.close()
        result.examples, result.audio_seconds, result.summed_loss = 0, 0.0, float("nan")
        for client in living:
            kept = {name: rows[client][name] for name in ("bytes_up", "duration_s")}
            rows[client] = {**failed_row(reason), **kept}
        result.failures = [failure for failure in result.failures if not failure.endswith(reason)]
        self.notes.append(reason)

    def suppose(self, round: int, cohort: list[int], living: list[int], purpose: str | None = None) -> None:
        """Count the bytes that the protocol would have sent."""
        if not self.begun:
            return
        cost = traffic(self.order(round, purpose), len(cohort), self.terms(round).holders(len(cohort)))
        self.sent.update(dict.fromkeys(cohort, cost.up))
        self.sent.update(dict.fromkeys(living, cost.opening_up))
        self.received.update(dict.fromkeys(cohort, cost.down))
        self.received.update(dict.fromkeys(living, cost.opening_down))

    def client_bytes(self, message_bytes: int) -> int:
        """Return how many bytes a client sends in a round of the cohort that the config names."""
        clients = self.config.selection.clients_per_round
        coder = make_coder(self.config, self.layout.size, clients, 1)
        cost = traffic(self.order(1), clients, self.terms(1).holders(clients))
        return packed_bytes(coder.length, coder.bits) + cost.up + cost.opening_up


def unconfirmed_masking(clients: int, largest: int, holders: int) -> Masking:
    """Return how clients are asked for their part of a sum, before they have shared secrets.

    Args:
        clients: that are asked.
        largest: weight of one of them.
        holders: whose signatures each needs; there is room for them.
    """
    signatures = bytes(SIGNATURE_BYTES * holders) if clients else b""
    sharers = bytes(CLIENT_BYTES * holders) if clients else b""
    return Masking(max(1, clients), largest, sharers or None, signatures or None)


def confirmed_masking(masking: Masking, confirmed: Mapping[int, bytes]) -> Masking:
    """Return how they are asked when they have: with whose signatures of the list of keys."""
    signatures = b"".join(confirmed[client] for client in sorted(confirmed))
    return replace(masking, sharers=clients_to_bytes(confirmed), signatures=signatures)


def not_opened(why: object) -> str:
    """Return why a sum is not opened, in a line."""
    return one_line(f"secure aggregation: {why}; nothing was opened")


def check_least(clients: int, config: Config) -> None:
    """Raise where a sum would be of too few.

    Raises:
        Aborted: it would.
    """
    least = least_updates(config)
    if clients < least:
        raise Aborted(f"{clients} updates for a sum of at least {least} (secure_aggregation.least_clients)")


def largest_weight(clients: list[int], roster: Roster, weighting: Weighting) -> int:
    """Return the largest weight that a client of a round may have, by what the server knows of what they store."""
    if weighting.name == "uniform" or not clients:
        return 1
    stored = 1000 * roster.seconds[clients] if weighting.name == "seconds" else roster.utterances[clients]
    largest = math.ceil(float(np.max(stored))) + (weighting.name == "seconds")
    return max(1, largest if weighting.most is None else min(largest, weighting.most))
