"""Certificates hold for what they say and no longer; private keys are nobody else's."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from fedasr.edge.certificates import (
    fingerprint,
    hosts_of,
    load_certificate,
    load_public_key,
    make_authority,
    make_device_key,
    make_server,
    public_key_of,
)
from fedasr.edge.secrets import read_private, write_private, write_public
from fedasr.errors import InputError


def test_a_server_certificate_holds_for_its_hosts_and_loopback() -> None:
    authority = make_authority("a")
    _, certificate = make_server(authority, ["asr.example.org", "192.168.1.20", "localhost"])
    assert hosts_of(certificate) == ["asr.example.org", "192.168.1.20", "localhost", "127.0.0.1", "::1"]
    certificate.verify_directly_issued_by(authority[1])
    with pytest.raises(InvalidSignature):
        certificate.verify_directly_issued_by(make_authority("a")[1])


def test_an_authority_signs_servers_and_nothing_below_them() -> None:
    _, authority = make_authority("a")
    constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)
    _, server = make_server(make_authority("a"), ["a"])
    assert not server.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_server_certificate_does_not_outlive_its_authority() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    authority = make_authority("a", days=10, now=now)
    _, certificate = make_server(authority, ["a"], days=300, now=now)
    assert certificate.not_valid_after_utc == now + timedelta(days=10)
    assert certificate.not_valid_before_utc == now - timedelta(hours=1)


@pytest.mark.parametrize("host", ["", "a b", "a..b", "https://a", "a:80", "ä.org", "a" * 254])
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(InputError, match="neither a DNS name nor an IP address"):
        make_server(make_authority("a"), [host])


def test_edge_device_keys_are_what_openssh_reads() -> None:
    private, public = make_device_key()
    assert private.startswith(b"-----BEGIN OPENSSH PRIVATE KEY-----")
    assert public.startswith(b"ecdsa-sha2-nistp384 ")
    assert fingerprint(public_key_of(private, "a")) == fingerprint(load_public_key(public, "a"))


@pytest.mark.parametrize("content", [b"", b"ssh-ed25519 AAAA", b"ecdsa-sha2-nistp384 AAAA"])
def test_what_is_no_key_is_refused(content: bytes) -> None:
    with pytest.raises(InputError, match=r"box\.pub: is no"):
        load_public_key(content, "box.pub")
    with pytest.raises(InputError, match=r"box\.key: is no"):
        public_key_of(content, "box.key")


def test_a_private_file_is_never_readable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    path.write_bytes(b"old")
    path.chmod(0o644)
    write_private(path, b"new")
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_private(path) == b"new"
    path.chmod(0o640)
    with pytest.raises(InputError, match=r"a\.key: is private but others may read it \(mode 0640\); chmod 600"):
        read_private(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_private(tmp_path / "none")
    assert [file.name for file in tmp_path.iterdir()] == ["a.key"]


def test_a_certificate_is_read_or_named(tmp_path: Path) -> None:
    path = tmp_path / "ca.crt"
    write_public(path, ssl.DER_cert_to_PEM_cert(b"no certificate").encode())
    with pytest.raises(InputError, match=r"ca\.crt: is not a PEM certificate"):
        load_certificate(path)
