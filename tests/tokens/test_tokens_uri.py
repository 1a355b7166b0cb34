"""URIs in one spelling (RFC 3986 §6.2.2, §6.2.3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.tokens.uri import normalise, normalise_path


@pytest.mark.parametrize(
    ("uri", "same"),
    [
        pytest.param("https://a.example", "https://a.example/", id="no-path"),
        pytest.param("HTTPS://A.Example/B", "https://a.example/B", id="case"),
        pytest.param("https://a.example:443/", "https://a.example/", id="default-port"),
        pytest.param("http://a.example:80/", "http://a.example/", id="default-port-of-http"),
        pytest.param("https://a.example:80/", "https://a.example:80/", id="port-of-another-scheme"),
        pytest.param("https://a.example:/x", "https://a.example/x", id="empty-port"),
        pytest.param("https://[::1]:8443/x", "https://[::1]:8443/x", id="ipv6"),
        pytest.param("https://a.example/x?y=/z", "https://a.example/x", id="query"),
        pytest.param("https://a.example?y", "https://a.example/", id="query-without-a-path"),
        pytest.param("https://a.example/x#y?z", "https://a.example/x", id="fragment"),
        pytest.param("https://a.example/%7euser", "https://a.example/~user", id="unreserved"),
        pytest.param("https://a.example/a%2fb%3a", "https://a.example/a%2Fb%3A", id="reserved"),
        pytest.param("https://a.example/a/./b/../c", "https://a.example/a/c", id="dot-segments"),
        pytest.param("https://a.example/a/%2e%2e/b", "https://a.example/b", id="encoded-dots"),
        pytest.param("https://a.example/../../b", "https://a.example/b", id="above-the-root"),
        pytest.param("https://a.example/a/..", "https://a.example/", id="dots-at-the-end"),
        pytest.param("https://a.example/a/.", "https://a.example/a/", id="dot-at-the-end"),
        pytest.param("https://a.example//a", "https://a.example//a", id="empty-segment-stays"),
        pytest.param("https://a.example/.a/..b", "https://a.example/.a/..b", id="names-with-dots"),
    ],
)
def test_uri_is_normalised(uri: str, same: str) -> None:
    assert normalise(uri) == same
    assert normalise(same) == same


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/path",
        "a.example/path",
        "ftp://a.example/",
        "https:///path",
        "https:a.example",
        "https://user@a.example/",
        "https://user:password@a.example/",
        "https://a.example:x/",
        "https://a.example:443:443/",
        "https://[::1/",
        "https://a.example/a b",
        "https://a.example/\u00e9",
        "https://a.example/\n",
        "https://a.example/%",
        "https://a.example/%4",
        "https://a.example/%zz",
        " https://a.example/",
    ],
)
def test_what_is_no_http_uri_is_none(uri: str) -> None:
    assert normalise(uri) is None


def test_path_with_a_broken_escape_is_none() -> None:
    assert normalise_path("/%g0") is None


@given(st.text(alphabet="/.%2eEfFa~", max_size=24))
def test_normal_form_is_its_own_normal_form(path: str) -> None:
    once = normalise(f"https://a.example/{path}")
    if once is not None:
        assert normalise(once) in (once, None)
        segments = once.split("/")[3:]
        assert not {".", ".."} & set(segments)


@given(st.text())
def test_any_text_is_a_uri_or_none(text: str) -> None:
    found = normalise(text)
    assert found is None or found.isascii()
