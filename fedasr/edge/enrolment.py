"""Who may take part: an edge device is enrolled by name and key, and revoked by name."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from fedasr.edge.certificates import fingerprint, load_public_key, make_device_key
from fedasr.edge.device_folder import DeviceFolder
from fedasr.edge.flower_command import flwr
from fedasr.edge.policy import Policy, policy_text
from fedasr.edge.secrets import private_folder, write_private, write_public
from fedasr.edge.server_folder import Enrolment, ServerFolder
from fedasr.errors import InputError, nearest

LONGEST_NAME = 60
SAFE = Policy()
OPEN = Policy(privacy="none")
"""Of an edge device whose speech is not private: it takes part in runs without noise too."""


def check_name(name: str) -> None:
    """Raise where a name cannot be that of an edge device: it becomes the name of a folder and of a client.

    Raises:
        InputError: saying what a name may be.
    """
    plain = name.replace("-", "").replace("_", "").replace(".", "")
    if not (plain.isalnum() and name.isascii() and name[0].isalnum() and len(name) <= LONGEST_NAME):
        raise InputError(
            f"'{name}' is no name for an edge device; expected letters, digits, '-', '_' and '.', such as kitchen-1"
        )


def enroll(server: ServerFolder, name: str, public_key: Path | None, policy: Policy = SAFE) -> tuple[Enrolment, Path]:
    """Enrol an edge device; return the entry and the folder to carry to the device.

    The folder holds the authority's certificate, the server's address, the name, a policy for its owner to look
    at, and the private key unless the device has made its own and only ``public_key`` was brought here. Nothing of it
    is left where the SuperLink does not take the key.

    Raises:
        InputError: the name is taken or none, the key is none, or the SuperLink does not answer.
    """
    server.require()
    check_name(name)
    devices = server.devices()
    if any(device.name == name and device.revoked is None for device in devices):
        raise InputError(f"edge device '{name}' is enrolled already; revoke it first, or choose another name")
    private: bytes | None = None
    if public_key is None:
        private, public = make_device_key()
    else:
        try:
            public = public_key.read_bytes()
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", where=str(public_key)) from None
    key = load_public_key(public, str(public_key or name))
    kit = DeviceFolder(server.kits / name)
    new = not kit.path.exists()
    private_folder(kit.identity)
    # Of an edge device of that name before, if there was one.
    kit.key.unlink(missing_ok=True)
    try:
        write_public(kit.public_key, public)
        node = flwr_register(server, kit.public_key, name)
        if private is not None:
            write_private(kit.key, private)
        write_public(kit.authority, server.authority.read_bytes())
        write_private(kit.policy, policy_text(policy).encode())
        settings = {"name": name, "superlink": server.address, "node": node}
        write_public(kit.settings_file, json.dumps(settings, indent=1).encode() + b"\n")
        written = " ".join(public.decode().split()[:2])
        entry = Enrolment(name, node, fingerprint(key), stamp(), public_key=written)
        server.write_registry([*devices, entry])
    except BaseException:
        # A key that nobody was enrolled with is for nobody to find.
        kit.key.unlink(missing_ok=True)
        if new:
            shutil.rmtree(kit.path, ignore_errors=True)
        raise
    return entry, kit.path


def flwr_register(server: ServerFolder, public_key: Path, name: str) -> str:
    """Register a key with the SuperLink under a name and return Flower's node id."""
    # Options follow the profile's name, which flwr() appends.
    registered: dict[str, Any] = flwr(server, "supernode", "register", "--name", name, str(public_key))
    return str(registered["node-id"])


def revoke(server: ServerFolder, name: str) -> Enrolment:
    """Revoke an edge device: from now on the SuperLink refuses its key, for good.

    Raises:
        InputError: there is no such edge device, it is revoked already, or the SuperLink does not answer.
    """
    server.require()
    devices = server.devices()
    live = [device for device in devices if device.revoked is None]
    enrolled = next((device for device in live if device.name == name), None)
    if enrolled is None:
        known = [device.name for device in live]
        raise InputError(
            f"no edge device '{name}' is enrolled{nearest(name, known)}; enrolled: {', '.join(known) or 'none'}"
        )
    flwr(server, "supernode", "unregister", enrolled.node_id)
    gone = replace(enrolled, revoked=stamp())
    server.write_registry([gone if device is enrolled else device for device in devices])
    return gone


def stamp() -> str:
    """Return the time in UTC, ISO 8601, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
