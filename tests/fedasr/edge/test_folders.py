"""The folders of a server and of a device: made once, readable by their owner, and refused with a line where wrong."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fedasr.cli.main import status
from fedasr.edge.certificates import (
    certificate_pem,
    hosts_of,
    load_authority,
    load_certificate,
    make_device_key,
    make_server,
)
from fedasr.edge.checks import Finding, device_findings, server_findings
from fedasr.edge.device_folder import DeviceFolder, Identity
from fedasr.edge.enrolment import check_name
from fedasr.edge.flower_command import environment, last_object
from fedasr.edge.policy import Policy, policy_text, read_policy
from fedasr.edge.processes import free_port
from fedasr.edge.run_server import run_server, superlink_arguments
from fedasr.edge.secrets import write_private
from fedasr.edge.server_folder import ServerFolder
from fedasr.errors import InputError
from tests.clients.edge_devices import manifest, record


@pytest.fixture
def server(tmp_path: Path) -> ServerFolder:
    result = ServerFolder(tmp_path / "server")
    result.create(["asr.example.org", "127.0.0.1"], free_port())
    return result


@pytest.fixture
def device(tmp_path: Path, server: ServerFolder) -> DeviceFolder:
    result = DeviceFolder(tmp_path / "box")
    result.identity.mkdir(parents=True)
    private, public = make_device_key()
    write_private(result.key, private)
    result.public_key.write_bytes(public)
    result.authority.write_bytes(server.authority.read_bytes())
    port = server.require()["port"]
    result.settings_file.write_text(json.dumps({"name": "anna", "superlink": f"127.0.0.1:{port}"}))
    return result


def texts(findings: list[Finding], level: str) -> list[str]:
    return [f"{finding.check}: {finding.text}" for finding in findings if finding.level == level]


def test_a_server_is_made_once(server: ServerFolder) -> None:
    for private in (server.authority_key, server.key):
        assert private.stat().st_mode & 0o777 == 0o600
    assert server.address.startswith("asr.example.org:")
    profile = tomllib.loads((server.flower_home / "config.toml").read_text())
    assert profile["superlink"]["edge"]["root-certificates"] == str(server.authority)
    before = server.authority.read_bytes()
    with pytest.raises(InputError, match="holds a server already"):
        server.create(["b"], 8443)
    assert server.authority.read_bytes() == before


def test_renewal_keeps_the_authority(server: ServerFolder) -> None:
    authority, certificate, key = (path.read_bytes() for path in (server.authority, server.certificate, server.key))
    server.renew(["other.example.org"])
    assert server.authority.read_bytes() == authority
    assert server.certificate.read_bytes() != certificate
    assert server.key.read_bytes() != key
    assert hosts_of(load_certificate(server.certificate))[0] == "other.example.org"
    assert server.address.startswith("other.example.org:")
    load_certificate(server.certificate).verify_directly_issued_by(load_certificate(server.authority))


def test_tls_and_authentication_are_not_optional(server: ServerFolder) -> None:
    arguments = superlink_arguments(server, "0.0.0.0")
    assert "--insecure" not in arguments
    assert "--enable-supernode-auth" in arguments
    assert "--ssl-certfile" in arguments


def test_a_server_does_not_start_with_an_expired_certificate(server: ServerFolder) -> None:
    authority = load_authority(server.authority_key, server.authority)
    expire(server, authority)
    with pytest.raises(InputError, match=r"certificate: expired on .*; 'fedasr edge init-server --renew'"):
        run_server(server, "127.0.0.1")


def expire(server: ServerFolder, authority: object) -> None:
    past = datetime.now(UTC) - timedelta(days=3)
    server.write_server(*make_server(authority, ["127.0.0.1"], days=1, now=past))  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_doctor_of_a_server_that_is_not_running(server: ServerFolder) -> None:
    result = texts(server_findings(server), "error")
    assert len(result) == 1
    assert "the SuperLink does not answer; start it with 'fedasr edge run-server" in result[0]
    expire(server, load_authority(server.authority_key, server.authority))
    server.key.chmod(0o644)
    result = texts(server_findings(server), "error")
    assert any("certificate: expired on" in line for line in result)
    assert any("certificate: it does not hold for asr.example.org" in line for line in result)
    assert any("server.key: is private but others may read it" in line for line in result)


def test_the_doctor_of_an_edge_device(device: DeviceFolder) -> None:
    result = texts(device_findings(device, device.manifest), "error")
    assert any(line.startswith("server: nobody answers at 127.0.0.1:") for line in result)
    assert any(line.startswith("speech: ") and "there is no such manifest" in line for line in result)
    device.public_key.write_bytes(make_device_key()[1])
    device.ledger_file.write_text("{")
    result = texts(device_findings(device, device.manifest), "error")
    assert any("they belong to different edge devices" in line for line in result)
    assert any("account.json: cannot be read" in line for line in result)


def test_the_doctor_says_it_by_its_exit_status(device: DeviceFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(["edge", "doctor", "--data", str(device.path), "--json"]) == 1
    result = json.loads(capsys.readouterr().out)
    assert result["ok"] is False
    assert {"identity", "server", "speech", "disk", "versions"} <= {row["check"] for row in result["findings"]}


def test_an_edge_device_that_has_done_nothing(device: DeviceFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(["edge", "status", "--data", str(device.path), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["name"], result["rounds"], result["epsilon"], result["running"]) == ("anna", 0, None, False)


def test_an_edge_device_runs_as_long_as_somebody_runs_it(device: DeviceFolder) -> None:
    assert not device.running
    with device.alone():
        assert device.running
        with pytest.raises(InputError, match="runs already on this machine"), device.alone():
            pass
    assert not device.running


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["init-server"], "--host: give the name or address"),
        (["init-server", "--host", "a b"], "'a b' is neither a DNS name nor an IP address"),
        (["run-server"], "holds no server; make one with 'fedasr edge init-server'"),
        (["enroll", "anna"], "holds no server"),
        (["revoke", "anna"], "holds no server"),
        (["status"], "holds no server"),
        (["run-client", "--data", "box"], "holds no identity; 'fedasr edge enroll NAME'"),
        (["status", "--data", "box"], "holds no identity"),
    ],
)
def test_wrong_input_is_one_line(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert status(["edge", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert list(tmp_path.iterdir()) == []


def test_an_edge_device_key_that_others_may_read_is_refused(device: DeviceFolder) -> None:
    device.key.chmod(0o644)
    with pytest.raises(InputError, match="others may read it"):
        device.require()


def test_the_node_configuration_says_where_things_are_whatever_their_names(device: DeviceFolder) -> None:
    device.prepare(Identity("anna", "a:1"), Path('/a "b" \\c/manifest.csv'))
    result = tomllib.loads(device.node_config.read_text())
    assert result == {"name": "anna", "data": str(device.path), "manifest": '/a "b" \\c/manifest.csv'}
    assert device.secret.stat().st_mode & 0o777 == 0o600
    assert len(device.secret.read_bytes()) == 32


@pytest.mark.parametrize("name", ["", "a b", "../a", "a/b", ".a", "-a", "ä", "a" * 61])
def test_what_is_no_name_for_an_edge_device(name: str) -> None:
    with pytest.raises(InputError, match="is no name for an edge device"):
        check_name(name)


def test_no_proxy_lies_between_two_processes_of_one_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NO_PROXY", "example.org")
    result = environment(tmp_path)
    assert result["NO_PROXY"].split(",")[0] == "example.org"
    assert "127.0.0.1" in result["NO_PROXY"].split(",")
    assert result["FLWR_HOME"] == str(tmp_path)


def test_the_json_at_the_end_of_what_a_command_says() -> None:
    assert last_object('listing {x}\n{"success": true, "a": {"b": 1}}\n') == {"success": True, "a": {"b": 1}}
    assert last_object("nothing") == {}


@pytest.mark.thorough
def test_certificates_of_another_server_are_told_apart(server: ServerFolder, tmp_path: Path) -> None:
    other = ServerFolder(tmp_path / "other")
    other.create(["asr.example.org"], 8443)
    server.certificate.write_bytes(certificate_pem(load_certificate(other.certificate)))
    assert any("is not signed by this server's authority" in line for line in texts(server_findings(server), "error"))


def test_a_full_disk_leaves_no_key_and_no_part(tmp_path: Path) -> None:
    """Files of more than some bytes cannot be written here."""
    import resource

    small = ServerFolder(tmp_path / "small")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400, before[1]))
    try:
        with pytest.raises(InputError, match="cannot be written: File too large"):
            small.create(["127.0.0.1"], 8443)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not [path for path in small.path.rglob("*") if path.is_file() and path.parent != small.flower_home]
    small.create(["127.0.0.1"], 8443)


def test_an_edge_device_that_cannot_train_is_not_sound(device: DeviceFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every header is read, but no feature can be made, as with a torchaudio that does not fit its torch."""
    rows = record(device.path, range(3), 0)
    manifest(device.manifest, rows, ("path", "speaker", "text"))
    (sound,) = [finding for finding in device_findings(device, device.manifest) if finding.check == "turn"]
    assert sound.level == "ok"
    assert "were decoded, made features of and trained on" in sound.text

    def broken(*_: object) -> None:
        raise OSError("undefined symbol")

    monkeypatch.setattr("fedasr.data.speech.Speech.features", broken)
    assert "turn: a training round fails on this machine: OSError: undefined symbol" in texts(
        device_findings(device, device.manifest), "error"
    )


def test_the_doctor_explains_the_policy(device: DeviceFolder) -> None:
    said = [finding for finding in device_findings(device, device.manifest) if finding.check == "policy"]
    assert said[0].text == "there is no policy.yaml: the safe rules hold"
    assert any("takes part only in runs whose noise this edge device adds itself" in finding.text for finding in said)
    device.policy.write_text("privacy: none\nepsilon_per_run: 3\n")
    said = [finding for finding in device_findings(device, device.manifest) if finding.check == "policy"]
    assert [finding.level for finding in said][:2] == ["ok", "warning"]
    device.policy.write_text("privacy: nobody\n")
    assert any(
        "'privacy' is 'nobody'; expected one of" in line
        for line in texts(device_findings(device, device.manifest), "error")
    )


def test_a_policy_is_read_as_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(policy_text(Policy()))
    assert read_policy(file) == Policy() == read_policy(tmp_path / "none")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("privcy: none", r"unknown rule 'privcy' \(did you mean 'privacy'\?\)"),
        ("epochs: 1.5", "'epochs' is 1.5; expected a whole number"),
        ("epochs: -1", "'epochs' is -1; expected at least 0"),
        ("delta: small", "'delta' is 'small'; expected a number"),
        ("delta: .nan", "'delta' is nan; expected a number"),
        ("secret_noise: 1", "'secret_noise' is 1; expected true or false"),
        ("messages: train", "'messages' is 'train'; expected a list of"),
        ("messages: [evaluate]", "'messages' has 'evaluate', whose answers have no noise"),
        ("epochs: ${oc.env:HOME}", "expected a number"),
        ("privacy: device\nprivacy: none", "2: is not valid YAML: 'privacy' is there twice"),
        ("a: &a [1]\nb: *a", "an alias or a tag is not allowed"),
        ("!!python/object/apply:os.getcwd []", "an alias or a tag is not allowed"),
        ("- privacy", "holds no rules"),
        ("{", "is not valid YAML"),
        ("# " + "a" * 100_001, "has more than 100000 bytes"),
    ],
)
def test_a_wrong_policy_is_refused_in_a_line(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=said):
        read_policy(file)


@pytest.mark.parametrize(
    "name",
    ["FORWARDED_ALLOW_IPS", "WEB_CONCURRENCY", "FLWR_INTERNAL_GRPC_CONTROL_API", "FLWR_OIDC_ENABLED", "UVICORN_X"],
)
def test_no_variable_opens_the_server(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(name, "1")
    monkeypatch.setenv("FLWR_LOG_LEVEL", "DEBUG")
    result = environment(tmp_path)
    assert name not in result
    assert result["FLWR_LOG_LEVEL"] == "DEBUG"
