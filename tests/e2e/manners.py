"""Edge devices that answer too often, or half: the real client behind Flower's own connection."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.app import Array, ArrayRecord, Context, Message, RecordDict
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import (
    inflate_object_from_contents,
    pull_objects,
    push_object_contents_from_iterable,
)
from flwr.supernode.fleet_http_connection import http_request_response

from fedasr.clients.client_app import flower_app
from fedasr.edge.device_folder import DeviceFolder

POLL_SECONDS = 0.2


@contextmanager
def answering(folder: Path, manner: str) -> Iterator[list[str]]:
    """Let an edge device's messages be answered by somebody with bad manners; yields the types of those that were.

    Args:
        folder: of the edge device, which does not run.
        manner: how it answers ``train``: ``twice``, and again a round later; or ``half``, of the first piece no more.
    """
    answered: list[str] = []
    over = threading.Event()
    device = threading.Thread(target=serve, args=(folder, manner, answered, over), daemon=True)
    device.start()
    try:
        yield answered
    finally:
        over.set()
        device.join(30)


def serve(folder: Path, manner: str, answered: list[str], over: threading.Event) -> None:
    """Answer the edge device's messages until it is over."""
    device = DeviceFolder(folder)
    identity = device.require()
    key = load_ssh_private_key(device.key.read_bytes(), None)
    settings = {"name": identity.name, "data": str(device.path)}
    before: Message | None = None
    with http_request_response(identity.superlink, False, str(device.authority), (key, key.public_key())) as line:  # type: ignore[arg-type]
        node, receive, send, _, _, pull, push, confirm = line

        def deliver(reply: Message, pieces: int | None = None) -> None:
            """Send a reply as a SuperNode does, or some pieces of it."""
            reply.metadata.__dict__["_message_id"] = reply.object_id
            with no_object_id_recompute():
                contents = {name: thing.deflate() for name, thing in get_all_nested_objects(reply).items()}
                wanted, session = send(reply, get_object_tree(reply), 0.0)
                push_object_contents_from_iterable(
                    ((name, contents[name]) for name in sorted(wanted)[:pieces]),
                    push_object_fn=lambda name, content: push(reply.metadata.run_id, session, name, content),
                )

        while not over.is_set():
            result = receive()
            if result is None:
                time.sleep(POLL_SECONDS)
                continue
            head, tree = result
            run, number = head.metadata.run_id, head.metadata.message_id
            parts = pull_objects([part.object_id for part in iterate_object_tree(tree)], lambda name: pull(run, name))  # noqa: B023
            confirm(run, number)
            message = inflate_object_from_contents(number, parts)
            assert isinstance(message, Message)
            message.metadata.__dict__["_message_id"] = number
            reply = flower_app(message, Context(run, node, dict(settings), RecordDict(), {}))
            trained = message.metadata.message_type == "train"
            deliver(reply, 1 if trained and manner == "half" else None)
            if trained and manner == "twice":
                deliver(reply)
                deliver(another(reply, message))
                if before is not None:
                    deliver(another(reply, before))
                before = message
            answered.append(message.metadata.message_type)


def another(reply: Message, message: Message) -> Message:
    """Return another answer to a message: the weights of a reply, doubled."""
    content = RecordDict(dict(reply.content.items()))
    content["arrays"] = ArrayRecord({name: Array(2 * array.numpy()) for name, array in reply.content["arrays"].items()})  # type: ignore[arg-type, union-attr]
    return Message(content, reply_to=message)
