"""Which URLs an issuer may be asked at (spec §3)."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from bridge.tokens.transport import is_insecure


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("http://login.example.com/keys", id="another-machine"),
        pytest.param("HTTP://login.example.com/keys", id="scheme-in-upper-case"),
        pytest.param("http://192.0.2.1/", id="ip4"),
        pytest.param("http://10.0.0.1/", id="private-ip4"),
        pytest.param("http://126.255.255.255/", id="one-below-loopback"),
        pytest.param("http://128.0.0.0/", id="one-above-loopback"),
        pytest.param("http://0.0.0.0/", id="any-ip4"),
        pytest.param("http://[::2]/", id="ip6"),
        pytest.param("http://[::]/", id="any-ip6"),
        pytest.param("http://localhost.example.com/", id="localhost-as-a-label"),
        pytest.param("http://evil-localhost/", id="localhost-as-a-suffix"),
        pytest.param("http://127.0.0.1.example.com/", id="loopback-as-labels"),
        pytest.param("http://localhost@evil.example/", id="localhost-as-userinfo"),
        pytest.param("http://127.1/", id="short-spelling"),
        pytest.param("http:///keys", id="no-host"),
    ],
)
def test_plain_http_to_another_machine_is_insecure(url: str) -> None:
    assert is_insecure(urlsplit(url))


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("https://login.example.com/keys", id="https"),
        pytest.param("HTTPS://login.example.com/keys", id="https-in-upper-case"),
        pytest.param("http://localhost:8080/keys", id="localhost"),
        pytest.param("http://LOCALHOST/", id="localhost-in-upper-case"),
        pytest.param("http://127.0.0.1:80/", id="loopback"),
        pytest.param("http://127.0.0.0/", id="first-of-loopback"),
        pytest.param("http://127.255.255.255/", id="last-of-loopback"),
        pytest.param("http://[::1]:8080/", id="ip6-loopback"),
    ],
)
def test_https_and_loopback_are_not(url: str) -> None:
    assert not is_insecure(urlsplit(url))
