"""Flower's SuperLink behind a gate: ``python -m fedasr.edge.superlink`` takes the arguments of ``flower-superlink``.

Two things are added, and nothing is replaced: the gate in front of Flower's own middleware, and a line in the log for
every TLS handshake that fails.
"""

from __future__ import annotations

import ssl

from flwr.superlink import extensions
from flwr.superlink.cli.flower_superlink import flower_superlink
from starlette.middleware import Middleware

from fedasr.edge.gate import Gate, say


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


def main() -> None:
    """Run the SuperLink."""
    setattr(extensions, "get_middleware", lambda: (Middleware(Gate),))  # noqa: B010 (a module has no such field)
    ssl.SSLContext.sslobject_class = LoudHandshake
    flower_superlink()


if __name__ == "__main__":
    main()
