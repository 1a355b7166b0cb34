"""`POST /v1/check`: the check as JSON, for the Kong plugin and anybody's own gateway."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import orjson

from bridge.decision.decide import Decision
from bridge.decision.response import Response, denial_response, upstream_headers
from bridge.errors import BridgeError
from bridge.gateways.check_request import HEADERS_READ, CheckRequest, check_request
from bridge.tokens import json_strict
from bridge.tokens.identity import UpstreamHeaders

MAX_QUESTION_BYTES = 256 * 1024

_STRING_MEMBERS = ("method", "scheme", "host", "path")
_REQUIRED_MEMBERS = (*_STRING_MEMBERS, "headers")
_CERTIFICATE = "client_certificate_sha256"
_required_members = itemgetter(*_REQUIRED_MEMBERS)
_KNOWN_MEMBERS = frozenset({*_REQUIRED_MEMBERS, _CERTIFICATE})
_ONLY_STRINGS = frozenset({str})
_SHA256_HEX = re.compile(r"[0-9A-Fa-f]{64}")
_JSON = (("content-type", "application/json"),)
# What may be told of a member that nobody knows: no dots and not long, so that no JWT fits in.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")


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


class _JsonHeaders(dict[str, Sequence[str]]):
    """The question's headers by lower-case name."""

    getall = dict.get


def read_question(raw: bytes) -> CheckRequest:
    """Read a question.

    Raises:
        QuestionError: It is malformed; an ambiguous path in it is not, that is the client's fault.
    """
    try:
        question = json_strict.loads(raw)
    except ValueError as fault:
        raise _text_fault(raw, fault) from None
    if not isinstance(question, dict):
        raise QuestionError("", "must be a JSON object")
    if not question.keys() <= _KNOWN_MEMBERS:
        name = next(name for name in question if name not in _KNOWN_MEMBERS)
        unknown = "must have no members but those described"
        raise _fault_at("", name, "must not be there", unknown)
    try:
        *strings, headers = _required_members(question)
    except KeyError as missing:
        raise QuestionError("", f"must have the member {missing.args[0]}") from None
    if not _ONLY_STRINGS.issuperset(map(type, strings)):
        name = next(n for n in _STRING_MEMBERS if not isinstance(question[n], str))
        raise QuestionError(f"/{name}", "must be a string")
    certificate = None
    if _CERTIFICATE in question:
        certificate = question[_CERTIFICATE]
        if not isinstance(certificate, str) or not _SHA256_HEX.fullmatch(certificate):
            raise QuestionError(f"/{_CERTIFICATE}", "must be 64 hexadecimal digits")
        certificate = certificate.lower()
    method, _, host, path = strings
    read = _read_headers(headers)
    return check_request("native", method, (host,), path, read, certificate)


def _read_headers(headers: Any) -> _JsonHeaders:
    if not isinstance(headers, dict):
        raise QuestionError("/headers", "must be an object of lists of strings")
    read = _JsonHeaders()
    for name, values in headers.items():
        if not isinstance(values, list) or not _ONLY_STRINGS.issuperset(map(type, values)):
            position = list(headers).index(name) + 1
            by_number = f"must have a list of strings as member {position}"
            raise _fault_at("/headers", name, "must be a list of strings", by_number)
        lower = name.lower()  # two spellings of one name are two values
        read[lower] = [*read[lower], *values] if lower in read else values
    return read


def _text_fault(raw: bytes, fault: ValueError) -> QuestionError:
    """Tell what keeps a text from being JSON with one meaning, and where."""
    if isinstance(fault, UnicodeDecodeError):
        return QuestionError("", f"must be UTF-8; byte {fault.start + 1} is not")
    if isinstance(fault, json.JSONDecodeError):
        return QuestionError("", f"must be one JSON object; character {fault.pos + 1} is wrong")
    duplicate = _find_duplicate(raw)
    if duplicate is not None:
        return _fault_at(*duplicate, "must be there once", "must have no member twice")
    return QuestionError(
        "",
        "must have no duplicate members, NaN, Infinity, numbers beyond 64 bits, lone surrogates, "
        "or deep nesting",
    )


class _Members(list[tuple[str, Any]]):
    """An object's members as the text has them, one name twice too."""


_MEMBERS_DECODER = json.JSONDecoder(object_pairs_hook=_Members, parse_int=str, parse_float=str)


def _find_duplicate(raw: bytes) -> tuple[str, str] | None:
    """Find what the question or its headers have twice: pointer to which of them, and the name."""
    try:
        document = _MEMBERS_DECODER.decode(raw.decode())
    except (RecursionError, ValueError):  # another fault stands behind the one that was found
        return None
    if not isinstance(document, _Members):
        return None
    headers = next((value for name, value in document if name == "headers"), None)
    for parent, members in (("", document), ("/headers", headers)):
        name = _first_duplicate(members) if isinstance(members, _Members) else None
        if name is not None:
            return parent, name
    return None


def _first_duplicate(members: _Members) -> str | None:
    seen: set[str] = set()
    for name, _ in members:
        if name in seen:
            return name
        seen.add(name)
    return None


def _fault_at(parent: str, name: str, detail: str, detail_of_parent: str) -> QuestionError:
    """Point to a member; to its parent where the name must not be told.

    The gateway's author named the question's members, clients name headers.
    """
    told = name.lower() in HEADERS_READ if parent else _PLAIN_NAME.fullmatch(name)
    if told:
        return QuestionError(f"{parent}/{name}", detail)
    return QuestionError(parent, detail_of_parent)


def reply(decision: Decision, request: CheckRequest, nobody: UpstreamHeaders) -> Response:
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
    # All ASCII: names of the configuration, and what stands in headers.
    return Response(200, _JSON, orjson.dumps(document).decode())


def problem(fault: QuestionError) -> bytes:
    """Write a malformed question's problem details (RFC 9457)."""
    document = {
        "type": "about:blank",
        "title": "Malformed question",
        "status": 400,
        "detail": fault.detail,
        "pointer": fault.pointer,
    }
    return orjson.dumps(document)
