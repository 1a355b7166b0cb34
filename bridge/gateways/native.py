"""`POST /v1/check`: the check as JSON, for the Kong plugin and anybody's own gateway (spec §8)."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from bridge.decision.decide import Decision
from bridge.decision.response import denial_response, upstream_headers
from bridge.errors import BridgeError
from bridge.gateways.check_request import CheckRequest, check_request
from bridge.tokens import json_strict
from bridge.tokens.identity import UpstreamHeaders

MAX_QUESTION_BYTES = 256 * 1024

_STRING_MEMBERS = ("method", "scheme", "host", "path")
_OPTIONAL_MEMBERS = ("client_certificate_sha256",)
_KNOWN_MEMBERS = frozenset({*_STRING_MEMBERS, *_OPTIONAL_MEMBERS, "headers"})
_SHA256_HEX = re.compile(r"[0-9A-Fa-f]{64}")


class QuestionError(BridgeError):
    """The gateway's question is malformed: 400 `application/problem+json` to the gateway.

    Attributes:
        pointer: JSON pointer (RFC 6901) to the fault; empty for the whole.
        detail: What is wrong there. Holds no value that was sent.
    """

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(f"{pointer}: {detail}")
        self.pointer = pointer
        self.detail = detail


class _JsonHeaders:
    """The question's headers by lower-case name; two spellings of one name are two values."""

    def __init__(self, members: dict[str, list[str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, values in members.items():
            self._values.setdefault(name.lower(), []).extend(values)

    def getall(self, key: str, default: Sequence[str], /) -> Sequence[str]:
        return self._values.get(key, default)


def read_question(raw: bytes) -> CheckRequest:
    """Read a question.

    Raises:
        QuestionError: It is malformed; an ambiguous path in it is not, that is the client's fault.
    """
    try:
        question = json_strict.loads(raw)
    except ValueError:
        raise QuestionError("", "must be one JSON object without duplicate members") from None
    if not isinstance(question, dict):
        raise QuestionError("", "must be a JSON object")
    for name in question:
        if name not in _KNOWN_MEMBERS:
            raise QuestionError("", "must have no other members than those described")
    for name in _STRING_MEMBERS:
        if name not in question:
            raise QuestionError("", f"must have the member {name}")
        if not isinstance(question[name], str):
            raise QuestionError(f"/{name}", "must be a string")
    certificate = _read_certificate(question)
    headers = _read_headers(question)
    return check_request(
        "native", question["method"], (question["host"],), question["path"], headers, certificate
    )


def _read_certificate(question: dict[str, Any]) -> str | None:
    if "client_certificate_sha256" not in question:
        return None
    certificate = question["client_certificate_sha256"]
    if not isinstance(certificate, str) or not _SHA256_HEX.fullmatch(certificate):
        raise QuestionError("/client_certificate_sha256", "must be 64 hexadecimal digits")
    return certificate.lower()


def _read_headers(question: dict[str, Any]) -> _JsonHeaders:
    if "headers" not in question:
        raise QuestionError("", "must have the member headers")
    headers = question["headers"]
    if not isinstance(headers, dict):
        raise QuestionError("/headers", "must be an object of lists of strings")
    for position, values in enumerate(headers.values()):
        # The name is the client's, and could be anything: the place is told by number.
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise QuestionError("/headers", f"must have a list of strings as member {position + 1}")
    return _JsonHeaders(headers)


def answer(decision: Decision, request: CheckRequest, nobody: UpstreamHeaders) -> bytes:
    """Write the decision as JSON.

    Args:
        nobody: As in `decision.response.upstream_headers`.
    """
    api, operation = decision.api, decision.operation
    name = f"{api.name}.{operation.name}" if api is not None and operation is not None else None
    document: dict[str, Any] = {"allow": decision.allow, "operation": name}
    if decision.allow:
        upstream = upstream_headers(decision, nobody)
        document["upstream"] = {"set": dict(upstream.set), "remove": upstream.remove}
    else:
        head = request.method == "HEAD"
        response = denial_response(decision, head=head, cross_origin=request.cross_origin)
        document["response"] = {
            "status": response.status,
            "headers": response.headers,
            "body": response.body,
        }
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def problem(fault: QuestionError) -> bytes:
    """Write a malformed question's problem details (RFC 9457)."""
    document = {
        "type": "about:blank",
        "title": "Malformed question",
        "status": 400,
        "detail": fault.detail,
        "pointer": fault.pointer,
    }
    return json.dumps(document, separators=(",", ":")).encode("ascii")
