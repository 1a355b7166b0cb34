"""Where a protected resource's metadata lives (RFC 9728 §3.1)."""

from __future__ import annotations

import pytest

from bridge.decision.resource_metadata import metadata_url


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
