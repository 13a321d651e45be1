"""The keys by which edge devices know each other: who is listed, and what the doctor says of the list."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedasr.edge.certificates import make_device_key
from fedasr.edge.checks import peers_of
from fedasr.edge.device_folder import DeviceFolder
from fedasr.edge.peers import enrolled_directory, peer_lines, read_peers
from fedasr.edge.secrets import write_private
from fedasr.edge.server_folder import REGISTRY_VARIABLE, Enrolment
from fedasr.errors import InputError


def written(public: bytes) -> str:
    return " ".join(public.decode().split()[:2])


def test_who_was_revoked_or_has_no_key_here_is_not_listed(tmp_path: Path) -> None:
    anna, ben, cleo = (written(make_device_key()[1]) for _ in range(3))
    devices = [
        Enrolment("anna", "1", "SHA256:a", "now", public_key=anna),
        Enrolment("ben", "2", "SHA256:b", "now", "later", ben),
        Enrolment("ben", "4", "SHA256:c", "later", public_key=cleo),
        Enrolment("dora", "3", "SHA256:d", "now"),
    ]
    lines = peer_lines(devices)
    assert lines == [f"{anna} anna", f"{cleo} ben"]
    (tmp_path / "peers.txt").write_text("# friends\n\n" + "\n".join(lines))
    assert list(read_peers(tmp_path / "peers.txt")) == ["anna", "ben"]


def test_the_doctor_looks_at_the_list(tmp_path: Path) -> None:
    private, public = make_device_key()
    device = DeviceFolder(tmp_path)
    device.identity.mkdir()
    write_private(device.key, private)
    device.settings_file.write_text(json.dumps({"name": "anna", "superlink": "host:1"}))
    assert not list(peers_of(device)), "nobody needs it"
    device.policy.write_text("secure_aggregation: true\n")
    (finding,) = peers_of(device)
    assert finding.level == "error"
    assert "peers.txt is missing" in finding.text
    peers = tmp_path / "peers.txt"
    other = written(make_device_key()[1])
    peers.write_text(f"{written(public)} anna\n{other} ben\n")
    (finding,) = peers_of(device)
    assert (finding.level, finding.text.split(";")[0]) == ("ok", "knows 1 other edge devices")
    peers.write_text(f"{other} anna\n")
    assert next(iter(peers_of(device))).text.endswith("has another key for 'anna' than this edge device")


def test_a_run_without_the_registry_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(REGISTRY_VARIABLE, raising=False)
    with pytest.raises(InputError, match="start the SuperLink with 'fedasr edge run-server'"):
        enrolled_directory({0: "anna"})
