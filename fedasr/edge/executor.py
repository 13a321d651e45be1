"""Answers a box's messages with the app that is installed on the box: ``python -m fedasr.edge.executor``.

Flower's SuperNode would start a process for each message, which unpacks and runs whatever code the server sent. This
one runs the app that its owner has installed, and nothing else: what the server sent of code is not even unpacked. It
has everything imported when a message comes and answers it in a fork, which starts in milliseconds; on a small box the
imports cost more than a round.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
import time
from multiprocessing.context import ForkProcess
from pathlib import Path

import httpx
from flwr.clientapp import ClientApp
from flwr.common.constant import SubStatus
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
from flwr.supercore.inflatable.inflatable_utils import ObjectPushError
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message, push_task_output

from fedasr.edge.processes import die_with_parent
from fedasr.references import load_reference
from fedasr.runtime.threads import one_thread

CLIENT_APP = "fedasr.clients.client_app:flower_app"
ACQUIRE = "/flwr.proto.Runtime/AcquireTask"
POLL_SECONDS = 0.3
SECRET_VARIABLE = "FEDASR_EDGE_SECRET_FILE"
UNANSWERED = 75
"""Exit status where the process of a message died: nobody can answer it any more, and the SuperNode waits for that."""


def serve(address: str, secret: bytes, app: ClientApp, parent: int) -> int:
    """Answer messages until the parent process has gone, or a message cannot be answered; return the exit status.

    Args:
        address: of the SuperNode, ``host:port`` on this machine.
        secret: shared with the SuperNode, so that nobody else on the machine gets the box's messages.
        app: answers.
        parent: the process that is to live.
    """
    client = RuntimeHttpClient.from_server_address(
        address,
        insecure=True,
        root_certificates=None,
        interceptors=[
            RuntimeVersionHttpInterceptor(component_name="SuperExec"),
            SuperExecAuthHttpInterceptor(master_secret=secret, protected_methods={ACQUIRE}),
        ],
    )
    fork = multiprocessing.get_context("fork")
    question = AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP])
    worker: ForkProcess | None = None
    while os.getppid() == parent:
        if worker is not None and worker.exitcode is not None:
            if worker.exitcode:
                print(f"a message was not answered: its process {ending(worker.exitcode)}", file=sys.stderr, flush=True)
                return UNANSWERED
            worker = None
        try:
            found = client.AcquireTask(question)
        except httpx.TransportError:  # the SuperNode is still starting, or has just ended
            time.sleep(POLL_SECONDS)
            continue
        if found.HasField("task") and found.token:
            if worker is not None:
                # A SuperNode has one message at a time: the one before was of a run that has ended, and never comes.
                worker.kill()
                worker.join()
            worker = fork.Process(target=perform, args=(address, found.token, app), daemon=True)
            worker.start()
        else:
            time.sleep(POLL_SECONDS)
    return 0


def ending(status: int) -> str:
    """Return in words how a process ended that did not end well."""
    if status == -signal.SIGKILL:
        return "was killed; does the box have enough memory?"
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def perform(address: str, token: str, app: ClientApp) -> None:
    """Answer one message, in a process of its own.

    Args:
        address: of the SuperNode.
        token: of the message.
        app: answers.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with_parent()
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
        reply = app(message, context)
        try:
            push_message(client, reply, context)
        except ObjectPushError:
            sys.exit("the reply was not taken: it came too late, or its run has ended")
        push_task_output(client, context, SubStatus.COMPLETED, "")
    finally:
        heartbeat.stop()
        client.close()


def main() -> None:
    """Serve the SuperNode that the arguments name."""
    die_with_parent()
    parser = argparse.ArgumentParser(prog="python -m fedasr.edge.executor", description=__doc__)
    parser.add_argument("--address", required=True, help="of the SuperNode's runtime interface, host:port")
    given = parser.parse_args()
    parent = os.getppid()
    secret = Path(os.environ[SECRET_VARIABLE]).read_bytes()
    one_thread()
    sys.exit(serve(given.address, secret, load_reference(CLIENT_APP), parent))


if __name__ == "__main__":
    main()
