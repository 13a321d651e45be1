"""Running an edge device: Flower's SuperNode, and beside it the executor that answers with the installed app."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from fedasr.edge.device_folder import DeviceFolder, Identity
from fedasr.edge.executor import SECRET_VARIABLE, UNANSWERED
from fedasr.edge.flower_command import environment
from fedasr.edge.goodbye import Refused, say_goodbye
from fedasr.edge.handshake import CLOCK_AHEAD_S, CLOCK_BEHIND_S, Unreachable, Untrusted, clock_offset, knock
from fedasr.edge.policy import Policy, policy_text, read_policy
from fedasr.edge.processes import Process, first_to_end, free_port, stopping
from fedasr.edge.run_server import last_words
from fedasr.edge.secrets import write_private
from fedasr.edge.supernode import GIVEN_UP
from fedasr.errors import InputError, RunFailed
from fedasr.flower import check

REJECTED = ("[code: 2004]", "401 Unauthorized")
"""By which Flower says that it does not take a key, or a signature whose time is not now."""
NO_CONNECTION = "Failed to initialize the connection"
"""By which it says that it has given up connecting, whether it was rejected or nobody answered."""
LOST_ITS_SERVER = (0, -signal.SIGINT, GIVEN_UP)
"""How it ends where its server is gone, or no longer knows its key. The loop and the heartbeat each interrupt their own
process then: one interrupt ends it with 0, the second of two kills it while it tidies up."""
LEFT_WITHOUT_GOODBYE = "connected"
"""File that is there while the device is connected: found at the start, the device was cut off."""
FORGETTING_SECONDS = 90.0
"""After that a server no longer counts an edge device that was cut off as connected."""
RETRY_SECONDS = 10.0
PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class End:
    """How an edge device's processes ended by themselves."""

    why: str
    rejected: bool = False
    """whether the server did not let the device in"""
    again: bool = False
    """whether starting again may mend it: a message that cannot be answered, a connection that was lost"""


def run_client(device: DeviceFolder, manifest: Path) -> None:
    """Run an edge device until somebody stops it or the server refuses it.

    A server that is not there, or goes away, is waited for. One that is not the device's own, or does not know its key,
    ends the run with a line that says so.

    Args:
        device: its files.
        manifest: of its speech; need not be there yet.

    Raises:
        InputError: the device was not enrolled, runs already, its key or its policy is wrong, Flower is not supported,
            or it and the server do not know each other.
        RunFailed: a process ended by itself, or the device's folder cannot be written to.
    """
    # What the device writes, features of speech above all, is for nobody else on the machine.
    os.umask(0o077)
    check("messages", "supernode")
    identity = device.require()
    if not device.policy.exists():
        write_private(device.policy, policy_text(Policy()).encode())  # for its owner to see what holds
    for text in read_policy(device.policy).texts[:2]:
        say(f"policy: {text}")
    try:
        knock(identity.host, identity.port, device.authority)
    except Untrusted as error:
        raise InputError(str(error), where=str(device.path)) from None
    except Unreachable as error:
        say(f"{error}; waiting for it")
    with device.alone(), stopping() as wish:
        serve(device, identity, manifest, wish)


def serve(device: DeviceFolder, identity: Identity, manifest: Path, wish: threading.Event) -> None:
    """Run SuperNode and executor, again and again where that helps, until somebody wishes for the end.

    Raises:
        InputError: the server refuses the device.
        RunFailed: a process ended by itself, or the device's folder cannot be written to.
    """
    mark = device.work / LEFT_WITHOUT_GOODBYE
    cut_off = mark.exists()  # the server may still count the device as connected
    patience = time.monotonic() + FORGETTING_SECONDS  # where it cannot be told
    while True:
        if cut_off:
            try:
                cut_off = not told(device, identity)
            except Unreachable:
                if wish.wait(RETRY_SECONDS):
                    return
                continue
        try:
            device.prepare(identity, manifest)
            mark.touch()
        except InputError as error:
            raise RunFailed(str(error)) from None
        except OSError as error:
            raise RunFailed(f"{device.path} cannot be written to: {error.strerror}") from None
        end = serve_once(device, identity, wish)
        if end is None:
            mark.unlink(missing_ok=True)
            return
        if end.again:
            say(f"the edge device's {end.why}; starting again")
            cut_off, patience = True, time.monotonic() + FORGETTING_SECONDS
            if wish.wait(PAUSE_SECONDS):
                return
        elif not end.rejected:
            raise RunFailed(f"the edge device's {end.why}")
        elif not cut_off or time.monotonic() > patience:
            mark.unlink(missing_ok=True)
            raise InputError(why_rejected(device, identity), where=str(device.key))
        else:
            say("the server still counts this edge device as connected; trying again")
            if wish.wait(RETRY_SECONDS):
                return


def told(device: DeviceFolder, identity: Identity) -> bool:
    """Tell the server that the device is not connected; return whether it knows.

    Raises:
        Unreachable: nobody answers.
        InputError: the server does not know the device.
    """
    try:
        return say_goodbye(device, identity)
    except Refused:
        raise InputError(why_rejected(device, identity), where=str(device.key)) from None


def say(text: str) -> None:
    """Write a line to the device's log."""
    print(text, file=sys.stderr, flush=True)


def why_rejected(device: DeviceFolder, identity: Identity) -> str:
    """Return in words why a server does not accept an edge device, and what to do."""
    problem = f"the server at {identity.superlink} does not accept the key of '{identity.name}'"
    try:
        ahead = clock_offset(identity.host, identity.port, device.authority)
    except Unreachable:
        ahead = 0.0
    if ahead > CLOCK_AHEAD_S or ahead < -CLOCK_BEHIND_S:
        return f"{problem}: this edge device's clock is {ahead:+.0f} s off the server's; set it"
    return (
        f"{problem}: it was revoked, never enrolled there, or another edge device uses it; 'fedasr edge enroll' on the"
        " server makes a new one"
    )


def serve_once(device: DeviceFolder, identity: Identity, wish: threading.Event) -> End | None:
    """Run SuperNode and executor until one ends; return how (None: somebody wished).

    Args:
        device: its files.
        identity: of the device.
        wish: set when the device is to stop.
    """
    address = f"127.0.0.1:{free_port()}"
    variables = {**environment(device.flower_home), SECRET_VARIABLE: str(device.secret)}
    supernode = Process(supernode_arguments(device, identity, address), variables, device.work)
    running = [supernode]
    try:
        running.append(
            Process([sys.executable, "-m", "fedasr.edge.executor", "--address", address], variables, device.work)
        )
        ended = first_to_end(running, wish)
    finally:
        for process in running:
            process.stop()
    if ended is None:
        return None
    if ended is not supernode:
        return End(f"executor ended with status {ended.ended}: {last_words(ended)}", again=ended.ended == UNANSWERED)
    return end_of_supernode(supernode)


def end_of_supernode(supernode: Process) -> End:
    """Return what it means that an edge device's SuperNode has ended."""
    why = f"SuperNode ended with status {supernode.ended}: {last_words(supernode)}"
    if any(sign in line for line in supernode.tail for sign in REJECTED):
        return End(why, rejected=True)
    no_connection = any(NO_CONNECTION in line for line in supernode.tail)
    return End(why, again=supernode.ended in LOST_ITS_SERVER or no_connection)


def supernode_arguments(device: DeviceFolder, identity: Identity, address: str) -> list[str]:
    """Return the command of the device's SuperNode; TLS and the key are not optional.

    It hands messages to nobody but the executor, who knows the secret, and waits for a server that is away.
    """
    host, _, port = address.rpartition(":")
    return [
        *(sys.executable, "-m", "fedasr.edge.supernode"),
        *("--superlink", identity.superlink, "--root-certificates", str(device.authority)),
        *("--auth-supernode-private-key", str(device.key)),
        *("--node-config", str(device.node_config)),
        *("--isolation", "process", "--superexec-auth-secret-file", str(device.secret)),
        *("--host", host, "--port", port),
    ]
