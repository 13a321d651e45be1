"""Messages outside Flower's own processes: the identity that they are stamped with, their ids, and who sent them."""

from __future__ import annotations

from typing import cast

from flwr.app import Message, Metadata, RecordDict

from fedasr.flower.surface import supported
from fedasr.flower.typing import Run

with supported():
    from flwr.supercore.task_identity import TaskIdentity

SERVER_NODE_ID = 1
RUN_ID = 1


def assume_identity(run_id: int = RUN_ID, node_id: int = SERVER_NODE_ID) -> None:
    """Let this process build instruction messages, as a process inside Flower's own runtime may."""
    TaskIdentity.run_id = run_id
    TaskIdentity.node_id = node_id
    TaskIdentity.task_id = 0


def empty_run(run_id: int = RUN_ID) -> Run:
    """Return a run without a federation."""
    return Run.create_empty(run_id)


def set_message_id(message: Message, message_id: str) -> None:
    """Give a message its id; replies copy it, so it must be set before dispatch."""
    message.metadata.__dict__["_message_id"] = message_id


def set_source(message: Message, node_id: int) -> None:
    """Say which node a reply is from, in a numbering other than Flower's."""
    message.metadata.__dict__["_src_node_id"] = node_id


def message_with(metadata: Metadata, content: RecordDict) -> Message:
    """Return a message with the given metadata and content."""
    return cast(Message, Message(content=content, metadata=metadata))  # type: ignore[call-overload]
