"""``fedasr edge``: real Flower clients on edge devices."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fedasr.cli import edge_status
from fedasr.cli.common import console, print_json

app = typer.Typer(help="Edge devices: set up the server, enrol devices, run both sides.", no_args_is_help=True)

Home = Annotated[Path, typer.Option("--home", help="The server's folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
PORT = 8443


class LogFormat(StrEnum):
    """How a server or an edge device writes its log."""

    text = "text"
    json = "json"


Log = Annotated[LogFormat, typer.Option(help="The log for people, or one JSON object a line.")]


def speak(log: LogFormat) -> None:
    """Let the log be what was asked for."""
    if log == LogFormat.json:
        from fedasr.edge.log import speak_json

        speak_json()


@app.command("init-server", epilog="Example: fedasr edge init-server --host asr.example.org --host 192.168.1.20")
def init_server(
    host: Annotated[list[str] | None, typer.Option(help="A name or address that devices reach this server by.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port of the SuperLink.")] = PORT,
    home: Home = Path("edge"),
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long the server's certificate is valid.")] = 397,
    renew: Annotated[bool, typer.Option("--renew", help="Make a new certificate for the existing server.")] = False,
) -> None:
    """Make a certificate authority, the server's certificate and Flower's profile."""
    from fedasr.edge.server_folder import ServerFolder
    from fedasr.errors import InputError

    server = ServerFolder(home)
    if renew:
        server.renew(host or [], days)
        console.print(f"renewed: {server.certificate}; restart 'fedasr edge run-server'", markup=False)
        return
    if not host:
        raise InputError("give the name or address that edge devices reach this server by", where="--host")
    server.create(host, port, days)
    console.print(f"server:    {server.path}", markup=False)
    console.print(f"address:   {server.address}", markup=False)
    console.print(f"secret:    {server.authority_key.name} and {server.key.name} never leave this folder", markup=False)
    console.print(f"next:      fedasr edge run-server --home {home}", markup=False)


@app.command("enroll", epilog="Example: fedasr edge enroll kitchen-1")
def enroll_device(
    name: Annotated[str, typer.Argument(help="A name for the device: letters, digits, '-', '_' and '.'.")],
    public_key: Annotated[
        Path | None, typer.Option(help="The device's own public key, made there by ssh-keygen -t ecdsa -b 384.")
    ] = None,
    allow_non_private: Annotated[
        bool,
        typer.Option("--allow-non-private", help="A policy for speech that is not private: runs without noise too."),
    ] = False,
    home: Home = Path("edge"),
    json: Json = False,
) -> None:
    """Enrol an edge device: make its key and policy, register it with the running SuperLink, and pack what it needs."""
    from fedasr.edge.enrolment import OPEN, SAFE, enroll
    from fedasr.edge.server_folder import ServerFolder

    policy = OPEN if allow_non_private else SAFE
    entry, folder = enroll(ServerFolder(home), name, public_key, policy)
    if json:
        print_json({"name": entry.name, "node": entry.node_id, "fingerprint": entry.fingerprint, "folder": str(folder)})
        return
    console.print(f"enrolled:  {entry.name}, key {entry.fingerprint}", markup=False)
    console.print(f"carry:     {folder} to the device, by a safe way, and delete it here", markup=False)
    console.print(f"policy:    {policy.texts[1]}; its owner may change policy.yaml", markup=False)
    console.print("on it:     fedasr edge run-client --data FOLDER", markup=False)


@app.command("revoke", epilog="Example: fedasr edge revoke kitchen-1")
def revoke_device(
    name: Annotated[str, typer.Argument(help="The device's name.")],
    home: Home = Path("edge"),
) -> None:
    """Refuse an edge device from now on; its key never counts again."""
    from fedasr.edge.enrolment import revoke
    from fedasr.edge.server_folder import ServerFolder

    entry = revoke(ServerFolder(home), name)
    console.print(f"revoked:   {entry.name}, key {entry.fingerprint}", markup=False)


@app.command("peers", epilog="Example: fedasr edge peers > peers.txt")
def peers(home: Home = Path("edge")) -> None:
    """Print the keys of the enrolled devices, by which they know each other in secure aggregation: peers.txt."""
    import sys

    from fedasr.edge.peers import peers_text
    from fedasr.edge.server_folder import ServerFolder

    sys.stdout.write(peers_text(ServerFolder(home)))


@app.command("run-server", epilog="Example: fedasr edge run-server --bind 0.0.0.0")
def start_server(
    home: Home = Path("edge"),
    bind: Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0 or :: for all.")] = "0.0.0.0",
    largest_update: Annotated[
        float, typer.Option(min=1, help="MB that a device may send in one reply; must exceed the model's size.")
    ] = 1024.0,
    log_format: Log = LogFormat.text,
) -> None:
    """Run Flower's SuperLink with TLS and node authentication."""
    speak(log_format)
    from fedasr.edge.run_server import run_server
    from fedasr.edge.server_folder import ServerFolder

    run_server(ServerFolder(home), bind, largest_update)


@app.command("run-client", epilog="Example: fedasr edge run-client --data /srv/fedasr")
def start_client(
    data: Annotated[Path, typer.Option(help="The device's folder: its identity and its state.")],
    manifest: Annotated[
        Path | None, typer.Option(help="The manifest of its speech; default: DATA/manifest.csv.")
    ] = None,
    log_format: Log = LogFormat.text,
) -> None:
    """Run Flower's SuperNode on this device, with the app that is installed here."""
    speak(log_format)
    from fedasr.edge.device_folder import DeviceFolder
    from fedasr.edge.run_client import run_client

    device = DeviceFolder(data)
    run_client(device, manifest.resolve() if manifest is not None else device.manifest)


@app.command("doctor", epilog="Example: fedasr edge doctor --data /srv/fedasr")
def doctor(
    data: Annotated[Path | None, typer.Option(help="On an edge device: its folder.")] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="The manifest of its speech; default: DATA/manifest.csv.")
    ] = None,
    home: Home = Path("edge"),
    json: Json = False,
) -> None:
    """Say in words what is wrong with a server or an edge device; the exit status is 1 where something is."""
    from fedasr.edge.checks import device_findings, server_findings
    from fedasr.edge.device_folder import DeviceFolder
    from fedasr.edge.server_folder import ServerFolder

    if data is not None:
        device = DeviceFolder(data)
        findings = device_findings(device, manifest.resolve() if manifest is not None else device.manifest)
    else:
        findings = server_findings(ServerFolder(home))
    bad = any(finding.level == "error" for finding in findings)
    if json:
        rows = [{"check": finding.check, "level": finding.level, "text": finding.text} for finding in findings]
        print_json({"ok": not bad, "findings": rows})
    else:
        styles = {"ok": "green", "warning": "yellow", "error": "red"}
        for finding in findings:
            console.print(
                f"{finding.level:8}{finding.check}: {finding.text}", style=styles[finding.level], markup=False
            )
    if bad:
        raise typer.Exit(1)


edge_status.register(app)
