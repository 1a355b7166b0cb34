"""The host that decides is the host that the upstream sees, however it is written."""

from __future__ import annotations

import pytest

from e2e.harness.http1 import Request
from e2e.harness.stack import Stack

# Public on any host of the API, so whatever matches passes; `other.test` has no API.
PATH = "/payments/health"


@pytest.mark.parametrize(
    "host",
    [
        "api.test",
        "API.TEST",
        "Api.Test",
        "api.test.",
        "api.test:80",
        "api.test:8443",
        "API.test.:1",
    ],
)
def test_spellings_of_one_host_are_one_host(stack: Stack, host: str) -> None:
    answer = stack.send(Request(target=PATH, host=host))

    assert answer.status == 200
    assert answer.only_upstream().values("host")[0].lower() == host.lower()


@pytest.mark.parametrize(
    "host",
    [
        pytest.param("", id="empty"),
        pytest.param("other.test", id="other"),
        pytest.param("api.test..", id="two-dots"),
        pytest.param(".api.test", id="leading-dot"),
        pytest.param("api.test@other.test", id="userinfo-is-ours"),
        pytest.param("other.test@api.test", id="userinfo"),
        pytest.param("api.test,other.test", id="comma"),
        pytest.param("api.test other.test", id="space"),
        pytest.param("api.test/payments", id="slash"),
        pytest.param("api.test#", id="hash"),
        pytest.param("api.test?", id="query"),
        pytest.param("api.test:80:80", id="two-ports"),
        pytest.param("api.test:port", id="no-port"),
        pytest.param("api.test\\", id="backslash"),
        pytest.param("api.test%2e", id="encoded"),
        pytest.param("xapi.test", id="prefix"),
        pytest.param("sub.api.test", id="subdomain"),
        pytest.param("[::1]", id="address"),
    ],
)
def test_other_and_ambiguous_hosts_are_refused(stack: Stack, host: str) -> None:
    assert stack.send(Request(target=PATH, host=host)).refused


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(b"Host: api.test\r\nHost: other.test\r\n", id="ours-first"),
        pytest.param(b"Host: other.test\r\nHost: api.test\r\n", id="ours-last"),
        pytest.param(b"Host: api.test\r\n Host: other.test\r\n", id="folded"),
        pytest.param(b"Host : api.test\r\n", id="space-before-colon"),
        pytest.param(b"", id="none"),
    ],
)
def test_anything_but_one_host_line_is_refused(stack: Stack, lines: bytes) -> None:
    answer = stack.send(b"GET %b HTTP/1.1\r\n%b\r\n" % (PATH.encode(), lines))

    assert answer.refused


def test_two_equal_host_lines_are_refused_or_one(stack: Stack) -> None:
    answer = stack.send(b"GET %b HTTP/1.1\r\n%b\r\n" % (PATH.encode(), b"Host: api.test\r\n" * 2))

    if stack.gateway.capabilities.merges_equal_hosts:
        assert answer.only_upstream().values("host") == ["api.test"]
    else:
        assert answer.refused


def test_absolute_form_target_names_the_host(stack: Stack) -> None:
    """RFC 9112 §3.2.2: the target's authority counts, not the Host line; or both must agree."""
    ours = stack.send(Request(target=f"http://api.test{PATH}", host="other.test"))
    others = stack.send(Request(target=f"http://other.test{PATH}", host="api.test"))

    assert others.refused
    if stack.gateway.capabilities.absolute_form_wins:
        assert ours.only_upstream().values("host") == ["api.test"]
    else:
        assert ours.refused


@pytest.mark.parametrize(
    "target",
    [
        f"http://other.test@api.test{PATH}",
        f"http://api.test@other.test{PATH}",
        f"http://{PATH}",
        f"http:{PATH}",
        f"HTTP://other.test{PATH}",
        f"https://other.test{PATH}",
        f"ftp://api.test{PATH}",
        f"http://api.test,other.test{PATH}",
    ],
)
def test_ambiguous_absolute_forms_are_refused_or_have_one_reading(
    stack: Stack, target: str
) -> None:
    answer = stack.send(Request(target=target, host="third.test"))

    if not answer.refused:  # Envoy drops the userinfo before anybody looks
        assert answer.only_upstream().values("host") == ["api.test"]
        assert answer.only_upstream().target.partition("?")[0] == PATH


@pytest.mark.parametrize(
    "header",
    [
        ("X-Forwarded-Host", "other.test"),
        ("X-Forwarded-Host", "api.test"),
        ("X-Forwarded-Proto", "gopher"),
        ("X-Forwarded-Uri", "/payments/health"),
        ("X-Forwarded-Path", "/payments/health"),
        ("X-Forwarded-Method", "OPTIONS"),
        ("X-Forwarded-Prefix", "/payments"),
        ("X-Original-URL", "/payments/health"),
        ("X-Original-URI", "/payments/health"),
        ("X-Original-Method", "OPTIONS"),
        ("X-Rewrite-URL", "/payments/health"),
        ("X-Envoy-Original-Path", "/payments/health"),
        ("X-Envoy-Original-Host", "other.test"),
        ("Forwarded", "host=other.test;proto=https"),
        ("X-Host", "other.test"),
    ],
    ids=lambda header: header[0].lower(),
)
def test_forwarded_headers_change_no_decision(stack: Stack, header: tuple[str, str]) -> None:
    protected = stack.send(Request(target="/payments/profile").with_headers(header))
    public = stack.send(Request(target="/payments/health").with_headers(header))
    foreign = stack.send(Request(target="/payments/health", host="other.test").with_headers(header))

    assert (protected.status, public.status, foreign.status) == (401, 200, 403)
    assert protected.upstream == foreign.upstream == ()
    assert public.only_upstream().target.startswith("/payments/health?")


@pytest.mark.parametrize("separator", ["-", "_"])
@pytest.mark.parametrize(
    "name",
    [
        "X-Forwarded-Method",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "X-Forwarded-Uri",
        "X-Original-Method",
        "X-Original-Host",
        "X-Original-URI",
    ],
)
def test_making_a_hop_drop_what_tells_the_request_opens_nothing(
    stack: Stack, name: str, separator: str
) -> None:
    """What `Connection` names, a hop may take away (RFC 9110 §7.6.1)."""
    values = {"Method": "OPTIONS", "Proto": "http", "Host": "api.test"}
    value = values.get(name.rpartition("-")[2], "/payments/health")
    name = name.replace("-", separator)
    forged = (name, value)
    request = Request(target="/payments/profile").with_headers(("Connection", name), forged, forged)

    answer = stack.send(request)

    assert answer.refused
    assert answer.upstream == ()
