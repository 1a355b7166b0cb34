"""What a token is bound to (`cnf`), and whether the request is the token's rightful sender. Pure.

The proof of a key is the business of `tokens.dpop`; that one is due is found out here.
"""

from __future__ import annotations

import re
from binascii import b2a_base64, unhexlify
from dataclasses import dataclass
from typing import Any, Literal

from bridge.errors import TokenError

SenderConstraint = Literal["none", "any", "dpop", "mtls", "required"]
"""What an API demands of its tokens' binding; `none`: bound tokens are refused."""

TAKES_DPOP = frozenset({"any", "dpop", "required"})
TAKES_MTLS = frozenset({"any", "mtls", "required"})

BINDING_CHECKS = ("binding", "certificate")
"""The checks made here, in their order; those of a proof follow."""

# BASE64URL of the 32 bytes of a SHA-256: the last character has two stray bits (RFC 4648 §3.5).
_SHA256_BASE64URL = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")
_MEMBERS = frozenset({"jkt", "x5t#S256"})


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What a token is bound to; at least one is set, and what is set must be proven.

    Attributes:
        jkt: Thumbprint of the key of its DPoP proofs (RFC 9449 §6.1).
        x5t_s256: Digest of the client's certificate (RFC 8705 §3.1).
    """

    jkt: str | None = None
    x5t_s256: str | None = None


def read_confirmation(cnf: Any) -> Confirmation:
    """Read a `cnf` claim.

    Raises:
        TokenError: A member that is not known, or is malformed, or none at all: what cannot be
            checked is not passed over.

    Spec: RFC 7800 §3.1, RFC 9449 §6.1, RFC 8705 §3.1.
    """
    if not isinstance(cnf, dict) or not cnf or not _MEMBERS.issuperset(cnf):
        raise TokenError("cnf", "token_binding_not_supported")
    for value in cnf.values():
        if not isinstance(value, str) or not _SHA256_BASE64URL.fullmatch(value):
            raise TokenError("cnf", "token_binding_malformed")
    return Confirmation(cnf.get("jkt"), cnf.get("x5t#S256"))


def require_scheme(constraint: SenderConstraint, scheme: Literal["bearer", "dpop"]) -> None:
    """Refuse the DPoP scheme where it is not taken, whatever the token.

    Raises:
        TokenError: It is not.
    """
    if scheme == "dpop" and constraint not in TAKES_DPOP:
        raise TokenError("binding", "dpop_not_supported")


def check_binding(
    constraint: SenderConstraint,
    scheme: Literal["bearer", "dpop"],
    confirmation: Confirmation | None,
    certificate: str | None,
) -> str | None:
    """Check all of a verified token's binding but the proof of its key.

    Args:
        constraint: The API's.
        scheme: By which the token was presented.
        confirmation: What the token is bound to; None: a plain bearer token.
        certificate: SHA-256 of the client's certificate, lower-case hex; None: there was none,
            empty: what the gateway said of it is malformed.

    Returns:
        The thumbprint of the key that a DPoP proof must show; None: no proof is due.

    Raises:
        TokenError: The token is not bound as demanded, or not to this client.

    Spec: RFC 9449 §7.2 (a bound token is no bearer token), RFC 8705 §3.
    """
    require_scheme(constraint, scheme)
    if constraint == "none":
        if confirmation is not None:
            raise TokenError("binding", "token_binding_not_supported")
        return None
    jkt = None if confirmation is None else confirmation.jkt
    x5t_s256 = None if confirmation is None else confirmation.x5t_s256
    if scheme == "dpop":
        if jkt is None:
            raise TokenError("binding", "token_not_bound_to_key")
    elif jkt is not None:
        raise TokenError("binding", "token_bound_to_key_sent_as_bearer")
    elif constraint == "dpop":
        raise TokenError("binding", "token_not_bound_to_key")
    elif x5t_s256 is None and constraint != "any":
        raise TokenError("binding", "token_not_bound")
    if x5t_s256 is not None:
        _check_certificate(x5t_s256, certificate)
    return jkt


def _check_certificate(x5t_s256: str, certificate: str | None) -> None:
    """Compare with the certificate of the client's TLS connection (RFC 8705 §3)."""
    if certificate is None:
        raise TokenError("certificate", "client_certificate_missing")
    if not certificate:
        raise TokenError("certificate", "client_certificate_malformed")
    if base64url(unhexlify(certificate)) != x5t_s256:
        raise TokenError("certificate", "client_certificate_mismatch")


def base64url(raw: bytes) -> str:
    """Encode without padding (RFC 7515 §2)."""
    encoded = b2a_base64(raw, newline=False).rstrip(b"=").decode("ascii")
    return encoded.replace("+", "-").replace("/", "_")
