"""Answers an edge device's messages with the app that is installed on the device: ``python -m fedasr.edge.executor``.

Flower's SuperNode would start a process for each message, which unpacks and runs whatever code the server sent. This
one runs the app that its owner has installed, and nothing else: what the server sent of code is not even unpacked. It
has everything imported when a message comes and answers it in a fork, which starts in milliseconds; on a small device
the imports cost more than a round.
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

from fedasr.edge.processes import die_with_parent
from fedasr.flower.supernode import NotTaken, Tasks, taken
from fedasr.references import load_reference
from fedasr.runtime.threads import one_thread

CLIENT_APP = "fedasr.clients.client_app:flower_app"
POLL_SECONDS = 0.3
SECRET_VARIABLE = "FEDASR_EDGE_SECRET_FILE"
UNANSWERED = 75
"""Exit status where the process of a message died: nobody can answer it any more, and the SuperNode waits for that."""


def serve(address: str, secret: bytes, app: ClientApp, parent: int) -> int:
    """Answer messages until the parent process has gone, or a message cannot be answered; return the exit status.

    Args:
        address: of the SuperNode, ``host:port`` on this machine.
        secret: shared with the SuperNode, so that nobody else on the machine gets the device's messages.
        app: answers.
        parent: the process that is to live.
    """
    tasks = Tasks(address, secret)
    fork = multiprocessing.get_context("fork")
    worker: ForkProcess | None = None
    while os.getppid() == parent:
        if worker is not None and worker.exitcode is not None:
            if worker.exitcode:
                print(f"a message was not answered: its process {ending(worker.exitcode)}", file=sys.stderr, flush=True)
                return UNANSWERED
            worker = None
        try:
            token = tasks.next()
        except httpx.TransportError:  # the SuperNode is still starting, or has just ended
            time.sleep(POLL_SECONDS)
            continue
        if token is not None:
            if worker is not None:
                # A SuperNode has one message at a time: the one before was of a run that has ended, and never comes.
                worker.kill()
                worker.join()
            worker = fork.Process(target=perform, args=(address, token, app), daemon=True)
            worker.start()
        else:
            time.sleep(POLL_SECONDS)
    return 0


def ending(status: int) -> str:
    """Return in words how a process ended that did not end well."""
    if status == -signal.SIGKILL:
        return "was killed; does the edge device have enough memory?"
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
    with taken(address, token) as given:
        reply = app(given.message, given.context)
        try:
            given.reply(reply)
        except NotTaken:
            sys.exit("the reply was not taken: it came too late, or its run has ended")


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
