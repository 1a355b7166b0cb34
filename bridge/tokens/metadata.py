"""The issuer's metadata: RFC 8414 first, then OpenID Connect Discovery."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from bridge.tokens import json_strict
from bridge.tokens.fetch import Fetcher, FetchError

_OVER_HTTP = {"jwks_uri": "keys_over_http", "introspection_endpoint": "introspection_over_http"}


def metadata_urls(issuer: str) -> tuple[str, ...]:
    """Give the URLs at which an issuer's metadata may be, in the order in which to ask.

    Spec: RFC 8414 §3.1 (inserted before the path), OpenID Connect Discovery §4 (appended).
    """
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    return (
        f"{origin}/.well-known/oauth-authorization-server{path}",
        f"{origin}{path}/.well-known/openid-configuration",
    )


async def discover_jwks_uri(
    issuer: str, fetcher: Fetcher, *, timeout_seconds: float, allow_insecure_http: bool
) -> str:
    """Find out where an issuer publishes its keys.

    Raises:
        FetchError: No metadata to be had, of another issuer, without a usable `jwks_uri`.

    Spec: RFC 8414 §3.3: `issuer` must be identical.
    """
    return await _discover(issuer, "jwks_uri", fetcher, timeout_seconds, allow_insecure_http)


async def discover_introspection_endpoint(
    issuer: str, fetcher: Fetcher, *, timeout_seconds: float, allow_insecure_http: bool
) -> str:
    """Find out where an issuer tells about its tokens.

    Raises:
        FetchError: As of `discover_jwks_uri`, for `introspection_endpoint`.
    """
    return await _discover(
        issuer, "introspection_endpoint", fetcher, timeout_seconds, allow_insecure_http
    )


async def _discover(
    issuer: str, member: str, fetcher: Fetcher, timeout_seconds: float, allow_insecure_http: bool
) -> str:
    """Find the first metadata that has a URL."""
    fault = ""
    for url in metadata_urls(issuer):
        try:
            document = await fetcher.get(
                url, timeout_seconds=timeout_seconds, allow_insecure_http=allow_insecure_http
            )
            return url_in(read_metadata(document.body), issuer, member)
        except FetchError as error:
            if not fault or str(error) != "status_404":  # says less than what is wrong elsewhere
                fault = str(error)
    raise FetchError(f"metadata_{fault}")


def read_metadata(body: bytes) -> dict[str, Any]:
    """Read a metadata document.

    Raises:
        FetchError: It is none.
    """
    try:
        metadata = json_strict.loads(body)
    except ValueError:
        raise FetchError("not_json") from None
    if not isinstance(metadata, dict):
        raise FetchError("not_an_object")
    return metadata


def url_in(metadata: Mapping[str, Any], issuer: str, member: str) -> str:
    """Give a URL that an issuer's own metadata has, `jwks_uri` or `introspection_endpoint`.

    Raises:
        FetchError: It is of another issuer, or has none that may be used.
    """
    if metadata.get("issuer") != issuer:
        raise FetchError("of_another_issuer")
    url = metadata.get(member)
    if not isinstance(url, str):
        raise FetchError(f"without_{member}")
    if _is_https(issuer) and not _is_https(url):
        raise FetchError(_OVER_HTTP[member])
    return url


def _is_https(url: str) -> bool:
    return url[:6].lower() == "https:"  # a scheme has no case (RFC 3986 §3.1)
