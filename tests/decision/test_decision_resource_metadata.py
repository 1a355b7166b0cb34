"""Where a protected resource's metadata lives (RFC 9728 §3.1)."""

from __future__ import annotations

import json

import pytest

from bridge.decision.resource_metadata import (
    WELL_KNOWN_PATH,
    MetadataIndex,
    metadata_document,
    metadata_url,
)
from bridge.policy.operations import Api, Operation
from bridge.policy.requirement import Requirement


@pytest.mark.parametrize(
    ("resource", "url"),
    [
        pytest.param(
            "https://api.example.com",
            "https://api.example.com/.well-known/oauth-protected-resource",
            id="host",
        ),
        pytest.param(
            "https://api.example.com/",
            "https://api.example.com/.well-known/oauth-protected-resource",
            id="host-and-slash",
        ),
        pytest.param(
            "https://api.example.com:8443/payments",
            "https://api.example.com:8443/.well-known/oauth-protected-resource/payments",
            id="port-and-path",
        ),
        pytest.param(
            "https://api.example.com/payments/",
            "https://api.example.com/.well-known/oauth-protected-resource/payments/",
            id="a-slash-after-a-path-is-kept",
        ),
        pytest.param(
            "https://api.example.com/a/b?tenant=1",
            "https://api.example.com/.well-known/oauth-protected-resource/a/b?tenant=1",
            id="query",
        ),
        pytest.param(
            "https://api.example.com/?tenant=1",
            "https://api.example.com/.well-known/oauth-protected-resource?tenant=1",
            id="query-after-the-host",
        ),
    ],
)
def test_metadata_lives_between_the_host_and_the_path_of_the_resource(
    resource: str, url: str
) -> None:
    assert metadata_url(resource) == url


def _api(name: str, resource: str | None, scopes: tuple[str, ...] = ()) -> Api:
    operation = Operation("read", ("/**",), requirement=Requirement(scopes=scopes))
    return Api(name, ("https://login.test",), (operation,), resource=resource)


def test_metadata_tells_the_issuers_and_scopes_and_nothing_of_acr() -> None:
    document = json.loads(metadata_document(_api("a", "https://api.test/a", ("b", "a"))))

    assert document == {
        "resource": "https://api.test/a",
        "authorization_servers": ["https://login.test"],
        "bearer_methods_supported": ["header"],
        "scopes_supported": ["a", "b"],
    }


def test_metadata_is_found_by_host_and_path_and_by_a_path_that_is_unique() -> None:
    index = MetadataIndex(
        [
            _api("none", None),
            _api("one", "https://one.test/a"),
            _api("two", "https://two.test/a"),
            _api("root", "https://three.test/"),
        ]
    )

    def found(host: str, path: str) -> str | None:
        document = index.find(host, WELL_KNOWN_PATH + path)
        return None if document is None else json.loads(document)["resource"]

    assert found("one.test", "/a") == "https://one.test/a"
    assert found("two.test", "/a") == "https://two.test/a"
    assert found("other.test", "/a") is None
    assert found("other.test", "/") == "https://three.test/"
    assert found("other.test", "") == "https://three.test/"
    assert found("one.test", "/b") is None
