"""Where a protected resource's metadata lives (RFC 9728 §3.1)."""

from __future__ import annotations

import json
from dataclasses import replace

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
    document = json.loads(metadata_document([_api("a", "https://api.test/a", ("b", "a"))]))

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
        return _found(index, host, path)

    assert found("one.test", "/a") == "https://one.test/a"
    assert found("two.test", "/a") == "https://two.test/a"
    assert found("other.test", "/a") is None
    assert found("other.test", "/") == "https://three.test/"
    assert found("other.test", "") == "https://three.test/"
    assert found("one.test", "/b") is None


def _found(index: MetadataIndex, authority: str, path: str) -> str | None:
    host = authority.lower().partition(":")[0]
    document = index.find(authority, host, WELL_KNOWN_PATH + path)
    return None if document is None else json.loads(document)["resource"]


def test_resources_that_differ_in_port_or_query_are_not_taken_for_each_other() -> None:
    index = MetadataIndex(
        [
            _api("port", "https://api.test:8443/a"),
            _api("no-port", "https://api.test/a"),
            _api("one", "https://api.test/b?tenant=1"),
            _api("two", "https://api.test/b?tenant=2"),
        ]
    )

    assert _found(index, "API.test:8443", "/a") == "https://api.test:8443/a"
    assert _found(index, "api.test", "/a") == "https://api.test/a"
    assert _found(index, "api.test:9443", "/a") is None
    assert _found(index, "other.test", "/a") is None
    assert _found(index, "api.test", "/b?tenant=1") == "https://api.test/b?tenant=1"
    assert _found(index, "other.test", "/b?tenant=2") == "https://api.test/b?tenant=2"
    assert _found(index, "api.test", "/b") is None


def test_a_query_that_is_no_part_of_the_resource_changes_nothing() -> None:
    index = MetadataIndex([_api("a", "https://api.test/a")])

    assert _found(index, "api.test", "/a?b=c") == "https://api.test/a"


def test_apis_of_one_resource_are_described_together() -> None:
    resource = "https://api.test/a"
    one = replace(
        _api("one", resource, ("read",)), sender_constraint="dpop", dpop_algorithms=("ES256",)
    )
    other = replace(_api("other", resource, ("write",)), issuers=("https://b.test",))
    mtls = replace(_api("mtls", resource), sender_constraint="mtls")

    assert json.loads(metadata_document([one, other, mtls])) == {
        "resource": resource,
        "authorization_servers": ["https://login.test", "https://b.test"],
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": ["ES256"],
        "tls_client_certificate_bound_access_tokens": True,
        "scopes_supported": ["read", "write"],
    }
    assert json.loads(metadata_document([one, one]))["dpop_bound_access_tokens_required"] is True
    assert _found(MetadataIndex([one, other]), "other.test", "/a") == resource
