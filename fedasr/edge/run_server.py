"""Running a server: Flower's SuperLink with TLS and node authentication, behind the gate."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, nullcontext

from fedasr.edge.checks import findings, server_certificates
from fedasr.edge.flower_command import environment
from fedasr.edge.log import OWN, JsonLines
from fedasr.edge.processes import Process, first_to_end, stopping
from fedasr.edge.secrets import private_folder
from fedasr.edge.server_folder import ServerFolder
from fedasr.errors import InputError, RunFailed

NOISE = ('HTTP/1.1" 200', "ControlServicer.ListNodes", "ControlServicer.ListRuns")
"""Flower's log has a line for every poll of every box, and for every look of who watches."""


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


def run_server(server: ServerFolder, bind: str) -> None:
    """Run the SuperLink until it ends or somebody stops it.

    Args:
        server: its files.
        bind: the address to listen on.

    Raises:
        InputError: a certificate or key is wrong; nothing was started.
        RunFailed: the SuperLink ended by itself.
    """
    server.require()
    for finding in findings([("certificates", lambda: server_certificates(server))]):
        if finding.level == "error":
            raise InputError(finding.text, where=finding.check)
        if finding.level == "warning":
            print(f"{finding.check}: {finding.text}", file=sys.stderr, flush=True)
    os.umask(0o077)
    private_folder(server.work)
    with stopping() as wish:
        arguments = superlink_arguments(server, bind)
        superlink = Process(arguments, environment(server.flower_home), server.work, worth_showing)
        try:
            with told(server):
                ended = first_to_end([superlink], wish)
        finally:
            superlink.stop()
    if ended is not None:
        raise RunFailed(f"the SuperLink ended with status {ended.ended}: {last_words(ended)}")


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
