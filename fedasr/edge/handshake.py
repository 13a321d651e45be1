"""What a device learns of a server before it connects: whether it is there, and whether it is the trusted one."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from email.utils import parsedate_to_datetime
from pathlib import Path

from fedasr.edge.gate import local

PATIENCE_SECONDS = 5.0
CLOCK_AHEAD_S = 4.0
CLOCK_BEHIND_S = 240.0
"""A device signs what it sends with the time; Flower refuses 5 seconds of the future and 5 minutes of the past."""


class Unreachable(Exception):
    """Nobody answers; that may change."""


class Untrusted(Exception):
    """Somebody answers who is not the server that the device was enrolled with; that does not change by itself."""


def knock(host: str, port: int, authority: Path) -> None:
    """Shake hands with a server and hang up.

    Args:
        host: its name or address, which its certificate must hold for.
        port: of the SuperLink.
        authority: certificate of the only authority that is trusted.

    Raises:
        Unreachable: nobody answers.
        Untrusted: it speaks no TLS, its certificate is of another authority, for another name, or not valid now.
    """
    context = ssl.create_default_context(cafile=str(authority))
    try:
        with (
            socket.create_connection((host, port), timeout=PATIENCE_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=host),
        ):
            pass
    except ssl.SSLCertVerificationError as error:
        raise Untrusted(f"the server at {host}:{port} is not trusted: {verdict(error, authority)}") from None
    except ssl.SSLEOFError:
        # What forwards to a server that is away answers so: a proxy, a router, a load balancer.
        raise Unreachable(f"who answers at {host}:{port} hangs up at once") from None
    except ssl.SSLError as error:
        raise Untrusted(
            f"what answers at {host}:{port} does not speak TLS ({error.reason}); a SuperLink that was not started by"
            " 'fedasr edge run-server', or another service"
        ) from None
    except OSError as error:
        raise Unreachable(f"nobody answers at {host}:{port}: {error.strerror or error}") from None


def clock_offset(host: str, port: int, authority: Path) -> float:
    """Return how many seconds this machine's clock is ahead of a server's, to about a second.

    Args:
        host: the server's name or address.
        port: of the SuperLink.
        authority: certificate of the only authority that is trusted.

    Raises:
        Unreachable: it does not say what time it is.
    """
    context = ssl.create_default_context(cafile=str(authority))
    connection = http.client.HTTPSConnection(host, port, timeout=PATIENCE_SECONDS, context=context)
    try:
        connection.request("GET", "/health")
        date = connection.getresponse().getheader("date")
        return time.time() - parsedate_to_datetime(date or "").timestamp()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unreachable(f"the server at {host}:{port} does not say what time it is: {error}") from None
    finally:
        connection.close()


def outside_address(bind: str) -> str | None:
    """Return an address of this machine that is no loopback and that a server listens at; None where there is none."""
    if not local(bind) and bind not in ("0.0.0.0", "::"):
        return bind
    if local(bind):
        return None
    family, target = (socket.AF_INET6, "2001:db8::1") if bind == "::" else (socket.AF_INET, "192.0.2.1")
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((target, 9))  # sends nothing: it chooses the address that would be sent from
            address = str(probe.getsockname()[0])
    except OSError:
        return None
    return None if local(address) else address


def takes_orders(host: str, port: int, authority: Path) -> bool:
    """Say whether a server takes an order from an address that is not its machine's own; ``False`` if out of reach.

    Args:
        host: an address of this machine.
        port: of the SuperLink.
        authority: certificate of the only authority that is trusted.
    """
    context = ssl.create_default_context(cafile=str(authority))
    context.check_hostname = False  # the certificate is for the names that edge devices call
    connection = http.client.HTTPSConnection(host, port, timeout=PATIENCE_SECONDS, context=context)
    try:
        connection.request("POST", "/v1/control/list-runs", body=b"", headers={"X-Forwarded-For": "127.0.0.1"})
        return connection.getresponse().status != http.client.FORBIDDEN
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def verdict(error: ssl.SSLCertVerificationError, authority: Path) -> str:
    """Return in words why a certificate is refused, and what to do."""
    problem = error.verify_message
    if "expired" in problem:
        return "its certificate has expired; 'fedasr edge init-server --renew' on the server, then restart it"
    if "not yet valid" in problem:
        return "its certificate is not valid yet; set the clock of this edge device, or of the server"
    if "mismatch" in problem or "not valid for" in problem:
        return f"{problem.rstrip('.')}; 'fedasr edge init-server --renew --host NAME' on the server adds the name"
    return (
        f"its certificate is not signed by the authority in {authority} ({problem}); the edge device was enrolled with"
        " another server, or the connection is intercepted"
    )
