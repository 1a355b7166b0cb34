"""Nobody but the bridge tells the upstream who the user is (attacks.md, forged headers)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.harness.arrangement import Arrangement
from e2e.harness.bridge import Bridge
from e2e.harness.gateways import gateways
from e2e.harness.issuer import Issuer
from e2e.harness.stack import IDENTITY_PREFIX, Answer, Stack
from e2e.harness.tokens import TokenSpec
from e2e.harness.upstream import RecordingUpstream

SUBJECT = "x-stepup-subject"
NAMES = [
    SUBJECT,
    "x-stepup-client-id",
    "x-stepup-issuer",
    "x-stepup-acr",
    "x-stepup-auth-time",
    "x-stepup-scope",
    "x-stepup-would-deny",
]

# Header lines that try to get `x-stepup-subject: admin` through. Raw: no client would send them.
FORGERIES = {
    "plain": b"x-stepup-subject: admin\r\n",
    "upper-case": b"X-STEPUP-SUBJECT: admin\r\n",
    "title-case": b"X-Stepup-Subject: admin\r\n",
    "twice": b"x-stepup-subject: admin\r\nx-stepup-subject: root\r\n",
    "two-cases": b"X-Stepup-Subject: admin\r\nx-stepup-subject: root\r\n",
    "underscores": b"x_stepup_subject: admin\r\n",
    "upper-case-underscores": b"X_STEPUP_SUBJECT: admin\r\n",
    "one-underscore": b"x-stepup_subject: admin\r\n",
    "other-underscore": b"x_stepup-subject: admin\r\n",
    "both-spellings": b"x-stepup-subject: admin\r\nx_stepup_subject: admin\r\n",
    "connection": b"Connection: x-stepup-subject\r\nx-stepup-subject: admin\r\n",
    "connection-only": b"Connection: x-stepup-subject\r\n",
    "connection-close": b"Connection: close, X-Stepup-Subject\r\nX-Stepup-Subject: admin\r\n",
    "connection-keep-alive": b"Connection: keep-alive, x-stepup-subject\r\n",
    "connection-twice": b"Connection: close\r\nConnection: x-stepup-subject\r\n",
    "connection-te": b"Connection: TE, x-stepup-subject\r\nTE: trailers\r\n",
    "proxy-connection": b"Proxy-Connection: x-stepup-subject\r\nx-stepup-subject: admin\r\n",
    "keep-alive": b"Keep-Alive: x-stepup-subject\r\nx-stepup-subject: admin\r\n",
    "empty": b"x-stepup-subject:\r\n",
    "folded": b"x-other: a\r\n x-stepup-subject: admin\r\n",
    "space-before-colon": b"x-stepup-subject : admin\r\n",
    "tab-before-colon": b"x-stepup-subject\t: admin\r\n",
    "leading-space": b" x-stepup-subject: admin\r\n",
    "bare-cr": b"x-other: a\rx-stepup-subject: admin\r\n",
    "bare-lf": b"x-other: a\nx-stepup-subject: admin\r\n",
    "nul": b"x-stepup-subject\0: admin\r\n",
    "non-ascii": b"x-stepup-subject\xc2\xa0: admin\r\n",
    "authz-header": b"x-envoy-auth-headers-to-remove: x-stepup-subject\r\n",
    "failure-mode": b"x-envoy-auth-failure-mode-allowed: true\r\nx-stepup-subject: admin\r\n",
}
ALICE = [("x-stepup-issuer", "ISSUER"), (SUBJECT, "alice")]
NOBODY: list[tuple[str, str]] = []
WOULD_DENY = [("x-stepup-would-deny", "unauthorized")]
LACKING = TokenSpec(acr=None, auth_age=None, scope=None, client_id=None)
NAMELESS = TokenSpec(subject=None, acr=None, auth_age=None, scope=None, client_id=None)

# request line, token, and what the upstream must see of x-stepup-*
SITUATIONS = [
    pytest.param("GET /payments/profile", LACKING, ALICE, id="verified"),
    pytest.param("GET /payments/profile", NAMELESS, ALICE[:1], id="verified-without-sub"),
    pytest.param("GET /payments/health", None, NOBODY, id="public"),
    pytest.param("GET /payments/health", LACKING, NOBODY, id="public-token-unread"),
    pytest.param("GET /open/nothing", None, NOBODY, id="unmatched"),
    pytest.param("GET /monitored/profile", None, WOULD_DENY, id="monitored"),
    pytest.param("GET /monitored/profile", LACKING, ALICE, id="monitored-verified"),
]


def _send(stack: Stack, request_line: str, token: TokenSpec | None, lines: bytes) -> Answer:
    head = f"{request_line} HTTP/1.1\r\nHost: api.test\r\n".encode()
    if token is not None:
        head += f"Authorization: Bearer {stack.issuer.mint(token)}\r\n".encode()
    # A line that begins with a space continues the one before: not the token, please.
    return stack.send(head + b"X-Between: 1\r\n" + lines + b"\r\n")


def _assert_true_identity_or_refused(
    stack: Stack, answer: Answer, identity: list[tuple[str, str]]
) -> None:
    if answer.refused:
        return
    expected = [(name, value.replace("ISSUER", stack.issuer.url)) for name, value in identity]
    assert answer.only_upstream().with_prefix(IDENTITY_PREFIX) == expected
    assert answer.status == 200


@pytest.mark.parametrize(("request_line", "token", "identity"), SITUATIONS)
def test_forged_identity_never_arrives(
    stack: Stack, request_line: str, token: TokenSpec | None, identity: list[tuple[str, str]]
) -> None:
    for lines in FORGERIES.values():
        answer = _send(stack, request_line, token, lines)

        _assert_true_identity_or_refused(stack, answer, identity)


@pytest.mark.parametrize("name", NAMES)
def test_every_identity_header_is_set_or_removed(stack: Stack, name: str) -> None:
    for spelling in (name, name.upper(), name.title()):
        answer = _send(stack, "GET /payments/health", None, f"{spelling}: forged\r\n".encode())

        assert answer.only_upstream().with_prefix(IDENTITY_PREFIX) == []


@pytest.mark.parametrize(("request_line", "token", "identity"), SITUATIONS)
def test_forged_trailers_never_arrive(
    stack: Stack, request_line: str, token: TokenSpec | None, identity: list[tuple[str, str]]
) -> None:
    lines = b"Transfer-Encoding: chunked\r\nTrailer: x-stepup-subject\r\n\r\n"
    trailers = b"1\r\na\r\n0\r\nx-stepup-subject: admin\r\n"

    answer = _send(stack, request_line, token, lines + trailers)

    _assert_true_identity_or_refused(stack, answer, identity)


def test_preflight_carries_no_identity(stack: Stack) -> None:
    lines = b"Origin: https://a.test\r\nAccess-Control-Request-Method: GET\r\n"

    answer = _send(stack, "OPTIONS /payments/profile", None, lines + FORGERIES["plain"])

    assert answer.only_upstream().with_prefix(IDENTITY_PREFIX) == []


def test_authorization_as_a_hop_by_hop_header_is_no_credentials(stack: Stack) -> None:
    """The gateway may drop what `Connection` names; what it drops, nobody may count on."""
    lines = b"Connection: authorization\r\nx-stepup-subject: admin\r\n"

    enforced = _send(stack, "GET /payments/profile", TokenSpec(), lines)
    monitored = _send(stack, "GET /monitored/profile", TokenSpec(), lines)

    if stack.gateway.capabilities.checks_without_hop_by_hop:
        assert enforced.refused
        assert monitored.only_upstream().with_prefix(IDENTITY_PREFIX) == WOULD_DENY
    else:  # the token was there to be checked, and what it says is true
        for answer in (enforced, monitored):
            assert answer.only_upstream().values(SUBJECT) == ["alice"]


def test_denial_hides_what_the_client_forged(stack: Stack) -> None:
    answer = _send(stack, "GET /payments/profile", None, FORGERIES["twice"])

    assert answer.reply is not None
    assert (answer.status, answer.upstream) == (401, ())
    assert [name for name, _ in answer.reply.headers if name.startswith(IDENTITY_PREFIX)] == []


def test_gateway_leaks_no_headers_of_the_check(stack: Stack) -> None:
    """The bridge's instructions to the gateway are for the gateway."""
    answer = _send(stack, "GET /payments/profile", TokenSpec(), b"")

    assert answer.only_upstream().with_prefix("x-envoy-auth") == []
    assert answer.reply is not None
    assert [name for name, _ in answer.reply.headers if name.startswith("x-")] == []


@pytest.fixture(scope="module", params=gateways("underscores"))
def lenient(
    request: pytest.FixtureRequest,
    shared: Arrangement,
    issuer: Issuer,
    upstream: RecordingUpstream,
    bridge: Bridge,
) -> Iterator[Stack]:
    """A gateway whose operator lets underscores pass."""
    gateway = shared.gateway(request.param, bridge, upstream)
    yield Stack(issuer, upstream, bridge, gateway)
    gateway.stop()


@pytest.mark.parametrize("name", NAMES)
def test_all_underscore_spelling_is_removed_where_underscores_pass(
    lenient: Stack, name: str
) -> None:
    """What spec §7 promises for a gateway without `headers_with_underscores_action`."""
    for spelling in (name.replace("-", "_"), name.replace("-", "_").upper()):
        answer = _send(lenient, "GET /payments/health", None, f"{spelling}: forged\r\n".encode())

        assert answer.only_upstream().with_prefix(IDENTITY_PREFIX) == []
