"""The question "may this request pass", the same for every gateway."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from bridge.errors import RequestError

_METHOD_OVERRIDE_HEADERS = ("x-http-method-override", "x-method-override", "x-http-method")
HEADERS_READ = frozenset(
    {
        *_METHOD_OVERRIDE_HEADERS,
        "access-control-request-method",
        "authorization",
        "dpop",
        "origin",
        "x-request-id",
    }
)
"""What `check_request` looks at."""
# What may be logged of a client's x-request-id: no dots and not long, so that no JWT fits in.
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Headers(Protocol):
    """All values of a header by its lower-case name; aiohttp's and multidict's views are such."""

    def getall(self, key: str, default: Sequence[str], /) -> Sequence[str]:
        """Give the values of a header, or the default."""


class CheckRequest(NamedTuple):
    """One request at a gateway, as it came.

    Attributes:
        gateway: The door's name, a metric label: `envoy`, `native`, `forward_auth`, `nginx`.
        method: As sent; methods are case-sensitive.
        hosts: Every value of the host, as sent.
        target: Raw request target in origin form, with the query.
        authorization: Every value of `Authorization`.
        method_overrides: Every value of the headers that some frameworks let change the method.
        cross_origin: The request has an `Origin`.
        preflight: The request is a CORS preflight: `OPTIONS` with `Origin` and
            `Access-Control-Request-Method` (Fetch §3.2.2).
        request_id: `x-request-id` for the log, where it is a short plain token; else None.
        dpop: Every value of `DPoP` (RFC 9449 §4.1).
        client_certificate: SHA-256 of the certificate of the client's TLS connection, lower-case
            hex; None: the gateway says nothing of one, empty: what it says is malformed.
        fault: Why the request could not even be read; then it is malformed, whatever else is here.
    """

    gateway: str
    method: str
    hosts: Sequence[str]
    target: str
    authorization: Sequence[str]
    method_overrides: Sequence[str] = ()
    cross_origin: bool = False
    preflight: bool = False
    request_id: str | None = None
    dpop: Sequence[str] = ()
    client_certificate: str | None = None
    fault: RequestError | None = None


def check_request(
    gateway: str,
    method: str,
    hosts: Sequence[str],
    target: str,
    headers: Headers,
    client_certificate: str | None = None,
) -> CheckRequest:
    """Collect from a request's headers what a check looks at; nothing else is ever read."""
    overrides: list[str] = []
    for name in _METHOD_OVERRIDE_HEADERS:
        overrides += headers.getall(name, ())
    cross_origin = bool(headers.getall("origin", ()))
    preflight = (
        cross_origin
        and method == "OPTIONS"
        and bool(headers.getall("access-control-request-method", ()))
    )
    ids = headers.getall("x-request-id", ())
    request_id = ids[0] if ids and _REQUEST_ID.fullmatch(ids[0]) else None
    credentials = headers.getall("authorization", ())
    return CheckRequest(
        gateway,
        method,
        hosts,
        target,
        credentials,
        overrides,
        cross_origin,
        preflight,
        request_id,
        headers.getall("dpop", ()),
        client_certificate,
    )


def forwarded_request(
    gateway: str, headers: Headers, *, method: str, host: str, target: str
) -> CheckRequest:
    """Collect the same where headers of the gateway tell the request line.

    Each must be there exactly once: with two, the gateway added its own to the client's.

    Args:
        headers: Of the gateway's request, which has the client's headers too.
        method: Name of the header with the method.
        host: Name of the header with the host.
        target: Name of the header with the raw request target.
    """
    told = [headers.getall(name, ()) for name in (method, host, target)]
    if all(len(values) == 1 for values in told):
        return check_request(gateway, told[0][0], told[1], told[2][0], headers)
    return unreadable(check_request(gateway, "", (), "", headers))


def unreadable(request: CheckRequest) -> CheckRequest:
    """Give a request back as one whose forwarded headers make no sense."""
    fault = RequestError("forwarded_headers_malformed", "The forwarded request is malformed")
    return request._replace(method="", hosts=(), target="", fault=fault)
