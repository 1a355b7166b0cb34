"""Certificates for the tests: an authority, a server, and a self-signed client."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files.

    Attributes:
        client_sha256: Hex SHA-256 of the client's certificate in DER.
    """

    authority: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path
    client_sha256: str


def make_certificates(directory: Path) -> Certificates:
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("authority", authority_key, None, None)
    server_key = ec.generate_private_key(ec.SECP256R1())
    server = _certificate("localhost", server_key, authority, authority_key)
    client_key = ec.generate_private_key(ec.SECP256R1())
    client = _certificate("client", client_key, None, None)
    return Certificates(
        authority=_write(directory / "authority.pem", authority),
        server=_write(directory / "server.pem", server),
        server_key=_write(directory / "server.key", server_key),
        client=_write(directory / "client.pem", client),
        client_key=_write(directory / "client.key", client_key),
        client_sha256=client.fingerprint(hashes.SHA256()).hex(),
    )


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey | None,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    # nginx's Lua sockets compare an address with DNS names only.
    names = [x509.DNSName("localhost"), x509.DNSName("127.0.0.1")]
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer is not None else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(issuer_key or key, hashes.SHA256())
    )


def _write(file: Path, what: x509.Certificate | ec.EllipticCurvePrivateKey) -> Path:
    if isinstance(what, x509.Certificate):
        file.write_bytes(what.public_bytes(serialization.Encoding.PEM))
    else:
        file.write_bytes(
            what.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
    return file
