"""Running a box: Flower's SuperNode, and beside it the executor that answers with the installed app."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

from fedasr.edge.box_folder import BoxFolder, Identity
from fedasr.edge.executor import SECRET_VARIABLE
from fedasr.edge.flower_command import command, environment
from fedasr.edge.handshake import CLOCK_AHEAD_S, CLOCK_BEHIND_S, Unreachable, Untrusted, clock_offset, knock
from fedasr.edge.processes import Process, first_to_end, free_port, stopping
from fedasr.edge.run_server import last_words
from fedasr.errors import InputError, RunFailed

REJECTED = ("[code: 2004]", "401 Unauthorized")
"""By which Flower says that it does not take a key, or a signature whose time is not now."""
LEFT_WITHOUT_GOODBYE = "connected"
"""File that is there while the box is connected: found at the start, the box was cut off."""
FORGETTING_SECONDS = 90.0
"""After that a server no longer counts a box that was cut off as connected."""
RETRY_SECONDS = 10.0


def run_client(box: BoxFolder, manifest: Path) -> None:
    """Run a box until somebody stops it or the server refuses it.

    A server that is not there is waited for. One that is not the box's own, or does not know its key, ends the run
    with a line that says so.

    Args:
        box: its files.
        manifest: of its speech; need not be there yet.

    Raises:
        InputError: the box was not enrolled, its key is wrong, or it and the server do not know each other.
        RunFailed: a process ended by itself.
    """
    # What the box writes, features of speech above all, is for nobody else on the machine.
    os.umask(0o077)
    identity = box.require()
    try:
        knock(identity.host, identity.port, box.authority)
    except Untrusted as error:
        raise InputError(str(error), where=str(box.path)) from None
    except Unreachable as error:
        print(f"{error}; waiting for it", file=sys.stderr, flush=True)
    mark = box.path / "work" / LEFT_WITHOUT_GOODBYE
    patience = time.monotonic() + (FORGETTING_SECONDS if mark.exists() else 0.0)
    with stopping() as wish:
        while True:
            box.prepare(identity, manifest)
            mark.touch()
            ended, rejected = serve_once(box, identity, wish)
            mark.unlink(missing_ok=True)
            if ended is None:
                return
            if not rejected:
                raise RunFailed(f"the box's {ended}")
            if time.monotonic() > patience:
                raise InputError(why_rejected(box, identity), where=str(box.key))
            print("the server still counts this box as connected; trying again", file=sys.stderr, flush=True)
            if wish.wait(RETRY_SECONDS):
                return


def why_rejected(box: BoxFolder, identity: Identity) -> str:
    """Return in words why a server does not accept a box, and what to do."""
    said = f"the server at {identity.superlink} does not accept the key of '{identity.name}'"
    try:
        ahead = clock_offset(identity.host, identity.port, box.authority)
    except Unreachable:
        ahead = 0.0
    if ahead > CLOCK_AHEAD_S or ahead < -CLOCK_BEHIND_S:
        return f"{said}: this box's clock is {ahead:+.0f} s off the server's; set it"
    return (
        f"{said}: it was revoked, never enrolled there, or another box uses it; 'fedasr edge enroll' on the server"
        " makes a new one"
    )


def serve_once(box: BoxFolder, identity: Identity, wish: threading.Event) -> tuple[str | None, bool]:
    """Run SuperNode and executor until one ends; return which and why (None: somebody wished), and whether by the key.

    Args:
        box: its files.
        identity: of the box.
        wish: set when the box is to stop.
    """
    address = f"127.0.0.1:{free_port()}"
    variables = {**environment(box.flower_home), SECRET_VARIABLE: str(box.secret)}
    supernode = Process(supernode_arguments(box, identity, address), variables, box.work)
    running = [supernode]
    try:
        running.append(
            Process([sys.executable, "-m", "fedasr.edge.executor", "--address", address], variables, box.work)
        )
        ended = first_to_end(running, wish)
    finally:
        for process in running:
            process.stop()
    if ended is None:
        return None, False
    who = "SuperNode" if ended is supernode else "executor"
    # A SuperNode that is refused while it runs ends as if it had been asked to.
    left = ended is supernode and ended.ended == 0
    rejected = left or any(sign in line for line in supernode.tail for sign in REJECTED)
    return f"{who} ended with status {ended.ended}: {last_words(ended)}", rejected


def supernode_arguments(box: BoxFolder, identity: Identity, address: str) -> list[str]:
    """Return the command of the box's SuperNode; TLS and the key are not optional.

    It hands messages to nobody but the executor, who knows the secret, and waits for a server that is away.
    """
    host, _, port = address.rpartition(":")
    return [
        command("flower-supernode"),
        *("--superlink", identity.superlink, "--root-certificates", str(box.authority)),
        *("--auth-supernode-private-key", str(box.key)),
        *("--node-config", str(box.node_config)),
        *("--isolation", "process", "--superexec-auth-secret-file", str(box.secret)),
        *("--host", host, "--port", port),
    ]
