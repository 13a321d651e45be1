"""The folder of a server: its authority, its certificate, Flower's profile and database, and who was enrolled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedasr.edge.certificates import (
    SERVER_DAYS,
    certificate_pem,
    key_pem,
    load_authority,
    make_authority,
    make_server,
)
from fedasr.edge.secrets import LockedFolder, private_folder, write_private, write_public, write_whole
from fedasr.errors import InputError

PROFILE = "edge"
"""Name of the SuperLink in Flower's own configuration."""
REGISTRY_VARIABLE = "FEDASR_EDGE_REGISTRY"
"""Environment variable of the SuperLink and its runs: the file of who was enrolled."""


@dataclass(frozen=True)
class Enrolment:
    """An edge device that was enrolled."""

    name: str
    node_id: str
    """Flower's"""
    fingerprint: str
    """of its public key"""
    enrolled: str
    """when, ISO 8601"""
    revoked: str | None = None
    """when; None: it may take part"""
    public_key: str | None = None
    """as OpenSSH writes it; None: it was enrolled before it was kept"""


class ServerFolder(LockedFolder):
    """The files of a server.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path.resolve())
        self.authority_key = self.path / "ca.key"
        self.authority = self.path / "ca.crt"
        self.key = self.path / "server.key"
        self.certificate = self.path / "server.crt"
        self.settings_file = self.path / "server.json"
        self.registry_file = self.path / "boxes.json"
        self.database = self.path / "superlink.db"
        self.flower_home = self.path / "flower"
        self.work = self.path / "work"
        """where the SuperLink runs: an empty folder, or Flower would take the app from there"""
        self.kits = self.path / "boxes"
        """what is to be carried to the edge devices"""

    @property
    def exists(self) -> bool:
        """Whether the server was initialised."""
        return self.settings_file.is_file()

    def require(self) -> dict[str, Any]:
        """Return the settings: ``hosts`` and ``port``.

        Raises:
            InputError: the server was not initialised, or the file is damaged.
        """
        if not self.exists:
            raise InputError(
                "holds no server; make one with 'fedasr edge init-server', or name its folder with --home",
                where=str(self.path),
            )
        settings = read_json(self.settings_file)
        if not isinstance(settings, dict) or not {"hosts", "port"} <= settings.keys():
            raise InputError("is damaged; expected 'hosts' and 'port'", where=str(self.settings_file))
        return settings

    @property
    def address(self) -> str:
        """The address that edge devices reach the server by: the first host, and the port."""
        settings = self.require()
        host = str(settings["hosts"][0])
        return f"[{host}]:{settings['port']}" if ":" in host else f"{host}:{settings['port']}"

    def create(self, hosts: Sequence[str], port: int, days: int = SERVER_DAYS) -> None:
        """Make the authority, the server's certificate and Flower's profile.

        Raises:
            InputError: there is a server already, a host is neither a name nor an address, or a file cannot be written;
                then no key is left.
        """
        if self.exists or self.authority_key.exists():
            raise InputError(
                "holds a server already, whose devices would not know a new one; renew its certificate with --renew, or"
                " name another folder with --home",
                where=str(self.path),
            )
        authority = make_authority(f"fedasr {hosts[0]}"[:64])
        pair = make_server(authority, hosts, days)
        for folder in (self.path, self.flower_home, self.work, self.kits):
            private_folder(folder)
        made = (self.authority_key, self.authority, self.key, self.certificate, self.registry_file, self.settings_file)
        try:
            write_private(self.authority_key, key_pem(authority[0]))
            write_public(self.authority, certificate_pem(authority[1]))
            self.write_server(pair[0], pair[1])
            self.write_profile(port)
            self.write_registry([])
            settings = {"hosts": list(hosts), "port": port}
            write_whole(self.settings_file, json.dumps(settings, indent=1).encode() + b"\n", 0o600)
        except InputError:
            for path in made:
                path.unlink(missing_ok=True)
            raise

    def renew(self, hosts: Sequence[str], days: int = SERVER_DAYS) -> None:
        """Make a new certificate of the same authority; edge devices notice nothing.

        Args:
            hosts: the new names; none: those it has.
            days: how long it is valid.

        Raises:
            InputError: there is no server, or its authority cannot be read.
        """
        settings = self.require()
        names = list(hosts) or [str(host) for host in settings["hosts"]]
        self.write_server(*make_server(load_authority(self.authority_key, self.authority), names, days))
        changed = {**settings, "hosts": names}
        write_whole(self.settings_file, json.dumps(changed, indent=1).encode() + b"\n", 0o600)

    def write_server(self, key: Any, certificate: Any) -> None:
        """Write the server's key and certificate."""
        write_private(self.key, key_pem(key))
        write_public(self.certificate, certificate_pem(certificate))

    def write_profile(self, port: int) -> None:
        """Write the profile by which Flower's own command reaches the SuperLink from this machine."""
        lines = [
            "[superlink]",
            f'default = "{PROFILE}"',
            "",
            f"[superlink.{PROFILE}]",
            f'address = "127.0.0.1:{port}"',
            f"root-certificates = {json.dumps(str(self.authority))}",
        ]
        write_whole(self.flower_home / "config.toml", "\n".join(lines).encode() + b"\n", 0o600)

    def devices(self) -> list[Enrolment]:
        """Return who was enrolled, in that order.

        Raises:
            InputError: the file is damaged.
        """
        return read_devices(self.registry_file)

    def write_registry(self, devices: Sequence[Enrolment]) -> None:
        """Write who was enrolled."""
        rows = json.dumps([asdict(device) for device in devices], indent=1)
        write_whole(self.registry_file, rows.encode() + b"\n", 0o600)


def read_devices(path: Path) -> list[Enrolment]:
    """Return who is in a registry, in the order of enrolment.

    Raises:
        InputError: the file is damaged.
    """
    if not path.is_file():
        return []
    try:
        return [Enrolment(**row) for row in read_json(path)]
    except TypeError:
        raise InputError("is damaged; expected a list of edge devices", where=str(path)) from None


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {error}", where=str(path)) from None
