"""From the network a SuperLink answers edge devices; orders come from its own machine."""

from __future__ import annotations

import asyncio
import json
import socket
from base64 import b64encode
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key
from flwr.supercore.date import now
from flwr.supercore.primitives.asymmetric import sign_message
from flwr.superlink.routers.control import router as control
from flwr.superlink.routers.fleet.router import router as fleet

from fedasr.edge.certificates import fingerprint, load_public_key, make_device_key, public_key_of
from fedasr.edge.door import Door, Guard
from fedasr.edge.gate import (
    BODIES,
    Gate,
    allowed,
    holes,
    local,
)
from fedasr.edge.processes import free_port
from fedasr.flower.superlink import ENROL, FLEET, KEY_HEADER, SIGNATURE_HEADER, TIME_HEADER

STRANGER = "203.0.113.7"


def paths(router: Any) -> list[str]:
    return [route.path for route in router.routes]


def test_flower_serves_what_the_gate_knows() -> None:
    """Of another version of Flower, check what its paths are for before the gate lets them through."""
    assert paths(control)
    assert not any(path.startswith(FLEET) for path in paths(control))
    assert {path.removeprefix(FLEET) for path in paths(fleet)} == {
        "register-node",
        "unregister-node",
        "activate-node",
        "deactivate-node",
        "send-node-heartbeat",
        "pull-messages",
        "push-messages",
        "get-run",
        "get-fab",
        "push-object",
        "pull-object",
        "confirm-message-received",
    }
    assert set(ENROL) | set(BODIES) == set(paths(fleet))


def test_strangers_may_not_give_orders() -> None:
    for path in [
        *paths(control),
        *ENROL,
        "/v1/fleet/",
        "/v1/fleet/new",
        "/v1/fleet/push-object/",
        "/v1/runtime/acquire-task",
        "/docs",
        "/openapi.json",
        "/",
        "",
        "/v1/fleet",
    ]:
        assert not allowed(path, STRANGER), path
        assert allowed(path, "127.0.0.1"), path
    for path in set(paths(fleet)) - set(ENROL):
        assert allowed(path, STRANGER), path
        assert not allowed(path, STRANGER, "GET"), path
    assert allowed("/health", STRANGER)


@pytest.mark.parametrize(
    ("address", "is_local"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:203.0.113.7", False),
        ("10.0.0.1", False),
        ("0.0.0.0", False),
        ("", False),
        ("localhost", False),
    ],
)
def test_what_is_this_machine(address: str, is_local: bool) -> None:
    assert local(address) is is_local


def call(path: str, address: str | None, status: int = 200, headers: list[tuple[bytes, bytes]] | None = None) -> int:
    """Return the status that a caller gets from a gate before a Flower that answers ``status``."""
    sent: list[MutableMapping[str, Any]] = []

    async def flower(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": path, "headers": headers or []}
    if address is not None:
        scope["client"] = (address, 5)
    asyncio.run(Gate(flower)(scope, receive, send))
    return int(sent[0]["status"])


def test_refusals_are_logged(capfd: pytest.CaptureFixture[str]) -> None:
    assert call("/v1/control/register-node", STRANGER) == 403
    assert call("/v1/control/register-node", None) == 403
    assert call("/v1/fleet/pull-messages", STRANGER, headers=signed(make_device_key()[0])) == 200
    assert call("/v1/control/list-runs", "127.0.0.1") == 200
    for proxy in (b"X-Forwarded-For", b"X-Forwarded-Proto", b"Forwarded", b"Via", b"X-Real-IP"):
        assert call("/v1/control/list-runs", "127.0.0.1", headers=[(proxy, b"127.0.0.1")]) == 403
    assert capfd.readouterr().err.splitlines() == [
        f"refused: POST /v1/control/register-node from {STRANGER}: only edge devices may call from the network",
        "refused: POST /v1/control/register-node from nowhere: only edge devices may call from the network",
        *["refused: POST /v1/control/list-runs from a proxy: only edge devices may call from the network"] * 5,
    ]


def signed(private: bytes) -> list[tuple[bytes, bytes]]:
    """Return the headers of an edge device with a private key."""
    key = load_ssh_private_key(private, None)
    moment = now().isoformat().encode()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signature = sign_message(key, moment)  # type: ignore[arg-type]
    return [(KEY_HEADER, b64encode(public)), (TIME_HEADER, moment), (SIGNATURE_HEADER, b64encode(signature))]


def test_the_probe_finds_a_gate_that_is_open() -> None:
    """What is served without a gate, or behind a layer that believes headers, is found before the port is opened."""

    async def open_to_all(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def believes(scope: Any, receive: Any, send: Any) -> None:
        if any(name == b"x-forwarded-for" for name, _ in scope["headers"]):
            scope = {**scope, "headers": [], "client": ("127.0.0.1", 0)}
        await Gate(open_to_all)(scope, receive, send)

    orders = ["/v1/control/list-runs"]
    assert asyncio.run(holes(Gate(open_to_all), orders)) == []
    assert len(asyncio.run(holes(open_to_all, orders))) == 3
    assert asyncio.run(holes(believes, orders)) == ["/v1/control/list-runs (200)"]


def test_a_port_is_not_opened_but_through_the_gate() -> None:
    """As by a Flower that calls its server in another way than it did."""
    port = free_port()
    guard = Guard(port, None, 1)
    with socket.socket() as door, pytest.raises(RuntimeError, match="no gate would stand before it"):
        door.bind(("127.0.0.1", port))
    guard.open = True


def test_connections_are_counted_by_address_and_this_machine_always_gets_in() -> None:
    door = Door(most=110, most_of_an_address=3)
    assert [door.enter("203.0.113.1") for _ in range(5)] == [True, True, True, False, False]
    assert [door.enter(f"203.0.113.{n}") for n in range(2, 10)] == [True] * 7 + [False]  # 100 are this machine's
    assert all(door.enter("127.0.0.1") for _ in range(100))
    assert not door.enter("127.0.0.1")
    door.leave("203.0.113.1")
    assert not door.enter("203.0.113.77")
    for _ in range(100):
        door.leave("127.0.0.1")
    assert door.enter("203.0.113.77")


def test_a_refused_key_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    private, _ = make_device_key()
    key = public_key_of(private, "a")
    assert call("/v1/fleet/activate-node", STRANGER, 412, signed(private)) == 412
    assert call("/v1/fleet/pull-messages", STRANGER, 401, [(KEY_HEADER, b"%%")]) == 401
    first, second = capfd.readouterr().err.splitlines()
    assert first.startswith(f"refused: activate-node from {STRANGER}, key {fingerprint(key)}: its key is unknown")
    assert second == (
        f"refused: pull-messages from {STRANGER}, key none: its signature or its clock is wrong, or its key was revoked"
    )


def test_an_edge_device_sends_in_answer_to_a_message_as_much_as_the_server_was_told(tmp_path: Path) -> None:
    private, public = make_device_key()
    registry = tmp_path / "boxes.json"
    print_of_key = fingerprint(load_public_key(public, "a"))
    registry.write_text(json.dumps([{"fingerprint": print_of_key, "revoked": None}]))
    passed: list[int] = []

    async def flower(scope: Any, receive: Any, send: Any) -> None:
        passed.append(len((await receive())["body"]))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    gate = Gate(flower, registry, largest_update_mb=12)
    piece = bytes(5 << 20)

    async def push(path: str, body: bytes) -> int:
        sent: list[MutableMapping[str, Any]] = []

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": path, "headers": signed(private), "client": (STRANGER, 5)}
        await gate(scope, receive, send)
        return int(sent[0]["status"])

    async def all_of_it() -> list[int]:
        asked = [("push-object", piece)] * 3 + [("push-messages", b"a"), ("push-object", piece), ("get-run", piece)]
        return [await push(f"/v1/fleet/{name}", body) for name, body in asked]

    assert asyncio.run(all_of_it()) == [200, 200, 413, 200, 200, 413]
    assert passed == [len(piece), len(piece), 1, len(piece)]
