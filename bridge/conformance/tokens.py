"""From the profile to tokens: read, asked for, or signed here."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from bridge.config.places import Place
from bridge.conformance.profile import MintSection, ProfileSection, TokenSection, TokensSection
from bridge.errors import ConfigError, Problem

_MAX_BYTES = 64 * 1024
_COMMAND_SECONDS = 60
_LIFETIME_SECONDS = 600
_STALE_SECONDS = 3600  # over any `max_age`, by this much
_SCOPE_CLAIMS = frozenset({"scope", "scp"})
_ELSEWHERE = "https://conformance.invalid"

# b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="  (RFC 6750 §2.1)
_B64TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")

_Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


def read_tokens(
    file: str | Path,
    profile: ProfileSection,
    top: Place,
    *,
    environ: Mapping[str, str] = os.environ,
) -> dict[str, str]:
    """Get the tokens that the profile tells of, by name.

    Args:
        file: Of the profile; names of files in it are relative to it.
        top: The profile's place, for problems.

    Raises:
        ConfigError: One cannot be had; the text says which, and nothing of what came instead.
    """
    directory = Path(file).absolute().parent
    found: dict[str, str] = {}
    problems: list[Problem] = []
    for name in TokensSection.model_fields:
        section: TokenSection | None = getattr(profile.tokens, name)
        place = (top.child("tokens") or top).child(name) or top.child("mint") or top
        try:
            token = _token(name, section, profile, directory, environ)
        except _NoTokenError as error:
            problems.append(place.problem(str(error)))
            continue
        if token is not None:
            found[name] = token
    if problems:
        raise ConfigError(file, list(dict.fromkeys(problems)))
    return found


class _NoTokenError(Exception):
    """The text says why there is no token, and nothing of what was there instead."""


def _token(
    name: str,
    section: TokenSection | None,
    profile: ProfileSection,
    directory: Path,
    environ: Mapping[str, str],
) -> str | None:
    if section is None or section.claims is not None:
        claims = None if section is None else section.claims
        return _mint(name, claims, profile, directory)
    if section.file is not None:
        text = _read(directory / section.file)
    elif section.env is not None:
        text = environ.get(section.env, "")
        if not text:
            raise _NoTokenError("the environment variable is not set")
    else:
        text = _run(section.command or [], directory)
    text = text.strip()
    if not _B64TOKEN.fullmatch(text):
        raise _NoTokenError("what came is no token")
    return text


def _read(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            raw = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise _NoTokenError(f"the file cannot be read: {error.strerror}") from None
    if len(raw) > _MAX_BYTES:
        raise _NoTokenError("the file is too large for a token or key")
    return raw.decode("ascii", "replace")


def _run(command: list[str], directory: Path) -> str:
    """Run the operator's command, without a shell; its standard output is the token."""
    try:
        done = subprocess.run(  # noqa: S603
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # it may hold the token
            timeout=_COMMAND_SECONDS,
            check=False,
        )
    except OSError as error:
        raise _NoTokenError(f"the command cannot be run: {error.strerror}") from None
    except (subprocess.TimeoutExpired, ValueError):
        raise _NoTokenError(f"the command takes over {_COMMAND_SECONDS} s") from None
    if done.returncode:
        raise _NoTokenError(f"the command ended with {done.returncode}")
    return done.stdout.decode("ascii", "replace")


def _mint(
    name: str, claims: Mapping[str, Any] | None, profile: ProfileSection, directory: Path
) -> str | None:
    """Sign a token that is what its name says; None where the profile does not say how."""
    mint, sensitive = profile.mint, profile.sensitive
    if mint is None:
        return None
    now = int(time.time())
    own: dict[str, Any] = {}
    if name in {"strong", "stale"} and sensitive.acr_values:
        own["acr"] = sensitive.acr_values[0]
    match name:
        case "weak":
            if claims is None and not sensitive.acr_values:
                return None  # no level is weak
        case "stale":
            if claims is None and sensitive.max_age is None:
                return None  # no authentication is too old
            own["auth_time"] = now - (sensitive.max_age or 0) - _STALE_SECONDS
        case "expired":
            own |= {"iat": now - 2 * _LIFETIME_SECONDS, "exp": now - _LIFETIME_SECONDS}
        case "wrong_audience":
            own["aud"] = _ELSEWHERE
        case "insufficient_scope":
            if claims is None and not _SCOPE_CLAIMS & set(mint.claims):
                return None  # nothing to take away
            own |= dict.fromkeys(_SCOPE_CLAIMS)
    said = {
        "iss": mint.issuer,
        "aud": mint.audience,
        "sub": "conformance",
        "client_id": "conformance",
        "iat": now,
        "exp": now + _LIFETIME_SECONDS,
        "auth_time": now,
        "jti": secrets.token_hex(8),
        **mint.claims,
        **own,
        **(claims or {}),
    }
    key = _load_key(_read(directory / mint.key_file))
    if name == "bad_signature":
        key = _another(key)
    return _sign({name: value for name, value in said.items() if value is not None}, key, mint)


def _sign(claims: Mapping[str, Any], key: _Key, mint: MintSection) -> str:
    headers = {"typ": mint.typ} | ({} if mint.kid is None else {"kid": mint.kid})
    try:
        return jwt.encode(dict(claims), key, algorithm=_algorithm(key), headers=headers)
    except (TypeError, ValueError, jwt.PyJWTError):
        raise _NoTokenError("the claims cannot be written as a JWT") from None


def _load_key(pem: str) -> _Key:
    try:
        key = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _NoTokenError("key_file holds no private key in PEM, without a password") from None
    if not isinstance(key, _Key) or _algorithm(key) is None:
        raise _NoTokenError("key_file holds a key of a kind that signs no tokens here")
    return key


def _algorithm(key: _Key) -> str | None:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return _CURVES.get(key.curve.name)
    return "RS256" if isinstance(key, rsa.RSAPrivateKey) else "EdDSA"


def _another(key: _Key) -> _Key:
    """Make a key of the same kind, that nobody published."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return ec.generate_private_key(key.curve)
    if isinstance(key, rsa.RSAPrivateKey):
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ed25519.Ed25519PrivateKey.generate()
