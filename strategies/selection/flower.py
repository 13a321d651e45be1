"""Any selector with any Flower strategy: ``WithSelector(FedAvg(), Oort(), clients_per_round=10).start(grid, …)``."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from logging import INFO, getLogger
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from fedasr import seeds
from fedasr.data.roster import Roster
from fedasr.errors import InputError
from fedasr.runtime.wrapped_grid import WrappedGrid
from fedasr.typing import Floats

from .base import Feedback, Ids, Probing, Selection, Selector

log = getLogger("flwr").log
Nodes = npt.NDArray[np.uint64]
PATIENCE_SECONDS = 1.0
"""Between two looks whether enough nodes have come."""


@dataclass(frozen=True)
class ReplyKeys:
    """The names of what clients report in the metrics of their replies; the defaults are those of Flower's own apps."""

    examples: str = "num-examples"
    """of a training reply: how many examples the client trained on"""
    loss: str | None = "train_loss"
    """of a training reply: their mean loss; None: the clients report none, and the selector needs none"""
    loss_square: str | None = None
    """of a training reply: their mean squared loss, for Oort; None: the square of the mean loss, which is less"""
    seconds: str | None = None
    """of a training reply: how long the client took; None: unknown"""
    probe_loss: str = "eval_loss"
    """of an evaluation reply: the loss, for selectors that ask for it"""


class WithSelector(Strategy):
    """A Flower strategy whose clients a selector chooses; all else is the strategy's own.

    In ``configure_train`` the strategy sees a grid that has the selected nodes only, and it must take all of them. What
    the replies report is fed to the selector before the strategy aggregates. Nodes may come and go: who is not
    connected is not selected, and who comes back is known. Who is chosen is a function of the seed, the round and what
    was learnt, and not of a global generator.

    Flower does not tell a server what its nodes store. Give ``utterances`` where it matters from the first round; else
    a node counts as one utterance until its first reply, and from then on as what that reports.

    Args:
        strategy: any Flower strategy of the Message API; those that sample nodes need ``fraction_train`` 1.
        selector: of this package, or your own.
        clients_per_round: k.
        seed: of the draws.
        utterances: how many training examples each node stores.
        seconds: how much audio each node stores; by default a second an utterance.
        min_available_nodes: wait until so many nodes are connected.
        keys: of the metrics in replies.
        probe_timeout: seconds to wait for the answers of devices that are asked for their loss (Power-of-Choice). They
            are asked by an ordinary evaluation message with the global model.

    Raises:
        InputError: the strategy would choose among the selected itself.
    """

    def __init__(
        self,
        strategy: Strategy,
        selector: Selector,
        clients_per_round: int,
        seed: int = 0,
        *,
        utterances: Mapping[int, int] | None = None,
        seconds: Mapping[int, float] | None = None,
        min_available_nodes: int = 1,
        keys: ReplyKeys | None = None,
        probe_timeout: float = 3600.0,
    ) -> None:
        sampling = innermost(strategy)
        fraction = getattr(sampling, "fraction_train", 1.0)
        if fraction != 1.0:
            raise InputError(
                f"{type(sampling).__name__} has fraction_train={fraction} and would choose among the selected clients;"
                " give it fraction_train=1.0 and say how many with clients_per_round"
            )
        self.strategy = strategy
        self.selector = selector
        self.clients_per_round = clients_per_round
        self.seed = seed
        self.utterances = utterances
        self.seconds = seconds
        self.min_available_nodes = max(1, min_available_nodes)
        self.keys = keys or ReplyKeys()
        self.probe_timeout = probe_timeout
        self.nodes: Nodes = np.zeros(0, np.uint64)
        """client of the roster → node id, in order of appearance"""
        self.connected: Nodes = np.zeros(0, np.uint64)
        self.roster = Roster.from_counts(np.zeros(0, np.int64), np.zeros(0))
        self.selection = Selection(np.zeros(0, np.int64), np.zeros(0))
        """of the current round"""
        self.question: tuple[Grid, RecordDict] | None = None
        if isinstance(selector, Probing):
            selector.probe = self.ask

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Select, and let the strategy write the messages; they are returned in the order of the selection.

        Raises:
            InputError: the strategy wants more nodes than were selected, or addressed others.
        """
        self.meet(grid)
        self.question = grid, self.question_about(server_round, arrays, config)
        rng = seeds.generator(self.seed, "selection", server_round)
        self.selection = self.selector.select(server_round, self.roster, self.clients_per_round, rng)
        self.question = None
        if self.selection.draws is not None:
            raise InputError(
                "the selector draws with replacement, and a Flower strategy cannot count a client twice; select without"
            )
        chosen = self.nodes[self.selection.clients].tolist()
        log(INFO, "configure_train: selected %s nodes (out of %s)", len(chosen), len(self.connected))
        if not chosen:
            return []
        self.check_minimum(len(chosen))
        written = self.strategy.configure_train(server_round, arrays, config, SelectedNodes(grid, chosen))
        messages = {message.metadata.dst_node_id: message for message in written}
        if set(messages) != set(chosen):
            raise InputError(
                f"{type(self.strategy).__name__} was given {len(chosen)} selected nodes and addressed {len(messages)};"
                " a strategy under a selector must send to all that are selected"
            )
        return [messages[node] for node in chosen]

    def check_minimum(self, selected: int) -> None:
        """Raise where the strategy would wait for ever for more nodes than were selected."""
        sampling = innermost(self.strategy)
        for name in ("min_train_nodes", "min_available_nodes"):
            wanted = getattr(sampling, name, 0)
            if wanted > selected:
                raise InputError(
                    f"{type(sampling).__name__} has {name}={wanted}, but {selected} clients were selected; give it"
                    f" {name}={min(selected, self.clients_per_round)} (WithSelector has its own min_available_nodes)"
                )

    def meet(self, grid: Grid) -> None:
        """Bring the roster up to date with who is connected."""
        while len(connected := np.fromiter(grid.get_node_ids(), np.uint64)) < self.min_available_nodes:
            log(INFO, "waiting for nodes: %s connected, %s needed", len(connected), self.min_available_nodes)
            time.sleep(PATIENCE_SECONDS)
        if np.array_equal(connected, self.connected):
            return
        self.connected = connected
        new = np.setdiff1d(connected, self.nodes)
        if len(new):
            self.nodes = np.concatenate([self.nodes, new])
            self.roster = enlarged(self.roster, self.stored(new), self.audio(new))
        there = np.isin(self.nodes, connected)
        self.roster.attend(None if there.all() else there)

    def stored(self, nodes: Nodes) -> npt.NDArray[np.int64]:
        """Return how many utterances nodes are said to store."""
        if self.utterances is None:
            return np.ones(len(nodes), np.int64)
        return np.array([self.utterances.get(node, 0) for node in nodes.tolist()], np.int64)

    def audio(self, nodes: Nodes) -> Floats:
        """Return how many seconds of audio nodes are said to store."""
        if self.seconds is None:
            return self.stored(nodes).astype(np.float64)
        return np.array([self.seconds.get(node, 0.0) for node in nodes.tolist()], np.float64)

    def question_about(self, round: int, arrays: ArrayRecord, config: ConfigRecord) -> RecordDict:
        """Return what a client is sent that is asked for the loss of the global model."""
        sampling = innermost(self.strategy)
        order = ConfigRecord({**config, "server-round": round})
        return RecordDict(
            {
                getattr(sampling, "arrayrecord_key", "arrays"): arrays,
                getattr(sampling, "configrecord_key", "config"): order,
            }
        )

    def ask(self, round: int, clients: Ids) -> Floats:
        """Return the global model's loss on each client, NaN for who does not answer; a selector's probe.

        Raises:
            InputError: the clients answer, but not with a loss.
        """
        if self.question is None:
            raise InputError("devices can be asked for their loss while a round is configured only")
        grid, content = self.question
        place = {int(node): at for at, node in enumerate(self.nodes[clients].tolist())}
        losses = np.full(len(clients), np.nan)
        questions = [Message(content, node, MessageType.EVALUATE) for node in place]
        for reply in grid.send_and_receive(questions, timeout=self.probe_timeout):
            if not reply.has_error():
                metrics = metrics_of(reply)
                if self.keys.probe_loss not in metrics:
                    raise unknown_key("probe_loss", self.keys.probe_loss, metrics)
                losses[place[reply.metadata.src_node_id]] = metrics[self.keys.probe_loss]
        return losses

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Let the selector learn from the replies, and the strategy aggregate them."""
        kept = list(replies)
        self.learn(server_round, [reply for reply in kept if not reply.has_error()])
        return self.strategy.aggregate_train(server_round, kept)

    def learn(self, round: int, replies: list[Message]) -> None:
        """Note what the replies report, in the roster and in the selector.

        Raises:
            InputError: no reply has a metric that ``keys`` names.
        """
        client = {int(self.nodes[i]): int(i) for i in self.selection.clients}
        ids = np.array([client[reply.metadata.src_node_id] for reply in replies], np.int64)
        reports = [metrics_of(reply) for reply in replies]

        def column(field: str) -> Floats:
            name = getattr(self.keys, field)
            if name is not None and reports and not any(name in report for report in reports):
                raise unknown_key(field, name, reports[0])
            return np.array([report.get(name, np.nan) for report in reports], np.float64)

        loss, duration = column("loss"), column("seconds")
        square = loss**2 if self.keys.loss_square is None else column("loss_square")
        examples = np.nan_to_num(column("examples")).astype(np.int64)
        self.roster.note(round, ids, loss.tolist(), duration.tolist())
        if self.utterances is None and len(ids):
            stored, audio = self.roster.utterances.copy(), self.roster.seconds.copy()
            # Who trained on nothing this time may have something the next time.
            stored[ids] = np.maximum(examples, 1)
            if self.seconds is None:
                audio[ids] = stored[ids]
            self.roster.store(stored, audio, stored, audio)
        missing = np.setdiff1d(self.selection.clients, ids)
        self.selector.observe(Feedback(round, ids, loss, square, examples, duration, missing))

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Leave the evaluation to the strategy."""
        return self.strategy.configure_evaluate(server_round, arrays, config, grid)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Leave the evaluation to the strategy."""
        return self.strategy.aggregate_evaluate(server_round, replies)

    def summary(self) -> None:
        """Log who selects, and the strategy's summary."""
        log(INFO, "\t├──> Selection: %s, %s clients a round", type(self.selector).__name__, self.clients_per_round)
        self.strategy.summary()


class SelectedNodes(WrappedGrid):
    """A grid on which only the selected nodes are there.

    Args:
        grid: the real one.
        nodes: node ids.
    """

    def __init__(self, grid: Grid, nodes: list[int]) -> None:
        super().__init__(grid)
        self.nodes = nodes

    def get_node_ids(self) -> Iterable[int]:
        """Return the selected nodes."""
        return list(self.nodes)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Send messages and return the replies."""
        return self.grid.send_and_receive(messages, timeout=timeout)


def innermost(strategy: Strategy) -> Strategy:
    """Return the strategy inside wrappers, such as Flower's for differential privacy."""
    while isinstance(inner := getattr(strategy, "strategy", None), Strategy):
        strategy = inner
    return strategy


def enlarged(roster: Roster, utterances: npt.NDArray[np.int64], seconds: Floats) -> Roster:
    """Return a roster with more clients at its end, who never took part."""
    n = len(roster)
    larger = Roster.from_counts(
        np.concatenate([roster.utterances, utterances]), np.concatenate([roster.seconds, seconds])
    )
    for name in ("last_round", "last_loss", "last_duration", "tier"):
        getattr(larger, name)[:n] = getattr(roster, name)
    return larger


def metrics_of(reply: Message) -> dict[str, Any]:
    """Return the metrics of a reply; strategies want exactly one record of them."""
    records = list(reply.content.metric_records.values())
    return dict(records[0]) if records else {}


def unknown_key(field: str, name: str, metrics: Mapping[str, Any]) -> InputError:
    """Return the error for a metric that no client reports."""
    return InputError(
        f"no client reports '{name}'; the metrics of the replies are: {', '.join(metrics) or 'none'}."
        f" Name it with keys=ReplyKeys({field}=…)"
    )
