"""What can be wrong with a server or an edge device, found before it hurts and said in words."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from fedasr.data.check import check_manifest
from fedasr.edge.certificates import (
    fingerprint,
    hosts_of,
    load_authority,
    load_certificate,
    load_public_key,
    public_key_of,
)
from fedasr.edge.device_folder import DeviceFolder, Identity
from fedasr.edge.flower_command import flwr
from fedasr.edge.handshake import CLOCK_AHEAD_S, CLOCK_BEHIND_S, Unreachable, Untrusted, clock_offset, knock
from fedasr.edge.peers import FILE as PEERS
from fedasr.edge.peers import read_peers
from fedasr.edge.policy import read_policy
from fedasr.edge.secrets import read_private
from fedasr.edge.server_folder import ServerFolder, read_json
from fedasr.errors import InputError
from fedasr.flower import SUPPORTED, installed
from fedasr.flower import check as check_flower

SOON = timedelta(days=30)
LEAST_BYTES = 200 * 10**6
"""With less an edge device cannot keep its speech, its features and its weights."""
ENOUGH_BYTES = 2 * 10**9


@dataclass(frozen=True)
class Finding:
    """The outcome of one check."""

    check: str
    """what was looked at"""
    text: str
    """what was found, and what to do where it is wrong"""
    level: str = "ok"
    """``ok``, ``warning`` (it works, for now) or ``error`` (it does not)"""


Check = Callable[[], Iterator[Finding]]


def findings(checks: Iterable[tuple[str, Check]]) -> list[Finding]:
    """Return what checks find; one that cannot be made is an error of its own."""
    collected: list[Finding] = []
    for name, check in checks:
        try:
            collected += check()
        except InputError as error:
            collected.append(Finding(name, str(error), "error"))
    return collected


def server_findings(server: ServerFolder) -> list[Finding]:
    """Return everything that is to be said of a server's folder and of the SuperLink that should be running."""
    return findings(
        [
            ("certificates", lambda: server_certificates(server)),
            ("keys", lambda: private_files([server.authority_key, server.key])),
            ("boxes", lambda: enrolled(server)),
            ("disk", lambda: disk(server.path)),
            ("versions", lambda: versions("messages", "arrivals", "superlink")),
        ]
    )


def device_findings(device: DeviceFolder, manifest: Path) -> list[Finding]:
    """Return everything that is to be said of an edge device's folder and of its server."""
    return findings(
        [
            ("identity", lambda: identity(device)),
            (
                "authority",
                lambda: validity("authority", load_certificate(device.authority), "enrol the edge device anew"),
            ),
            ("server", lambda: server_of(device)),
            ("policy", lambda: policy_of(device)),
            ("peers", lambda: peers_of(device)),
            ("speech", lambda: speech(manifest)),
            ("turn", lambda: miniature_round(device, manifest)),
            ("memory", lambda: memory(device)),
            ("disk", lambda: disk(device.path)),
            ("versions", lambda: versions("messages", "supernode")),
        ]
    )


def server_certificates(server: ServerFolder) -> Iterator[Finding]:
    """Look at the server's certificate and its authority."""
    settings = server.require()
    _, authority = load_authority(server.authority_key, server.authority)
    certificate = load_certificate(server.certificate)
    renew = "'fedasr edge init-server --renew' makes a new one"
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        yield Finding("certificate", f"{server.certificate} is not signed by this server's authority; {renew}", "error")
    yield from validity("certificate", certificate, renew)
    yield from validity("authority", authority, "make a new server and enrol all edge devices anew")
    missing = [str(host) for host in settings["hosts"] if str(host) not in hosts_of(certificate)]
    if missing:
        yield Finding("certificate", f"it does not hold for {', '.join(missing)}; {renew}", "error")


def validity(name: str, certificate: x509.Certificate, advice: str) -> Iterator[Finding]:
    """Look at when a certificate is valid."""
    now = datetime.now(UTC)
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if end < now:
        yield Finding(name, f"expired on {end:%Y-%m-%d}; {advice}", "error")
    elif start > now:
        yield Finding(name, f"is valid from {start:%Y-%m-%d %H:%M} UTC only; set this machine's clock", "error")
    elif end < now + SOON:
        yield Finding(name, f"expires on {end:%Y-%m-%d}; {advice}", "warning")
    else:
        yield Finding(name, f"valid until {end:%Y-%m-%d}")


def private_files(paths: Iterable[Path]) -> Iterator[Finding]:
    """Look at who may read private keys."""
    for path in paths:
        read_private(path)
        yield Finding("keys", f"{path.name} is readable by its owner alone")


def enrolled(server: ServerFolder) -> Iterator[Finding]:
    """Look at whether the SuperLink runs and knows the edge devices that were enrolled."""
    nodes = {str(node["node-id"]): str(node["status"]) for node in flwr(server, "supernode", "list")["nodes"]}
    live = [device for device in server.devices() if device.revoked is None]
    for device in live:
        if nodes.get(device.node_id) in (None, "unregistered"):
            advice = "its database was lost or replaced; revoke and enrol the edge device anew"
            yield Finding("boxes", f"the SuperLink does not know '{device.name}': {advice}", "error")
    online = sum(nodes.get(device.node_id) == "online" for device in live)
    yield Finding("boxes", f"the SuperLink runs; {len(live)} edge devices are enrolled, {online} connected")


def identity(device: DeviceFolder) -> Iterator[Finding]:
    """Look at who the device is and whether its key is whole and private."""
    who = device.require()
    key = public_key_of(read_private(device.key), str(device.key))
    yield Finding("identity", f"'{who.name}' of {who.superlink}, key {fingerprint(key)}")
    if device.public_key.is_file():
        known = load_public_key(device.public_key.read_bytes(), str(device.public_key))
        if fingerprint(known) != fingerprint(key):
            yield Finding(
                "identity",
                f"{device.key} is not the key of {device.public_key}: they belong to different edge devices",
                "error",
            )


def server_of(device: DeviceFolder) -> Iterator[Finding]:
    """Look at whether the device's server is there and is the right one, and whether the clocks agree."""
    who: Identity = device.require()
    try:
        knock(who.host, who.port, device.authority)
        ahead = clock_offset(who.host, who.port, device.authority)
    except Unreachable as error:
        yield Finding("server", f"{error}; is it running, and does a firewall let port {who.port} through?", "error")
        return
    except Untrusted as error:
        yield Finding("server", str(error), "error")
        return
    yield Finding("server", f"{who.superlink} answers and is the one that this edge device was enrolled with")
    if ahead > CLOCK_AHEAD_S or ahead < -CLOCK_BEHIND_S:
        advice = f"it may be at most {CLOCK_AHEAD_S:.0f} s ahead and {CLOCK_BEHIND_S:.0f} s behind; set it (NTP)"
        yield Finding("clock", f"this clock is {ahead:+.0f} s off the server's; {advice}", "error")
    else:
        yield Finding("clock", f"{ahead:+.0f} s off the server's")


def speech(manifest: Path) -> Iterator[Finding]:
    """Look at the device's recordings, each of which is decoded."""
    problems = check_manifest(manifest)
    for problem in problems[:3]:
        place = f"{manifest}:{problem.line}" if problem.line else str(manifest)
        yield Finding("speech", f"{place}: {problem.message}", "error" if problem.kind == "manifest" else "warning")
    if len(problems) > 3:
        advice = f"'fedasr data check {manifest}' lists them"
        yield Finding("speech", f"{len(problems)} recordings or transcripts cannot be used; {advice}", "warning")
    if not problems:
        yield Finding("speech", f"{manifest.name} has no problems")


def peers_of(device: DeviceFolder) -> Iterator[Finding]:
    """Look at which other edge devices the device knows, for secure aggregation."""
    path = device.path / PEERS
    if not path.exists():
        needed = read_policy(device.policy).secure_aggregation
        advice = "'fedasr edge peers' on the server prints it"
        if needed:
            yield Finding("peers", f"{path} is missing, and no run is secure enough without it; {advice}", "error")
        return
    known, name = read_peers(path), device.require().name
    own = known.pop(name, None)
    if own is not None and fingerprint(own) != fingerprint(public_key_of(read_private(device.key), str(device.key))):
        yield Finding("peers", f"{path} has another key for '{name}' than this edge device", "error")
    shown = "'ssh-keygen -l -f peers.txt' shows their fingerprints, to compare with their owners"
    yield Finding("peers", f"knows {len(known)} other edge devices; {shown}")


def policy_of(device: DeviceFolder) -> Iterator[Finding]:
    """Say in words what the owner of the device lets a server ask."""
    if not device.policy.is_file():
        yield Finding("policy", f"there is no {device.policy.name}: the safe rules hold", "warning")
    policy = read_policy(device.policy)
    for number, text in enumerate(policy.texts):
        risky = number == 1 and (policy.privacy != "device" or not policy.secret_noise)
        yield Finding("policy", text, "warning" if risky else "ok")


def miniature_round(device: DeviceFolder, manifest: Path) -> Iterator[Finding]:
    """Do what a round does, with one recording and a tiny model: decode, feature, loss, step."""
    from fedasr.edge.trial_round import trial_round

    read_policy(device.policy)
    yield Finding("turn", trial_round(manifest))


def memory(device: DeviceFolder) -> Iterator[Finding]:
    """Look at whether the device can keep what it must not forget."""
    if not os.access(device.path, os.W_OK):
        yield Finding(
            "memory", f"{device.path} is not writable; the edge device could not keep its privacy ledger", "error"
        )
        return
    for path in (device.ledger_file, device.activity):
        if path.is_file():
            read_json(path)
    yield Finding("memory", f"{device.path} is writable and its files are intact")


def disk(path: Path) -> Iterator[Finding]:
    """Look at how much disk is free."""
    free = shutil.disk_usage(path).free
    text = f"{free / 1e9:.1f} GB free at {path}"
    if free < LEAST_BYTES:
        yield Finding("disk", f"{text}; at least {LEAST_BYTES / 1e9:.1f} GB are needed", "error")
    else:
        yield Finding("disk", text, "ok" if free > ENOUGH_BYTES else "warning")


def versions(*parts: str) -> Iterator[Finding]:
    """Look at the versions that are installed; both sides need the same fedasr.

    Args:
        parts: what is needed of Flower, of ``fedasr.flower.PARTS``.

    Raises:
        UnsupportedFlower: Flower lacks something.
    """
    try:
        ours = version("fedasr")
    except PackageNotFoundError as error:
        yield Finding("versions", f"{error.name} is not installed here; pip install fedasr", "error")
        return
    check_flower(*parts)
    flower = installed()
    text = f"fedasr {ours}, Flower {flower}, Python {sys.version.split()[0]}"
    if not flower.startswith(SUPPORTED):
        yield Finding("versions", f"{text}; tested with Flower {', '.join(SUPPORTED)} only", "warning")
    else:
        yield Finding("versions", text)
