"""`/forward-auth`: Traefik's ForwardAuth and Caddy's `forward_auth`; only where `doors` lists it.

The request is told in `X-Forwarded-*`, which only a gateway that overwrites them may say. Allow is
200 with the identity headers, which the gateway copies to the request; every other status goes to
the client as it is, with headers and body. What must be removed from the request cannot be said:
the gateway's configuration removes it before (docs/gateways.md).
"""

from __future__ import annotations

from bridge.decision.decide import Decision
from bridge.decision.response import Response, denial_response, upstream_headers
from bridge.gateways.check_request import CheckRequest, Headers, forwarded_request, unreadable
from bridge.tokens.identity import UpstreamHeaders

NAME = "forward_auth"
PATH = "/forward-auth"
_SCHEMES = frozenset({"http", "https", "ws", "wss"})


def read_request(headers: Headers) -> CheckRequest:
    """Read the gateway's question; its own method and body mean nothing."""
    request = forwarded_request(
        NAME,
        headers,
        method="x-forwarded-method",
        host="x-forwarded-host",
        target="x-forwarded-uri",
    )
    schemes = headers.getall("x-forwarded-proto", ())
    if len(schemes) != 1 or schemes[0] not in _SCHEMES:
        return unreadable(request)
    return request


def reply(decision: Decision, request: CheckRequest, nobody: UpstreamHeaders) -> Response:
    """Write the decision as these gateways understand it.

    Args:
        nobody: As in `decision.response.upstream_headers`.
    """
    if not decision.allow:
        head = request.method == "HEAD"
        return denial_response(decision, head=head, cross_origin=request.cross_origin)
    return Response(200, upstream_headers(decision, nobody).set, "")
