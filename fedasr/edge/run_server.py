"""Running a server: Flower's SuperLink with TLS and node authentication, behind the gate."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import AbstractContextManager, nullcontext

from fedasr.edge.checks import findings, server_certificates
from fedasr.edge.flower_command import environment
from fedasr.edge.gate import LARGEST_UPDATE_MB
from fedasr.edge.handshake import Unreachable, Untrusted, knock, outside_address, takes_orders
from fedasr.edge.log import OWN, JsonLines
from fedasr.edge.processes import Process, first_to_end, nothing_left, stopping
from fedasr.edge.secrets import private_folder
from fedasr.edge.server_folder import REGISTRY_VARIABLE, ServerFolder
from fedasr.errors import InputError, RunFailed
from fedasr.flower import check

UPDATE_VARIABLE = "FEDASR_EDGE_LARGEST_UPDATE_MB"
"""Environment variable of the SuperLink: what a device may send for a message."""
LOOK_SECONDS = 0.3
NOISE = ('HTTP/1.1" 200', "ControlServicer.ListNodes", "ControlServicer.ListRuns")
"""Flower's log has a line for every poll of every device, and for every look of who watches."""


def superlink_arguments(server: ServerFolder, bind: str) -> list[str]:
    """Return the command of the server's SuperLink; TLS and node authentication are not optional."""
    port = int(server.require()["port"])
    return [
        *(sys.executable, "-m", "fedasr.edge.superlink"),
        *("--ssl-ca-certfile", str(server.authority)),
        *("--ssl-certfile", str(server.certificate), "--ssl-keyfile", str(server.key)),
        "--enable-supernode-auth",
        *("--host", bind, "--port", str(port)),
        *("--database", str(server.database)),
        *("--isolation", "subprocess", "--disable-runtime-dependency-installation"),
    ]


def run_server(server: ServerFolder, bind: str, largest_update_mb: float = LARGEST_UPDATE_MB) -> None:
    """Run the SuperLink until it ends or somebody stops it.

    Args:
        server: its files.
        bind: the address to listen on.
        largest_update_mb: what an edge device may send in answer to a message.

    Raises:
        InputError: a certificate or key is wrong, Flower is not supported, or it runs already; nothing was started.
        RunFailed: the SuperLink ended by itself, or would take orders from strangers.
    """
    server.require()
    check("messages", "arrivals", "superlink")
    for finding in findings([("certificates", lambda: server_certificates(server))]):
        if finding.level == "error":
            raise InputError(finding.text, where=finding.check)
        if finding.level == "warning":
            print(f"{finding.check}: {finding.text}", file=sys.stderr, flush=True)
    os.umask(0o077)
    private_folder(server.work)
    with server.alone(), stopping() as wish, nothing_left():
        arguments = superlink_arguments(server, bind)
        variables = {
            **environment(server.flower_home),
            REGISTRY_VARIABLE: str(server.registry_file),
            UPDATE_VARIABLE: f"{largest_update_mb:g}",
        }
        superlink = Process(arguments, variables, server.work, worth_showing)
        try:
            ready(server, bind, superlink, wish)
            with told(server):
                ended = first_to_end([superlink], wish)
        finally:
            superlink.stop()
    if ended is not None:
        raise RunFailed(f"the SuperLink ended with status {ended.ended}: {last_words(ended)}")


def ready(server: ServerFolder, bind: str, superlink: Process, wish: threading.Event) -> None:
    """Wait until the SuperLink answers, try its gate from outside where there is one, and say that it is ready.

    Raises:
        RunFailed: it takes orders from another address than this machine's own.
    """
    port = int(server.require()["port"])
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind, bind)
    while superlink.ended is None and not wish.wait(LOOK_SECONDS):
        try:
            knock(here, port, server.authority)
        except Unreachable:
            continue
        except Untrusted:  # reached by a name or an address that the certificate does not hold for
            pass
        outside = outside_address(bind)
        if outside is not None and takes_orders(outside, port, server.authority):
            raise RunFailed(f"the SuperLink takes orders from {outside}; it was stopped")
        print(f"ready: edge devices reach this server at {server.address}", file=sys.stderr, flush=True)
        return


def told(server: ServerFolder) -> AbstractContextManager[None]:
    """Have the log tell what the runs do, where it is for programs: people have ``fedasr edge status --watch``."""
    log = sys.stderr
    if not isinstance(log, JsonLines):
        return nullcontext()
    from fedasr.edge.watching.reporter import reporting

    return reporting(server, lambda event: log.put(OWN, event.as_json()))


def worth_showing(line: str) -> bool:
    """Say whether a line of the SuperLink's log is for people."""
    return not any(noise in line for noise in NOISE)


def last_words(process: Process) -> str:
    """Return the last line that says something."""
    lines = [line.strip() for line in process.tail if line.strip()]
    return lines[-1] if lines else "it said nothing"
