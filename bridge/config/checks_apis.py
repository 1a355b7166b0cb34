"""Checks across APIs and operations; see `checks`."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from bridge.config import addresses
from bridge.config.model import PathSection
from bridge.config.places import Place
from bridge.errors import Problem
from bridge.policy.matching import find_conflicts
from bridge.policy.operations import Operation, PathRules
from bridge.policy.templates import parse_template
from bridge.tokens.confirmation import TAKES_DPOP


def check_apis(root: Place) -> Iterator[Problem]:
    """Check every API by itself and against the others."""
    apis = root.items("apis")
    yield from _check_names(apis)
    yield from _check_hosts_and_base_paths(apis)
    issuers = _known_issuers(root)
    levels = _assurance_levels(root)
    for api in apis:
        if issuers is not None:
            yield from _check_known_issuers(api, issuers)
        yield from _check_sender_constraint(api)
        operations = api.items("operations")
        yield from _check_names(operations)
        yield from _check_paths(operations, _path_rules(api))
        for operation in operations:
            yield from _check_require(operation, levels)


def _check_names(named: list[Place]) -> Iterator[Problem]:
    first: dict[str, Place] = {}
    for each in named:
        place = each.child("name")
        if place is not None and place.text:
            earlier = first.setdefault(place.text, place)
            if earlier is not place:
                yield place.problem(f"is already {earlier.path} (line {earlier.line})")


def _check_hosts_and_base_paths(apis: list[Place]) -> Iterator[Problem]:
    """Two APIs at one place: a request could not choose. Unset hosts are a place of their own."""
    first: dict[tuple[str | None, str], Place] = {}
    for api in apis:
        base_path = _base_path(api)
        if base_path is None:
            continue
        hosts: list[tuple[str | None, Place]] = []
        if api.has("hosts"):
            hosts += ((host, place) for place in api.items("hosts") if (host := _host(place)))
        else:
            hosts.append((None, api))
        for host, place in hosts:
            earlier = first.setdefault((host, base_path), api)
            if earlier is not api:
                what = "host and base path" if host else "base path, both for any host,"
                yield place.problem(f"has the same {what} as {earlier.path} (line {earlier.line})")


def _base_path(api: Place) -> str | None:
    if not api.has("base_path"):
        return "/"
    try:
        return addresses.base_path(api.text_of("base_path") or "")
    except ValueError:
        return None


def _host(place: Place) -> str | None:
    try:
        return addresses.host(place.text or "")
    except ValueError:
        return None


def _known_issuers(root: Place) -> dict[str, None] | None:
    """Give the names of the issuers, or None where one has none, and so all could be meant."""
    names = [issuer.text_of("issuer") for issuer in root.items("issuers")]
    known = dict.fromkeys(name for name in names if name)
    return known if names and all(names) else None


def _check_known_issuers(api: Place, known: dict[str, None]) -> Iterator[Problem]:
    for place in api.items("issuers"):
        if place.text and place.text not in known:
            near = get_close_matches(place.text, known, n=1, cutoff=0.8)
            hint = f"; did you mean {near[0]}?" if near else ""
            yield place.problem(f"is not an issuer of this file{hint}")


def _check_sender_constraint(api: Place) -> Iterator[Problem]:
    """Demand an origin for DPoP. A proof names its URI, which no header of a client tells."""
    place = api.child("sender_constraint")
    if place is None or place.text not in TAKES_DPOP:
        return
    if not api.has("external_origin") and not api.has("resource"):
        yield place.problem(
            "needs external_origin or resource: the htu of DPoP proofs is compared with it"
        )


def _assurance_levels(root: Place) -> list[str] | None:
    """Give the levels, empty where there are none, or None where they cannot be read."""
    if not root.has("assurance_levels"):
        return []
    levels = [place.text for place in root.items("assurance_levels")]
    texts = [level for level in levels if level is not None]
    return texts if texts and len(texts) == len(levels) else None


def _check_require(operation: Place, levels: list[str] | None) -> Iterator[Problem]:
    require = operation.child("require")
    if require is None:
        return
    if operation.is_true("public"):
        yield require.problem("must not stand beside public: true, which looks at no token")
    min_acr = require.child("min_acr")
    if min_acr is None:
        return
    if require.has("acr_values"):
        yield min_acr.problem("must not stand beside acr_values: one of them says it all")
    if levels is not None and min_acr.text:
        if not levels:
            yield min_acr.problem("needs assurance_levels, which this file does not have")
        elif min_acr.text not in levels:
            yield min_acr.problem("is not one of assurance_levels")


def _path_rules(api: Place) -> PathRules:
    path = api.child("path")
    flags = {name: path is not None and path.is_true(name) for name in PathSection.model_fields}
    return PathRules(**flags)


def _check_paths(operations: list[Place], rules: PathRules) -> Iterator[Problem]:
    paths = [operation.items("paths") for operation in operations]
    comparable: list[Operation] = []
    for operation, places in zip(operations, paths, strict=True):
        for place in places:
            try:
                parse_template(place.text or "", rules)
            except ValueError as error:
                if place.text is not None:
                    yield place.problem(str(error))
        methods = _methods(operation)
        texts = [place.text or "" for place in places]
        if methods is not None and not methods:  # all unreadable: not to be taken for "any"
            texts = []
        comparable.append(Operation(operation.text_of("name") or "", tuple(texts), methods or ()))
    for conflict in find_conflicts(comparable, rules):
        place = paths[conflict.second_operation][conflict.second_path]
        other = paths[conflict.first_operation][conflict.first_path]
        for_method = f"for {conflict.method}" if conflict.method else "for any method"
        yield place.problem(
            f"ties with {other.path} (line {other.line}) {for_method}:"
            " no request could choose between them"
        )


def _methods(operation: Place) -> tuple[str, ...] | None:
    """Give the methods, leaving out unreadable ones; None: any method."""
    if not operation.has("methods"):
        return None
    return tuple(place.text for place in operation.items("methods") if place.text)
