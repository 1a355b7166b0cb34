"""What an API and an authorization server say of themselves, read with suspicion. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from bridge.client.errors import DiscoveryError
from bridge.client.origin import is_protected, origin_of
from bridge.tokens import json_strict

_VISIBLE = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Resource:
    """Metadata of a protected resource (RFC 9728 §2).

    Attributes:
        authorization_servers: Issuers whose tokens the API takes; never empty.
        scopes_supported: Empty where it does not say.
    """

    resource: str
    authorization_servers: tuple[str, ...]
    scopes_supported: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Server:
    """Metadata of an authorization server (RFC 8414 §2, OpenID Connect Discovery §3).

    Attributes:
        pushed_authorization_request_endpoint: None where it has none (RFC 9126 §5).
        says_iss: It promises `iss` in authorization responses (RFC 9207 §3).
    """

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    pushed_authorization_request_endpoint: str | None = None
    says_iss: bool = False


def read_resource(body: bytes, url: str) -> Resource:
    """Read the metadata of the API that a request went to.

    Args:
        url: Of that request. The resource must be it, or a whole path prefix of it: an API cannot
            hand on the metadata of another one, to get tokens for that (RFC 9728 §3.3, §7.3).

    Raises:
        DiscoveryError: It is malformed, or of another API.
    """
    document = _object(body, "the API's metadata")
    resource, servers = document.get("resource"), document.get("authorization_servers")
    if not isinstance(resource, str) or not _covers(resource, url):
        raise DiscoveryError("the API's metadata is of another resource (RFC 9728 §3.3)")
    issuers = _strings(servers)
    if not issuers:
        raise DiscoveryError("the API's metadata names no authorization_servers")
    return Resource(resource, issuers, _strings(document.get("scopes_supported")))


def read_server(body: bytes, issuer: str) -> Server:
    """Read the metadata of an authorization server.

    Raises:
        DiscoveryError: It is malformed, of another issuer (RFC 8414 §3.3), without PKCE, or an
            endpoint is not protected.
    """
    document = _object(body, "the authorization server's metadata")
    if document.get("issuer") != issuer:
        raise DiscoveryError("the authorization server's metadata is of another issuer")
    methods = document.get("code_challenge_methods_supported")
    if methods is not None and "S256" not in _strings(methods):
        raise DiscoveryError("the authorization server does not support PKCE with S256")
    return Server(
        issuer=issuer,
        authorization_endpoint=_endpoint(document, "authorization_endpoint", issuer),
        token_endpoint=_endpoint(document, "token_endpoint", issuer),
        pushed_authorization_request_endpoint=(
            _endpoint(document, "pushed_authorization_request_endpoint", issuer)
            if "pushed_authorization_request_endpoint" in document
            else None
        ),
        says_iss=document.get("authorization_response_iss_parameter_supported") is True,
    )


def _covers(resource: str, url: str) -> bool:
    try:
        if origin_of(resource) != origin_of(url):
            return False
    except ValueError:
        return False
    base = urlsplit(resource).path.rstrip("/")
    return f"{urlsplit(url).path}/".startswith(f"{base}/")


def _endpoint(document: Mapping[str, Any], name: str, issuer: str) -> str:
    value = document.get(name)
    # It is shown on terminals and handed to browsers.
    if not isinstance(value, str) or not _VISIBLE.fullmatch(value):
        raise DiscoveryError(f"the authorization server's metadata has no usable {name}")
    try:
        origin_of(value)
    except ValueError:
        raise DiscoveryError(f"the authorization server's {name} is no URL") from None
    if not is_protected(value) or (issuer.startswith("https:") and not value.startswith("https:")):
        raise DiscoveryError(f"the authorization server's {name} is not https")
    return value


def _object(body: bytes, what: str) -> dict[str, Any]:
    try:
        document = json_strict.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise DiscoveryError(f"{what} is no JSON object")
    return document


def _strings(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(member for member in value if isinstance(member, str))
