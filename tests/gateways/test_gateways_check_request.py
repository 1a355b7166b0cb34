"""What a check looks at of a request, and what it never does (spec §4, §8)."""

from __future__ import annotations

from typing import Any

import pytest
from multidict import CIMultiDict

from bridge.gateways.check_request import HEADERS_READ, CheckRequest, check_request


def headers(*lines: tuple[str, str]) -> CIMultiDict[str]:
    return CIMultiDict(lines)


def read(method: str, *lines: tuple[str, str]) -> CheckRequest:
    return check_request("envoy", method, ("api.example.com",), "/a?b", headers(*lines))


BARE = CheckRequest("envoy", "GET", ("api.example.com",), "/a?b", ())


def test_request_without_headers_has_none_of_what_they_say() -> None:
    assert read("GET") == BARE._replace(method_overrides=[])


def test_headers_that_are_read_are_listed() -> None:
    asked = set()

    class Recording(CIMultiDict[str]):
        def getall(self, key: str, *_: Any) -> list[str]:
            asked.add(key)
            return ["x"]

    check_request("envoy", "OPTIONS", (), "", Recording())
    assert asked == HEADERS_READ


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, id=name)
        for name in (
            *("x-forwarded-host", "x-forwarded-uri", "x-forwarded-method", "x-forwarded-proto"),
            *(
                "x-original-url",
                "x-original-uri",
                "x-original-method",
                "x-rewrite-url",
                "forwarded",
            ),
            *("x-envoy-original-path", "host", "cookie", "x-user", "access-control-request-method"),
            *(":path", ":method", ":authority", "x-http-host-override", "proxy-authorization"),
        )
    ],
)
def test_no_other_header_changes_anything(name: str) -> None:
    assert read("GET", (name, "/admin")) == read("GET")


@pytest.mark.parametrize(
    ("lines", "values"),
    [
        pytest.param([("Authorization", "a")], ["a"], id="one"),
        pytest.param([("AUTHORIZATION", "a"), ("authorization", "b")], ["a", "b"], id="two"),
        pytest.param([("authorization", "")], [""], id="empty"),
    ],
)
def test_every_authorization_value_is_kept_as_it_came(
    lines: list[tuple[str, str]], values: list[str]
) -> None:
    assert read("GET", *lines).authorization == values


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method"])
def test_every_method_override_is_kept(name: str) -> None:
    assert read("POST", (name, "PUT"), (name.lower(), "")).method_overrides == ["PUT", ""]


def test_method_overrides_of_several_names_are_all_kept() -> None:
    request = read("POST", ("x-http-method", "C"), ("x-http-method-override", "A"))
    assert sorted(request.method_overrides) == ["A", "C"]


ORIGIN = ("Origin", "https://app.example.com")
ASKS = ("Access-Control-Request-Method", "POST")


@pytest.mark.parametrize(
    ("method", "lines", "preflight"),
    [
        pytest.param("OPTIONS", [], False, id="options-alone"),
        pytest.param("OPTIONS", [ORIGIN], False, id="no-requested-method"),
        pytest.param("OPTIONS", [ASKS], False, id="no-origin"),
        pytest.param("GET", [ORIGIN, ASKS], False, id="get"),
        pytest.param("POST", [ORIGIN, ASKS], False, id="post"),
        pytest.param("options", [ORIGIN, ASKS], False, id="in-lower-case"),
        pytest.param("OPTIONS", [ORIGIN, ASKS], True, id="all-three"),
    ],
)
def test_preflight_is_options_with_origin_and_requested_method(
    method: str, lines: list[tuple[str, str]], preflight: bool
) -> None:
    assert read(method, *lines).preflight is preflight


@pytest.mark.parametrize(
    ("lines", "cross_origin"),
    [
        pytest.param([], False, id="none"),
        pytest.param([ORIGIN], True, id="one"),
        pytest.param([("origin", "null")], True, id="null"),
    ],
)
def test_cross_origin_is_a_request_with_an_origin(
    lines: list[tuple[str, str]], cross_origin: bool
) -> None:
    assert read("GET", *lines).cross_origin is cross_origin


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        pytest.param("", None, id="empty"),
        pytest.param("a" * 65, None, id="one-above-64"),
        pytest.param("eyJhbGciOiJub25lIn0.e30.", None, id="a-token"),
        pytest.param("a b", None, id="space"),
        pytest.param("a\n", None, id="line-break"),
        pytest.param("é", None, id="non-ascii"),
        pytest.param("a" * 64, "a" * 64, id="at-64"),
        pytest.param("a" * 63, "a" * 63, id="one-below-64"),
        pytest.param("7f0c-A_9", "7f0c-A_9", id="plain"),
    ],
)
def test_request_id_is_kept_for_the_log_only_where_it_is_short_and_plain(
    value: str, kept: str | None
) -> None:
    assert read("GET", ("X-Request-Id", value)).request_id == kept


def test_a_check_request_cannot_be_changed() -> None:
    changed: Any = BARE
    with pytest.raises(AttributeError):
        changed.method = "POST"
