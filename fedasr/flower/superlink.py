"""Flower's SuperLink: the interfaces that it serves, how edge devices sign what they send it, and its start."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from fedasr.flower.surface import supported

with supported():
    from flwr.common.constant import SYSTEM_TIME_TOLERANCE, TIMESTAMP_HEADER, TIMESTAMP_TOLERANCE
    from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
    from flwr.supercore.date import now
    from flwr.supercore.primitives.asymmetric import verify_signature

KEY_HEADER = FLEET_HTTP_PUBLIC_KEY_HEADER.encode()
SIGNATURE_HEADER = FLEET_HTTP_SIGNATURE_HEADER.encode()
TIME_HEADER = TIMESTAMP_HEADER.encode()
FLEET = "/v1/fleet/"
"""Where edge devices call."""
PUSH_OBJECT, PUSH_MESSAGES, GOODBYE = "/v1/fleet/push-object", "/v1/fleet/push-messages", "/v1/fleet/deactivate-node"
ACQUIRE_TASK = "/v1/runtime/acquire-task"
"""Where Flower's own processes call for work."""
HEALTH = "/health"
DOCUMENTATION = ("/docs", "/openapi.json")
ENROL = ("/v1/fleet/register-node", "/v1/fleet/unregister-node")
"""By which an edge device would enrol itself; Flower refuses it too where node authentication is on."""


def control_paths() -> list[str]:
    """Return the paths by which people give a SuperLink orders."""
    with supported():
        from flwr.superlink.routers.control import router
    return [str(getattr(route, "path", "")) for route in router.routes]


def in_time(moment: str) -> bool:
    """Say whether a request that was signed at a moment, ISO 8601, is taken now.

    Raises:
        ValueError: it is no moment.
        TypeError: it has no time zone.
    """
    age = (now() - datetime.fromisoformat(moment)).total_seconds()
    return bool(-SYSTEM_TIME_TOLERANCE < age < TIMESTAMP_TOLERANCE + SYSTEM_TIME_TOLERANCE)


def is_signed(key: ec.EllipticCurvePublicKey, message: bytes, signature: bytes) -> bool:
    """Say whether a signature is that of a message."""
    return verify_signature(key, message, signature)


def run_superlink(serve: Callable[..., None], database_patience_ms: int, start_patience_s: float) -> None:
    """Run Flower's SuperLink in this process, with its arguments in ``sys.argv``.

    Args:
        serve: stands in for ``uvicorn.run``, by which Flower serves.
        database_patience_ms: how long a request waits for the database while others write.
        start_patience_s: how long the process of a run may take to start. After Flower's 30 s it is started a second
            time beside the first, and on a slow or busy machine a third, so that none of them ever gets ready.
    """
    import uvicorn

    with supported():
        from flwr.supercore import sql_mixin
        from flwr.supercore.constant import SQLITE_PRAGMAS
        from flwr.supercore.corestate import sql_corestate
        from flwr.superlink.cli.flower_superlink import flower_superlink
    pragmas: dict[Any, Any] = {**dict(SQLITE_PRAGMAS), "busy_timeout": str(database_patience_ms)}
    setattr(sql_mixin, "SQLITE_PRAGMAS", tuple(pragmas.items()))  # noqa: B010 (it is a constant)
    # A task that has begun is given PATIENCE intervals between two signs of life, which stays as it is.
    corestate: Any = sql_corestate
    alive_s = corestate.HEARTBEAT_PATIENCE * corestate.HEARTBEAT_DEFAULT_INTERVAL
    corestate.HEARTBEAT_DEFAULT_INTERVAL = start_patience_s
    corestate.HEARTBEAT_PATIENCE = alive_s / start_patience_s
    setattr(uvicorn, "run", serve)  # noqa: B010 (it is a function of the module)
    flower_superlink()
