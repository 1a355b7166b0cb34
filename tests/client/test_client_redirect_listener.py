"""Waiting for the browser: strangers, nonsense, silence, and the answer."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from bridge.client.errors import LoginError, LoginTimeoutError
from bridge.client.redirect_listener import RedirectListener


@pytest.fixture
def listener() -> Iterator[RedirectListener]:
    with RedirectListener() as running:
        running.expect("right")
        yield running


def get(listener: RedirectListener, query: str) -> httpx.Response:
    return httpx.get(f"{listener.redirect_uri}{query}", trust_env=False)


def test_answer_with_the_state_is_taken_once(listener: RedirectListener) -> None:
    response = get(listener, "?code=c&state=right&iss=https%3A%2F%2Fas")
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    assert "close this window" in response.text
    assert listener.wait(5, threading.Event()) == {
        "code": "c",
        "state": "right",
        "iss": "https://as",
    }
    assert get(listener, "?code=d&state=right").status_code == 400


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("", id="nothing"),
        pytest.param("?code=c", id="no-state"),
        pytest.param("?code=c&state=wrong", id="wrong-state"),
        pytest.param("?code=c&state=", id="empty-state"),
        pytest.param("?code=c&code=d&state=right", id="two-codes"),
        pytest.param("?code=c&state=right&state=right", id="two-states"),
    ],
)
def test_strangers_neither_end_the_wait_nor_are_forgotten(
    listener: RedirectListener, query: str
) -> None:
    assert get(listener, query).status_code == 400
    with pytest.raises(LoginTimeoutError, match=r"within 0\.1 s \(1 answers without the state"):
        listener.wait(0.1, threading.Event())


def test_before_a_login_is_under_way_nothing_is_taken() -> None:
    with RedirectListener() as listener:
        assert get(listener, "?code=c&state=").status_code == 400


def test_other_paths_and_methods_are_not_there(listener: RedirectListener) -> None:
    base = listener.redirect_uri.removesuffix("/callback")
    assert httpx.get(f"{base}/favicon.ico", trust_env=False).status_code == 404
    answer = httpx.post(f"{listener.redirect_uri}?code=c&state=right", trust_env=False)
    assert answer.status_code == 501


def test_failed_login_is_said_to_the_user_without_repeating_what_came(
    listener: RedirectListener,
) -> None:
    response = get(listener, "?error=%3Cscript%3E&state=right")
    assert "did not succeed" in response.text
    assert "script" not in response.text


def test_silent_connection_and_nonsense_do_not_keep_the_answer_out(
    capfd: pytest.CaptureFixture[str],
) -> None:
    listener = RedirectListener()
    listener.expect("right")
    port = urlsplit(listener.redirect_uri).port
    with socket.create_connection(("127.0.0.1", port)):
        with listener:
            with socket.create_connection(("127.0.0.1", port)) as other:
                other.sendall(b"\x16\x03\x01 what is this\r\n\r\n")
            get(listener, "?code=c&state=right")
            assert listener.wait(5, threading.Event())["code"] == "c"
            ending = time.monotonic()
        assert time.monotonic() - ending < 3
    assert capfd.readouterr() == ("", "")


def test_cancelled_wait_ends(listener: RedirectListener) -> None:
    cancelled = threading.Event()
    threading.Timer(0.1, cancelled.set).start()
    with pytest.raises(LoginError, match="cancelled"):
        listener.wait(60, cancelled)


def test_only_loopback_is_listened_on(listener: RedirectListener) -> None:
    assert listener.redirect_uri.startswith("http://127.0.0.1:")


def test_taken_port_is_an_error_at_once(listener: RedirectListener) -> None:
    port = urlsplit(listener.redirect_uri).port
    assert port is not None
    with pytest.raises(LoginError, match=f"port {port} of 127.0.0.1"):
        RedirectListener(port)
