"""The local grid: Flower's ``Grid`` in this process, where a client costs nothing until it is selected."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from flwr.app import Context, Message, RecordDict, UserConfig
from flwr.serverapp import Grid

from fedasr.flower.messages import RUN_ID, assume_identity, empty_run, set_message_id
from fedasr.flower.records import shallow_copy
from fedasr.flower.typing import Run
from fedasr.protocol import Key
from fedasr.runtime.executors import Executor, Reduction, Task


class LocalGrid(Grid):
    """Runs unmodified Flower apps without Ray or a SuperLink.

    Node ids are the partition ids 0…N−1, so N is a number and not N objects. Replies come as a stream in the order
    of the messages, whatever order the clients finish in; send the longest clients first. A client that fails
    answers with an error. State that a client puts into its context is kept for its next message.

    Args:
        executor: how clients run.
        clients: how many there are.
        run_config: what every client sees in ``context.run_config``.
    """

    partition_ids_are_node_ids = True

    def __init__(self, executor: Executor, clients: int, run_config: UserConfig | None = None) -> None:
        assume_identity()
        self.executor = executor
        self.clients = clients
        self.run_config: UserConfig = dict(run_config or {})
        self.states: dict[int, RecordDict] = {}
        self.messages: dict[str, Message] = {}
        self.sent = 0
        self.current_run = empty_run()

    def set_run(self, run: Run) -> None:
        """Set the run."""
        self.current_run = run

    @property
    def run(self) -> Run:
        """Return the run."""
        return self.current_run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """Return a message to a node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """Return the node ids, a range."""
        return range(self.clients)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """File messages for ``pull_messages`` and return their ids."""
        ids = []
        for message in messages:
            set_message_id(message, str(self.sent))
            self.sent += 1
            self.messages[message.metadata.message_id] = message
            ids.append(message.metadata.message_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Run the clients of filed messages and yield their replies."""
        return self.replies([self.messages.pop(message_id) for message_id in message_ids])

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Run the clients and yield their replies as a stream, in the order of ``messages``."""
        return self.replies(self.numbered(messages), timeout)

    def reduce(
        self, messages: Iterable[Message], reduction: Reduction, costs: Iterable[float], timeout: float | None = None
    ) -> Iterator[Message]:
        """As ``send_and_receive``, but the replies are added up where they are made; yields what is left of them.

        Args:
            messages: the longest clients first.
            reduction: adds up; its total is complete when the stream has ended.
            costs: about how long each client will take, so that a worker gets several short ones at a time.
            timeout: as in ``send_and_receive``.
        """
        return self.replies(self.numbered(messages), timeout, reduction, costs)

    def numbered(self, messages: Iterable[Message]) -> list[Message]:
        """Give messages their ids."""
        return [self.messages.pop(message_id) for message_id in self.push_messages(messages)]

    def replies(
        self,
        messages: list[Message],
        timeout: float | None = None,
        reduction: Reduction | None = None,
        costs: Iterable[float] | None = None,
    ) -> Iterator[Message]:
        """Yield the replies to ``messages``."""
        shares = [1.0] * len(messages) if costs is None else costs
        tasks = [
            Task(message, self.context(message.metadata.dst_node_id), cost)
            for message, cost in zip(messages, shares, strict=True)
        ]
        for message, outcome in zip(messages, self.executor.run(tasks, timeout, reduction), strict=True):
            node = message.metadata.dst_node_id
            if outcome.state is not None:
                self.states[node] = outcome.state
            elif not outcome.reply.has_error():
                self.states.pop(node, None)
            yield outcome.reply

    def context(self, node: int) -> Context:
        """Return the context of a client; one exists only while a message is under way.

        Its state is a copy: a client that fails when it has changed it goes on from what it was.
        """
        return Context(
            run_id=RUN_ID,
            node_id=node,
            node_config={Key.PARTITION: node, "num-partitions": self.clients},
            state=shallow_copy(self.states.get(node, RecordDict())),
            run_config=self.run_config,
        )

    def load_states(self, states: Mapping[int, RecordDict]) -> None:
        """Restore the clients' states from a checkpoint."""
        self.states = dict(states)
