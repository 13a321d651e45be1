"""From the network a SuperLink answers boxes; orders come from its own machine."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import MutableMapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER
from flwr.superlink.routers.control import router as control
from flwr.superlink.routers.fleet.router import router as fleet

from fedasr.edge.certificates import fingerprint, make_box_key, public_key_of
from fedasr.edge.gate import ENROL, FOR_BOXES, KEY_HEADER, Gate, allowed, local

STRANGER = "203.0.113.7"


def paths(router: Any) -> list[str]:
    return [route.path for route in router.routes]


def test_flower_serves_what_the_gate_knows() -> None:
    """Of another version of Flower, check what its paths are for before the gate lets them through."""
    assert paths(control)
    assert not any(path.startswith(FOR_BOXES) for path in paths(control))
    assert {path.removeprefix(FOR_BOXES) for path in paths(fleet)} == {
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
    assert set(ENROL) <= set(paths(fleet))
    assert KEY_HEADER.decode() == FLEET_HTTP_PUBLIC_KEY_HEADER


def test_strangers_may_not_give_orders() -> None:
    for path in [*paths(control), *ENROL, "/v1/runtime/acquire-task", "/docs", "/openapi.json", "/", "", "/v1/fleet"]:
        assert not allowed(path, STRANGER), path
        assert allowed(path, "127.0.0.1"), path
    for path in set(paths(fleet)) - set(ENROL):
        assert allowed(path, STRANGER), path
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
    assert call("/v1/fleet/pull-messages", STRANGER) == 200
    assert capfd.readouterr().err.splitlines() == [
        f"refused: POST /v1/control/register-node from {STRANGER}: only boxes may call from the network",
        "refused: POST /v1/control/register-node from nowhere: only boxes may call from the network",
    ]


def test_a_refused_key_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    key = public_key_of(make_box_key()[0], "a")
    claimed = b64encode(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert call("/v1/fleet/activate-node", STRANGER, 412, [(KEY_HEADER, claimed)]) == 412
    assert call("/v1/fleet/pull-messages", STRANGER, 401, [(KEY_HEADER, b"%%")]) == 401
    first, second = capfd.readouterr().err.splitlines()
    assert first.startswith(f"refused: activate-node from {STRANGER}, key {fingerprint(key)}: its key is unknown")
    assert second == (
        f"refused: pull-messages from {STRANGER}, key none: its signature or its clock is wrong, or its key was revoked"
    )
