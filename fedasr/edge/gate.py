"""What a SuperLink answers to whom: the network may speak as an edge device, and only this machine may give orders.

Flower serves three interfaces on one port: devices send and receive messages, apps run, and people start runs and enrol
devices. Without accounts Flower lets anybody who reaches the port do the last, so that a stranger could enrol himself.
Here all but the first is for this machine alone. Flower also reads a request whole before it asks whose it is; here
nobody's body is read whose key and signature were not seen.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import sys
from base64 import b64decode
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from fedasr.edge.certificates import fingerprint
from fedasr.errors import one_line
from fedasr.flower.superlink import (
    FLEET,
    GOODBYE,
    HEALTH,
    KEY_HEADER,
    PUSH_MESSAGES,
    PUSH_OBJECT,
    SIGNATURE_HEADER,
    TIME_HEADER,
    in_time,
    is_signed,
)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

KIB, MIB = 2**10, 2**20
BODIES = {
    **{f"{FLEET}{name}": 64 * KIB for name in ("activate-node", "send-node-heartbeat", "pull-messages")},
    **{f"{FLEET}{name}": 64 * KIB for name in ("get-run", "get-fab", "pull-object", "confirm-message-received")},
    GOODBYE: 64 * KIB,
    PUSH_MESSAGES: 4 * MIB,
    PUSH_OBJECT: 16 * MIB,
}
"""What edge devices call, and how many bytes a body has at most: Flower cuts updates into objects of 5 MiB."""
STRANGER = 64 * KIB
"""Bytes of a body by a key that was not enrolled: Flower itself is to refuse it."""
FORWARDED = (b"forwarded", b"via", b"x-real-ip")
"""Headers of a proxy, beside those that begin with ``x-forwarded-``: whoever calls through one is not this machine."""
UNAUTHORISED, FORBIDDEN, TIMED_OUT, TOO_LARGE, TOO_MANY = 401, 403, 408, 413, 429
REFUSALS = {
    401: "its signature or its clock is wrong, or its key was revoked",
    403: "its run has ended",
    412: "its key is unknown, was revoked, or is that of an edge device that is connected",
}
"""What Flower's answers to an edge device mean."""
NOT_CONNECTED = 412
"""What Flower answers to the goodbye of an edge device that it did not count as connected, which is no refusal."""
STRANGER_SECONDS, BODY_SECONDS = 10.0, 120.0
"""How long a body may take: an object of 5 MiB at 44 kB/s."""
LARGEST_UPDATE_MB = 1024
AT_ONCE, AT_ONCE_IN_ALL = 16, 32
"""Requests of a key, and bodies of all edge devices, that are read at the same time."""
PROBED = "203.0.113.7"
"""An address that is nobody's (RFC 5737), by which the gate tries itself."""


def say(text: str) -> None:
    """Write a line to the server's log; what strangers choose, such as a path, cannot begin another."""
    print(one_line("refused: ", text), file=sys.stderr, flush=True)


class Enrolled:
    """The keys that may send large bodies, by their fingerprints; the file is read anew where it has changed.

    Args:
        file: with who was enrolled; None: nobody.
    """

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self.seen: tuple[int, int] | None = None
        self.keys: frozenset[str] = frozenset()

    def __contains__(self, key: str) -> bool:
        if self.file is None:
            return False
        try:
            state = self.file.stat()
            if self.seen != (state.st_mtime_ns, state.st_ino):
                rows = json.loads(self.file.read_text(encoding="utf-8"))
                self.keys = frozenset(str(row["fingerprint"]) for row in rows if row.get("revoked") is None)
                self.seen = (state.st_mtime_ns, state.st_ino)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return False
        return key in self.keys


class Gate:
    """ASGI middleware that lets edge devices through, this machine do everything, and logs whom it or Flower refuses.

    Args:
        app: Flower's.
        registry: the file of who was enrolled.
        largest_update_mb: what an edge device may send in answer to a message.
    """

    def __init__(self, app: App, registry: Path | None = None, largest_update_mb: float = LARGEST_UPDATE_MB) -> None:
        self.app = app
        self.enrolled = Enrolled(registry)
        self.largest_update = largest_update_mb * 1e6
        self.open: Counter[str] = Counter()
        """key → requests that are under way"""
        self.sent: Counter[str] = Counter()
        """key → bytes since its last message"""
        self.bodies = asyncio.Semaphore(AT_ONCE_IN_ALL)
        self.quiet = False
        """whether refusals are left out of the log: while the gate is tried"""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # a websocket: nobody speaks so
            return
        path, address = str(scope.get("path", "")), caller(scope)
        if not allowed(path, address, str(scope.get("method", "POST"))):
            if not self.quiet:
                say(
                    f"{scope.get('method')} {path} from {address or 'nowhere'}:"
                    " only edge devices may call from the network"
                )
            await answer(send, FORBIDDEN, b"only edge devices may call from the network\n")
            return

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start" and refuses(path, message["status"]):
                why = REFUSALS.get(message["status"], f"status {message['status']}")
                say(f"{path.removeprefix(FLEET)} from {address}, key {key_of(scope)}: {why}")
            await send(message)

        if path in BODIES:
            await self.from_device(scope, receive, watched, path)
        elif local(address):
            await self.app(scope, receive, watched)
        else:
            await self.app(scope, nothing_to_read, watched)

    async def from_device(self, scope: Scope, receive: Receive, send: Send, path: str) -> None:
        """Answer an edge device, or who claims to be one: its signature comes first, then its body, within limits."""
        key = signed_by(scope)
        if key is None:
            await answer(send, UNAUTHORISED, b"Invalid SuperNode authentication\n")
            return
        known = key in self.enrolled
        if self.open[key] >= AT_ONCE:
            await answer(send, TOO_MANY, b"too many requests at once\n")
            return
        self.open[key] += 1
        try:
            if known:
                async with self.bodies:
                    body = await self.body(scope, receive, BODIES[path], BODY_SECONDS)
            else:
                body = await self.body(scope, receive, min(STRANGER, BODIES[path]), STRANGER_SECONDS)
            if path == PUSH_OBJECT and not isinstance(body, int):
                self.sent[key] += len(body)
                if self.sent[key] > self.largest_update:
                    body = TOO_LARGE
            if isinstance(body, int):
                await answer(send, body, b"too large, or too slow\n")
                return
            if path == PUSH_MESSAGES:
                self.sent[key] = 0
            await self.app(scope, once(body, receive), send)
        finally:
            self.open[key] -= 1
            if not self.open[key]:
                del self.open[key]

    async def body(self, scope: Scope, receive: Receive, most: int, seconds: float) -> bytes | int:
        """Return a body, or the status that refuses one that is too large or takes too long."""
        if declared(scope) > most:
            return TOO_LARGE
        content = bytearray()
        try:
            async with asyncio.timeout(seconds):
                while True:
                    piece = await receive()
                    if piece["type"] != "http.request":
                        return TIMED_OUT  # it has hung up
                    content += piece.get("body", b"")
                    if len(content) > most:
                        return TOO_LARGE
                    if not piece.get("more_body", False):
                        return bytes(content)
        except TimeoutError:
            return TIMED_OUT


def once(body: bytes, receive: Receive) -> Receive:
    """Return what gives a body that was read, and then what comes after it."""
    given = False

    async def give() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return give


async def nothing_to_read() -> Message:
    """Give an empty body."""
    return {"type": "http.request", "body": b"", "more_body": False}


def declared(scope: Scope) -> float:
    """Return the length that a request says its body has; infinite where that makes no sense."""
    length = header(scope, b"content-length")
    if length is None:
        return 0
    return int(length) if length.isdigit() and len(length) < 20 else float("inf")


def signed_by(scope: Scope) -> str | None:
    """Return the fingerprint of the key that has signed a request just now; None where none has."""
    key, signature, moment = (header(scope, name) for name in (KEY_HEADER, SIGNATURE_HEADER, TIME_HEADER))
    if key is None or signature is None or moment is None:
        return None
    try:
        public = load_pem_public_key(b64decode(key, validate=True))
        if not in_time(moment.decode("ascii")) or not isinstance(public, ec.EllipticCurvePublicKey):
            return None
        whole = is_signed(public, moment, b64decode(signature, validate=True))
    except (ValueError, TypeError):
        return None
    return fingerprint(public) if whole else None


def header(scope: Scope, name: bytes) -> bytes | None:
    """Return a header of a request; None where it has none, or several."""
    values = [bytes(value) for key, value in scope.get("headers", ()) if key.lower() == name]
    return values[0] if len(values) == 1 else None


def caller(scope: Scope) -> str:
    """Return the address that a request comes from; nobody's where a proxy stands between."""
    names = [name.lower() for name, _ in scope.get("headers", ())]
    if any(name in FORWARDED or name.startswith(b"x-forwarded-") for name in names):
        return "a proxy"
    client = scope.get("client")
    return str(client[0]) if client else ""


def refuses(path: str, status: int) -> bool:
    """Say whether an answer refuses an edge device something."""
    return path.startswith(FLEET) and status >= 400 and (path, status) != (GOODBYE, NOT_CONNECTED)


def allowed(path: str, address: str, method: str = "POST") -> bool:
    """Say whether whoever calls from an address may have a path."""
    if local(address):
        return True
    return path == HEALTH or (path in BODIES and method == "POST")


def local(address: str) -> bool:
    """Say whether an address is of this machine's loopback."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return bool((mapped or parsed).is_loopback)


async def answer(send: Send, status: int, body: bytes) -> None:
    """Send a whole answer and hang up: of whom it refuses the server reads nothing more."""
    headers = [
        (b"content-type", b"text/plain"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def key_of(scope: Scope) -> str:
    """Return the fingerprint of the key that an edge device claims, for the log."""
    try:
        key = load_pem_public_key(b64decode(header(scope, KEY_HEADER) or b"", validate=True))
    except ValueError:
        return "none"
    return fingerprint(key) if isinstance(key, ec.EllipticCurvePublicKey) else "of another kind"


async def holes(app: App, orders: Iterable[str]) -> list[str]:
    """Return which orders an app takes from a stranger, who may also claim to be this machine: there must be none.

    Args:
        app: as it is served.
        orders: paths that are for this machine alone.
    """
    unguarded = []
    for path in orders:
        for claim in ((), ((b"x-forwarded-for", b"127.0.0.1"),), ((b"forwarded", b"for=127.0.0.1"),)):
            status = 0

            async def keep(message: Message) -> None:
                nonlocal status
                status = message.get("status", status)

            scope = {
                **{"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST"},
                **{"scheme": "https", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": ""},
                **{"headers": list(claim), "client": (PROBED, 4), "server": ("127.0.0.1", 1), "state": {}},
            }
            await app(scope, nothing_to_read, keep)
            if status != FORBIDDEN:
                unguarded.append(f"{path} ({status})")
    return unguarded
