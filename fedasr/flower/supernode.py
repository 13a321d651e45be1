"""Flower's SuperNode: its start, the messages that it hands out, and the goodbye to its SuperLink."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Context, Message

from fedasr.flower.surface import supported

with supported():
    from flwr.common.constant import SubStatus
    from flwr.proto.fleet_pb2 import DeactivateNodeRequest
    from flwr.proto.runtime_pb2 import AcquireTaskRequest
    from flwr.supercore.constant import TaskType
    from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
    from flwr.supercore.inflatable.inflatable_utils import ObjectPushError
    from flwr.supercore.interceptors import (
        RuntimeTokenHttpInterceptor,
        RuntimeVersionHttpInterceptor,
        SuperExecAuthHttpInterceptor,
    )
    from flwr.supercore.run import RunNotRunningException
    from flwr.supercore.runtime import RuntimeHttpClient
    from flwr.supernode.fleet_http_client import FleetHttpClient
    from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor
    from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message, push_task_output

ACQUIRE = "/flwr.proto.Runtime/AcquireTask"


class NotTaken(Exception):
    """A SuperNode does not take a reply: it came too late, or its run has ended."""


def run_supernode() -> None:
    """Run Flower's SuperNode in this process, with its arguments in ``sys.argv``, until it gives up its SuperLink."""
    with supported():
        from flwr.supernode import start_client_internal
        from flwr.supernode.cli.flower_supernode import flower_supernode
    start_client_internal._pull_and_store_message = partial(
        receive_whole, start_client_internal._pull_and_store_message
    )
    flower_supernode()


class RunEnded(Exception):
    """The run of a message has ended, and its server hands out nothing more of it."""


def receive_whole(receive: Callable[..., int | None], /, **given: Any) -> int | None:
    """Receive a message as Flower does, and forget it where its run ends before all of it is there.

    Flower would keep what there is and hand it out: whoever answers waits for the rest, and no other message is
    answered until the message expires, at the deadline of its round. A server that is killed and starts again has
    such messages for every device that was just sent one.

    Args:
        receive: Flower's.
        given: its arguments by name; ``pull_object (run, object) -> bytes`` says by an exception which ``except
            Exception`` does not see that the run has ended.
    """

    def pulled(run: int, number: str) -> bytes:
        try:
            content: bytes = given["pull_object"](run, number)
        except RunNotRunningException:
            raise RunEnded("its run has ended") from None
        return content

    return receive(**{**given, "pull_object": pulled})


class Tasks:
    """A connection by which a SuperNode hands out its messages, on the same machine.

    Args:
        address: ``host:port``.
        secret: shared with the SuperNode.
    """

    def __init__(self, address: str, secret: bytes) -> None:
        self.client = RuntimeHttpClient.from_server_address(
            address,
            insecure=True,
            root_certificates=None,
            interceptors=[
                RuntimeVersionHttpInterceptor(component_name="SuperExec"),
                SuperExecAuthHttpInterceptor(master_secret=secret, protected_methods={ACQUIRE}),
            ],
        )
        self.question = AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP])

    def next(self) -> str | None:
        """Return the token of a message that waits for its answer; None where none does.

        Raises:
            httpx.TransportError: the SuperNode is not there.
        """
        response = self.client.AcquireTask(self.question)
        return response.token if response.HasField("task") and response.token else None


@dataclass(frozen=True)
class Given:
    """A message that a SuperNode has handed out.

    Args:
        client: the connection.
        message: what is asked.
        context: of the node; what the app changes in it goes back with the reply.
    """

    client: RuntimeHttpClient
    message: Message
    context: Context

    def reply(self, reply: Message) -> None:
        """Send the reply.

        Raises:
            NotTaken: the SuperNode does not want it any more.
        """
        try:
            push_message(self.client, reply, self.context)
        except ObjectPushError:
            raise NotTaken from None
        push_task_output(self.client, self.context, SubStatus.COMPLETED, "")


@contextmanager
def taken(address: str, token: str) -> Iterator[Given]:
    """Take a message from a SuperNode, which is told that its answer is being made until the context is left.

    Args:
        address: of the SuperNode.
        token: of the message.
    """
    client = RuntimeHttpClient.from_server_address(
        address,
        insecure=True,
        root_certificates=None,
        interceptors=[RuntimeVersionHttpInterceptor("flwr-clientapp"), RuntimeTokenHttpInterceptor(token)],
    )
    heartbeat = HeartbeatSender(make_task_heartbeat_fn_http(client))
    heartbeat.start()
    try:
        message, context, _, _ = pull_task_input(client)
        yield Given(client, message, context)
    finally:
        heartbeat.stop()
        client.close()


def deactivate(superlink: str, authority: Path, key: ec.EllipticCurvePrivateKey, node: int) -> None:
    """Tell a SuperLink that a node is not connected.

    Args:
        superlink: ``host:port``.
        authority: the file of the certificate of its authority.
        key: of the node.
        node: its number.

    Raises:
        httpx.HTTPError: the SuperLink does not answer, or refuses.
    """
    with FleetHttpClient.from_server_address(
        superlink,
        insecure=False,
        root_certificates=str(authority),
        interceptors=[
            RuntimeVersionHttpInterceptor(component_name="SuperNode"),
            NodeAuthHttpInterceptor(key, key.public_key()),
        ],
    ) as client:
        client.DeactivateNode(DeactivateNodeRequest(node_id=node))
