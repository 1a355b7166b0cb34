"""The decision table of docs/decisions.md, top to bottom. Pure: `now` is an argument.

Row 1 (a request that can be read in two ways) is a `RequestError` of `policy` or a gateway; it
never gets as far as a decision about a token.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, NamedTuple

from bridge.errors import IssuerError, ProofError, ReplayStoreError, RequestError, TokenError
from bridge.policy.operations import Api, Operation
from bridge.policy.requirement import NO_REQUIREMENT, Requirement
from bridge.tokens.access_token import AccessToken
from bridge.tokens.credentials import Scheme

ErrorCode = Literal[
    "invalid_request",
    "no_such_operation",
    "unauthorized",
    "temporarily_unavailable",
    "invalid_token",
    "invalid_dpop_proof",
    "use_dpop_nonce",
    "insufficient_user_authentication",
    "insufficient_scope",
]

Finding = RequestError | IssuerError | ReplayStoreError | TokenError | AccessToken | None
"""What became of the credentials: malformed, not to be told (the issuer or the memory of used
proofs is at fault), invalid, verified; None: none."""


class Row(IntEnum):
    """The rows of the decision table."""

    MALFORMED_REQUEST = 1
    NO_API = 2
    PREFLIGHT = 3
    NO_OPERATION = 4
    PUBLIC = 5
    NO_CREDENTIALS = 6
    MALFORMED_CREDENTIALS = 7
    ISSUER_AT_FAULT = 8
    INVALID_TOKEN = 9
    STEP_UP = 10
    SCOPE = 11
    MET = 12


@dataclass(frozen=True, slots=True)
class Unmet:
    """What a verified token lacks of a requirement."""

    acr: bool = False
    max_age: bool = False
    scopes: tuple[str, ...] = ()


_NOTHING = Unmet()


class Decision(NamedTuple):
    """The answer to one check.

    Attributes:
        allow: The gateway may let the request pass.
        row: Row of the decision table that held.
        reason: Stable code for log and `explain`; never for the client.
        api: Where the request goes; None where unknown.
        operation: What it addresses; None where unknown.
        requirement: What the operation demands, where a token came to be judged by it.
        status: 200, or the status of the denial; in monitor mode of the denial that was spared.
        error: The `error` of the denial, also in monitor mode; None on a plain allow.
        description: One fixed sentence for the client.
        would_deny: Monitor mode: allowed, though the table says no.
        unmet: What of it is not met.
        token: The verified token, if there was one to look at.
        retry_after_seconds: Row 8, and row 10 where the loop guard forbids.
        scheme: By which the credentials were presented; None: none were, or that is ambiguous.
        nonce: What the next DPoP proof must hold.
    """

    allow: bool
    row: Row
    reason: str
    api: Api | None = None
    operation: Operation | None = None
    requirement: Requirement = NO_REQUIREMENT
    status: int = 200
    error: ErrorCode | None = None
    description: str = ""
    would_deny: bool = False
    unmet: Unmet = _NOTHING
    token: AccessToken | None = None
    retry_after_seconds: int | None = None
    scheme: Scheme | None = None
    nonce: str | None = None

    @property
    def outcome(self) -> Literal["allow", "deny", "would_deny"]:
        """Name the decision as the log and the metrics do."""
        if self.would_deny:
            return "would_deny"
        return "allow" if self.allow else "deny"


def decide_malformed(fault: RequestError, api: Api | None = None) -> Decision:
    """Row 1: the request is malformed or ambiguous. Monitor mode does not spare it."""
    denial = _deny(Row.MALFORMED_REQUEST, fault.reason, fault.description, api, None)
    return denial._replace(allow=False, would_deny=False)


def decide_without_api(unmatched_host: Literal["deny", "allow"]) -> Decision:
    """Row 2: no API has the request's host and base path."""
    if unmatched_host == "allow":
        return _allow(Row.NO_API, "host_unmatched", None, None)
    return _deny(Row.NO_API, "host_unmatched", _NO_OPERATION, None, None)


def decide_without_token(
    api: Api, operation: Operation | None, *, preflight: bool
) -> Decision | None:
    """Rows 3 to 5: what is settled without a look at the token; None: look at the token.

    Args:
        preflight: The request is a CORS preflight (Fetch §3.2.2).
    """
    if preflight and api.cors_preflight == "allow":
        return _allow(Row.PREFLIGHT, "preflight", api, operation)
    if operation is None and api.unmatched == "deny":
        return _deny(Row.NO_OPERATION, "operation_unmatched", _NO_OPERATION, api, None)
    if operation is None and api.unmatched == "allow":
        return _allow(Row.NO_OPERATION, "operation_unmatched", api, None)
    if operation is not None and operation.public:
        return _allow(Row.PUBLIC, "public", api, operation)
    return None


def decide_on_token(
    api: Api,
    operation: Operation | None,
    finding: Finding,
    now: int,
    unavailable_status: int = 503,
    scheme: Scheme | None = None,
) -> Decision:
    """Rows 6 to 12: what the credentials are worth.

    Args:
        operation: None under `unmatched: require_token`: any valid token will do.
        finding: What became of the credentials.
        now: Current time, epoch seconds.
        unavailable_status: Status of row 8.
        scheme: By which the credentials were presented, for the challenge; None: ambiguous.

    Spec: RFC 6750 §3.1, RFC 9470 §3.
    """
    demanded = NO_REQUIREMENT if operation is None else operation.requirement
    if not isinstance(finding, AccessToken):
        denial = _decide_unverified(api, operation, finding, demanded, unavailable_status)
        return denial._replace(scheme=None if finding is None else scheme)
    unmet = find_unmet(demanded, finding, now)
    if unmet.acr or unmet.max_age:
        reason, text = _STEP_UP[unmet.acr, unmet.max_age]
        if finding.is_machine and api.machine_tokens == "forbid":
            denial = _deny(Row.STEP_UP, "machine_token", _USER_REQUIRED, api, operation)
            return denial._replace(requirement=demanded, unmet=unmet, token=finding, status=403)
        denial = _deny(Row.STEP_UP, reason, text, api, operation)
        return denial._replace(requirement=demanded, unmet=unmet, token=finding, scheme=scheme)
    if unmet.scopes:
        denial = _deny(Row.SCOPE, "scope_missing", _SCOPE_REQUIRED, api, operation)
        return denial._replace(requirement=demanded, unmet=unmet, token=finding, scheme=scheme)
    return Decision(True, Row.MET, "requirement_met", api, operation, demanded, token=finding)


def _decide_unverified(
    api: Api,
    operation: Operation | None,
    finding: RequestError | IssuerError | ReplayStoreError | TokenError | None,
    demanded: Requirement,
    unavailable_status: int,
) -> Decision:
    """Rows 6 to 9: there is no verified token."""
    match finding:
        case None:
            denial = _deny(Row.NO_CREDENTIALS, "no_credentials", _TOKEN_REQUIRED, api, operation)
            return denial._replace(requirement=demanded)
        case RequestError(reason=reason, description=text):
            return _deny(Row.MALFORMED_CREDENTIALS, reason, text, api, operation)
        case (
            IssuerError(reason=reason, retry_after_seconds=seconds)
            | ReplayStoreError(reason=reason, retry_after_seconds=seconds)
        ):
            denial = _deny(Row.ISSUER_AT_FAULT, reason, _UNAVAILABLE, api, operation)
            return denial._replace(status=unavailable_status, retry_after_seconds=seconds)
        case ProofError(reason=reason, nonce=nonce):
            text = _PROOF_INVALID if nonce is None else _NONCE_REQUIRED
            denial = _deny(Row.INVALID_TOKEN, reason, text, api, operation)
            error: ErrorCode = "invalid_dpop_proof" if nonce is None else "use_dpop_nonce"
            return denial._replace(error=error, nonce=nonce)
        case invalid:
            text = _TOKEN_EXPIRED if invalid.reason == "token_expired" else _TOKEN_INVALID
            return _deny(Row.INVALID_TOKEN, invalid.reason, text, api, operation)


def decide_unavailable(unavailable_status: int) -> Decision:
    """Row 8 for a defect of the bridge itself: nobody is let in, and nobody is sent to log in."""
    denial = _deny(Row.ISSUER_AT_FAULT, "check_failed", _UNAVAILABLE, None, None)
    return denial._replace(status=unavailable_status, retry_after_seconds=1)


def find_unmet(requirement: Requirement, token: AccessToken, now: int) -> Unmet:
    """Compare a verified token with a requirement; every part is judged, none hides another."""
    acr = not satisfies_acr(token, requirement.acr_values)
    max_age = requirement.max_age is not None and not is_fresh(token, requirement.max_age, now)
    scopes = requirement.scopes
    lacking = (
        () if token.scopes.issuperset(scopes) else tuple(s for s in scopes if s not in token.scopes)
    )
    return Unmet(acr, max_age, lacking) if acr or max_age or lacking else _NOTHING


def satisfies_acr(token: AccessToken, acr_values: tuple[str, ...]) -> bool:
    """Tell whether any of the token's acr is any of the demanded ones, by exact comparison.

    Args:
        acr_values: Empty: nothing is demanded.

    Spec: RFC 9470 §3 ("one of which the protected resource requires").
    """
    return not acr_values or not set(acr_values).isdisjoint(token.acr)


def is_fresh(token: AccessToken, max_age: int, now: int) -> bool:
    """Tell whether the user authenticated recently enough.

    Args:
        token: A verified token. Without `auth_time`, or with one in the future, it is never fresh.
        max_age: Oldest acceptable authentication, seconds, >= 0.
        now: Current time, epoch seconds.

    Does not check: `exp`, see `tokens.jwt`. Never falls back to `iat`: a refresh renews that.
    Spec: RFC 9470 §3 (max_age), RFC 9068 §2.2.1 (auth_time).
    """
    auth_time = token.auth_time
    if auth_time is None or auth_time > now + token.leeway:
        return False
    return now - auth_time <= max_age + token.leeway


def _allow(row: Row, reason: str, api: Api | None, operation: Operation | None) -> Decision:
    return Decision(True, row, reason, api, operation)


def _deny(
    row: Row, reason: str, description: str, api: Api | None, operation: Operation | None
) -> Decision:
    """Deny, or in an API's monitor mode allow and say what would have been."""
    monitored = api is not None and api.mode == "monitor"
    status, error = _ANSWERS[row]
    return Decision(
        allow=monitored,
        row=row,
        reason=reason,
        api=api,
        operation=operation,
        status=status,
        error=error,
        description=description,
        would_deny=monitored,
    )


_ANSWERS: dict[Row, tuple[int, ErrorCode]] = {
    Row.MALFORMED_REQUEST: (400, "invalid_request"),
    Row.NO_API: (403, "no_such_operation"),
    Row.NO_OPERATION: (403, "no_such_operation"),
    Row.NO_CREDENTIALS: (401, "unauthorized"),
    Row.MALFORMED_CREDENTIALS: (400, "invalid_request"),
    Row.ISSUER_AT_FAULT: (503, "temporarily_unavailable"),
    Row.INVALID_TOKEN: (401, "invalid_token"),
    Row.STEP_UP: (401, "insufficient_user_authentication"),
    Row.SCOPE: (403, "insufficient_scope"),
}

# What a client may be told: fixed texts, nothing of the request or the token in them.
_NO_OPERATION = "No API operation matches the request"
_TOKEN_REQUIRED = "An access token is required"
_UNAVAILABLE = "The access token cannot be verified at the moment"
_TOKEN_EXPIRED = "The access token expired"
_TOKEN_INVALID = "The access token is invalid"
_PROOF_INVALID = "The DPoP proof is invalid"
_NONCE_REQUIRED = "The DPoP proof must have the nonce of the response"
_SCOPE_REQUIRED = "The request requires more scopes than the access token grants"
_USER_REQUIRED = "A user must authenticate for this, and the access token stands for none"
_STEP_UP = {  # unmet acr, unmet max_age: reason and text
    (True, False): ("acr_unmet", "A different authentication level is required"),
    (False, True): ("max_age_unmet", "More recent authentication is required"),
    (True, True): (
        "acr_and_max_age_unmet",
        "A different authentication level and more recent authentication are required",
    ),
}
