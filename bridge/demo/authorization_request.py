"""The authorization request: what a client asks for, read and checked. Pure.

The order matters: as long as client and `redirect_uri` are not known to be good, an error is shown
to the user and never redirected, or this server would be an open redirector (RFC 6749 §4.1.2.1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bridge.demo.oauth import ACR_VALUES_SUPPORTED, Client, OAuthError

# code-challenge of S256: BASE64URL(SHA256(...)), 32 octets  (RFC 7636 §4.2)
_CODE_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
# "a non-negative integer"  (RFC 9470 §4, OpenID Connect Core §3.1.2.1), bounded
_MAX_AGE = re.compile(r"[0-9]{1,10}")

# The port of a program on this machine, which the system chooses  (RFC 8252 §7.3)
_LOOPBACK_PORT = re.compile(r"\A(http://127\.0\.0\.1):[1-9][0-9]{0,4}(?=/)")

_PROMPTS = frozenset({"login", "none"})


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """An authorization request that can be granted, if the user can do what it asks.

    Attributes:
        scopes: Asked for, and within what the client may have.
        acr: The level that the user must reach; None: any.
        max_age: Oldest acceptable authentication, seconds; None: any.
        prompts: `login`: authenticate anew; `none`: show no page.
        nonce: For the ID token.
    """

    client: Client
    redirect_uri: str
    state: str | None
    scopes: tuple[str, ...]
    code_challenge: str
    acr: str | None = None
    max_age: int | None = None
    prompts: frozenset[str] = frozenset()
    nonce: str | None = None


def find_client(
    pairs: Iterable[tuple[str, str]], clients: Mapping[str, Client]
) -> tuple[Client, str]:
    """Tell who asks, and where the answer goes.

    Args:
        clients: By `client_id`.

    Raises:
        OAuthError: Unknown client, or another `redirect_uri` than a registered one. Show it to the
            user; do not redirect.

    Spec: RFC 6749 §3.1.2.4, RFC 9700 §2.1 (exact string comparison), RFC 8252 §7.3 (a loopback
    redirect registered without a port may come back to any).
    """
    pairs = list(pairs)
    client_ids = [value for name, value in pairs if name == "client_id"]
    redirect_uris = [value for name, value in pairs if name == "redirect_uri"]
    client = clients.get(client_ids[0]) if len(client_ids) == 1 else None
    if client is None:
        raise OAuthError("invalid_request", "The client is not registered here")
    if len(redirect_uris) != 1 or not (
        redirect_uris[0] in client.redirect_uris
        or _LOOPBACK_PORT.sub(r"\1", redirect_uris[0]) in client.redirect_uris
    ):
        raise OAuthError("invalid_request", "The redirect_uri is not a registered one")
    return client, redirect_uris[0]


def read_authorization_request(
    client: Client, redirect_uri: str, values: Mapping[str, str]
) -> AuthorizationRequest:
    """Read the rest, once `find_client` said where an error may go.

    Raises:
        OAuthError: Redirect it to `redirect_uri`.

    Spec: RFC 6749 §4.1.1, RFC 7636 §4.3, RFC 9470 §4 and §5, OpenID Connect Core §3.1.2.1.
    """
    if values.get("response_type") != "code":
        raise OAuthError("unsupported_response_type", "response_type must be code")
    if values.get("code_challenge_method") != "S256":
        raise OAuthError("invalid_request", "code_challenge_method must be S256")
    code_challenge = values.get("code_challenge", "")
    if not _CODE_CHALLENGE.fullmatch(code_challenge):
        raise OAuthError("invalid_request", "code_challenge must be 43 base64url characters")
    max_age = values.get("max_age")
    if max_age is not None and not _MAX_AGE.fullmatch(max_age):
        raise OAuthError("invalid_request", "max_age must be a whole number of seconds")
    prompts = frozenset(values.get("prompt", "").split())
    if not prompts <= _PROMPTS or prompts == _PROMPTS:
        raise OAuthError("invalid_request", "prompt must be login or none")
    return AuthorizationRequest(
        client=client,
        redirect_uri=redirect_uri,
        state=values.get("state"),
        scopes=_read_scopes(client, values.get("scope", "")),
        code_challenge=code_challenge,
        acr=_choose_acr(values.get("acr_values", "").split()),
        max_age=None if max_age is None else int(max_age),
        prompts=prompts,
        nonce=values.get("nonce"),
    )


def _read_scopes(client: Client, text: str) -> tuple[str, ...]:
    scopes = tuple(dict.fromkeys(text.split()))
    if not scopes or not set(scopes) <= set(client.scopes):
        raise OAuthError("invalid_scope", "scope must name scopes that the client may have")
    return scopes


def _choose_acr(acr_values: list[str]) -> str | None:
    """Choose the most preferred level that this server has.

    Taken as necessary, not as a wish: a server that ignores what it cannot do sends the client into
    a loop of step-ups (RFC 9470 §5).
    """
    if not acr_values:
        return None
    for acr in acr_values:
        if acr in ACR_VALUES_SUPPORTED:
            return acr
    raise unmet_requirements()


def unmet_requirements() -> OAuthError:
    """Make the error of OpenID Connect Core Unmet Authentication Requirements 1.0 (RFC 9470 §5)."""
    text = "The user cannot authenticate at any of the requested levels"
    return OAuthError("unmet_authentication_requirements", text)
