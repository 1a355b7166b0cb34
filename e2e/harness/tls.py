"""TLS on loopback: an authority, a server, clients with certificates, and how Envoy is told."""

from __future__ import annotations

import datetime
import json
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from e2e.harness.addresses import LOOPBACK, Tcp
from e2e.harness.forwarding import replace_once

_TLS_CONTEXT = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"


@dataclass(frozen=True, slots=True)
class Tls(Tcp):
    """A TCP address that is spoken to by TLS."""

    context: ssl.SSLContext = field(default_factory=ssl.create_default_context)

    def connect(self, timeout_seconds: float) -> socket.socket:
        plain = socket.create_connection((self.host, self.port), timeout_seconds)
        return self.context.wrap_socket(plain, server_hostname=self.host)


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate with its key, in one file.

    Attributes:
        digest: SHA-256 of the certificate in DER, which `x5t#S256` encodes (RFC 8705 §3.1).
    """

    file: Path
    digest: bytes


class Authority:
    """Signs certificates; its files go to one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._sign("authority", self._key)
        self.file = directory / "authority.pem"
        self.file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> Identity:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(name, key)
        file = self._directory / f"{name}.pem"
        file.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return Identity(file, certificate.fingerprint(hashes.SHA256()))

    def client(self, port: int, identity: Identity | None = None) -> Tls:
        """Give a server's address as a client with a certificate, or without one, sees it."""
        context = ssl.create_default_context(cafile=str(self.file))
        context.check_hostname = False
        if identity is not None:
            context.load_cert_chain(identity.file)
        return Tls(port, LOOPBACK, context)

    def _sign(self, name: str, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        is_authority = key is self._key
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if is_authority else self._certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )


def with_tls(server: Identity, authority: Authority) -> Callable[[str], str]:
    """Give an edit of `envoy.yaml`: TLS, and certificates from clients that have one."""
    file = {"filename": str(server.file)}
    context = {
        "@type": f"type.googleapis.com/{_TLS_CONTEXT}",
        "common_tls_context": {
            "tls_certificates": [{"certificate_chain": file, "private_key": file}],
            "validation_context": {"trusted_ca": {"filename": str(authority.file)}},
        },
    }
    transport = json.dumps({"name": "envoy.transport_sockets.tls", "typed_config": context})
    old = "        - filters:\n"
    new = f"        - transport_socket: {transport}\n          filters:\n"
    return lambda text: replace_once(text, old, new)
