"""Attacks on a running SuperLink, each tried for real: by strangers, by the environment, by an edge device."""

from __future__ import annotations

import base64
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key
from flwr.supercore.date import now
from flwr.supercore.primitives.asymmetric import sign_message

import fedasr
from fedasr.edge.certificates import make_device_key
from fedasr.edge.door import HEADER_SECONDS
from fedasr.edge.handshake import outside_address
from fedasr.flower.superlink import KEY_HEADER, SIGNATURE_HEADER, TIME_HEADER

from .edge_world import World, command_line, family, speech, tell, until, write_manifest

if not Path("/proc/self/environ").exists():
    pytest.skip("the test looks into /proc for the memory of a process", allow_module_level=True)

OUTSIDE = outside_address("0.0.0.0")
FEW = 20
"""Connections that an attack opens at once."""


class Town:
    """A server that everybody may reach, in an environment that would open it, and a device that was enrolled."""

    def __init__(self, root: Path) -> None:
        self.world = World(root)
        self.world.environment |= {"FORWARDED_ALLOW_IPS": "*", "FLWR_INTERNAL_GRPC_CONTROL_API": "1"}

    def open(self) -> None:
        world = self.world
        world.edge("init-server", "--home", world.home, "--host", "127.0.0.1", "--port", world.port)
        arguments = ("fedasr.cli.main", "edge", "run-server", "--home", world.home, "--bind", "0.0.0.0")
        self.server = world.start("server.log", *arguments)
        # Held on its way up, so that a busy machine cannot miss what is true for seconds alone.
        young = until(self.superlinks, 120, "the SuperLink to start")
        tell(young, signal.SIGSTOP)
        said = world.edge("status", "--home", world.home, code=2)
        tell(young, signal.SIGCONT)
        assert "the SuperLink is starting; try again in a few seconds" in said
        until(
            lambda: "ready: edge devices reach this server at" in world.log("server.log"), 120, "the server to be ready"
        )
        self.device = world.enrol("anna")
        self.superlink = self.superlinks()[0]

    def superlinks(self) -> list[int]:
        """Return the process of the SuperLink, and what it was made from."""
        return [pid for pid in family(self.server) if "fedasr.edge.superlink" in command_line(pid)]

    def call(self, address: str | None = None) -> ssl.SSLSocket:
        """Return a connection to the server, from this machine's own address or from outside."""
        context = ssl.create_default_context(cafile=str(self.world.home / "ca.crt"))
        context.check_hostname = False
        plain = socket.create_connection((address or "127.0.0.1", self.world.port), timeout=30)
        return context.wrap_socket(plain)

    def memory(self) -> float:
        """Return the memory of the SuperLink in MB."""
        status = Path(f"/proc/{self.superlink}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1e3


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    result = Town(tmp_path_factory.mktemp("attacks"))
    try:
        result.open()
        yield result
    finally:
        left = result.world.stop()
    assert not left, f"processes are left over: {left}"


def request(path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: a", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def status(line: ssl.SSLSocket) -> int:
    """Return the status of an answer, 0 where the server has hung up."""
    with suppress(OSError):
        return int(line.recv(4096).split(b" ")[1])
    return 0


def signed(private: bytes) -> dict[str, str]:
    """Return the headers of an edge device with a private key."""
    key = load_ssh_private_key(private, None)
    moment = now().isoformat()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return {
        KEY_HEADER.decode(): base64.b64encode(public).decode(),
        TIME_HEADER.decode(): moment,
        SIGNATURE_HEADER.decode(): base64.b64encode(sign_message(key, moment.encode())).decode(),  # type: ignore[arg-type]
    }


@pytest.mark.slow
def test_nobody_gives_orders_by_saying_where_he_calls_from(town: Town) -> None:
    if OUTSIDE is None:
        pytest.skip("this machine has no address but its own")
    for name, value in {"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1", "A": "b"}.items():
        for address in (OUTSIDE, "127.0.0.1") if name != "A" else (OUTSIDE,):
            with town.call(address) as line:
                line.sendall(request("/v1/control/list-runs", {name: value, "Content-Length": "0"}))
                assert status(line) == 403, (name, address)


def test_no_second_door_is_opened_by_the_environment(town: Town) -> None:
    """Flower would serve orders by gRPC too, where a variable says so."""
    assert "FLWR_INTERNAL_GRPC_CONTROL_API" not in Path(f"/proc/{town.superlink}/environ").read_text()


@pytest.mark.parametrize("address", ["127.0.0.1", OUTSIDE])
@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
def test_the_body_of_a_stranger_is_not_read(town: Town, declared: bool, address: str | None) -> None:
    """1 GB made the SuperLink grow by 2 GB."""
    if address is None:
        pytest.skip("this machine has no address but its own")
    before, piece = town.memory(), bytes(1 << 20)
    sizes = {"Content-Length": str(1 << 30)} if declared else {"Transfer-Encoding": "chunked"}
    for headers in (sizes, {**sizes, **signed(make_device_key()[0])}):
        with town.call(address) as line:
            line.sendall(request("/v1/fleet/push-messages", headers))
            sent = 0
            with suppress(OSError):
                while sent < 200:
                    line.sendall(piece if declared else b"%x\r\n" % len(piece) + piece + b"\r\n")
                    sent += 1
        assert sent < 100, "the server has gone on reading"
    assert town.memory() < before + 50


def test_a_body_without_a_signature_is_answered_at_once(town: Town) -> None:
    with town.call() as line:
        line.sendall(request("/v1/fleet/push-object", {"Content-Length": str(1 << 30)}))
        assert status(line) == 401


def test_an_enrolled_edge_device_may_send_an_object_and_no_endless_body(town: Town) -> None:
    private = (town.device / "identity" / "box.key").read_bytes()
    with town.call() as line:
        headers = {**signed(private), "Content-Length": str(1 << 30)}
        line.sendall(request("/v1/fleet/push-object", headers))
        assert status(line) == 413
    with town.call() as line:
        body = bytes(6 << 20)
        headers = {**signed(private), "Content-Length": str(len(body)), "Content-Type": "application/x-protobuf"}
        line.sendall(request("/v1/fleet/push-object", headers, body))
        assert status(line) not in (0, 413)  # read whole; Flower finds no message in it


def test_headers_that_never_end_are_hung_up_on(town: Town) -> None:
    with town.call(OUTSIDE) as line:
        line.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n")
        started, sent = time.monotonic(), 0
        with suppress(OSError):
            while time.monotonic() - started < 3 * HEADER_SECONDS:
                line.sendall(b"X: y\r\n")
                sent += 1
                time.sleep(0.5)
        assert time.monotonic() - started < 2 * HEADER_SECONDS
    if OUTSIDE is None:
        return
    with town.call(OUTSIDE) as line:
        line.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n")
        sent = 0
        with suppress(OSError):
            while sent < 1000:
                line.sendall(b"X: " + b"y" * 10_000 + b"\r\n")
                sent += 1
        assert sent < 500


def test_a_stranger_holds_some_connections_and_an_edge_device_gets_in(town: Town) -> None:
    """He says nothing, not even TLS; the server counts him before it would."""
    if OUTSIDE is None:
        pytest.skip("this machine has no address but its own")
    held = []
    try:
        for _ in range(200):
            held.append(socket.create_connection((OUTSIDE, town.world.port), timeout=5))
        time.sleep(1)
        descriptors = len(list(Path(f"/proc/{town.superlink}/fd").iterdir()))
        assert descriptors < 190
        with town.call() as line:
            line.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
            assert status(line) == 200
    finally:
        for line in held:
            line.close()


def test_a_second_server_is_refused(town: Town) -> None:
    said = town.world.edge("run-server", "--home", town.world.home, code=2)
    assert "runs already on this machine" in said.splitlines()[-1]


@pytest.mark.slow
def test_status_right_after_the_start_says_what_there_is(town: Town) -> None:
    said = town.world.edge("status", "--home", town.world.home)
    assert "anna" in said


@pytest.mark.slow
def test_a_failed_enrolment_leaves_no_key(town: Town) -> None:
    """The server's database knows the key already."""
    public = town.device / "identity" / "box.pub"
    town.world.edge("enroll", "twin", "--public-key", public, "--home", town.world.home, code=2)
    assert not (town.world.home / "boxes" / "twin").exists()
    assert [path.name for path in (town.world.home / "boxes").iterdir()] == ["anna"]


@pytest.mark.slow
def test_a_run_that_asks_too_much_of_an_edge_device_is_refused_on_both_sides(town: Town) -> None:
    """A hostile server before devices of safe rules: one without noise, one with hardly any, one with an escape."""
    world = town.world
    rows = speech(world.root / "speech")
    folder = world.enrol("safe", safe=True)
    write_manifest(folder / "manifest.csv", rows["anna"], ("path", "speaker", "text"))
    test = write_manifest(world.root / "test.csv", rows["test"])
    world.start_device(folder)
    until(lambda: "Activated node" in world.log("server.log"), 120, "the edge device")
    base = {
        "rounds": 1,
        "data": {"corpus": "manifest", "manifest": str(test), "clients": 1},
        "model": {"encoder": "lstm", "channels": [8, 8], "hidden": 8},
        "client": {"optimizer": "sgd", "steps": 1},
        "selection": {"clients_per_round": 1},
        "runtime": {"name": "deployment", "reply_timeout_s": 30},
    }
    faint = {"unit": "example", "noise_multiplier": 1e-5, "secret_noise": True}
    for name, privacy, said in (
        ("plain", {}, "the edge device's policy refuses: privacy.unit is none"),
        (
            "faint",
            faint,
            "the edge device's policy refuses: privacy.noise_multiplier is 1e-05; allowed is at least 0.5",
        ),
    ):
        run = world.submit({**base, "name": name, "privacy": privacy}, world.root / name)
        until(lambda: world.ended(run), 240, f"the end of run {name}")  # noqa: B023
        assert f"edge device safe: it does not say what it holds: {said}" in world.flwr("log", run, "edge", "--show")
        assert f"query.describe: {said}" in world.log("device safe.log")
    private = {"unit": "example", "noise_multiplier": 1.0, "secret_noise": True}
    out = world.root / "private"
    run = world.submit({**base, "name": "private", "privacy": private}, out)
    until(lambda: world.ended(run), 240, "the end of the private run")
    result = fedasr.load_run(out)
    assert result.summary["status"] == "done"
    assert set(result.clients["status"]) == {"ok"}
