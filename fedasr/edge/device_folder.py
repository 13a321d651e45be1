"""The folder of an edge device: who it is, its speech, and what it must remember between two starts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from fedasr.edge.certificates import public_key_of
from fedasr.edge.policy import FILE as POLICY
from fedasr.edge.secrets import LockedFolder, private_folder, read_private, write_whole
from fedasr.edge.server_folder import read_json
from fedasr.errors import InputError


@dataclass(frozen=True)
class Identity:
    """Who an edge device is and whom it obeys."""

    name: str
    superlink: str
    """``host:port``"""
    node: int | None = None
    """Flower's number of the device; None where it was enrolled before it was told"""

    @property
    def host(self) -> str:
        """The server's name or address."""
        return self.superlink.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The server's port."""
        return int(self.superlink.rpartition(":")[2])


class DeviceFolder(LockedFolder):
    """The files of an edge device.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path.resolve())
        self.identity = self.path / "identity"
        """made by ``fedasr edge enroll``; everything else is the device's own"""
        self.key = self.identity / "box.key"
        self.public_key = self.identity / "box.pub"
        self.authority = self.identity / "ca.crt"
        self.settings_file = self.identity / "box.json"
        self.manifest = self.path / "manifest.csv"
        self.flower_home = self.path / "flower"
        self.work = self.path / "work"
        self.secret = self.work / "executor.secret"
        self.node_config = self.work / "node.toml"
        self.ledger_file = self.path / "account.json"
        self.activity = self.path / "activity.json"
        self.policy = self.path / POLICY

    def require(self) -> Identity:
        """Return who the device is.

        Raises:
            InputError: the device was not enrolled, or its key is missing, damaged or readable by others.
        """
        if not self.settings_file.is_file():
            raise InputError(
                "holds no identity; 'fedasr edge enroll NAME' on the server makes one, to be copied here",
                where=str(self.path),
            )
        settings = read_json(self.settings_file)
        known = isinstance(settings, dict) and all(isinstance(settings.get(key), str) for key in ("name", "superlink"))
        if not known or not settings["superlink"].rpartition(":")[2].isdigit():
            raise InputError("is damaged; expected 'name' and 'superlink' (host:port)", where=str(self.settings_file))
        public_key_of(read_private(self.key), str(self.key))
        node = str(settings.get("node", ""))
        return Identity(settings["name"], settings["superlink"], int(node) if node.isdecimal() else None)

    def prepare(self, identity: Identity, manifest: Path) -> None:
        """Write what the device's processes are started with: the node configuration, and a secret that they share."""
        for folder in (self.flower_home, self.work):
            private_folder(folder)
        write_whole(self.secret, os.urandom(32), 0o600)
        values = {"name": identity.name, "data": str(self.path), "manifest": str(manifest)}
        lines = [f"{key} = {toml_text(value)}" for key, value in values.items()]
        write_whole(self.node_config, "\n".join(lines).encode() + b"\n", 0o600)


def toml_text(value: str) -> str:
    """Return a text as TOML writes it."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    if not escaped.isprintable():
        raise InputError(f"'{value!r}' holds characters that cannot be written down; choose another path")
    return f'"{escaped}"'
