"""`/nginx`: nginx's `auth_request`; only where `doors` lists it.

The request is told in `X-Original-*`, which `gateways/nginx/nginx.conf` sets. nginx takes 2xx, 401
and 403, and makes 500 of everything else; it relays no body, and of the headers only a 401's
challenge. So a denial is 401 or 403, and its real status and its body travel in headers of their
own, from which the configuration builds the client's response.
"""

from __future__ import annotations

from dataclasses import replace

from bridge.decision.decide import Decision
from bridge.decision.response import Response, denial_response, upstream_headers
from bridge.gateways.check_request import CheckRequest, Headers, forwarded_request
from bridge.tokens.identity import UpstreamHeaders

NAME = "nginx"
PATH = "/nginx"
STATUS_HEADER = "x-stepup-status"
BODY_HEADER = "x-stepup-body"
# 503 becomes 500 in nginx: a fault, which its configuration turns back into a 503.
_AS_THEY_ARE = frozenset({401, 403, 503})


def read_request(headers: Headers) -> CheckRequest:
    """Read the gateway's question; its own method and body mean nothing."""
    return forwarded_request(
        NAME,
        headers,
        method="x-original-method",
        host="x-original-host",
        target="x-original-uri",
    )


def reply(decision: Decision, request: CheckRequest, nobody: UpstreamHeaders) -> Response:
    """Write the decision as nginx understands it.

    Args:
        nobody: As in `decision.response.upstream_headers`.
    """
    if decision.allow:
        return Response(200, upstream_headers(decision, nobody).set, "")
    denial = denial_response(
        decision, head=request.method == "HEAD", cross_origin=request.cross_origin
    )
    told = ((STATUS_HEADER, str(denial.status)), (BODY_HEADER, denial.body))
    status = denial.status if denial.status in _AS_THEY_ARE else 403
    return replace(denial, status=status, headers=(*_one_challenge(denial.headers), *told))


def _one_challenge(headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Join the challenges, of which nginx before 1.23 relays only the first line."""
    challenges = [value for name, value in headers if name == "www-authenticate"]
    others = (header for header in headers if header[0] != "www-authenticate")
    joined = (("www-authenticate", ", ".join(challenges)),) if challenges else ()
    return (*joined, *others)
