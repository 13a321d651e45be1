"""Flower's SuperLink behind a gate: ``python -m fedasr.edge.superlink`` takes the arguments of ``flower-superlink``.

Added are the gate and the door in front of all that Flower serves, a line in the log for every TLS handshake that
fails, and an end where the process that starts runs has died. Changed is how long a request waits for the database.
"""

from __future__ import annotations

import os
import signal
import ssl
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from fedasr.edge.door import Guard
from fedasr.edge.gate import LARGEST_UPDATE_MB, say
from fedasr.edge.processes import descendants, die_with_parent, process_name
from fedasr.edge.run_server import UPDATE_VARIABLE
from fedasr.edge.server_folder import REGISTRY_VARIABLE
from fedasr.flower.superlink import run_superlink


class LoudHandshake(ssl.SSLObject):
    """Says in the log why a handshake failed: whoever speaks no TLS, or does not trust the server's authority."""

    def do_handshake(self) -> None:
        """Go on with the handshake."""
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            if self.server_side:
                say(f"a connection before it said anything: {meaning(error)}")
            raise


MEANINGS = {
    "HTTP_REQUEST": "plain HTTP, without TLS",
    "WRONG_VERSION_NUMBER": "no TLS",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not trust this server's authority",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "to it this server's certificate has expired",
    "SSLV3_ALERT_BAD_CERTIFICATE": "this server's certificate is not for the name that it called",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it does not accept this server's certificate",
}


def meaning(error: ssl.SSLError) -> str:
    """Return what a failed handshake means."""
    return MEANINGS.get(str(error.reason), f"TLS error {error.reason}")


DATABASE_PATIENCE_MS = 25_000
"""How long a request waits for the database while others write, on a busy machine. After Flower's 5 seconds it would be
answered with an error, which loses a reply or ends the process that starts runs; edge devices wait 30."""

START_PATIENCE_S = 180.0
"""How long the process of a run may take to start: to import PyTorch takes a minute on a small or busy machine."""


STARTER = "flower-superexec"
"""Flower's process that starts the server's part of a run. Without it runs are taken in and never begin."""
LONGEST_NAME = 15
"""Linux keeps so many letters of a process's name, also of one that has ended and was not waited for."""
LOOK_SECONDS = 0.5


def end_with_starter() -> None:
    """End this process when the one that starts runs has died, so that who watches over it starts both again."""
    while not (apps := [pid for pid in descendants(os.getpid()) if process_name(pid) == STARTER[:LONGEST_NAME]]):
        time.sleep(LOOK_SECONDS)
    died = os.waitid(os.P_PID, apps[0], os.WEXITED | os.WNOWAIT)
    if died is not None and died.si_status != signal.SIGTERM:  # as the SuperLink itself stops it
        print(f"{STARTER} was killed or failed ({died.si_status}), no run could start", file=sys.stderr, flush=True)
        os._exit(1)  # the database is sound after a SIGKILL too


def main() -> None:
    """Run the SuperLink."""
    die_with_parent()
    if sys.platform == "linux":
        threading.Thread(target=end_with_starter, daemon=True).start()
    registry, size = os.environ.get(REGISTRY_VARIABLE), os.environ.get(UPDATE_VARIABLE)
    guard = Guard(port_of(sys.argv), Path(registry) if registry else None, float(size or LARGEST_UPDATE_MB))
    ssl.SSLContext.sslobject_class = LoudHandshake
    run_superlink(guard.run, DATABASE_PATIENCE_MS, START_PATIENCE_S)


def port_of(arguments: Sequence[str]) -> int:
    """Return the port that a SuperLink with these arguments serves at."""
    return int(arguments[arguments.index("--port") + 1])


if __name__ == "__main__":
    main()
