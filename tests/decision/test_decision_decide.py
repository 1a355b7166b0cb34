"""The decision table, row by row (spec §6)."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridge.decision.decide import (
    Decision,
    Finding,
    Row,
    Unmet,
    decide_malformed,
    decide_on_token,
    decide_unavailable,
    decide_without_api,
    decide_without_token,
    find_unmet,
    is_fresh,
    satisfies_acr,
)
from bridge.errors import IssuerError, RequestError, TokenError
from bridge.policy.operations import Api, Operation
from bridge.policy.requirement import NO_REQUIREMENT, Requirement
from bridge.tokens.access_token import AccessToken
from bridge.tokens.identity import UpstreamHeaders

NOW = 1_700_000_000
PWD, MFA, PHR = "urn:example:pwd", "urn:example:mfa", "urn:example:phr"
TRANSFER = Requirement(("payments:write", "payments:read"), (MFA, PHR), 300)

PAY = Operation("pay", ("/transfers",), ("POST",), requirement=TRANSFER)
OPEN = Operation("health", ("/health",), public=True)
ANY_TOKEN = Operation("any", ("/any",))
API = Api("payments", ("https://login.example.com",), (PAY, OPEN, ANY_TOKEN), realm="payments")
MONITORED = replace(API, mode="monitor")

TOKEN = AccessToken(
    iss="https://login.example.com",
    aud=("https://api.example.com",),
    exp=NOW + 300,
    leeway=5,
    acr=(MFA,),
    auth_time=NOW - 10,
    scopes=frozenset({"payments:write", "payments:read", "more"}),
    client_id="app",
    upstream=UpstreamHeaders((("x-stepup-subject", "alice"),), ()),
)
WEAK = TOKEN._replace(acr=(PWD,))
STALE = TOKEN._replace(auth_time=NOW - 306)
NARROW = TOKEN._replace(scopes=frozenset({"payments:read"}))

MALFORMED = RequestError("bearer_token_malformed", "The Bearer token is malformed")
AT_FAULT = IssuerError("https://login.example.com", "keys_unavailable", 7)
INVALID = TokenError("signature", "token_signature_invalid")
EXPIRED = TokenError("exp", "token_expired")


def denial(  # one row of the table, in enforce mode
    row: Row,
    status: int,
    error: Literal[
        "invalid_request",
        "no_such_operation",
        "unauthorized",
        "temporarily_unavailable",
        "invalid_token",
        "insufficient_user_authentication",
        "insufficient_scope",
    ],
    reason: str,
    description: str,
    *,
    api: Api | None = API,
    operation: Operation | None = PAY,
) -> Decision:
    return Decision(
        allow=False,
        row=row,
        reason=reason,
        api=api,
        operation=operation,
        status=status,
        error=error,
        description=description,
    )


# Every way to be denied once it is known where the request goes and what it carries: rows 6 to 11.
DENIALS_ON_TOKEN = [
    pytest.param(
        None,
        denial(
            Row.NO_CREDENTIALS,
            401,
            "unauthorized",
            "no_credentials",
            "An access token is required",
        )._replace(
            requirement=TRANSFER,
        ),
        id="row-6-no-credentials",
    ),
    pytest.param(
        MALFORMED,
        denial(
            Row.MALFORMED_CREDENTIALS,
            400,
            "invalid_request",
            "bearer_token_malformed",
            "The Bearer token is malformed",
        ),
        id="row-7-malformed-credentials",
    ),
    pytest.param(
        AT_FAULT,
        denial(
            Row.ISSUER_AT_FAULT,
            503,
            "temporarily_unavailable",
            "keys_unavailable",
            "The access token cannot be verified at the moment",
        )._replace(
            retry_after_seconds=7,
        ),
        id="row-8-issuer-at-fault",
    ),
    pytest.param(
        INVALID,
        denial(
            Row.INVALID_TOKEN,
            401,
            "invalid_token",
            "token_signature_invalid",
            "The access token is invalid",
        ),
        id="row-9-token-invalid",
    ),
    pytest.param(
        EXPIRED,
        denial(
            Row.INVALID_TOKEN, 401, "invalid_token", "token_expired", "The access token expired"
        ),
        id="row-9-token-expired",
    ),
    pytest.param(
        WEAK,
        denial(
            Row.STEP_UP,
            401,
            "insufficient_user_authentication",
            "acr_unmet",
            "A different authentication level is required",
        )._replace(
            requirement=TRANSFER,
            unmet=Unmet(acr=True),
            token=WEAK,
        ),
        id="row-10-acr",
    ),
    pytest.param(
        STALE,
        denial(
            Row.STEP_UP,
            401,
            "insufficient_user_authentication",
            "max_age_unmet",
            "More recent authentication is required",
        )._replace(
            requirement=TRANSFER,
            unmet=Unmet(max_age=True),
            token=STALE,
        ),
        id="row-10-max-age",
    ),
    pytest.param(
        WEAK._replace(auth_time=None, scopes=frozenset()),
        denial(
            Row.STEP_UP,
            401,
            "insufficient_user_authentication",
            "acr_and_max_age_unmet",
            "A different authentication level and more recent authentication are required",
        )._replace(
            requirement=TRANSFER,
            unmet=Unmet(acr=True, max_age=True, scopes=("payments:write", "payments:read")),
            token=WEAK._replace(auth_time=None, scopes=frozenset()),
        ),
        id="row-10-all-unmet-whatever-the-scopes",
    ),
    pytest.param(
        NARROW,
        denial(
            Row.SCOPE,
            403,
            "insufficient_scope",
            "scope_missing",
            "The request requires more scopes than the access token grants",
        )._replace(
            requirement=TRANSFER,
            unmet=Unmet(scopes=("payments:write",)),
            token=NARROW,
        ),
        id="row-11-only-scopes",
    ),
]


def test_row_1_a_malformed_request_is_denied() -> None:
    fault = RequestError("path_dot_segment", "The request path is ambiguous")
    expected = denial(
        Row.MALFORMED_REQUEST,
        400,
        "invalid_request",
        "path_dot_segment",
        "The request path is ambiguous",
        api=None,
        operation=None,
    )
    assert decide_malformed(fault) == expected
    assert decide_malformed(fault, API) == expected._replace(api=API)


def test_row_1_is_not_spared_by_monitor_mode() -> None:
    fault = RequestError("path_dot_segment", "The request path is ambiguous")
    decision = decide_malformed(fault, MONITORED)
    assert (decision.allow, decision.would_deny, decision.outcome) == (False, False, "deny")


def test_row_2_a_request_to_no_api_is_denied() -> None:
    assert decide_without_api("deny") == denial(
        Row.NO_API,
        403,
        "no_such_operation",
        "host_unmatched",
        "No API operation matches the request",
        api=None,
        operation=None,
    )


def test_row_2_a_request_to_no_api_is_allowed_where_the_policy_says_so() -> None:
    assert decide_without_api("allow") == Decision(True, Row.NO_API, "host_unmatched")


@pytest.mark.parametrize(
    "operation",
    [
        pytest.param(None, id="no-operation"),
        pytest.param(OPEN, id="public"),
        pytest.param(PAY, id="operation"),
    ],
)
def test_row_3_a_preflight_is_allowed(operation: Operation | None) -> None:
    assert decide_without_token(API, operation, preflight=True) == Decision(
        True, Row.PREFLIGHT, "preflight", API, operation
    )


def test_row_3_a_preflight_is_checked_like_any_request_where_the_api_says_so() -> None:
    api = replace(API, cors_preflight="check")
    unmatched = decide_without_token(api, None, preflight=True)
    assert unmatched is not None
    assert (unmatched.allow, unmatched.row) == (False, Row.NO_OPERATION)
    assert decide_without_token(api, PAY, preflight=True) is None
    public = decide_without_token(api, OPEN, preflight=True)
    assert public is not None
    assert (public.allow, public.row) == (True, Row.PUBLIC)


def test_row_4_a_request_to_no_operation_is_denied() -> None:
    assert decide_without_token(API, None, preflight=False) == denial(
        Row.NO_OPERATION,
        403,
        "no_such_operation",
        "operation_unmatched",
        "No API operation matches the request",
        operation=None,
    )


def test_row_4_a_request_to_no_operation_is_allowed_where_the_api_says_so() -> None:
    api = replace(API, unmatched="allow")
    assert decide_without_token(api, None, preflight=False) == Decision(
        True, Row.NO_OPERATION, "operation_unmatched", api
    )


def test_row_4_a_request_to_no_operation_needs_any_valid_token_where_the_api_says_so() -> None:
    api = replace(API, unmatched="require_token")
    assert decide_without_token(api, None, preflight=False) is None
    bare = TOKEN._replace(acr=(), auth_time=None, scopes=frozenset())
    assert decide_on_token(api, None, bare, NOW) == Decision(
        True, Row.MET, "requirement_met", api, token=bare
    )
    assert decide_on_token(api, None, None, NOW).row is Row.NO_CREDENTIALS


@pytest.mark.parametrize("unmatched", ["deny", "allow", "require_token"])
def test_unmatched_says_nothing_about_operations(
    unmatched: Literal["deny", "allow", "require_token"],
) -> None:
    assert decide_without_token(replace(API, unmatched=unmatched), PAY, preflight=False) is None


def test_row_5_a_public_operation_is_allowed_without_a_look_at_the_token() -> None:
    assert decide_without_token(API, OPEN, preflight=False) == Decision(
        True, Row.PUBLIC, "public", API, OPEN
    )


def test_an_operation_that_is_not_public_needs_a_look_at_the_token() -> None:
    assert decide_without_token(API, PAY, preflight=False) is None
    assert decide_without_token(API, ANY_TOKEN, preflight=False) is None


@pytest.mark.parametrize(("finding", "expected"), DENIALS_ON_TOKEN)
def test_rows_6_to_11_deny(finding: Finding, expected: Decision) -> None:
    decision = decide_on_token(API, PAY, finding, NOW)
    assert decision == expected
    assert decision.outcome == "deny"


@pytest.mark.parametrize(("finding", "expected"), DENIALS_ON_TOKEN)
def test_monitor_mode_allows_and_says_what_would_have_been(
    finding: Finding, expected: Decision
) -> None:
    decision = decide_on_token(MONITORED, PAY, finding, NOW)
    assert decision == expected._replace(api=MONITORED, allow=True, would_deny=True)
    assert decision.outcome == "would_deny"


def test_monitor_mode_allows_a_request_to_no_operation() -> None:
    decision = decide_without_token(MONITORED, None, preflight=False)
    enforced = decide_without_token(API, None, preflight=False)
    assert enforced is not None
    assert decision == enforced._replace(api=MONITORED, allow=True, would_deny=True)


def test_monitor_mode_changes_no_allow() -> None:
    for decision in (
        decide_without_token(MONITORED, OPEN, preflight=False),
        decide_without_token(MONITORED, None, preflight=True),
        decide_on_token(MONITORED, PAY, TOKEN, NOW),
    ):
        assert decision is not None
        assert (decision.allow, decision.would_deny, decision.outcome) == (True, False, "allow")


def test_row_12_a_token_that_meets_all_demands_is_allowed() -> None:
    decision = decide_on_token(API, PAY, TOKEN, NOW)
    assert decision == Decision(True, Row.MET, "requirement_met", API, PAY, TRANSFER, token=TOKEN)
    assert decision.outcome == "allow"


def test_row_12_any_valid_token_meets_an_operation_without_demands() -> None:
    bare = TOKEN._replace(acr=(), auth_time=None, scopes=frozenset())
    assert decide_on_token(API, ANY_TOKEN, bare, NOW) == Decision(
        True, Row.MET, "requirement_met", API, ANY_TOKEN, token=bare
    )


@pytest.mark.parametrize("status", [403, 429])
def test_row_8_has_the_configured_status_and_no_other_row_has(status: int) -> None:
    expected = decide_on_token(API, PAY, AT_FAULT, NOW)._replace(status=status)
    assert decide_on_token(API, PAY, AT_FAULT, NOW, status) == expected
    for finding in (None, MALFORMED, INVALID, WEAK, NARROW, TOKEN):
        usual = decide_on_token(API, PAY, finding, NOW)
        assert decide_on_token(API, PAY, finding, NOW, status) == usual


@pytest.mark.parametrize("status", [503, 403])
def test_a_defect_of_the_bridge_lets_nobody_in(status: int) -> None:
    assert decide_unavailable(status) == denial(
        Row.ISSUER_AT_FAULT,
        503,
        "temporarily_unavailable",
        "check_failed",
        "The access token cannot be verified at the moment",
        api=None,
        operation=None,
    )._replace(
        status=status,
        retry_after_seconds=1,
    )


def test_only_row_8_is_a_server_error() -> None:
    findings: list[Finding] = [None, MALFORMED, INVALID, EXPIRED, WEAK, STALE, NARROW, TOKEN]
    statuses = {decide_on_token(API, PAY, finding, NOW).status for finding in findings}
    assert statuses == {200, 400, 401, 403}
    assert decide_on_token(API, PAY, AT_FAULT, NOW).status == 503


@pytest.mark.parametrize(
    ("demanded", "acr", "met"),
    [
        pytest.param((MFA,), (), False, id="missing"),
        pytest.param((MFA,), (PWD,), False, id="another"),
        pytest.param((MFA,), (MFA.upper(),), False, id="other-case"),
        pytest.param((MFA,), (MFA + " ",), False, id="space-after"),
        pytest.param((MFA,), (f"{MFA} {PHR}",), False, id="a-string-is-not-split"),
        pytest.param((MFA,), ("urn:example",), False, id="a-prefix"),
        pytest.param((MFA,), ("0",), False, id="zero-is-a-value-like-any-other"),
        pytest.param((MFA, PHR), (PWD, "x"), False, id="none-of-two"),
        pytest.param((MFA,), (MFA,), True, id="equal"),
        pytest.param((MFA, PHR), (PHR,), True, id="any-of-the-demanded"),
        pytest.param((MFA,), (PWD, MFA), True, id="any-of-the-tokens"),
        pytest.param(("0",), ("0",), True, id="zero-where-listed"),
        pytest.param((), (), True, id="nothing-demanded-nothing-there"),
        pytest.param((), (PWD,), True, id="nothing-demanded"),
    ],
)
def test_any_of_the_demanded_acr_satisfies_exactly(
    demanded: tuple[str, ...], acr: tuple[str, ...], met: bool
) -> None:
    assert satisfies_acr(TOKEN._replace(acr=acr), demanded) is met


@pytest.mark.parametrize(
    ("auth_time", "max_age", "leeway", "fresh"),
    [
        pytest.param(None, 10**9, 5, False, id="no-auth-time"),
        pytest.param(NOW - 306, 300, 5, False, id="one-above-max-age-and-leeway"),
        pytest.param(NOW - 305.001, 300, 5, False, id="a-fraction-above"),
        pytest.param(NOW + 6, 300, 5, False, id="future-one-above-leeway"),
        pytest.param(NOW + 5.001, 300, 5, False, id="future-a-fraction-above"),
        pytest.param(NOW * 1000, 300, 5, False, id="milliseconds"),
        pytest.param(1e300, 300, 5, False, id="huge"),
        pytest.param(0, 300, 5, False, id="the-beginning-of-time"),
        pytest.param(NOW - 301, 300, 0, False, id="one-above-without-leeway"),
        pytest.param(NOW + 1, 300, 0, False, id="future-without-leeway"),
        pytest.param(NOW - 1, 0, 0, False, id="max-age-zero-one-above"),
        pytest.param(NOW - 6, 0, 5, False, id="max-age-zero-and-leeway-one-above"),
        pytest.param(NOW - 305, 300, 5, True, id="at-max-age-and-leeway"),
        pytest.param(NOW - 304, 300, 5, True, id="one-below"),
        pytest.param(NOW - 300, 300, 0, True, id="at-max-age-without-leeway"),
        pytest.param(NOW - 299, 300, 0, True, id="one-below-without-leeway"),
        pytest.param(NOW + 5, 300, 5, True, id="future-at-leeway"),
        pytest.param(NOW + 4, 300, 5, True, id="future-one-below-leeway"),
        pytest.param(NOW, 0, 0, True, id="max-age-zero-at"),
        pytest.param(NOW - 5, 0, 5, True, id="max-age-zero-at-leeway"),
        pytest.param(NOW - 304.5, 300, 5, True, id="float"),
    ],
)
def test_fresh_is_an_authentication_at_most_max_age_and_leeway_ago(
    auth_time: float | None, max_age: int, leeway: int, fresh: bool
) -> None:
    assert is_fresh(TOKEN._replace(auth_time=auth_time, leeway=leeway), max_age, NOW) is fresh


@pytest.mark.parametrize(
    ("requirement", "unmet"),
    [
        pytest.param(Requirement(acr_values=(PHR,)), Unmet(acr=True), id="acr"),
        pytest.param(Requirement(max_age=4), Unmet(max_age=True), id="max-age"),
        pytest.param(Requirement(max_age=0), Unmet(max_age=True), id="max-age-zero-is-a-demand"),
        pytest.param(
            Requirement(scopes=("b", "more", "a")), Unmet(scopes=("b", "a")), id="scopes-in-order"
        ),
        pytest.param(
            Requirement(("a",), (PHR,), 4), Unmet(True, True, ("a",)), id="none-hides-another"
        ),
        pytest.param(Requirement(scopes=("MORE",)), Unmet(scopes=("MORE",)), id="scope-case"),
        pytest.param(NO_REQUIREMENT, Unmet(), id="no-demand"),
        pytest.param(TRANSFER, Unmet(), id="all-met"),
    ],
)
def test_every_demand_is_judged(requirement: Requirement, unmet: Unmet) -> None:
    assert find_unmet(requirement, TOKEN, NOW) == unmet


_acr_values = st.lists(st.sampled_from(["0", PWD, MFA, PHR]), max_size=3, unique=True).map(tuple)
_scopes = st.lists(st.sampled_from(["a", "b", "c"]), max_size=3, unique=True).map(tuple)
_requirements = st.builds(
    Requirement, _scopes, _acr_values, st.none() | st.integers(min_value=0, max_value=1000)
)
_tokens = st.builds(
    lambda acr, auth_time, scopes, leeway: TOKEN._replace(
        acr=acr, auth_time=auth_time, scopes=frozenset(scopes), leeway=leeway
    ),
    _acr_values,
    st.none()
    | st.integers(NOW - 1010, NOW + 10)
    | st.floats(min_value=0, max_value=2.0 * NOW)
    | st.integers(min_value=0),
    _scopes,
    st.sampled_from([0, 5]),
)


def is_allowed(requirement: Requirement, token: AccessToken) -> bool:
    operation = replace(PAY, requirement=requirement)
    return decide_on_token(API, operation, token, NOW).allow


@given(
    requirement=_requirements,
    token=_tokens,
    more_seconds=st.integers(min_value=0),
    more_acr=_acr_values,
)
@settings(max_examples=500, deadline=None)
def test_more_time_or_more_accepted_acr_never_turns_allow_into_deny(
    requirement: Requirement, token: AccessToken, more_seconds: int, more_acr: tuple[str, ...]
) -> None:
    looser = requirement
    if requirement.max_age is not None:
        looser = replace(looser, max_age=requirement.max_age + more_seconds)
    if requirement.acr_values:
        looser = replace(looser, acr_values=requirement.acr_values + more_acr)
    assert is_allowed(looser, token) or not is_allowed(requirement, token)


@given(requirement=_requirements, more=_requirements, token=_tokens)
@example(requirement=Requirement(max_age=0), more=Requirement(max_age=1), token=TOKEN)
@settings(max_examples=500, deadline=None)
def test_more_demands_never_turn_deny_into_allow(
    requirement: Requirement, more: Requirement, token: AccessToken
) -> None:
    ages = [age for age in (requirement.max_age, more.max_age) if age is not None]
    acr = tuple(a for a in requirement.acr_values if not more.acr_values or a in more.acr_values)
    if requirement.acr_values and not acr:
        return  # an empty list would be no demand
    stricter = Requirement(
        requirement.scopes + more.scopes,
        acr if requirement.acr_values else more.acr_values,
        min(ages, default=None),
    )
    assert is_allowed(requirement, token) or not is_allowed(stricter, token)


@given(requirement=_requirements, token=_tokens)
@settings(deadline=None)
def test_a_token_that_meets_nothing_is_denied_wherever_anything_is_demanded(
    requirement: Requirement, token: AccessToken
) -> None:
    bare = token._replace(acr=(), auth_time=None, scopes=frozenset())
    assert is_allowed(requirement, bare) is (requirement == NO_REQUIREMENT)


@given(requirement=_requirements, token=_tokens)
@settings(deadline=None)
def test_the_row_follows_from_what_is_unmet(requirement: Requirement, token: AccessToken) -> None:
    unmet = find_unmet(requirement, token, NOW)
    decision = decide_on_token(API, replace(PAY, requirement=requirement), token, NOW)
    expected = Row.STEP_UP if unmet.acr or unmet.max_age else Row.SCOPE if unmet.scopes else Row.MET
    assert (decision.row, decision.unmet) == (expected, unmet)


MACHINE = TOKEN._replace(acr=(), auth_time=None, is_machine=True)
FORBIDDING = replace(API, machine_tokens="forbid")


def test_a_machine_is_forbidden_what_only_a_user_can_step_up_to() -> None:
    assert decide_on_token(FORBIDDING, PAY, MACHINE, NOW) == denial(
        Row.STEP_UP,
        403,
        "insufficient_user_authentication",
        "machine_token",
        "A user must authenticate for this, and the access token stands for none",
        api=FORBIDDING,
    )._replace(requirement=TRANSFER, unmet=Unmet(acr=True, max_age=True), token=MACHINE)


@pytest.mark.parametrize(
    ("api", "token"),
    [
        pytest.param(API, MACHINE, id="a-machine-where-it-is-challenged"),
        pytest.param(FORBIDDING, WEAK, id="a-user"),
    ],
)
def test_others_are_challenged(api: Api, token: AccessToken) -> None:
    assert decide_on_token(api, PAY, token, NOW).status == 401


def test_a_machine_may_do_what_demands_no_user() -> None:
    assert decide_on_token(FORBIDDING, ANY_TOKEN, MACHINE, NOW).allow
