"""Metadata of APIs and authorization servers: what is believed, and what is not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.client.errors import DiscoveryError, LoginError
from bridge.client.metadata import Resource, Server, read_resource, read_server
from bridge.client.origin import is_protected, origin_of, place_of
from bridge.client.token import Token, read_token

ISSUER = "https://as.example"
RESOURCE = {"resource": "https://api.example/v1", "authorization_servers": [ISSUER]}
SERVER = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
}
URL = "https://api.example/v1/transfers"


@pytest.mark.parametrize(
    ("changes", "url", "text"),
    [
        pytest.param({"resource": "https://bank.example/v1"}, URL, "another resource",
                     id="of-another-api"),
        pytest.param({"resource": "https://api.example:444/v1"}, URL, "another resource",
                     id="of-another-port"),
        pytest.param({"resource": "http://api.example/v1"}, URL, "another resource",
                     id="of-another-scheme"),
        pytest.param({}, "https://api.example/v10", "another resource", id="half-a-segment"),
        pytest.param({}, "https://api.example/", "another resource", id="above-the-resource"),
        pytest.param({"resource": 5}, URL, "another resource", id="resource-no-string"),
        pytest.param({"resource": "api"}, URL, "another resource", id="resource-no-url"),
        pytest.param({"authorization_servers": []}, URL, "no authorization_servers", id="empty"),
        pytest.param({"authorization_servers": ISSUER}, URL, "no authorization_servers",
                     id="no-list"),
    ],
)  # fmt: skip
def test_metadata_of_another_api_is_not_believed(
    changes: dict[str, Any], url: str, text: str
) -> None:
    with pytest.raises(DiscoveryError, match=text):
        read_resource(json.dumps(RESOURCE | changes).encode(), url)


@pytest.mark.parametrize(
    ("resource", "url"),
    [
        pytest.param("https://api.example/v1", URL, id="prefix"),
        pytest.param("https://api.example/v1/", URL, id="prefix-with-slash"),
        pytest.param("https://api.example", URL, id="whole-origin"),
        pytest.param("https://API.example:443/v1/transfers", URL, id="the-url-itself"),
    ],
)
def test_metadata_of_the_api_is_read(resource: str, url: str) -> None:
    document = RESOURCE | {"resource": resource, "scopes_supported": ["a", 5, "b"]}
    assert read_resource(json.dumps(document).encode(), url) == Resource(
        resource, (ISSUER,), ("a", "b")
    )


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        pytest.param({"issuer": "https://other.example"}, "another issuer", id="issuer"),
        pytest.param({"issuer": f"{ISSUER}/"}, "another issuer", id="issuer-with-slash"),
        pytest.param({"token_endpoint": None}, "no usable token_endpoint", id="no-endpoint"),
        pytest.param({"token_endpoint": "/token"}, "is no URL", id="relative"),
        pytest.param({"authorization_endpoint": "javascript:alert(1)"}, "is no URL", id="script"),
        pytest.param({"authorization_endpoint": "file:///etc/passwd"}, "is no URL", id="file"),
        pytest.param({"authorization_endpoint": f"{ISSUER}/\x1b[2J"}, "no usable", id="escape"),
        pytest.param({"token_endpoint": "http://as.example/t"}, "not https", id="plain-http"),
        pytest.param({"token_endpoint": "http://127.0.0.1/t"}, "not https", id="loopback-of-far"),
        pytest.param({"pushed_authorization_request_endpoint": 1}, "no usable", id="par"),
        pytest.param({"code_challenge_methods_supported": ["plain"]}, "PKCE", id="no-s256"),
    ],
)
def test_server_metadata_that_cannot_be_trusted_is_refused(
    changes: dict[str, Any], text: str
) -> None:
    with pytest.raises(DiscoveryError, match=text):
        read_server(json.dumps(SERVER | changes).encode(), ISSUER)


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"issuer":1,"issuer":2}', b"\xff"])
def test_what_is_no_json_object_is_no_metadata(body: bytes) -> None:
    with pytest.raises(DiscoveryError, match="no JSON object"):
        read_server(body, ISSUER)
    with pytest.raises(DiscoveryError, match="no JSON object"):
        read_resource(body, URL)


def test_server_metadata_is_read() -> None:
    more = {
        "pushed_authorization_request_endpoint": f"{ISSUER}/par",
        "authorization_response_iss_parameter_supported": True,
    }
    assert read_server(json.dumps(SERVER | more).encode(), ISSUER) == Server(
        ISSUER, f"{ISSUER}/authorize", f"{ISSUER}/token", f"{ISSUER}/par", says_iss=True
    )


@pytest.mark.parametrize("url", ["/x", "ftp://a/", "https://", "a", "", "https:/x"])
def test_what_is_no_url_has_no_origin(url: str) -> None:
    with pytest.raises(ValueError, match="http"):
        origin_of(url)


def test_origins_are_compared_with_their_default_port() -> None:
    assert origin_of("HTTPS://user@A.example/x?y#z") == origin_of("https://a.example:443")
    assert origin_of("https://[::1]:8/") == "https://[::1]:8"
    assert place_of("https://user:pw@a.example:1?q#f") == "https://a.example:1/"
    assert [
        is_protected(url)
        for url in ("https://a", "http://127.0.0.1:1/", "http://localhost", "http://a", "ftp://a")
    ] == [True, True, True, False, False]


@pytest.mark.parametrize(
    "response",
    [
        pytest.param({}, id="empty"),
        pytest.param({"access_token": "t"}, id="no-type"),
        pytest.param({"access_token": 5, "token_type": "Bearer"}, id="token-no-string"),
        pytest.param({"access_token": "a b", "token_type": "Bearer"}, id="token-with-space"),
        pytest.param({"access_token": "a\r\nx: y", "token_type": "Bearer"}, id="token-with-header"),
        pytest.param({"access_token": "", "token_type": "Bearer"}, id="token-empty"),
        pytest.param({"access_token": "t", "token_type": "mac"}, id="unknown-type"),
    ],
)
def test_response_without_a_usable_token_is_refused(response: dict[str, object]) -> None:
    with pytest.raises(LoginError) as caught:
        read_token(response, (), 0)
    assert "a b" not in str(caught.value)


@pytest.mark.parametrize(
    ("expires_in", "expires_at"),
    [
        pytest.param(None, None, id="not-said"),
        pytest.param(True, 1001, id="bool-is-short"),
        pytest.param(-1, None, id="negative"),
        pytest.param(float("nan"), None, id="nan"),
        pytest.param(10**400, None, id="no-float-can-hold-it"),
        pytest.param("9" * 400, None, id="long-text"),
        pytest.param("60", 1060, id="text"),
        pytest.param(0, 1000, id="now"),
    ],
)
def test_lifetime_that_is_none_is_not_known(expires_in: object, expires_at: object) -> None:
    response = {"access_token": "t", "token_type": "Bearer", "expires_in": expires_in}
    assert read_token(response, (), 1000).expires_at == expires_at


@pytest.mark.parametrize(
    "id_token", [None, 5, "x", "a.b.c", "a.e30.c", "a.W10.c", "a.!!.c", "e30.e30.e30.e30"]
)
def test_nonsense_in_the_id_token_says_nothing(id_token: object) -> None:
    response = {"access_token": "t", "token_type": "bearer", "id_token": id_token}
    assert read_token(response, ("a",), 0) == Token("t", "Bearer", ("a",))


def test_token_response_is_read() -> None:
    response: dict[str, object] = {
        "access_token": "t",
        "token_type": "dpop",
        "expires_in": 60,
        "scope": "a b",
        # {"acr":"mfa","auth_time":5}
        "id_token": "e30.eyJhY3IiOiJtZmEiLCJhdXRoX3RpbWUiOjV9.x",
    }
    assert read_token(response, ("a", "c"), 1000) == Token("t", "DPoP", ("a", "b"), 1060, "mfa", 5)
    assert "'t'" not in repr(read_token(response, (), 0))
