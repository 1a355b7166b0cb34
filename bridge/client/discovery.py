"""From a challenge to the authorization server: RFC 9728, then RFC 8414 or OpenID Connect."""

from __future__ import annotations

import time
from http import HTTPStatus

import httpx

from bridge.client.errors import DiscoveryError
from bridge.client.flow import LoginRequest
from bridge.client.metadata import Resource, Server, read_resource, read_server
from bridge.client.origin import is_loopback, is_protected, origin_of, place_of
from bridge.tokens.metadata import metadata_urls

_MAX_BYTES = 1024 * 1024
_MAX_SECONDS = 20.0


def find_resource(request: LoginRequest, http: httpx.Client) -> Resource | None:
    """Fetch the metadata that the challenge names; None: it names none.

    Raises:
        DiscoveryError: It is not to be had, or not to be trusted.
    """
    url = request.demand.resource_metadata
    if url is None:
        return None
    _check_url(url, request.url, "resource_metadata")
    return read_resource(_fetch(url, http, "the API's metadata"), request.url)


def find_server(issuer: str, http: httpx.Client) -> Server:
    """Fetch the metadata of an issuer from where it may be.

    Raises:
        DiscoveryError: It is not to be had, or not to be trusted.
    """
    faults: list[DiscoveryError] = []
    for url in metadata_urls(issuer):
        try:
            return read_server(_fetch(url, http, "the authorization server's metadata"), issuer)
        except DiscoveryError as error:
            faults.append(error)
    raise faults[0]


def choose_issuer(resource: Resource | None, request: LoginRequest, issuer: str | None) -> str:
    """Choose where to log in.

    Args:
        issuer: The one that the caller trusts; None: whichever the API names first.

    Raises:
        DiscoveryError: Nobody names one, or the API does not take the caller's.
    """
    if issuer is not None:
        if resource is not None and issuer not in resource.authorization_servers:
            raise DiscoveryError("the API does not take tokens of the issuer that was named")
        return issuer
    if resource is None:
        raise DiscoveryError(
            "the challenge has no resource_metadata, so it does not say where to log in: "
            "name the issuer"
        )
    chosen = resource.authorization_servers[0]
    _check_url(chosen, request.url, "the issuer that the API names")
    return chosen


def _check_url(url: str, api_url: str, what: str) -> None:
    """Check a URL that the API gave: a far API must not make us ask services of this machine."""
    try:
        origin_of(url)
    except ValueError:
        raise DiscoveryError(f"{what} is no URL") from None
    if not is_protected(url):
        raise DiscoveryError(f"{what} is not https")
    if is_loopback(url) and not is_loopback(api_url):
        raise DiscoveryError(f"{what} is on this machine, and the API is not")


def _fetch(url: str, http: httpx.Client, what: str) -> bytes:
    """Fetch a JSON document; redirects are not followed."""
    place = place_of(url)
    deadline = time.monotonic() + _MAX_SECONDS
    headers = {"accept": "application/json"}
    try:
        with http.stream("GET", url, headers=headers, follow_redirects=False) as response:
            if response.status_code != HTTPStatus.OK:
                raise DiscoveryError(f"{what}: {place} answered {response.status_code}")
            body = b""
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > _MAX_BYTES:
                    raise DiscoveryError(f"{what}: {place} sends over {_MAX_BYTES} bytes")
                if time.monotonic() > deadline:
                    raise DiscoveryError(f"{what}: {place} takes over {_MAX_SECONDS:g} s")
            return body
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise DiscoveryError(f"{what}: {place}: {type(error).__name__}") from None
