"""`stepup-bridge explain`: one decision, step by step, for an operator at 3 a.m."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from bridge.decision.decide import Finding, Row, find_unmet
from bridge.decision.response import denial_response, upstream_headers
from bridge.errors import IssuerError, ReplayStoreError, RequestError, TokenError, printable
from bridge.gateways.check_request import CheckRequest
from bridge.policy.paths import split_target
from bridge.policy.requirement import Requirement
from bridge.rehearsal.question import host_of
from bridge.service.check import Checked
from bridge.tokens.access_token import AccessToken
from bridge.tokens.confirmation import BINDING_CHECKS
from bridge.tokens.credentials import Scheme, presented_scheme
from bridge.tokens.dpop import PROOF_CHECKS, describe_proof
from bridge.tokens.identity import UpstreamHeaders
from bridge.tokens.introspection_answer import INTROSPECTION
from bridge.tokens.jwt import CHECKS, read_jwt
from bridge.tokens.settings import ClaimNames, IntrospectionSettings, IssuerSettings

Step = dict[str, Any]

_ASSUMED = "claims are taken as verified: signature and header were not checked"

_SHOWN_CLAIMS = frozenset(
    [
        "iss",
        "aud",
        "sub",
        "client_id",
        "azp",
        "iat",
        "nbf",
        "exp",
        "acr",
        "auth_time",
        "scope",
        "scp",
        "cnf",
    ]
)


def explain(
    request: CheckRequest,
    checked: Checked,
    nobody: UpstreamHeaders,
    now: int,
    *,
    issuers: Sequence[IssuerSettings] = (),
    token: str | None = None,
    assumed: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Tell how a decision came about, as a JSON document.

    Args:
        checked: What the checker found.
        nobody: As in `decision.response.upstream_headers`.
        now: The time it was decided at, epoch seconds.
        issuers: The configured ones, to show the settings in force for the token's.
        token: The presented token, to show its claims; never shown itself.
        assumed: The claims that were taken as verified instead.
    """
    decision = checked.decision
    upstream = UpstreamHeaders((), ())
    response: dict[str, Any] = {"status": 200, "headers": [], "body": ""}
    if decision.allow:
        upstream = upstream_headers(decision, nobody)
    else:
        head = request.method == "HEAD"
        denial = denial_response(decision, head=head, cross_origin=request.cross_origin)
        response = {
            "status": denial.status,
            "headers": [list(header) for header in denial.headers],
            "body": denial.body,
        }
    document: dict[str, Any] = {
        "decision": "allow" if decision.allow else "deny",
        "status": response["status"],
        "error": None if decision.allow else decision.error,
        "api": decision.api.name if decision.api is not None else None,
        "operation": decision.operation.name if decision.operation is not None else None,
        "steps": list(_steps(request, checked, now, issuers, token, assumed)),
        "response": response,
        "upstream": {"set": dict(upstream.set), "remove": list(upstream.remove)},
    }
    if decision.would_deny:
        document["would_deny"] = decision.error
    return document


def _steps(
    request: CheckRequest,
    checked: Checked,
    now: int,
    issuers: Sequence[IssuerSettings],
    token: str | None,
    assumed: dict[str, Any] | None,
) -> Iterator[Step]:
    if assumed is not None:
        yield {"step": "assumption", "outcome": "made", "assumed": _ASSUMED}
    decision = checked.decision
    malformed = decision.row is Row.MALFORMED_REQUEST
    step: Step = {
        "step": "request",
        "outcome": "refused" if malformed else "read",
        "method": request.method,
        "host": host_of(request),
        "path": split_target(request.target),
    }
    if malformed:
        step["reason"] = decision.reason
    yield step
    if not malformed:
        yield _api_step(checked)
        if decision.api is not None:
            yield _operation_step(checked)
    if decision.row in (Row.PREFLIGHT, Row.PUBLIC):
        yield {"step": "credentials", "outcome": "not_looked_at", "reason": decision.reason}
    if decision.row >= Row.NO_CREDENTIALS:
        yield from _token_steps(request, checked, now, issuers, token, assumed)
    yield {
        "step": "decision",
        "outcome": decision.outcome,
        "row": int(decision.row),
        "reason": decision.reason,
    }


def _api_step(checked: Checked) -> Step:
    api = checked.decision.api
    if api is None:
        return {"step": "api", "outcome": "none", "reason": "no API has this host and base path"}
    return {
        "step": "api",
        "outcome": "matched",
        "api": api.name,
        "hosts": list(api.hosts) or ["any host"],
        "base_path": api.base_path,
        "mode": api.mode,
    }


def _operation_step(checked: Checked) -> Step:
    decision = checked.decision
    api, operation = decision.api, decision.operation
    if operation is None:
        return {
            "step": "operation",
            "outcome": "none",
            "reason": "no operation takes this method and path",
            "unmatched": api.unmatched if api is not None else None,
        }
    return {
        "step": "operation",
        "outcome": "matched",
        "operation": operation.name,
        "methods": list(operation.methods) or ["any method"],
        "template": checked.template,
        "public": operation.public,
        "requirement": _requirement(operation.requirement),
    }


def _token_steps(
    request: CheckRequest,
    checked: Checked,
    now: int,
    issuers: Sequence[IssuerSettings],
    token: str | None,
    assumed: dict[str, Any] | None,
) -> Iterator[Step]:
    finding = checked.finding
    if finding is None:
        yield {"step": "credentials", "outcome": "absent"}
        return
    if isinstance(finding, RequestError):
        yield {"step": "credentials", "outcome": "malformed", "reason": finding.reason}
        return
    scheme = presented_scheme(request.authorization)
    yield {"step": "credentials", "outcome": "present"}
    if checked.token is None and _is_of_binding(finding):
        yield _binding_step(request, checked, scheme, assumed=assumed is not None)
        return
    verification = _verification_step(checked.token or finding, now, token, assumed)
    iss = verification.get("issuer", verification.get("claims", {}).get("iss"))
    for settings in issuers:
        if settings.issuer == iss:
            yield _issuer_step(settings)
    yield verification
    if checked.token is not None and (
        scheme == "dpop" or checked.token.confirmation is not None or _is_of_binding(finding)
    ):
        yield _binding_step(request, checked, scheme, assumed=assumed is not None)
    if isinstance(finding, AccessToken):
        operation = checked.decision.operation
        demanded = Requirement() if operation is None else operation.requirement
        yield from _requirement_steps(demanded, finding, now)


def _is_of_binding(finding: Finding) -> bool:
    return isinstance(finding, ReplayStoreError) or (
        isinstance(finding, TokenError) and finding.check not in (*CHECKS, INTROSPECTION)
    )


def _binding_step(
    request: CheckRequest, checked: Checked, scheme: Scheme | None, *, assumed: bool
) -> Step:
    """Tell what the token is bound to, and how far the request got in proving it."""
    api, finding, token = checked.decision.api, checked.finding, checked.token
    bound = None if token is None else token.confirmation
    checks = [
        check
        for check in (*BINDING_CHECKS, *(PROOF_CHECKS if scheme == "dpop" else ()))
        if check != "certificate" or (bound is not None and bound.x5t_s256 is not None)
    ]
    step: Step = {"step": "binding", "outcome": "proven", "scheme": scheme}
    if api is not None:
        step |= {"sender_constraint": api.sender_constraint}
    if bound is not None:
        step |= {"token_jkt": bound.jkt, "token_x5t#S256": bound.x5t_s256}
    if isinstance(finding, TokenError):
        step |= {"outcome": "refused", "reason": finding.reason, "failed_check": finding.check}
        failed = finding.check
        checks = checks[: checks.index(failed)] if failed in checks else []
    elif isinstance(finding, ReplayStoreError):
        step |= {"outcome": "unknown", "reason": finding.reason}
        checks.remove("replay")
    elif scheme == "dpop":
        checks.remove("replay")
        step["not_looked_up"] = "whether the proof was used before: explain uses none up"
    if assumed:
        step["assumed"] = "the binding is taken as proven"
        return step
    step["passed_checks"] = checks
    if scheme == "dpop" and api is not None:
        step["expected"] = {
            "htm": request.method,
            "htu": f"{api.origin}{split_target(request.target)}",
        }
        step["proof"] = describe_proof(request.dpop)
    return step


def _issuer_step(settings: IssuerSettings) -> Step:
    claims = settings.claims
    return {
        "step": "issuer",
        "outcome": "configured",
        "issuer": settings.issuer,
        "provider": settings.provider,
        "audiences": list(settings.audiences),
        "algorithms": list(settings.algorithms),
        "token_type": settings.token_type,
        "id_token_claims": settings.id_token_claims,
        "claims": {name: getattr(claims, name) for name in ClaimNames.__slots__},
        "acr_map": dict(settings.acr_names.acr_map),
        "insufficient_claims": settings.insufficient_claims,
        **({} if settings.introspection is None else _introspection(settings.introspection)),
    }


def _introspection(settings: IntrospectionSettings) -> Step:
    return {
        "introspection": {
            "endpoint": settings.endpoint or "from metadata",
            "when": settings.when,
            "client_id": settings.client_id,
            "auth": settings.auth,
            "cache_ttl": settings.cache_ttl,
        }
    }


def _verification_step(
    finding: AccessToken | TokenError | IssuerError | ReplayStoreError,
    now: int,
    token: str | None,
    assumed: dict[str, Any] | None,
) -> Step:
    step: Step = {"step": "token", "outcome": "verified", "now": now}
    checks = _checks(token if assumed is None else None)
    match finding:
        case IssuerError():
            step |= {"outcome": "issuer_at_fault", "issuer": finding.issuer}
            step |= {"reason": finding.reason}
        case TokenError():
            failed = checks.index(finding.check)
            step |= {"outcome": "invalid", "reason": finding.reason, "failed_check": finding.check}
            step["passed_checks"] = list(checks[:failed])
        case AccessToken():
            step |= {"issuer": finding.iss, "leeway_seconds": finding.leeway}
            asked = finding.introspected
            step["passed_checks"] = [each for each in checks if asked or each != INTROSPECTION]
    if assumed is not None:
        step["assumed"] = _ASSUMED
        step["passed_checks"] = [
            check
            for check in step.get("passed_checks", ())
            if check not in ("format", "crit", "alg", "typ", "key", "signature")
        ]
        step["claims"] = _shown(assumed)
    elif token is not None:
        step |= _describe(token)
    return step


def _checks(token: str | None) -> tuple[str, ...]:
    """Name the checks that a token goes through, in order; those of an opaque one are few."""
    try:
        is_opaque = token is not None and read_jwt(token) is None
    except TokenError:
        is_opaque = False
    return ("format", INTROSPECTION, "aud") if is_opaque else (*CHECKS, INTROSPECTION)


def _describe(token: str) -> Step:
    """Show what of a token helps to understand a decision; never the token, nor all its claims."""
    try:
        jwt = read_jwt(token)
    except TokenError:
        return {"format": "malformed JWT"}
    if jwt is None:
        return {"format": "opaque"}
    header = {"alg": jwt.header.alg, "kid": jwt.header.kid, "typ": jwt.header.typ}
    return {"format": "JWT", "header": header, "claims": _shown(dict(jwt.claims))}


def _shown(claims: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in claims.items() if name in _SHOWN_CLAIMS}


def _requirement_steps(demanded: Requirement, token: AccessToken, now: int) -> Iterator[Step]:
    unmet = find_unmet(demanded, token, now)
    yield {
        "step": "acr",
        "outcome": _outcome(bool(demanded.acr_values), unmet.acr),
        "demanded": list(demanded.acr_values),
        "token": list(token.acr),
    }
    yield {
        "step": "max_age",
        "outcome": _outcome(demanded.max_age is not None, unmet.max_age),
        "demanded": demanded.max_age,
        "auth_time": token.auth_time,
        "age_seconds": None if token.auth_time is None else now - token.auth_time,
        "leeway_seconds": token.leeway,
    }
    yield {
        "step": "scope",
        "outcome": _outcome(bool(demanded.scopes), bool(unmet.scopes)),
        "demanded": list(demanded.scopes),
        "token": sorted(token.scopes),
        "missing": list(unmet.scopes),
    }


def _outcome(is_demanded: bool, is_unmet: bool) -> str:
    if not is_demanded:
        return "not_demanded"
    return "unmet" if is_unmet else "met"


def _requirement(requirement: Requirement) -> dict[str, Any]:
    return {
        "scopes": list(requirement.scopes),
        "acr_values": list(requirement.acr_values),
        "max_age": requirement.max_age,
    }


def render(document: dict[str, Any]) -> str:
    """Write an explanation for a person: a line per step, then the response as it is sent."""
    lines = []
    for step in document["steps"]:
        lines.append(f"{step['step']}: {step['outcome']}")
        for name, value in step.items():
            if name not in ("step", "outcome"):
                shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=True)
                lines.append(f"    {name}: {printable(shown)}")
    response = document["response"]
    lines += ["", f"{document['decision']}: {response['status']}"]
    lines += [f"    {name}: {value}" for name, value in response["headers"]]
    if response["body"]:
        lines += ["", f"    {response['body']}"]
    if document["decision"] == "allow":
        upstream = document["upstream"]
        lines += [f"    set {name}: {value}" for name, value in upstream["set"].items()]
        lines.append(f"    remove {', '.join(upstream['remove'])}")
    return "\n".join(lines) + "\n"
