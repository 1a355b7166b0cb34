"""Where the metadata of a protected resource lives (RFC 9728 §3.1)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

from bridge.policy.operations import Api
from bridge.tokens.confirmation import TAKES_MTLS

WELL_KNOWN_PATH = "/.well-known/oauth-protected-resource"
_ANY_HOST = ""


@lru_cache(maxsize=4096)
def metadata_url(resource: str) -> str:
    """Insert the well-known path between the host and the path of a resource identifier."""
    parts = urlsplit(resource)
    return f"{parts.scheme}://{parts.netloc}{WELL_KNOWN_PATH}{_suffix(parts)}"


def _suffix(parts: SplitResult) -> str:
    """Give what follows the well-known path."""
    path = "" if parts.path == "/" else parts.path
    return f"{path}?{parts.query}" if parts.query else path


def metadata_document(apis: Sequence[Api]) -> str:
    """Describe the APIs of one `resource` as it (RFC 9728 §2); empty members are left out.

    Does not tell: what operations demand of acr and max_age (RFC 9470 §9).
    """
    scopes = {s for api in apis for each in api.operations for s in each.requirement.scopes}
    algorithms = dict.fromkeys(name for api in apis for name in api.dpop_algorithms)
    document: dict[str, object] = {
        "resource": apis[0].resource,
        "authorization_servers": list(dict.fromkeys(iss for api in apis for iss in api.issuers)),
        "bearer_methods_supported": ["header"],
    }
    if algorithms:
        document["dpop_signing_alg_values_supported"] = list(algorithms)
    if all(api.sender_constraint == "dpop" for api in apis):
        document["dpop_bound_access_tokens_required"] = True
    if any(api.sender_constraint in TAKES_MTLS for api in apis):
        document["tls_client_certificate_bound_access_tokens"] = True
    if scopes:
        document["scopes_supported"] = sorted(scopes)
    return json.dumps(document)


class MetadataIndex:
    """The metadata documents by host and path, or by path alone where that is unique."""

    def __init__(self, apis: Iterable[Api]) -> None:
        resources: dict[str, list[Api]] = {}
        for api in apis:
            if api.resource is not None:
                resources.setdefault(api.resource, []).append(api)
        found: dict[tuple[str, str], list[str]] = {}
        for resource, described in resources.items():
            parts = urlsplit(resource)
            for place in (f"//{parts.netloc.lower()}", parts.hostname or "", _ANY_HOST):
                found.setdefault((place, _suffix(parts)), []).append(metadata_document(described))
        self._documents = {key: each[0] for key, each in found.items() if len(each) == 1}

    def find(self, authority: str, host: str, target: str) -> str | None:
        """Find the document of a request.

        Args:
            authority: The `Host` field as it came: of two ports of a host it tells which.
            host: The same as `policy.hosts.read_host` gives it.
            target: Raw request target; its path starts with `WELL_KNOWN_PATH`.
        """
        asked = target.removeprefix(WELL_KNOWN_PATH)
        path, _, query = asked.partition("?")
        path = "" if path == "/" else path
        for suffix in (f"{path}?{query}", path):
            for place in (f"//{authority.lower()}", host, _ANY_HOST):
                document = self._documents.get((place, suffix))
                if document is not None:
                    return document
        return None
