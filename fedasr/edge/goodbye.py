"""The goodbye of an edge device that could not say one: it was killed, lost its power, or lost the network.

A SuperLink counts a device as connected until it has missed a minute of heartbeats; until then it gives it messages
that nobody gets, and refuses it when it comes back. Told that the device is not connected, it fails the message that
was lost at once, and lets the device in.
"""

from __future__ import annotations

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from fedasr.edge.device_folder import DeviceFolder, Identity
from fedasr.edge.handshake import Unreachable
from fedasr.edge.secrets import read_private
from fedasr.flower.supernode import deactivate


class Refused(Exception):
    """The server does not know the device's key, or not the time it was signed at."""


def say_goodbye(device: DeviceFolder, identity: Identity) -> bool:
    """Tell an edge device's server that the device is not connected; return whether it knows that now.

    Args:
        device: its files.
        identity: of the device; without Flower's number of it nothing can be said.

    Raises:
        Unreachable: nobody answers.
        Refused: the server does not take the key.
    """
    if identity.node is None:
        return False
    key = load_ssh_private_key(read_private(device.key), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey), "looked at when the identity was read"
    try:
        deactivate(identity.superlink, device.authority, key, identity.node)
    except httpx.HTTPStatusError as error:
        if error.response.status_code == httpx.codes.UNAUTHORIZED:
            raise Refused from None
        # It was not counted as connected any more.
        return error.response.status_code == httpx.codes.PRECONDITION_FAILED
    except httpx.TransportError as error:
        raise Unreachable(f"nobody answers at {identity.superlink}: {error}") from None
    return True
