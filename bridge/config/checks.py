"""Checks that need more than one value.

They look at the file's nodes, not at the models, so that every problem is found in one go,
whatever else is wrong. What has a wrong type is passed over: the models report it.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from bridge import pip_install
from bridge.config import addresses
from bridge.config.checks_apis import check_apis
from bridge.config.model import (
    ALL_FORMATS,
    DEFAULT_ADMIN,
    DEFAULT_AUTHZ,
    NONCE_SECRET_KEYS,
    REDIS_KEYS,
    SECRET_KEYS,
)
from bridge.config.places import Place
from bridge.config.settings import TcpAddress, UnixAddress
from bridge.errors import Problem
from bridge.tokens.confirmation import TAKES_DPOP
from bridge.tokens.transport import is_insecure

_ANY_HOST = frozenset(("0.0.0.0", "::"))  # noqa: S104


def cross_checks(root: Place, directory: Path) -> Iterator[Problem]:
    """Find every problem that the models do not see.

    Args:
        root: The whole file.
        directory: Absolute; relative names are relative to it.
    """
    yield from _check_listen(root, directory)
    yield from _check_issuers(root)
    yield from _check_upstream_headers(root)
    yield from _check_dpop(root)
    yield from check_apis(root)


def _check_listen(root: Place, directory: Path) -> Iterator[Problem]:
    listen = root.child("listen")
    if listen is None:
        return
    found: list[TcpAddress | UnixAddress] = []
    for key, default in (("authz", DEFAULT_AUTHZ), ("admin", DEFAULT_ADMIN)):
        place = listen.child(key)
        try:
            text = default if place is None else place.text or ""
            found.append(addresses.listen_address(text, directory))
        except ValueError as error:
            if place is not None and place.text and place.text.startswith("unix:"):
                yield place.problem(str(error))
    if len(found) == 2 and _collide(*found):  # noqa: PLR2004
        place = listen.child("admin") or listen.child("authz") or listen
        yield place.problem(f"must not share an address: authz is {found[0]}, admin is {found[1]}")


def _collide(one: TcpAddress | UnixAddress, other: TcpAddress | UnixAddress) -> bool:
    if not isinstance(one, TcpAddress) or not isinstance(other, TcpAddress):
        return one == other
    if one.port == 0 or one.port != other.port:
        return False
    same_family = (":" in one.host) == (":" in other.host)
    any_host = one.host in _ANY_HOST or other.host in _ANY_HOST
    return one.host == other.host or (any_host and same_family)


def _check_issuers(root: Place) -> Iterator[Problem]:
    first: dict[str, Place] = {}
    for issuer in root.items("issuers"):
        place = issuer.child("issuer")
        if place is not None and place.text:
            earlier = first.setdefault(place.text, place)
            if earlier is not place:
                yield place.problem(f"is already {earlier.path} (line {earlier.line})")
        yield from _check_issuer_url(issuer)
        yield from _check_insecure(issuer)
        jwks_file = issuer.child("jwks_file")
        if jwks_file is not None and issuer.has("jwks_uri"):
            yield jwks_file.problem("must not stand beside jwks_uri: keys come from one place")
        yield from _check_introspection(issuer)


def _check_issuer_url(issuer: Place) -> Iterator[Problem]:
    """Check that what the file leaves out can be found in metadata (RFC 8414 §2, §3)."""
    place = issuer.child("issuer")
    if place is None or not place.text:
        return
    lacking = []
    if "jwt" in _token_formats(issuer) and not (issuer.has("jwks_uri") or issuer.has("jwks_file")):
        lacking.append("a jwks_uri or jwks_file")
    introspection = issuer.child("introspection")
    if introspection is not None and not introspection.has("endpoint"):
        lacking.append("an introspection.endpoint")
    is_url = place.text.lower().startswith(("http:", "https:"))
    if not lacking and not is_url:
        return  # any name will do (RFC 7519 §4.1.1)
    way_out = f", or have {' and '.join(lacking)}" if lacking else ""
    try:
        parts = addresses.split_url(place.text)
    except ValueError as error:
        yield place.problem(f"{error}{way_out}")
        return
    if parts.query and lacking:
        yield place.problem(f"must not have a query (RFC 8414 §2){way_out}")


def _token_formats(issuer: Place) -> frozenset[str]:
    if issuer.has("tokens"):
        return frozenset(item.text for item in issuer.items("tokens") if item.text)
    return ALL_FORMATS if issuer.has("introspection") else frozenset(("jwt",))


def _check_introspection(issuer: Place) -> Iterator[Problem]:
    introspection = issuer.child("introspection")
    if introspection is None:
        for item in issuer.items("tokens"):
            if item.text == "opaque":
                yield item.problem("needs introspection: only the issuer knows an opaque token")
        return
    if not isinstance(introspection.node.value, dict):
        return
    named = [place for key in SECRET_KEYS if (place := introspection.child(key)) is not None]
    if not named:
        yield introspection.problem(
            f"must have {', '.join(SECRET_KEYS[:-1])} or {SECRET_KEYS[-1]}:"
            " the issuer tells nothing to strangers (RFC 7662 §2.1)"
        )
    for more in named[1:]:
        yield more.problem(f"must not stand beside {named[0].path.rpartition('.')[2]}")
    auth = introspection.child("auth")
    has_key = introspection.has("private_key_file")
    if auth is not None and auth.text == "private_key_jwt" and not has_key:
        yield auth.problem("needs private_key_file")
    elif auth is not None and has_key and auth.text != "private_key_jwt":
        yield auth.problem("must be private_key_jwt, or have a secret instead of private_key_file")


def _check_insecure(issuer: Place) -> Iterator[Problem]:
    allow = issuer.child("allow_insecure_http")
    if allow is not None and allow.node.value is not False:
        return
    introspection = issuer.child("introspection")
    endpoint = None if introspection is None else introspection.child("endpoint")
    for place in (issuer.child("issuer"), issuer.child("jwks_uri"), endpoint):
        if place is None or place.text is None:
            continue
        try:
            insecure = is_insecure(addresses.split_url(place.text))
        except ValueError:
            continue
        if insecure:
            yield place.problem(
                "must be https:// (http:// only to loopback, or with allow_insecure_http: true)"
            )


def _check_upstream_headers(root: Place) -> Iterator[Problem]:
    headers = root.child("upstream_headers")
    first: dict[str, Place] = {}
    for name, place in headers.entries() if headers is not None else ():
        earlier = first.setdefault(name.lower(), place)
        if earlier is not place:
            yield place.problem(f"is the same header as on line {earlier.line}")


def _check_dpop(root: Place) -> Iterator[Problem]:
    dpop = root.child("dpop")
    replay = None if dpop is None else dpop.child("replay")
    redis = _named(replay, REDIS_KEYS)
    for alternatives in (redis, _named(dpop, NONCE_SECRET_KEYS)):
        for more in alternatives[1:]:
            first = alternatives[0].path.rpartition(".")[2]
            yield more.problem(f"must not stand beside {first}")
    if redis and find_spec("redis") is None:
        yield redis[0].problem(f"needs the extra redis: {pip_install('redis')}")
    loop_guard = root.child("loop_guard")
    shared = None if loop_guard is None else loop_guard.child("shared")
    if shared is not None and shared.node.value is True and not redis:
        yield shared.problem("must be false, or dpop.replay have a Redis")
    workers = root.child("workers")
    takers = [place for api in root.items("apis") if (place := api.child("sender_constraint"))]
    takers = [place for place in takers if place.text in TAKES_DPOP]
    if workers is not None and workers.node.value != 1 and takers and not redis:
        yield workers.problem(
            f"must be 1, or dpop.replay have a Redis, while {takers[0].path} accepts DPoP:"
            " else a proof could be used once in each worker"
        )


def _named(section: Place | None, keys: tuple[str, ...]) -> list[Place]:
    found = (None if section is None else section.child(key) for key in keys)
    return [place for place in found if place is not None]
