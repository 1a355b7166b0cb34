"""Envoy's ext_authz filter with an HTTP service and `path_prefix: /envoy` (docs/gateways.md).

The request line after the prefix is the original one; allow is exactly 200; every other status but
5xx is relayed to the client with headers and body.
"""

from __future__ import annotations

from functools import lru_cache

from bridge.decision.decide import Decision
from bridge.decision.response import Response, denial_response, upstream_headers
from bridge.gateways.check_request import CheckRequest, Headers, check_request
from bridge.gateways.client_certificate import read_xfcc
from bridge.tokens.identity import UpstreamHeaders

PREFIX = "/envoy/"
_HEADERS_TO_REMOVE = "x-envoy-auth-headers-to-remove"


def read_request(
    method: str, raw_target: str, headers: Headers, *, trust_xfcc: bool = False
) -> CheckRequest:
    """Read Envoy's question.

    Args:
        method: Of Envoy's request, which is the original one's.
        raw_target: Request target of Envoy's request, byte for byte; starts with `PREFIX`.
        headers: Of Envoy's request: what `allowed_headers` lets through.
        trust_xfcc: Envoy itself wrote the end of `x-forwarded-client-cert`.
    """
    hosts = headers.getall("host", ())
    certificate = read_xfcc(headers.getall("x-forwarded-client-cert", ())) if trust_xfcc else None
    target = raw_target[len(PREFIX) - 1 :]
    return check_request("envoy", method, hosts, target, headers, certificate)


def reply(decision: Decision, request: CheckRequest, nobody: UpstreamHeaders) -> Response:
    """Write the decision as Envoy's filter understands it.

    Args:
        nobody: As in `decision.response.upstream_headers`.
    """
    if not decision.allow:
        head = request.method == "HEAD"
        return denial_response(decision, head=head, cross_origin=request.cross_origin)
    upstream = upstream_headers(decision, nobody)
    removed = (_HEADERS_TO_REMOVE, _joined(upstream.remove))
    return Response(200, (*upstream.set, removed), "")


_joined = lru_cache(maxsize=256)(", ".join)  # tokens of one kind lack the same headers
