"""The host: one, in one form (spec §4)."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridge.errors import RequestError
from bridge.policy.hosts import read_host

LONGEST_NAME = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])  # 253, the most of DNS


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([], id="none"),
        pytest.param(["api.example.com", "evil.example"], id="two"),
        pytest.param(["api.example.com", "api.example.com"], id="two-that-are-equal"),
        pytest.param(["", "api.example.com"], id="an-empty-one-and-another"),
    ],
)
def test_request_without_exactly_one_host_is_refused(values: list[str]) -> None:
    with pytest.raises(RequestError) as refused:
        read_host(values)
    assert refused.value.reason == "host_not_single"


@pytest.mark.parametrize(
    "host",
    [
        pytest.param("", id="empty"),
        pytest.param(" ", id="space"),
        pytest.param(":443", id="port-alone"),
        pytest.param(".", id="dot-alone"),
        pytest.param(".:443", id="dot-and-port"),
        pytest.param("user@api.example.com", id="userinfo"),
        pytest.param("user:pw@api.example.com", id="userinfo-with-password"),
        pytest.param("@api.example.com", id="empty-userinfo"),
        pytest.param("api.example.com@evil.example", id="ours-as-userinfo"),
        pytest.param("api.example.com,evil.example", id="joined-with-comma"),
        pytest.param("api.example.com, api.example.com", id="joined-with-comma-and-space"),
        pytest.param("api.example.com evil.example", id="space-inside"),
        pytest.param(" api.example.com", id="space-before"),
        pytest.param("api.example.com\t", id="tab-after"),
        pytest.param("api.example.com\n", id="line-break-after"),
        pytest.param("api.example.com\x00", id="nul"),
        pytest.param("api.example.com/x", id="path"),
        pytest.param("http://api.example.com", id="url"),
        pytest.param("api.example.com?x", id="query"),
        pytest.param("api.example.com#x", id="fragment"),
        pytest.param("api.example.com\\x", id="backslash"),
        pytest.param("api%2eexample.com", id="percent-encoded"),
        pytest.param("api..example.com", id="empty-label"),
        pytest.param(".api.example.com", id="leading-dot"),
        pytest.param("api.example.com..", id="two-trailing-dots"),
        pytest.param("api.example.com:x", id="port-no-number"),
        pytest.param("api.example.com:443:80", id="two-ports"),
        pytest.param("api.example.com:123456", id="port-of-six-digits"),
        pytest.param("api.example.com:\u0664\u0664\u0663", id="port-of-arabic-digits"),
        pytest.param("*.example.com", id="wildcard"),
        pytest.param("api.exämple.com", id="non-ascii"),
        pytest.param("api.ban\u212a.com", id="kelvin-sign-is-no-k"),
        pytest.param("api\u3002example.com", id="ideographic-full-stop"),
        pytest.param("[::1", id="ip6-open"),
        pytest.param("::1", id="ip6-without-brackets"),
        pytest.param("[fe80::1%25eth0]", id="ip6-with-zone"),
        pytest.param("[]", id="empty-brackets"),
        pytest.param("a" * 300, id="too-long"),
    ],
)
def test_malformed_host_is_refused(host: str) -> None:
    with pytest.raises(RequestError) as refused:
        read_host([host])
    assert refused.value.reason == "host_malformed"


@pytest.mark.parametrize(
    ("host", "name"),
    [
        pytest.param("api.example.com", "api.example.com", id="plain"),
        pytest.param("API.Example.COM", "api.example.com", id="case"),
        pytest.param("api.example.com:8443", "api.example.com", id="port"),
        pytest.param("api.example.com:", "api.example.com", id="empty-port"),
        pytest.param("api.example.com:65535", "api.example.com", id="port-of-five-digits"),
        pytest.param("api.example.com.", "api.example.com", id="trailing-dot"),
        pytest.param("api.example.com.:443", "api.example.com", id="trailing-dot-and-port"),
        pytest.param("localhost", "localhost", id="one-label"),
        pytest.param("my_service", "my_service", id="underscore"),
        pytest.param("xn--bcher-kva.example", "xn--bcher-kva.example", id="punycode"),
        pytest.param("192.0.2.1:80", "192.0.2.1", id="ip4"),
        pytest.param("[2001:DB8::1]:443", "[2001:db8::1]", id="ip6-and-port"),
        pytest.param("[::ffff:192.0.2.1]", "[::ffff:192.0.2.1]", id="ip6-with-ip4"),
        pytest.param(LONGEST_NAME + ".:65535", LONGEST_NAME, id="longest"),
    ],
)
def test_host_is_lower_case_without_port_and_trailing_dot(host: str, name: str) -> None:
    assert read_host([host]) == name


@given(
    st.one_of(
        st.text(),
        st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape")),
        st.from_regex(r"[A-Za-z0-9.:@\[\]%_\u212a-]*", fullmatch=True),
    )
)
@example("\u212a")
@example("\u0130")
@settings(deadline=None)
def test_any_host_is_read_or_refused_and_what_is_read_was_sent(host: str) -> None:
    try:
        name = read_host([host])
    except RequestError:
        return
    assert host.isascii()
    assert host.lower().startswith(name)
    assert read_host([name]) == name
