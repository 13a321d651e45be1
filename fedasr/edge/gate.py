"""What a SuperLink answers to whom: the network may speak as a box, and only this machine may give orders.

Flower serves three interfaces on one port: boxes send and receive messages, apps run, and people start runs and enrol
boxes. Without accounts Flower lets anybody who reaches the port do the last, so that a stranger could enrol himself.
Here all but the first is for this machine alone.
"""

from __future__ import annotations

import ipaddress
import sys
from base64 import b64decode
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from fedasr.edge.certificates import fingerprint
from fedasr.errors import one_line

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

FOR_BOXES = "/v1/fleet/"
FOR_ANYBODY = "/health"
ENROL = ("/v1/fleet/register-node", "/v1/fleet/unregister-node")
"""By which a box would enrol itself; Flower refuses it too where node authentication is on."""
KEY_HEADER = b"flwr-public-key"
FORBIDDEN = 403
REFUSALS = {
    401: "its signature or its clock is wrong, or its key was revoked",
    403: "its run has ended",
    412: "its key is unknown, was revoked, or is that of a box that is connected",
}
"""What Flower's answers to a box mean."""
GOODBYE = "/v1/fleet/deactivate-node"
NOT_CONNECTED = 412
"""What Flower answers to the goodbye of a box that it did not count as connected, which is no refusal."""


def say(text: str) -> None:
    """Write a line to the server's log; what strangers choose, such as a path, cannot begin another."""
    print(one_line("refused: ", text), file=sys.stderr, flush=True)


class Gate:
    """ASGI middleware that lets boxes through, this machine do everything, and logs whom it or Flower refuses.

    Args:
        app: Flower's.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path, client = str(scope.get("path", "")), scope.get("client")
        address = str(client[0]) if client else ""
        if not allowed(path, address):
            say(f"{scope.get('method')} {path} from {address or 'nowhere'}: only boxes may call from the network")
            await answer(send, FORBIDDEN, b"only boxes may call from the network\n")
            return

        async def watched(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start" and refuses(path, message["status"]):
                why = REFUSALS.get(message["status"], f"status {message['status']}")
                say(f"{path.removeprefix(FOR_BOXES)} from {address}, key {key_of(scope)}: {why}")
            await send(message)

        await self.app(scope, receive, watched)


def refuses(path: str, status: int) -> bool:
    """Say whether an answer refuses a box something."""
    return path.startswith(FOR_BOXES) and status >= 400 and (path, status) != (GOODBYE, NOT_CONNECTED)


def allowed(path: str, address: str) -> bool:
    """Say whether whoever calls from an address may have a path."""
    if local(address):
        return True
    return path == FOR_ANYBODY or (path.startswith(FOR_BOXES) and path not in ENROL)


def local(address: str) -> bool:
    """Say whether an address is of this machine's loopback."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return bool((mapped or found).is_loopback)


async def answer(send: Send, status: int, body: bytes) -> None:
    """Send a whole answer."""
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def key_of(scope: Scope) -> str:
    """Return the fingerprint of the key that a box claims, for the log."""
    found = next((value for name, value in scope.get("headers", ()) if name.lower() == KEY_HEADER), b"")
    try:
        key = load_pem_public_key(b64decode(found, validate=True))
    except ValueError:
        return "none"
    return fingerprint(key) if isinstance(key, ec.EllipticCurvePublicKey) else "of another kind"
