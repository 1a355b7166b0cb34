"""Every row of the decision table (docs/decisions.md), through every gateway."""

from __future__ import annotations

import pytest

from e2e.harness.arrangement import Arrangement
from e2e.harness.gateway import GatewayFactory
from e2e.harness.http1 import Request
from e2e.harness.issuer import Issuer
from e2e.harness.policy import MFA, PHR, PWD, configuration
from e2e.harness.scenario import Allowed, Denied, Faulted, Scenario, problem
from e2e.harness.stack import BASIC_SECRET, Stack
from e2e.harness.tokens import TokenSpec, unsigned

METADATA = 'resource_metadata="https://api.test/.well-known/oauth-protected-resource/payments"'
ORIGIN = ("Origin", "https://app.test")
EXPOSED = (("access-control-expose-headers", "WWW-Authenticate"),)

AMBIGUOUS = Denied(400, None, problem("invalid_request", "The request path is ambiguous"))
NO_OPERATION = Denied(
    403, None, problem("no_such_operation", "No API operation matches the request")
)
TOKEN_REQUIRED = "An access token is required"
TOKEN_INVALID = "The access token is invalid"
TOKEN_EXPIRED = "The access token expired"
ACR_UNMET = "A different authentication level is required"
MAX_AGE_UNMET = "More recent authentication is required"
BOTH_UNMET = "A different authentication level and more recent authentication are required"
SCOPE_UNMET = "The request requires more scopes than the access token grants"

ALICE = (
    ("x-stepup-client-id", "app"),
    ("x-stepup-issuer", "ISSUER"),
    ("x-stepup-subject", "alice"),
)


def alice(spec: TokenSpec) -> Allowed:
    """Give the identity of a token; its `auth_time` must be given as a claim."""
    identity = [*ALICE, ("x-stepup-auth-time", str(spec.claims["auth_time"]))]
    if spec.acr is not None:
        identity.append(("x-stepup-acr", spec.acr))
    if spec.scope is not None:
        identity.append(("x-stepup-scope", spec.scope))
    return Allowed(tuple(identity))


def unauthorized(scope: str | None = None, *, realm: str = "payments", more: str = "") -> Denied:
    challenge = f'Bearer realm="{realm}"{more}'
    members = {}
    if scope is not None:
        challenge += f', scope="{scope}"'
        members["scope"] = scope
    if realm == "payments":
        challenge += f", {METADATA}"
    return Denied(401, challenge, problem("unauthorized", TOKEN_REQUIRED, **members))


def invalid_token(description: str = TOKEN_INVALID) -> Denied:
    challenge = (
        'Bearer realm="payments", error="invalid_token", '
        f'error_description="{description}", {METADATA}'
    )
    return Denied(401, challenge, problem("invalid_token", description))


def malformed(description: str) -> Denied:
    challenge = (
        'Bearer realm="payments", error="invalid_request", '
        f'error_description="{description}", {METADATA}'
    )
    return Denied(400, challenge, problem("invalid_request", description))


def step_up(description: str, acr_values: str, max_age: int, scope: str | None = None) -> Denied:
    challenge = (
        'Bearer realm="payments", error="insufficient_user_authentication", '
        f'error_description="{description}", acr_values="{acr_values}", max_age="{max_age}"'
    )
    members: dict[str, str | int] = {"acr_values": acr_values, "max_age": max_age}
    if scope is not None:
        challenge += f', scope="{scope}"'
        members["scope"] = scope
    body = problem("insufficient_user_authentication", description, **members)
    return Denied(401, f"{challenge}, {METADATA}", body)


def insufficient_scope(scope: str) -> Denied:
    challenge = (
        'Bearer realm="payments", error="insufficient_scope", '
        f'error_description="{SCOPE_UNMET}", scope="{scope}", {METADATA}'
    )
    return Denied(403, challenge, problem("insufficient_scope", SCOPE_UNMET, scope=scope))


def authorization(value: str) -> tuple[tuple[str, str], ...]:
    return (("Authorization", value),)


TRANSFER = Request("POST", "/payments/transfers", body=b'{"amount":1}')
ACCOUNTS = Request(target="/payments/accounts")
LIMITS = Request("PUT", "/payments/accounts/7/limits/daily", body=b"{}")
PREFLIGHT = (ORIGIN, ("Access-Control-Request-Method", "POST"))
BEARER_REPEATED = "The request must have exactly one Authorization value"
BEARER_MALFORMED = "The Bearer token is malformed"
# An instant in the past that any `max_age` of the table forbids, or that there is none for.
LONG_AGO = 1_700_000_000

GOOD = TokenSpec(claims={"auth_time": LONG_AGO})

ROW_1 = [
    Scenario("semicolon", Request(target="/payments/accounts;v=1"), AMBIGUOUS),
    Scenario("double-encoding", Request(target="/payments/%252e%252e/admin"), AMBIGUOUS),
    Scenario("broken-percent", Request(target="/payments/%zz"), AMBIGUOUS),
    Scenario("not-utf8", Request(target="/payments/%ff"), AMBIGUOUS),
    Scenario("encoded-hash", Request(target="/payments/health%23"), AMBIGUOUS),
    Scenario("monitor-mode-spares-it-not", Request(target="/monitored/health;a"), AMBIGUOUS),
    *(
        Scenario(
            name.lower(),
            Request("POST", "/payments/transfers", headers=((name, "GET"),)),
            Denied(
                400, None, problem("invalid_request", "The request must not override its method")
            ),
        )
        for name in ("X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method")
    ),
]
ROW_2 = [
    Scenario("other-host", Request(target="/payments/health", host="other.test"), NO_OPERATION),
    Scenario("no-base-path", Request(target="/paymentsX/health"), NO_OPERATION),
    Scenario("with-a-token", Request(target="/nowhere"), NO_OPERATION, GOOD),
    Scenario(
        "wildcard-is-not-itself",
        Request(target="/elsewhere/health", host="wild.test"),
        NO_OPERATION,
    ),
]
ROW_3 = [
    Scenario("preflight", Request("OPTIONS", "/payments/transfers", headers=PREFLIGHT), Allowed()),
    Scenario(
        "preflight-of-nothing", Request("OPTIONS", "/payments/x", headers=PREFLIGHT), Allowed()
    ),
    Scenario(
        "no-preflight-without-origin",
        Request("OPTIONS", "/payments/transfers", headers=PREFLIGHT[1:]),
        NO_OPERATION,
    ),
    Scenario(
        "no-preflight-without-method",
        Request("OPTIONS", "/payments/transfers", headers=(ORIGIN,)),
        Denied(403, None, NO_OPERATION.body, EXPOSED),
    ),
    Scenario(
        "checked-preflight",
        Request("OPTIONS", "/checked/transfers", headers=PREFLIGHT),
        Denied(403, None, NO_OPERATION.body, EXPOSED),
    ),
]
ROW_4 = [
    Scenario("denied", Request(target="/payments/nothing"), NO_OPERATION),
    Scenario("denied-with-a-token", Request(target="/payments/nothing"), NO_OPERATION, GOOD),
    Scenario("other-method", Request("DELETE", "/payments/accounts"), NO_OPERATION),
    Scenario("method-of-its-own", Request("PURGE", "/payments/accounts"), NO_OPERATION),
    Scenario("allowed", Request(target="/open/nothing"), Allowed()),
    Scenario("allowed-token-unread", Request(target="/open/nothing"), Allowed(), GOOD),
    Scenario(
        "token-required",
        Request(target="/any-token/nothing"),
        unauthorized(realm="any-token"),
    ),
    Scenario("token-brought", Request(target="/any-token/nothing"), alice(GOOD), GOOD),
]
ROW_5 = [
    Scenario("public", Request(target="/payments/health"), Allowed()),
    Scenario("token-unread", Request(target="/payments/health"), Allowed(), GOOD),
    Scenario(
        "stale-token-unread",
        Request(target="/payments/health"),
        Allowed(),
        TokenSpec(expires_in=-99),
    ),
    Scenario("head-as-get", Request("HEAD", "/payments/health"), Allowed()),
    Scenario("query-does-not-matter", Request(target="/payments/health?a=/../b;c%2f"), Allowed()),
    Scenario("trailing-slash", Request(target="/payments/health/"), Allowed()),
    Scenario("wild-host", Request(target="/elsewhere/health", host="a.b.wild.test"), Allowed()),
]
ROW_6 = [
    Scenario("no-token", ACCOUNTS, unauthorized("accounts:read")),
    Scenario("no-scope-to-say", Request(target="/payments/profile"), unauthorized()),
    Scenario("requirements-not-said", TRANSFER, unauthorized("payments:write")),
    Scenario("head", Request("HEAD", "/payments/accounts"), unauthorized("accounts:read")),
    Scenario(
        "basic",
        Request(target="/payments/accounts", headers=authorization(f"Basic {BASIC_SECRET}")),
        unauthorized("accounts:read"),
    ),
    Scenario(
        "empty",
        Request(target="/payments/accounts", headers=authorization("")),
        unauthorized("accounts:read"),
    ),
    Scenario(
        "token-in-the-query",
        Request(target="/payments/accounts?access_token=a.b.c"),
        unauthorized("accounts:read"),
    ),
    Scenario(
        "token-in-a-cookie",
        Request(target="/payments/accounts", headers=(("Cookie", "access_token=a.b.c"),)),
        unauthorized("accounts:read"),
    ),
    Scenario(
        "browser-may-see-it",
        Request(target="/payments/accounts", headers=(ORIGIN,)),
        Denied(
            401,
            unauthorized("accounts:read").challenge,
            unauthorized("accounts:read").body,
            EXPOSED,
        ),
    ),
    Scenario(
        "realm-quoted",
        Request(target="/plain/profile"),
        Denied(
            401,
            'Bearer realm="a \\"plain\\" realm"',
            problem("unauthorized", TOKEN_REQUIRED),
        ),
    ),
    Scenario(
        "hinted",
        Request("POST", "/hinted/transfers"),
        Denied(
            401,
            f'Bearer realm="hinted", acr_values="{MFA} {PHR}", max_age="300", '
            'scope="payments:write"',
            problem(
                "unauthorized",
                TOKEN_REQUIRED,
                acr_values=f"{MFA} {PHR}",
                max_age=300,
                scope="payments:write",
            ),
        ),
    ),
]
ROW_7 = [
    Scenario(
        "two-values",
        Request(
            target="/payments/accounts",
            headers=authorization("Bearer a") + authorization("Bearer b"),
        ),
        malformed(BEARER_REPEATED),
    ),
    Scenario(
        "two-schemes",
        Request(
            target="/payments/accounts",
            headers=authorization(f"Basic {BASIC_SECRET}") + authorization("Bearer b"),
        ),
        malformed(BEARER_REPEATED),
    ),
    Scenario(
        "comma",
        Request(target="/payments/accounts", headers=authorization("Bearer a,b")),
        malformed(BEARER_REPEATED),
    ),
    Scenario(
        "no-b64token",
        Request(target="/payments/accounts", headers=authorization("Bearer a b")),
        malformed(BEARER_MALFORMED),
    ),
    Scenario(
        "no-token-after-scheme",
        Request(target="/payments/accounts", headers=authorization("Bearer")),
        malformed(BEARER_MALFORMED),
    ),
    Scenario(
        "longer-than-16-KiB",
        Request(target="/payments/accounts", headers=authorization("Bearer " + "a" * 16_385)),
        malformed(BEARER_MALFORMED),
    ),
]
ROW_8 = [
    Scenario(
        "no-token-is-no-fault", Request(target="/other0/profile"), unauthorized(realm="other0")
    ),
    Scenario(
        "garbage-is-no-fault",
        Request(target="/other0/profile", headers=authorization("Bearer garbage")),
        Denied(
            401,
            f'Bearer realm="other0", error="invalid_token", error_description="{TOKEN_INVALID}"',
            problem("invalid_token", TOKEN_INVALID),
        ),
    ),
]
ROW_9 = [
    Scenario("expired", ACCOUNTS, invalid_token(TOKEN_EXPIRED), TokenSpec(expires_in=-60)),
    # An expired token is not answered with a step-up challenge, however weak it is.
    Scenario(
        "expired-and-weak",
        TRANSFER,
        invalid_token(TOKEN_EXPIRED),
        TokenSpec(expires_in=-60, acr=None),
    ),
    Scenario("audience", ACCOUNTS, invalid_token(), TokenSpec(audience="https://else.test")),
    Scenario("no-audience", ACCOUNTS, invalid_token(), TokenSpec(audience=None)),
    Scenario("not-yet", ACCOUNTS, invalid_token(), TokenSpec(claims={"nbf": 2**33})),
    Scenario("of-the-future", ACCOUNTS, invalid_token(), TokenSpec(claims={"iat": 2**33})),
    Scenario(
        "id-token",
        ACCOUNTS,
        invalid_token(),
        TokenSpec(claims={"nonce": "n"}, header={"typ": "JWT"}),
    ),
    Scenario("logout-token", ACCOUNTS, invalid_token(), TokenSpec(header={"typ": "logout+jwt"})),
    Scenario("crit", ACCOUNTS, invalid_token(), TokenSpec(header={"crit": ["x"], "x": 1})),
    Scenario("bound-to-a-key", ACCOUNTS, invalid_token(), TokenSpec(claims={"cnf": {"jkt": "x"}})),
    Scenario(
        "foreign-iss", ACCOUNTS, invalid_token(), TokenSpec(claims={"iss": "https://else.test"})
    ),
    Scenario(
        "longest-garbage",
        Request(target="/payments/accounts", headers=authorization("Bearer " + "a" * 16_384)),
        invalid_token(),
    ),
    Scenario(
        "dpop-scheme",
        Request(target="/payments/accounts", headers=authorization("DPoP a.b.c")),
        invalid_token(),
    ),
]
WEAK = {"auth_time": LONG_AGO}
ROW_10 = [
    Scenario("acr", TRANSFER, step_up(ACR_UNMET, f"{MFA} {PHR}", 300), TokenSpec()),
    Scenario("no-acr", TRANSFER, step_up(ACR_UNMET, f"{MFA} {PHR}", 300), TokenSpec(acr=None)),
    Scenario("acr-zero", TRANSFER, step_up(ACR_UNMET, f"{MFA} {PHR}", 300), TokenSpec(acr="0")),
    Scenario(
        "acr-case", TRANSFER, step_up(ACR_UNMET, f"{MFA} {PHR}", 300), TokenSpec(acr=MFA.upper())
    ),
    Scenario(
        "acr-joined",
        TRANSFER,
        step_up(ACR_UNMET, f"{MFA} {PHR}", 300),
        TokenSpec(acr=f"{PWD} {MFA}"),
    ),
    Scenario("acr-number", TRANSFER, step_up(ACR_UNMET, f"{MFA} {PHR}", 300), TokenSpec(acr=2)),
    Scenario(
        "stale",
        TRANSFER,
        step_up(MAX_AGE_UNMET, f"{MFA} {PHR}", 300),
        TokenSpec(acr=MFA, auth_age=400),
    ),
    Scenario(
        "no-auth-time",
        TRANSFER,
        step_up(MAX_AGE_UNMET, f"{MFA} {PHR}", 300),
        TokenSpec(acr=MFA, auth_age=None),
    ),
    Scenario(
        "auth-time-in-the-future",
        TRANSFER,
        step_up(MAX_AGE_UNMET, f"{MFA} {PHR}", 300),
        TokenSpec(acr=MFA, auth_age=-60),
    ),
    Scenario(
        "auth-time-in-milliseconds",
        TRANSFER,
        step_up(MAX_AGE_UNMET, f"{MFA} {PHR}", 300),
        TokenSpec(acr=MFA, auth_age=-1.7e12),
    ),
    Scenario(
        "auth-time-text",
        TRANSFER,
        step_up(MAX_AGE_UNMET, f"{MFA} {PHR}", 300),
        TokenSpec(acr=MFA, claims={"auth_time": "now"}),
    ),
    Scenario("both", TRANSFER, step_up(BOTH_UNMET, f"{MFA} {PHR}", 300), TokenSpec(claims=WEAK)),
    Scenario(
        "and-scope",
        TRANSFER,
        step_up(ACR_UNMET, f"{MFA} {PHR}", 300, "payments:write"),
        TokenSpec(scope="accounts:read"),
    ),
    Scenario("min-acr", LIMITS, step_up(ACR_UNMET, PHR, 60), TokenSpec(acr=MFA)),
    Scenario(
        "min-acr-stale", LIMITS, step_up(MAX_AGE_UNMET, PHR, 60), TokenSpec(acr=PHR, auth_age=120)
    ),
]
ROW_11 = [
    Scenario(
        "scope", ACCOUNTS, insufficient_scope("accounts:read"), TokenSpec(scope="payments:write")
    ),
    Scenario("no-scope", ACCOUNTS, insufficient_scope("accounts:read"), TokenSpec(scope=None)),
    Scenario(
        "head",
        Request("HEAD", "/payments/accounts"),
        insufficient_scope("accounts:read"),
        TokenSpec(scope=None),
    ),
    Scenario(
        "strong-user",
        TRANSFER,
        insufficient_scope("payments:write"),
        TokenSpec(acr=MFA, scope="a b"),
    ),
]
ROW_12 = [
    Scenario("scope-met", ACCOUNTS, alice(GOOD), GOOD),
    Scenario("template", Request(target="/payments/accounts/7%20a"), alice(GOOD), GOOD),
    Scenario("head-as-get", Request("HEAD", "/payments/accounts"), alice(GOOD), GOOD),
    Scenario("any-token", Request(target="/payments/profile"), alice(GOOD), GOOD),
    Scenario(
        "long-query",
        Request(target="/payments/accounts?" + "q" * 30_000),
        alice(GOOD),
        GOOD,
    ),
    Scenario(
        "claims-lacking",
        Request(target="/payments/profile"),
        Allowed((("x-stepup-issuer", "ISSUER"), ("x-stepup-subject", "alice"))),
        TokenSpec(acr=None, auth_age=None, scope=None, client_id=None),
    ),
    Scenario(
        "claims-encoded",
        Request(target="/payments/profile"),
        Allowed(
            (
                ("x-stepup-issuer", "ISSUER"),
                ("x-stepup-subject", "al%0D%0Aice: %C3%A9 100%25"),
                ("x-stepup-acr", f"{PWD} {MFA}"),
            )
        ),
        TokenSpec(
            subject="al\r\nice: é 100%", acr=[PWD, MFA], auth_age=None, scope=None, client_id=None
        ),
    ),
]
MONITORED = [
    Scenario(
        "no-token",
        Request(target="/monitored/accounts"),
        Allowed((("x-stepup-would-deny", "unauthorized"),)),
    ),
    Scenario(
        "no-operation",
        Request(target="/monitored/nothing"),
        Allowed((("x-stepup-would-deny", "no_such_operation"),)),
    ),
    Scenario(
        "malformed-credentials",
        Request(target="/monitored/accounts", headers=authorization("Bearer a,b")),
        Allowed((("x-stepup-would-deny", "invalid_request"),)),
    ),
    Scenario(
        "invalid-token",
        Request(target="/monitored/accounts"),
        Allowed((("x-stepup-would-deny", "invalid_token"),)),
        TokenSpec(expires_in=-60),
    ),
    Scenario(
        "step-up",
        Request("POST", "/monitored/transfers"),
        Allowed(
            (*alice(GOOD).identity, ("x-stepup-would-deny", "insufficient_user_authentication"))
        ),
        GOOD,
    ),
    Scenario("met", Request(target="/monitored/accounts"), alice(GOOD), GOOD),
    Scenario("public", Request(target="/monitored/health"), Allowed()),
]

TABLE = [
    pytest.param(scenario, id=f"{row}-{scenario.id}")
    for row, scenarios in {
        "1": ROW_1, "2": ROW_2, "3": ROW_3, "4": ROW_4, "5": ROW_5, "6": ROW_6, "7": ROW_7,
        "8": ROW_8, "9": ROW_9, "10": ROW_10, "11": ROW_11, "12": ROW_12, "monitor": MONITORED,
    }.items()
    for scenario in scenarios
]  # fmt: skip


@pytest.mark.parametrize("scenario", TABLE)
def test_gateway_answers_as_the_decision_table_says(stack: Stack, scenario: Scenario) -> None:
    stack.play(scenario)


def test_issuer_at_fault_is_503_and_no_challenge(stack: Stack, down_issuer: Issuer) -> None:
    request = Request(target="/other0/profile").with_headers(stack.bearer(down_issuer.mint()))

    stack.check(stack.send(request), Faulted())


def test_unavailable_status_of_4xx_reaches_the_client_with_retry_after(
    own: Arrangement, newest_gateway: GatewayFactory
) -> None:
    """For those who must run their gateway with `failure_mode_allow: true`."""
    down = own.issuer(running=False)
    upstream = own.upstream()
    bridge = own.bridge(configuration(down, unavailable_status=429), ready=False)
    stack = Stack(down, upstream, bridge, own.gateway(newest_gateway, bridge, upstream))

    answer = stack.send(ACCOUNTS.with_headers(stack.bearer(down.mint())))

    assert answer.reply is not None
    body = problem("temporarily_unavailable", "The access token cannot be verified at the moment")
    stack.check(answer, Denied(429, None, body))
    assert int(answer.reply.values("retry-after")[0]) >= 1


def test_unmatched_host_may_be_allowed(own: Arrangement, newest_gateway: GatewayFactory) -> None:
    stack = own.stack(newest_gateway, unmatched_host="allow")

    stack.play(Scenario("", Request(target="/anything", host="other.test"), Allowed(), GOOD))
    stack.play(Scenario("", Request(target="/payments/nothing"), NO_OPERATION))
    stack.play(Scenario("", Request(target="/x;y", host="other.test"), AMBIGUOUS))


@pytest.mark.parametrize("change", ["payload", "signature", "appended", "none", "stranger", "kid"])
def test_tampered_token_is_invalid(stack: Stack, change: str) -> None:
    header, payload, signature = stack.issuer.mint(GOOD).split(".")
    other_payload = stack.issuer.mint(TokenSpec(subject="eve")).split(".")[1]
    forged = {
        "payload": f"{header}.{other_payload}.{signature}",
        "signature": f"{header}.{payload}.{signature[:-8]}AAAAAAAA",
        "appended": f"{header}.{payload}.{signature}.junk",
        "none": unsigned(GOOD, stack.issuer.url),
        "stranger": stack.issuer.mint(
            TokenSpec(signed_by="stranger", kid=stack.issuer.keys[-1].kid)
        ),
        "kid": stack.issuer.mint(TokenSpec(signed_by="stranger", kid="../../etc/passwd")),
    }[change]

    answer = stack.send(ACCOUNTS.with_headers(stack.bearer(forged)))

    stack.check(answer, invalid_token())


def test_weak_token_steps_up_and_passes(stack: Stack) -> None:
    """The story of RFC 9470: challenge, new authentication, the same request again."""
    stack.play(Scenario("", TRANSFER, step_up(ACR_UNMET, f"{MFA} {PHR}", 300), TokenSpec()))
    strong = stack.issuer.mint(TokenSpec(acr=MFA, auth_age=1))

    answer = stack.send(TRANSFER.with_headers(stack.bearer(strong)))

    assert answer.only_upstream().values("x-stepup-acr") == [MFA]
    assert answer.status == 200
