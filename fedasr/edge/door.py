"""The port of a SuperLink: who may hold how many connections, and how long they may take to say what they want.

Uvicorn, which Flower serves with, has no limit on connections of one address, on headers that never end, or on a
handshake that is never finished. And it believes whoever says in a header where he calls from, where the environment
lets it.
"""

from __future__ import annotations

import asyncio
import asyncio.constants
import logging
import socket
import sys
from asyncio import TimerHandle
from collections import Counter
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from fedasr.edge.gate import BODIES, KIB, Gate, holes, local, say
from fedasr.flower.superlink import ACQUIRE_TASK, DOCUMENTATION, ENROL, control_paths

MOST_CONNECTIONS, MOST_OF_AN_ADDRESS = 900, 128
"""At once. An edge device holds a few; several edge devices may share an address."""
FOR_THIS_MACHINE = 100
"""Connections that are left to it, however many strangers come."""
HANDSHAKE_SECONDS = 10.0
HEADER_SECONDS = 10.0
MOST_HEADER_BYTES = 64 * KIB
KEEP_ALIVE_SECONDS = 15
ORDERS = (ACQUIRE_TASK, *DOCUMENTATION, *ENROL)


class Door:
    """Counts connections.

    Args:
        most: of everybody.
        most_of_an_address: of each address that is not this machine's.
    """

    def __init__(self, most: int = MOST_CONNECTIONS, most_of_an_address: int = MOST_OF_AN_ADDRESS) -> None:
        self.most = most
        self.most_of_an_address = most_of_an_address
        self.inside: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Count a connection, or say that there are too many."""
        total = self.inside.total()
        crowded = total >= self.most - FOR_THIS_MACHINE or self.inside[address] >= self.most_of_an_address
        if total >= self.most or (crowded and not local(address)):
            if not self.inside[address]:
                del self.inside[address]
            return False
        self.inside[address] += 1
        return True

    def leave(self, address: str) -> None:
        """Forget a connection."""
        self.inside[address] -= 1
        if self.inside[address] <= 0:
            del self.inside[address]


class Connection(socket.socket):
    """A connection that says when it is closed."""

    door: Door | None = None
    address = ""

    def _real_close(self, *arguments: Any) -> None:
        door, self.door = self.door, None
        if door is not None:
            door.leave(self.address)
        super()._real_close(*arguments)  # type: ignore[misc]


class Listener(socket.socket):
    """A listening socket that hangs up on who has too many connections, before any TLS."""

    door: Door

    def accept(self) -> tuple[socket.socket, Any]:
        """Return the next connection.

        Raises:
            ConnectionAbortedError: it was one too many, and is closed.
        """
        descriptor, address = self._accept()  # type: ignore[attr-defined]
        connection = Connection(self.family, self.type, self.proto, fileno=descriptor)
        if not self.door.enter(address[0]):
            connection.close()
            raise ConnectionAbortedError
        connection.door, connection.address = self.door, address[0]
        return connection, address


class Hurried(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """Uvicorn's protocol, which hangs up on headers that are too long or do not end, and on endless bodies."""

    impatience: TimerHandle | None = None
    before: Any = None
    """the request that was read last"""
    taken = 0
    """bytes of the request that is being read"""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        self.wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self.calm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take a piece of a request."""
        address = self.client[0] if self.client else ""
        self.taken += len(data)
        reading = self.cycle is None or self.cycle.response_complete
        if reading and self.impatience is None:
            self.wait()
            self.taken = len(data)
        super().data_received(data)
        if self.cycle is not self.before:  # its headers are there
            self.before = self.cycle
            self.taken = len(data)
            self.calm()
        most = MOST_HEADER_BYTES if self.impatience is not None else max(BODIES.values()) + 2 * MOST_HEADER_BYTES
        if self.taken > most and not local(address):
            say(f"a request from {address}: it has no end")
            self.hang_up()

    def wait(self) -> None:
        """Give the caller some time for its headers."""
        self.calm()
        self.impatience = self.loop.call_later(HEADER_SECONDS, self.hang_up)

    def calm(self) -> None:
        """Wait for headers no longer."""
        if self.impatience is not None:
            self.impatience.cancel()
            self.impatience = None

    def hang_up(self) -> None:
        """Close the connection at once."""
        self.calm()
        if self.transport is not None:
            self.transport.abort()


class Server(uvicorn.Server):
    """A server that says that it is ready though its socket was made by somebody else."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the port."""
        await super().startup(sockets)
        if self.started and sockets:
            self._log_started_message(sockets)


class Guard:
    """Serves what Flower would serve, behind the gate and the door.

    Args:
        port: which nobody else in this process may open: a Flower that served in another way would have no gate.
        registry: the file of who was enrolled.
        largest_update_mb: what an edge device may send in answer to a message.
    """

    def __init__(self, port: int, registry: Path | None, largest_update_mb: float) -> None:
        self.port = port
        self.registry = registry
        self.largest_update_mb = largest_update_mb
        self.open = False
        sys.addaudithook(self.watch)

    def watch(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Let nobody open the port before the gate stands."""
        if event == "socket.bind" and not self.open:
            address = arguments[1]
            if isinstance(address, tuple) and len(address) > 1 and address[1] == self.port:
                raise RuntimeError("Flower opens its port in a new way: no gate would stand before it")

    def run(self, app: Any, **given: Any) -> None:
        """Stand in for ``uvicorn.run``.

        Raises:
            RuntimeError: the gate lets strangers give orders; nothing was opened.
        """
        asyncio.constants.SSL_HANDSHAKE_TIMEOUT = HANDSHAKE_SECONDS
        kept = {name: given[name] for name in ("host", "port", "log_config", "ssl_keyfile", "ssl_certfile")}
        gate = Gate(app, self.registry, self.largest_update_mb)
        config = uvicorn.Config(
            gate,
            **kept,
            http=Hurried,
            ws="none",
            loop="asyncio",
            lifespan="on",
            proxy_headers=False,
            forwarded_allow_ips="",
            server_header=False,
            workers=1,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=5,
        )
        config.load()
        orders = [*control_paths(), *ORDERS]
        gate.quiet = True
        if open_orders := asyncio.run(holes(config.loaded_app, orders)):
            raise RuntimeError(f"the gate lets strangers give orders: {', '.join(open_orders[:3])}")
        gate.quiet = False
        self.open = True
        listener = listen(str(given["host"]), int(given["port"]))
        Server(config).run(sockets=[listener])


def listen(host: str, port: int) -> Listener:
    """Return a socket that listens at an address.

    Raises:
        SystemExit: it cannot be had; the reason is in the log.
    """
    try:
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = Listener(family, kind, number)
        listener.door = Door()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        logging.getLogger("uvicorn.error").error("%s:%d cannot be listened at: %s", host, port, error.strerror or error)
        raise SystemExit(1) from None
    return listener
