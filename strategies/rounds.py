"""One round: select, send, aggregate the replies as they stream in."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fedasr import seeds
from fedasr.codecs import make_codec
from fedasr.codecs.differences import Differences
from fedasr.config import Config
from fedasr.data.partition import Partition
from fedasr.data.roster import Roster
from fedasr.errors import InputError, RunFailed, one_line
from fedasr.flower.records import array_record, content_bytes, shallow_copy, values_of
from fedasr.models.weights import Layout, Vector
from fedasr.privacy.onlookers import noise_place
from fedasr.privacy.update_clipping import Clip
from fedasr.protocol import (
    Accumulated,
    Code,
    Kind,
    Longest,
    LossOrder,
    Metric,
    ModelNumber,
    Order,
    Record,
    Statement,
    Status,
)
from fedasr.runtime.executors import Reduction
from fedasr.typing import Floats

from .aggregation.accumulating import Expectations, UpdateAccumulator
from .aggregation.base import Aggregate, Size
from .aggregation.factory import make_aggregate
from .aggregation.replies import ReplyRefused, Store, error_counts, loss_of, stores
from .aggregation.update_file import UpdateFile
from .aggregation.weighting import Weighting, weighting_of
from .frozen_tensors import FrozenTensors
from .label_counts import LabelCounts
from .population import Cohort, MessageBytes
from .selection.base import Ids, Selection

EDGE_CAP = 2.0
"""``strategy.weight_cap`` of edge devices: one that overstates what it holds counts for two others at most."""


class TooManyFailures(RunFailed):
    """More clients of a round failed than ``strategy.max_failed_share`` allows."""


@dataclass
class RoundResult:
    """What a round brought."""

    mean: Aggregate
    rows: list[dict[str, Any]] = field(default_factory=list)
    """a row a selected client, for ``clients.parquet``"""
    failures: list[str] = field(default_factory=list)
    examples: int = 0
    audio_seconds: float = 0.0
    bytes_up: int = 0
    bytes_down: int = 0
    norm: float = 0.0
    """largest L2 norm of an update"""
    weighting: Weighting | None = None
    """what the updates counted"""
    weights: dict[int, int] = field(default_factory=dict)
    """client → what its update counted for"""
    norms: dict[int, float] = field(default_factory=dict)
    """client → the L2 norm of its update, before clipping"""
    canaries: list[dict[str, Any]] = field(default_factory=list)
    """rows of the canary users that were selected, which are no rows of ``clients.parquet``"""
    statements: dict[int, Statement] = field(default_factory=dict)
    """client → what it says of its own privacy ledger, where it keeps one"""
    labels: LabelCounts = field(default_factory=LabelCounts)
    """what the devices that trained tell of labels of their own"""
    unsent: float | None = None
    """L2 norm of what the devices' model lacks of the server's; None: nothing"""
    summed_loss: float | None = None
    """mean training loss, where the server knows that of all clients together and of no single one"""

    @property
    def everybody(self) -> list[dict[str, Any]]:
        """The rows of all who were selected, canary users included: a ledger and a selector make no difference."""
        return [*self.rows, *self.canaries] if self.canaries else self.rows

    @property
    def replied(self) -> int:
        """How many clients' updates are in the aggregate, beside those of canary users."""
        return self.mean.updates - len([row for row in self.canaries if row["status"] == Status.OK])

    @property
    def train_loss(self) -> float:
        """Mean training loss over the clients that trained, weighted by examples."""
        if self.summed_loss is not None:
            return self.summed_loss
        pairs = [(row["train_loss"], row["examples"]) for row in self.rows if np.isfinite(row["train_loss"])]
        total = sum(weight for _, weight in pairs)
        return sum(loss * weight for loss, weight in pairs) / total if total else float("nan")


class Rounds:
    """Sends a round's messages and aggregates the replies.

    Args:
        grid: any Flower grid.
        config: of the run.
        config_json: the same, as the clients get it.
        partition: who the clients are.
        layout: of the model.
        scratch: a folder for the updates of a round, where the aggregate needs them one by one.
    """

    nodes: Mapping[int, int] | None = None
    """client → node id, or None where they are the same"""
    teacher: Vector | None = None
    """weights of who labels the devices' speech, sent beside the global ones; None: nothing is sent"""

    def __init__(
        self,
        grid: Grid,
        config: Config,
        config_json: str,
        partition: Partition,
        layout: Layout,
        scratch: Path,
    ) -> None:
        self.grid = grid
        self.config = config
        self.config_json = config_json
        self.partition = partition
        self.layout = layout
        self.frozen = FrozenTensors({})
        self.updates = UpdateFile(scratch)
        self.differences = make_differences(config, layout)
        self.on_the_wire = bool(getattr(grid, "on_the_wire", False))
        """whether the grid sends differences, from which devices put the model together; else it has the model in
        place, and differences are only counted"""
        self.notes: list[str] = []
        """what was wrong with replies that have no row of their own"""

    @property
    def labelling(self) -> bool:
        """Whether devices make labels of their own."""
        return self.config.client.labels in ("self", "feedback")

    def take_notes(self) -> list[str]:
        """Return the notes since they were last taken."""
        notes, self.notes = self.notes, []
        return notes

    def whole(self, round: int, weights: Vector) -> RecordDict:
        """Return a message of these very weights."""
        order = Order(round, self.config_json).to_record()
        return RecordDict({Record.ARRAYS: array_record(self.layout.views(weights)), Record.CONFIG: order})

    def content(self, round: int, weights: Vector, number: int | None = None) -> RecordDict:
        """Return what every client of a round is sent: one object, so that a grid can send it once.

        Args:
            round: counted from 1.
            weights: the server's.
            number: of this model; None: what clients of the round train from. After the round it is the next one's.
        """
        return self.whole(round, self.held(round if number is None else number, weights))

    def held(self, number: int, weights: Vector) -> Vector:
        """Return what devices have of the server's weights when they were sent them, shape ``(parameters,)``."""
        return weights if self.differences is None else self.differences.advance(number, weights)

    def fitted(self, content: RecordDict, held: int | None) -> RecordDict:
        """Return a message as it goes to a device that holds some model already, or none: whichever is shorter."""
        assert self.differences is not None
        whole, rest = shallow_copy(content), shallow_copy(content)
        whole[Record.MODEL] = ModelNumber(self.differences.number).to_record()
        if held is None:
            return whole
        del rest[Record.ARRAYS]
        since = self.differences.since(held)
        parts = {str(number): np.frombuffer(message, np.uint8) for number, message in since.items()}
        rest[Record.DIFFERENCES] = array_record(parts)
        rest[Record.MODEL] = ModelNumber(self.differences.number, held).to_record()
        return rest if content_bytes(rest) < content_bytes(whole) else whole

    def sizes(self, content: RecordDict, clients: Ids) -> npt.NDArray[np.int64]:
        """Return how many bytes of a message each client is sent, shape ``(clients,)``."""
        if self.differences is None:
            return np.full(len(clients), content_bytes(content), np.int64)
        holders = [self.differences.holders.get(client) for client in clients.tolist()]
        size = {held: content_bytes(self.fitted(content, held)) for held in set(holders)}
        return np.array([size[held] for held in holders], np.int64)

    def charged(self, content: RecordDict, clients: Ids) -> npt.NDArray[np.int64]:
        """Return ``sizes``, with the frozen tensors of clients that do not hold them; they do from now on."""
        return self.sizes(content, clients) + self.frozen.bytes_to(clients)

    def settle(self, asked: Iterable[int], answered: Collection[int]) -> None:
        """Note who holds the newest model now, and of whom that is not known: who has failed may have lost it."""
        if self.differences is not None:
            self.differences.delivered(answered)
            self.differences.lost([client for client in asked if client not in answered])

    def loss_content(self, round: int, weights: Vector, batch: bool) -> RecordDict:
        """Return what clients are sent that are asked for their loss."""
        content = self.content(round, weights)
        content[Record.CONFIG] = LossOrder(round, self.config_json, batch).to_record()
        return content

    def clock_bytes(self, weights: Callable[[], Vector], teacher: bool) -> tuple[MessageBytes, int]:
        """Return what a device is sent in a round, and about what it sends back, for the virtual clock.

        Args:
            weights: returns the server's.
            teacher: whether another model is sent beside.
        """
        whole, beside = content_bytes(self.whole(0, weights())), 4 * self.layout.size if teacher else 0

        def sent(round: int, clients: Ids) -> npt.NDArray[np.int64]:
            return self.sizes(self.content(round, weights()), clients) + beside

        return whole + beside if self.differences is None else sent, self.client_bytes(whole)

    def client_bytes(self, message_bytes: int) -> int:
        """Return about how many bytes a client sends in a round, for the virtual clock.

        Of an encoded update they are those of normal values of length 1.

        Args:
            message_bytes: what a client is sent.
        """
        if self.config.compression.up == "none":
            return message_bytes
        rng = seeds.generator(self.config.seed, "compression-size")
        codec = make_codec(self.config.compression, self.layout)
        return len(codec.encode(rng.standard_normal(self.layout.size, np.float32), rng))

    def messages(self, kind: str, round: int, content: RecordDict, clients: list[int]) -> list[Message]:
        """Return one message a client."""
        ids = clients if self.nodes is None else [self.nodes[client] for client in clients]
        if self.differences is not None and self.on_the_wire and Record.ARRAYS in content:
            holders = [self.differences.holders.get(client) for client in clients]
            contents = [self.fitted(content, held) for held in holders]
        else:
            contents = [content] * len(ids)
        group = str(round)
        return [Message(each, node, kind, group_id=group) for each, node in zip(contents, ids, strict=True)]

    def start_order(self, clients: Ids, roster: Roster) -> list[int]:
        """Return clients, those with the most audio first, so that no worker waits at the end."""
        if self.config.runtime.longest_first:
            clients = clients[np.lexsort((clients, -roster.seconds[clients]))]
        return [int(client) for client in clients]

    def train(
        self,
        round: int,
        weights: Vector,
        cohort: Cohort,
        roster: Roster,
        clip: Clip | None = None,
        weighed: Selection | None = None,
        multipliers: Mapping[int, float] | None = None,
    ) -> RoundResult:
        """Train a round and return the aggregate and the tables' rows.

        With ``clip`` the aggregate is what user-level privacy needs: clipped, unweighted, over the expected cohort.

        ``weighed`` are all whose updates will be in the aggregate, where that is more than the cohort: canary users are
        sent nothing.

        ``multipliers`` are by what the weights of clients are multiplied.

        Who is late or drops out by the virtual clock is sent the weights and trains for nothing: it is not simulated.

        Raises:
            InputError: a client met wrong input, such as an audio file that cannot be decoded.
            TooManyFailures: more clients failed than allowed.
        """
        selection, closing = cohort.selection, cohort.closing
        weighting = self.weighting(selection if weighed is None else weighed, roster, clip)
        if multipliers:
            weighting = weighting.multiplied(multipliers)
        excused = self.prepare(round, selection, roster, weighting)
        start = self.held(round, weights)
        result = RoundResult(self.aggregate(round, start, weighting, clip), weighting=weighting)
        if self.differences is not None:
            result.unsent = float(np.linalg.norm(self.differences.unsent(weights)))
        clients = self.start_order(selection.clients if closing is None else closing.accepted, roster)
        content = self.training_content(round, weights)
        sent = np.array([client for client in selection.clients.tolist() if client not in excused], np.int64)
        received = dict.fromkeys(selection.clients.tolist(), 0)
        received |= dict(zip(sent.tolist(), self.charged(content, sent).tolist(), strict=True))
        result.bytes_down = sum(received.values())
        asked = [client for client in clients if client not in excused]
        messages = self.messages(Kind.TRAIN, round, content, asked)
        by_node = {m.metadata.dst_node_id: client for m, client in zip(messages, asked, strict=True)}
        replied: dict[int, dict[str, Any]] = {}
        expectations = self.expectations(roster, asked)
        accumulator = self.accumulator(result.mean, weighting, None if self.nodes is None else by_node, expectations)
        costs = roster.seconds[asked].tolist()
        for reply in self.taken_in(messages, content, result.mean, accumulator, costs):
            client = by_node[reply.metadata.src_node_id]
            replied[client] = self.accept(reply, client, result)
        duration = cohort.duration()
        rows: dict[int, dict[str, Any]] = {}  # in the order of the messages: replies may come in any
        for client in clients:
            rows[client] = replied.get(client) or failed_row(excused.get(client, "no reply"))
            if client not in replied:
                result.failures.append(f"client {self.partition.names[client]}: {rows[client]['reason']}")
            rows[client]["duration_s"] = duration.get(client, float("nan"))
        self.settle(asked, {client for client, row in replied.items() if row["status"] != Status.FAILED})
        self.conclude(round, result, rows)
        if closing is not None:
            rows |= {client: failed_row(None, Status.LATE) for client in closing.late.tolist()}
            rows |= {client: failed_row(None, Status.DROPPED) for client in closing.dropped.tolist()}
        probability = dict(zip(selection.clients.tolist(), selection.probabilities.tolist(), strict=True))
        result.rows = [
            {
                "round": round,
                "client": str(self.partition.names[client]),
                "probability": probability[client],
                **row,
                "bytes_down": received[client] + self.received_beside(client),
                "id": client,
            }
            for client, row in rows.items()
        ]
        self.check_failures(round, result.failures, len(clients))
        return result

    def prepare(self, round: int, selection: Selection, roster: Roster, weighting: Weighting) -> dict[int, str]:
        """Do what comes before training; return who takes no part for it, and why."""
        return {}

    def training_content(self, round: int, weights: Vector) -> RecordDict:
        """Return what every client is sent that is to train."""
        content = self.content(round, weights)
        if self.teacher is not None:
            content[Record.TEACHER] = array_record(self.layout.views(self.teacher))
        return content

    def aggregate(self, round: int, weights: Vector, weighting: Weighting, clip: Clip | None) -> Aggregate:
        """Return the aggregate of a round, empty."""
        return make_aggregate(self.config.strategy, self.layout, weights, weighting, clip, self.updates)

    def accumulator(
        self,
        aggregate: Aggregate,
        weighting: Weighting,
        clients: Mapping[int, int] | None,
        expectations: Expectations,
    ) -> UpdateAccumulator:
        """Return what takes replies in; arguments as those of ``UpdateAccumulator``."""
        return UpdateAccumulator(aggregate.rule, weighting, clients, expectations)

    def conclude(self, round: int, result: RoundResult, rows: dict[int, dict[str, Any]]) -> None:
        """Do what comes after training; rows are those of the clients that were asked to train, changed in place."""

    def received_beside(self, client: int) -> int:
        """Return how many bytes a client of the current round was sent beside what it trains from."""
        return 0

    def weighting(self, selection: Selection, roster: Roster, clip: Clip | None) -> Weighting:
        """Return the weights of a round; clipped updates count alike, over the expected cohort."""
        if clip is None:
            return weighting_of(self.config.strategy.weighting, selection, roster, self.weight_cap)
        return clipped_weighting(self.config, len(roster))

    @property
    def fails_in_silence(self) -> bool:
        """Whether a failure is part of a mechanism: noise on the sum is released all the same.

        A run that ended because one user's device failed would tell of it, and no ε covers that.
        """
        return noise_place(self.config) == "server"

    def check_failures(self, round: int, failures: list[str], asked: int) -> None:
        """Raise where too many clients failed.

        Raises:
            TooManyFailures: a larger share than allowed, or all of several.
        """
        failed, allowed = len(failures), self.config.strategy.max_failed_share
        # Chance may draw a cohort of one in a private run, whose failure says nothing of the others.
        alone = asked == 1 and noise_place(self.config) != "none"
        if not failed or alone or self.fails_in_silence:
            return
        # All at once is an error that clients share, except that edge devices may all be away for a while.
        hopeless = failed == asked and (self.config.runtime.name != "deployment" or allowed < 1)
        if failed / asked > allowed or hopeless:
            raise TooManyFailures(
                f"round {round}: {failed} of {asked} clients failed (strategy.max_failed_share is {allowed});"
                f" the first: {failures[0]}"
            )

    def expectations(self, roster: Roster, clients: list[int]) -> Expectations:
        """Return what the server knows of the clients' replies."""
        privacy = self.config.privacy
        accounts = privacy.unit == "example"
        losses = noise_place(self.config) != "device"
        accountant = (privacy.accountant or "rdp") if accounts else None
        return Expectations(self.stores(roster, clients), losses, accountant, self.config.compression)

    @property
    def weight_cap(self) -> float | None:
        """How many times the median client one counts for at most; None: no limit."""
        given, deployed = self.config.strategy.weight_cap, self.config.runtime.name == "deployment"
        return EDGE_CAP if given is None and deployed else given

    def stores(self, roster: Roster, clients: list[int]) -> dict[int, Store]:
        """Return what each client stores at most, as far as the server knows."""
        return stores(roster, clients, recording=self.config.runtime.name == "deployment")

    def taken_in(
        self,
        messages: list[Message],
        content: RecordDict,
        aggregate: Aggregate,
        accumulator: UpdateAccumulator,
        costs: list[float],
    ) -> Iterator[Message]:
        """Send messages and yield what is left of the replies when their updates are in the aggregate.

        They are added up where they are made, if the aggregate and the grid allow it, else here as they stream in.
        """
        reduce = getattr(self.grid, "reduce", None)
        if aggregate.sums_alone and reduce is not None and not self.on_the_wire:
            yield from reduce(messages, Reduction(accumulator, aggregate.sum), costs)
            return
        for reply in self.replies(messages):
            yield reply if reply.has_error() else accumulator.accumulate(aggregate.sum, content, reply)

    def replies(self, messages: list[Message]) -> Iterator[Message]:
        """Send messages and yield one reply a node; nobody may answer twice, or unasked."""
        waiting = {message.metadata.dst_node_id for message in messages}
        for reply in self.grid.send_and_receive(messages):
            node = reply.metadata.src_node_id
            if node in waiting:
                waiting.remove(node)
                yield reply
            else:
                self.notes.append(f"a reply of node {node} was dropped: it was not asked, or has answered before")

    def accept(self, reply: Message, client: int, result: RoundResult) -> dict[str, Any]:
        """Aggregate one reply and return its row."""
        if reply.has_error():
            reason = str(reply.error.reason or f"error {reply.error.code}")
            if reply.error.code == Code.BAD_INPUT and not self.fails_in_silence:
                raise InputError(reason, where="")
            first = first_line(reason)
            result.failures.append(f"{first} ({self.partition.names[client]})")
            return failed_row(first)
        accumulated = Accumulated.of(reply, f"client {client}")
        result.bytes_up += accumulated.bytes
        statement: Statement | None = None
        if Record.PRIVACY in reply.content:
            result.statements[client] = statement = Statement.of(reply, f"client {client}")
        if accumulated.absent:
            return {**failed_row("its privacy budget is spent", Status.SPENT), "bytes_up": accumulated.bytes}
        if accumulated.weight is None or accumulated.norm is None or accumulated.largest is None:
            reason = one_line(f"client {client}: {accumulated.refused}")
            result.failures.append(f"{reason} ({self.partition.names[client]})")
            return {**failed_row(reason), "bytes_up": accumulated.bytes}
        result.mean.count(accumulated.weight, Size(accumulated.norm, accumulated.largest))
        result.norm = max(result.norm, accumulated.norm)
        result.weights[client], result.norms[client] = accumulated.weight, accumulated.norm
        metrics = values_of(reply, Record.METRICS)
        labels = LabelCounts.of(metrics)
        result.labels += labels
        examples, seconds = int(metrics[Metric.EXAMPLES]), metrics.get(Metric.AUDIO, 0) / 1000
        result.examples += examples
        result.audio_seconds += seconds
        return {
            "examples": examples,
            "audio_seconds": seconds,
            "train_loss": float(metrics.get(Metric.TRAIN_LOSS, "nan")),
            "loss_square": float(metrics.get(Metric.LOSS_SQUARE, "nan")),
            "bytes_up": accumulated.bytes,
            "status": Status.OK,
            "skipped": int(metrics.get(Metric.SKIPPED, 0)),
            "seconds": float(metrics.get(Metric.SECONDS, "nan")),
            "duration_s": float("nan"),
            "reason": None,
            "epsilon": None if statement is None else statement.epsilon,
            **(labels.columns() if self.labelling else {}),
        }

    def evaluate(self, round: int, weights: Vector, clients: list[int], roster: Roster) -> tuple[float, int]:
        """Let clients evaluate the weights on their own speech; return the WER over all of it and the bytes sent."""
        content = self.content(round, weights, round + 1)
        sent = int(self.charged(content, np.array(clients, np.int64)).sum())
        messages = self.messages(Kind.EVALUATE, round, content, clients)
        by_node = {m.metadata.dst_node_id: client for m, client in zip(messages, clients, strict=True)}
        known = self.stores(roster, clients)
        words = errors = 0
        answered = set()
        for reply in self.replies(messages):
            if not reply.has_error():
                client = by_node[reply.metadata.src_node_id]
                answered.add(client)
                try:
                    counts = error_counts(reply, known[client])
                except ReplyRefused as error:
                    self.refuse(Kind.EVALUATE, client, error)
                else:
                    words += counts[0]
                    errors += counts[1]
        self.settle(clients, answered)
        return (errors / words if words else float("nan")), sent

    def refuse(self, kind: str, client: int, why: ReplyRefused) -> None:
        """Note that a reply is left out."""
        self.notes.append(one_line(f"client {client}: '{kind}': {why} ({self.partition.names[client]})"))

    def losses(self, round: int, weights: Vector, clients: Ids, batch: bool) -> tuple[Floats, int]:
        """Ask clients for the loss of the weights on what they store; return the losses and the bytes sent.

        Args:
            round: counted from 1.
            weights: the global weights.
            clients: whom to ask, shape ``(n,)``.
            batch: on one batch instead of on everything.

        Returns:
            The mean loss over utterances in nats a token, NaN where a client did not answer with one, shape ``(n,)``.
        """
        content = self.loss_content(round, weights, batch)
        ids = [int(client) for client in clients]
        sent = int(self.charged(content, clients).sum())
        messages = self.messages(Kind.LOSS, round, content, ids)
        place = {message.metadata.dst_node_id: index for index, message in enumerate(messages)}
        losses = np.full(len(ids), np.nan)
        answered = set()
        for reply in self.replies(messages):
            if not reply.has_error():
                index = place[reply.metadata.src_node_id]
                answered.add(ids[index])
                try:
                    losses[index] = loss_of(reply)
                except ReplyRefused as error:
                    self.refuse(Kind.LOSS, ids[index], error)
            elif reply.error.code == Code.BAD_INPUT:
                raise InputError(str(reply.error.reason), where="")
        self.settle(ids, answered)
        return losses, sent


def make_differences(config: Config, layout: Layout) -> Differences | None:
    """Return what sends the model by differences; None: it is sent as it is."""
    if config.compression.down == "none":
        return None
    return Differences(make_codec(config.compression, layout, "down"), layout.size, config.seed)


def clipped_weighting(config: Config, registered: int) -> Weighting:
    """Return the weights of clipped updates.

    The denominator is of all that are registered: who is there and holds speech must not show in it.
    """
    expected = float(min(config.selection.clients_per_round, registered))
    return Weighting("uniform", {}, expected, expected)


def first_line(reason: str) -> str:
    """Return the first line of a reason, as a table may hold it."""
    lines = reason.strip().splitlines() or ["no reason given"]
    return one_line(lines[0][: Longest.ROW])


def failed_row(reason: str | None, status: str = Status.FAILED) -> dict[str, Any]:
    """Return the row of a client whose work does not count."""
    return {
        "examples": 0,
        "audio_seconds": 0.0,
        "train_loss": float("nan"),
        "loss_square": float("nan"),
        "bytes_up": 0,
        "status": status,
        "skipped": 0,
        "seconds": float("nan"),
        "duration_s": float("nan"),
        "reason": reason,
    }
