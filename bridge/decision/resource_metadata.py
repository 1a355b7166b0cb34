"""Where the metadata of a protected resource lives (RFC 9728 §3.1)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

from bridge.policy.operations import Api
from bridge.tokens.confirmation import TAKES_MTLS

WELL_KNOWN_PATH = "/.well-known/oauth-protected-resource"


@lru_cache(maxsize=4096)
def metadata_url(resource: str) -> str:
    """Insert the well-known path between the host and the path of a resource identifier."""
    parts = urlsplit(resource)
    path = "" if parts.path == "/" else parts.path
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}{WELL_KNOWN_PATH}{path}{query}"


def metadata_document(api: Api) -> str:
    """Describe an API as a protected resource (RFC 9728 §2); empty members are left out.

    Does not tell: what operations demand of acr and max_age (RFC 9470 §9).
    """
    scopes = {scope for operation in api.operations for scope in operation.requirement.scopes}
    document: dict[str, object] = {
        "resource": api.resource,
        "authorization_servers": list(api.issuers),
        "bearer_methods_supported": ["header"],
    }
    if api.dpop_algorithms:
        document["dpop_signing_alg_values_supported"] = list(api.dpop_algorithms)
    if api.sender_constraint == "dpop":
        document["dpop_bound_access_tokens_required"] = True
    if api.sender_constraint in TAKES_MTLS:
        document["tls_client_certificate_bound_access_tokens"] = True
    if scopes:
        document["scopes_supported"] = sorted(scopes)
    return json.dumps(document)


class MetadataIndex:
    """The metadata documents by host and path, or by path alone where that is unique."""

    def __init__(self, apis: Iterable[Api]) -> None:
        self._by_place: dict[tuple[str, str], str] = {}
        by_path: dict[str, list[str]] = {}
        for api in apis:
            if api.resource is None:
                continue
            parts = urlsplit(api.resource)
            path = "" if parts.path == "/" else parts.path
            document = metadata_document(api)
            self._by_place[parts.hostname or "", path] = document
            by_path.setdefault(path, []).append(document)
        self._by_path = {path: found[0] for path, found in by_path.items() if len(found) == 1}

    def find(self, host: str, path: str) -> str | None:
        """Find the document of a request.

        Args:
            host: As `policy.hosts.read_host` gives it.
            path: Raw path without the query; starts with `WELL_KNOWN_PATH`.
        """
        resource_path = path.removeprefix(WELL_KNOWN_PATH)
        if resource_path == "/":
            resource_path = ""
        found = self._by_place.get((host, resource_path))
        return found or self._by_path.get(resource_path)
