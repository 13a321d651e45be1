"""The certificates of a server and the keys of devices: elliptic curves, short-lived where they face the network."""

from __future__ import annotations

import hashlib
import ipaddress
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
    load_ssh_public_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedasr.edge.secrets import read_private
from fedasr.errors import InputError

CURVE = ec.SECP384R1
CA_DAYS = 3650
SERVER_DAYS = 397
"""What public authorities allow at most."""
CLOCK_SKEW = timedelta(hours=1)
"""A certificate counts from a little before it is made: clocks of edge devices are seldom right."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")

Pair = tuple[ec.EllipticCurvePrivateKey, x509.Certificate]


def make_authority(name: str, days: int = CA_DAYS, now: datetime | None = None) -> Pair:
    """Return the key and the self-signed certificate of an authority that may sign nothing but servers.

    Args:
        name: for people.
        days: how long it is valid.
        now: when it is made; None: now.
    """
    key = ec.generate_private_key(CURVE())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = dated(subject, subject, key.public_key(), days, now)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(usage(signs=True), critical=True)
    return key, builder.sign(key, hashes.SHA384())


def make_server(authority: Pair, hosts: Sequence[str], days: int = SERVER_DAYS, now: datetime | None = None) -> Pair:
    """Return the key and the certificate of a server that devices reach by one of ``hosts``, and itself by loopback.

    Args:
        authority: signs.
        hosts: DNS names and IP addresses.
        days: how long it is valid, at most as long as the authority.
        now: when it is made; None: now.

    Raises:
        InputError: a host is neither a name nor an address.
    """
    issuer_key, issuer = authority
    names = [subject_name(host) for host in dict.fromkeys([*hosts, *LOOPBACK])]
    key = ec.generate_private_key(CURVE())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    builder = dated(subject, issuer.subject, key.public_key(), days, now, issuer.not_valid_after_utc)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(usage(signs=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    key_identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    builder = builder.add_extension(key_identifier, critical=False)
    return key, builder.sign(issuer_key, hashes.SHA384())


def dated(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    days: int,
    now: datetime | None,
    latest: datetime | None = None,
) -> x509.CertificateBuilder:
    """Return the beginnings of a certificate."""
    start = now or datetime.now(UTC)
    end = start + timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - CLOCK_SKEW)
        .not_valid_after(end if latest is None else min(end, latest))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def usage(signs: bool) -> x509.KeyUsage:
    """Return what a key may be used for: signing certificates, or a handshake."""
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def subject_name(host: str) -> x509.GeneralName:
    """Return a host as an alternative name of a certificate's subject.

    Raises:
        InputError: it is neither a name nor an address.
    """
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        parts = host.rstrip(".").split(".")
        if not all(part and part.replace("-", "").isalnum() and part.isascii() for part in parts) or len(host) > 253:
            raise InputError(f"'{host}' is neither a DNS name nor an IP address", where="--host") from None
        return x509.DNSName(host)


def hosts_of(certificate: x509.Certificate) -> list[str]:
    """Return the names and addresses that a certificate holds for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in names]


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """Return a certificate as PEM."""
    return certificate.public_bytes(Encoding.PEM)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key as PEM, without a password: it is read by a service that starts by itself."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def load_certificate(path: Path) -> x509.Certificate:
    """Return a certificate from a PEM file.

    Raises:
        InputError: it is missing or none.
    """
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from None
    except ValueError:
        raise InputError("is not a PEM certificate", where=str(path)) from None


def load_authority(key_file: Path, certificate_file: Path) -> Pair:
    """Return an authority from its files.

    Raises:
        InputError: one is missing, damaged, or the key can be read by others.
    """
    try:
        key = load_pem_private_key(read_private(key_file), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InputError("is not a PEM private key", where=str(key_file)) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise InputError("is not an elliptic-curve key", where=str(key_file))
    return key, load_certificate(certificate_file)


def make_device_key() -> tuple[bytes, bytes]:
    """Return a new private key of an edge device and its public half, both as OpenSSH writes them."""
    key = ec.generate_private_key(CURVE())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return private, key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b"\n"


def public_key_of(private: bytes, where: str) -> ec.EllipticCurvePublicKey:
    """Return the public half of an edge device's private key; errors as ``load_device_key``."""
    return load_device_key(private, where).public_key()


def load_device_key(private: bytes, where: str) -> ec.EllipticCurvePrivateKey:
    """Return an edge device's private key.

    Raises:
        InputError: it is no private key of an elliptic curve.
    """
    try:
        key = load_ssh_private_key(private, None)
    except (ValueError, UnsupportedAlgorithm):
        raise InputError("is not an OpenSSH private key", where=where) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise InputError("is not an elliptic-curve key (ssh-keygen -t ecdsa -b 384)", where=where)
    return key


def load_public_key(content: bytes, where: str) -> ec.EllipticCurvePublicKey:
    """Return an edge device's public key.

    Raises:
        InputError: it is no public key of an elliptic curve.
    """
    try:
        key = load_ssh_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        raise InputError("is not an OpenSSH public key", where=where) from None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise InputError("is not an elliptic-curve key (ssh-keygen -t ecdsa -b 384)", where=where)
    return key


def fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    """Return ``SHA256:…`` of a public key, as ``ssh-keygen -l`` shows it."""
    blob = key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[1]
    return "SHA256:" + b64encode(hashlib.sha256(b64decode(blob)).digest()).decode().rstrip("=")
