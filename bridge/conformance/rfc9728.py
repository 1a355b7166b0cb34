"""Protected resource metadata: where it is, and what it says. Pure."""

from __future__ import annotations

from typing import Any
from urllib.parse import SplitResult, urlsplit

from bridge.client.origin import is_protected
from bridge.conformance.exchange import Evidence, Exchange, NotApplicableError
from bridge.conformance.plan import LINKED_METADATA, METADATA
from bridge.conformance.requirement import Check, Requirement
from bridge.tokens import json_strict

_OK = 200
_BEARER_METHODS = frozenset({"header", "body", "query"})
_CHALLENGED = ("none", "none-sensitive", "garbage", "expired", "insufficient-scope", "weak")


def _status(exchange: Exchange, _: Evidence) -> str | None:
    status = exchange.response.status
    return None if status == _OK else f"answered with {status}"


def _ok(exchange: Exchange) -> None:
    if exchange.response.status != _OK:
        raise NotApplicableError("there is no document")


def _media_type(exchange: Exchange, _: Evidence) -> str | None:
    _ok(exchange)
    types = [value.partition(";")[0].strip() for value in exchange.response.values("content-type")]
    return None if [name.lower() for name in types] == ["application/json"] else "no JSON by type"


def _json(exchange: Exchange) -> Any:
    try:
        return json_strict.loads(exchange.response.body)
    except ValueError:
        return None


def _object(exchange: Exchange, _: Evidence) -> str | None:
    _ok(exchange)
    return None if isinstance(_json(exchange), dict) else "no JSON object, or an ambiguous one"


def _document(exchange: Exchange) -> dict[str, Any]:
    _ok(exchange)
    document = _json(exchange)
    if not isinstance(document, dict):
        raise NotApplicableError("the document cannot be read")
    return document


def _nothing_empty(exchange: Exchange, _: Evidence) -> str | None:
    empty = [name for name, value in _document(exchange).items() if value in (None, [], "")]
    return f"{empty[0]} is there, and empty" if empty else None


def _resource(exchange: Exchange, evidence: Evidence) -> str | None:
    if "resource" not in (document := _document(exchange)):
        return "resource is missing"
    if document["resource"] == evidence.facts.resource:
        return None
    return "resource is not the identifier that the metadata was asked for"


def _resource_as_requested(exchange: Exchange, evidence: Evidence) -> str | None:
    resource, asked = _document(exchange).get("resource"), evidence.other("none").sent.url
    split = _split(resource)
    if split is not None and split.path == urlsplit(asked).path:
        return None
    return "resource is another URL than the one requested"


def _split(value: object) -> SplitResult | None:
    try:
        return urlsplit(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _list(name: str) -> Check:
    def check(exchange: Exchange, _: Evidence) -> str | None:
        value = _document(exchange).get(name)
        if value is None:
            raise NotApplicableError(f"no {name}")
        if isinstance(value, list) and all(isinstance(member, str) for member in value):
            return None
        return f"{name} is no list of strings"

    return check


def _names_servers(exchange: Exchange, _: Evidence) -> str | None:
    return None if _document(exchange).get("authorization_servers") else "no authorization_servers"


def _issuers(exchange: Exchange, _: Evidence) -> str | None:
    servers = _document(exchange).get("authorization_servers")
    if not isinstance(servers, list):
        raise NotApplicableError("no authorization_servers")
    for issuer in servers:
        parts = _split(issuer)
        if parts is None or not parts.hostname or not is_protected(parts.geturl()):
            return "a member of authorization_servers is no https URL"
        if parts.query or parts.fragment:
            return "a member of authorization_servers has a query or a fragment"
    return None


def _methods(exchange: Exchange, _: Evidence) -> str | None:
    methods = _document(exchange).get("bearer_methods_supported")
    if not isinstance(methods, list):
        raise NotApplicableError("no bearer_methods_supported")
    unknown = [method for method in methods if method not in _BEARER_METHODS]
    return "bearer_methods_supported has a method that there is not" if unknown else None


def _points(exchange: Exchange, evidence: Evidence) -> str | None:
    if evidence.facts.resource is None:
        raise NotApplicableError("the profile names no resource")
    has = "resource_metadata" in exchange.bearer.params
    return None if has else "the challenge has no resource_metadata"


REQUIREMENTS = (
    Requirement(
        "RFC9728-3.1-1",
        "MUST",
        "Metadata is at `/.well-known/oauth-protected-resource`, inserted before the path of the "
        "resource, with status 200.",
        (METADATA,),
        _status,
    ),
    Requirement(
        "RFC9728-3.2-1",
        "MUST",
        "The type of the metadata is `application/json`.",
        (METADATA,),
        _media_type,
    ),
    Requirement(
        "RFC9728-3.2-2",
        "MUST",
        "The metadata is one JSON object, no member twice.",
        (METADATA,),
        _object,
    ),
    Requirement(
        "RFC9728-3.2-3",
        "MUST",
        "Members without a value are left out.",
        (METADATA,),
        _nothing_empty,
    ),
    Requirement(
        "RFC9728-3.3-1",
        "MUST",
        "`resource` is the identifier into which the well-known path was inserted.",
        (METADATA,),
        _resource,
    ),
    Requirement(
        "RFC9728-2-1",
        "MUST",
        "`authorization_servers` lists issuers: https URLs without query and fragment.",
        (METADATA,),
        _issuers,
    ),
    Requirement(
        "RFC9728-2-2",
        "SHOULD",
        "`authorization_servers` says where tokens come from.",
        (METADATA,),
        _names_servers,
        ours=True,
    ),
    Requirement(
        "RFC9728-2-3",
        "MUST",
        "`bearer_methods_supported` has no other methods than header, body and query.",
        (METADATA,),
        _methods,
    ),
    Requirement(
        "RFC9728-2-4",
        "MUST",
        "`scopes_supported` is a list of strings.",
        (METADATA,),
        _list("scopes_supported"),
    ),
    Requirement(
        "RFC9728-5.1-1",
        "SHOULD",
        "Challenges have `resource_metadata`.",
        _CHALLENGED,
        _points,
        ours=True,
    ),
    Requirement(
        "RFC9728-5.1-2",
        "MUST",
        "`resource_metadata` is the URL of the metadata.",
        (LINKED_METADATA,),
        _status,
    ),
    Requirement(
        "RFC9728-3.3-2",
        "MUST",
        "The metadata found by the challenge is that of the same resource.",
        (LINKED_METADATA,),
        _resource,
    ),
    Requirement(
        "RFC9728-3.3-3",
        "INFO",
        "The `resource` of the metadata found by the challenge is the very URL that was requested.",
        (LINKED_METADATA,),
        _resource_as_requested,
        ours=True,
    ),
)
