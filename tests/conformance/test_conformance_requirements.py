"""Every requirement is met by a server that conforms, and caught where one does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stub_api import (
    HOST,
    MFA,
    PHR,
    PROFILE,
    WELL_KNOWN,
    Answer,
    Asked,
    Fault,
    StubApi,
    metadata,
    serving,
    write_profile,
)

from bridge.conformance.requirements import REQUIREMENTS
from bridge.conformance.run import Result, conform

OK = Answer(200)


def run(fault: Fault | None, directory: Path) -> Result:
    api = StubApi() if fault is None else StubApi(fault)
    with serving(api):
        return conform(api.url, write_profile(directory))


def failed(result: Result) -> set[str]:
    return {verdict.requirement.id for verdict in result.verdicts if verdict.outcome == "fail"}


def where(condition: Callable[[Asked], bool], change: Callable[[Answer], Answer | None]) -> Fault:
    return lambda asked, answer: change(answer) if condition(asked) else answer


def of(*tokens: str | None) -> Callable[[Asked], bool]:
    """Choose API requests with these tokens, well written."""
    return lambda asked: (
        asked.token in tokens and not asked.malformed and not asked.path.startswith(WELL_KNOWN)
    )


def bare(asked: Asked) -> bool:
    return of(None)(asked) and not asked.lines and not asked.in_query


def document(**members: Any) -> Fault:
    return where(
        lambda asked: asked.path.startswith(WELL_KNOWN),
        lambda answer: replace(answer, body=json.dumps(metadata(**members)).encode()),
    )


def document_as(**fields: Any) -> Fault:
    return where(
        lambda asked: asked.path.startswith(WELL_KNOWN), lambda answer: replace(answer, **fields)
    )


def stepping(asked: Asked) -> bool:
    return of("weak", "stale")(asked)


def params(**changes: str | None) -> Callable[[Answer], Answer]:
    return lambda answer: answer.having(**changes)


def fields(**changes: Any) -> Callable[[Answer], Answer]:
    return lambda answer: replace(answer, **changes)


def accept(_: Answer) -> Answer:
    return OK


def challenged(answer: Answer, **changes: str | None) -> Answer:
    return answer if answer.params is None else answer.having(**changes)


def elsewhere(link: str) -> Fault:
    return lambda _, answer: challenged(answer, resource_metadata=link)


def another_resource(asked: Asked, answer: Answer) -> Answer:
    """The challenge points to the metadata of another API of the same host."""
    if asked.path == f"{WELL_KNOWN}/other":
        body = json.dumps(metadata(resource=f"https://{HOST}/other")).encode()
        return replace(answer, status=200, body=body)
    return challenged(answer, resource_metadata=f"https://{HOST}{WELL_KNOWN}/other")


FAULTS: dict[str, tuple[Fault, set[str]]] = {
    "weak-accepted": (where(stepping, accept), {"RFC9470-3-1"}),
    "stale-accepted": (where(of("stale"), accept), {"RFC9470-3-1"}),
    "error-of-its-own": (where(stepping, params(error="step_up_required")), {"RFC9470-3-2"}),
    "error-left-out": (where(stepping, params(error=None)), {"RFC9470-3-2"}),
    "step-up-with-403": (where(stepping, fields(status=403)), {"RFC9470-3-3"}),
    "nothing-demanded": (where(stepping, params(acr_values=None, max_age=None)), {"RFC9470-3-4"}),
    "acr-joined-with-comma-and-space": (
        where(stepping, params(acr_values=f"{MFA}, {PHR}")),
        {"RFC9470-3-5"},
    ),
    "acr-joined-with-comma": (where(stepping, params(acr_values=f"{MFA},{PHR}")), {"RFC9470-3-7"}),
    "max-age-with-a-unit": (where(stepping, params(max_age="5m")), {"RFC9470-3-6"}),
    "max-age-negative": (where(stepping, params(max_age="-1")), {"RFC9470-3-6"}),
    "acr-never-said": (
        where(stepping, params(acr_values=None)),
        {"RFC9470-3-7", "RFC9470-3-9"},
    ),
    "another-acr": (where(stepping, params(acr_values="urn:x")), {"RFC9470-3-7"}),
    "max-age-never-said": (where(stepping, params(max_age=None)), {"RFC9470-3-8", "RFC9470-3-9"}),
    "another-max-age": (where(stepping, params(max_age="301")), {"RFC9470-3-8"}),
    "one-demand-at-a-time": (where(of("weak"), params(max_age=None)), {"RFC9470-3-9"}),
    "fickle": (
        where(lambda asked: stepping(asked) and asked.again, params(max_age="10")),
        {"RFC9470-3-10"},
    ),
    "loop": (
        where(
            lambda asked: of("strong")(asked) and asked.again,
            lambda _: Answer(401).having(error="insufficient_user_authentication", max_age="300"),
        ),
        {"RFC9470-3-11"},
    ),
    "garbage-learns-the-demand": (
        where(lambda asked: of("garbage")(asked) and asked.sensitive, params(acr_values=MFA)),
        {"RFC9470-9-1"},
    ),
    "anybody-learns-the-demand": (
        where(lambda asked: bare(asked) and asked.sensitive, params(max_age="300")),
        {"RFC9470-9-2"},
    ),
    "good-refused": (
        where(of("good"), lambda _: Answer(401).having(error="invalid_token")),
        {"RFC6750-2.1-1"},
    ),
    "good-broken": (where(of("good"), lambda _: Answer(500)), {"RFC6750-2.1-1"}),
    "query-accepted": (where(lambda asked: asked.in_query, accept), {"RFC6750-2.3-1"}),
    "open": (where(bare, accept), {"RFC6750-3-1"}),
    "head-open": (
        where(lambda asked: asked.method == "HEAD", accept),
        {"RFC6750-3-1", "RFC9110-9.3.2-1"},
    ),
    "redirect-to-a-login": (
        where(bare, lambda _: Answer(302, location="/login")),
        {"RFC6750-3-2"},
    ),
    "403-without-challenge": (
        where(of("insufficient_scope"), fields(params=None)),
        {"RFC6750-3-2"},
    ),
    "another-scheme-only": (
        where(of("insufficient_scope"), fields(params=None, line='Basic realm="x"')),
        {"RFC6750-3-2"},
    ),
    "bare-bearer": (
        where(
            lambda asked: of(None)(asked) and bool(asked.lines), fields(params=None, line="Bearer")
        ),
        {"RFC6750-3-3"},
    ),
    "scope-with-two-spaces": (
        where(of("insufficient_scope"), params(scope="a  b")),
        {"RFC6750-3-4"},
    ),
    "description-not-ascii": (
        where(of("expired"), params(error_description="abgelaufen \u00fc")),
        {"RFC6750-3-5"},
    ),
    "description-with-quotes": (
        where(of("expired"), params(error_description=r"the \"exp\" claim")),
        {"RFC6750-3-5"},
    ),
    "error-uri-with-a-space": (where(of("expired"), params(error_uri="a b")), {"RFC6750-3-6"}),
    "error-without-credentials": (where(bare, params(error="invalid_token")), {"RFC6750-3.1-1"}),
    "description-without-credentials": (
        where(bare, params(error_description="no token")),
        {"RFC6750-3.1-1"},
    ),
    "malformed-is-401": (
        where(lambda asked: asked.malformed, fields(status=401)),
        {"RFC6750-3.1-2"},
    ),
    "malformed-is-invalid-token": (
        where(lambda asked: asked.malformed, params(error="invalid_token")),
        {"RFC6750-3.1-2"},
    ),
    "second-line-ignored": (
        where(lambda asked: len(asked.lines) > 1, accept),
        {"RFC6750-3.1-3"},
    ),
    "after-comma-ignored": (
        where(lambda asked: any("," in line for line in asked.lines), accept),
        {"RFC6750-3.1-3"},
    ),
    "expired-is-403": (where(of("expired"), fields(status=403)), {"RFC6750-3.1-4"}),
    "garbage-accepted": (where(of("garbage"), accept), {"RFC6750-3.1-5"}),
    "garbage-breaks-it": (
        where(of("garbage"), lambda _: Answer(500)),
        {"RFC6750-3-2", "RFC6750-3.1-4"},
    ),
    "scope-not-checked": (where(of("insufficient_scope"), accept), {"RFC6750-3.1-6"}),
    "scope-is-401": (where(of("insufficient_scope"), fields(status=401)), {"RFC6750-3.1-7"}),
    "scope-is-invalid-token": (
        where(of("insufficient_scope"), params(error="invalid_token")),
        {"RFC6750-3.1-8"},
    ),
    "scope-not-named": (where(of("insufficient_scope"), params(scope=None)), {"RFC6750-3.1-9"}),
    "expired-accepted": (where(of("expired"), accept), {"RFC9068-4-1"}),
    "audience-not-checked": (where(of("wrong_audience"), accept), {"RFC9068-4-2"}),
    "signature-not-checked": (where(of("bad_signature"), accept), {"RFC9068-4-3"}),
    "audience-has-its-own-error": (
        where(of("wrong_audience"), params(error="wrong_audience")),
        {"RFC9068-4-4"},
    ),
    "no-metadata": (document_as(status=404), {"RFC9728-3.1-1", "RFC9728-5.1-2"}),
    "metadata-as-text": (document_as(content_type="text/plain"), {"RFC9728-3.2-1"}),
    "metadata-is-a-list": (document_as(body=b"[]"), {"RFC9728-3.2-2"}),
    "metadata-says-it-twice": (
        document_as(body=b'{"resource":"https://api.test/accounts","resource":"https://x.test"}'),
        {"RFC9728-3.2-2"},
    ),
    "empty-members": (document(resource_name=None), {"RFC9728-3.2-3"}),
    "resource-with-a-slash": (
        document(resource="https://api.test/accounts/"),
        {"RFC9728-3.3-1", "RFC9728-3.3-2", "RFC9728-3.3-3"},
    ),
    "resource-missing": (
        document(resource="LEFT OUT"),
        {"RFC9728-3.3-1", "RFC9728-3.3-2", "RFC9728-3.3-3"},
    ),
    "issuer-without-tls": (
        document(authorization_servers=["http://as.test"]),
        {"RFC9728-2-1"},
    ),
    "issuers-not-named": (document(authorization_servers="LEFT OUT"), {"RFC9728-2-2"}),
    "unknown-method": (document(bearer_methods_supported=["cookie"]), {"RFC9728-2-3"}),
    "scopes-as-text": (document(scopes_supported="a b"), {"RFC9728-2-4"}),
    "no-link": (
        lambda _, answer: challenged(answer, resource_metadata=None),
        {"RFC9728-5.1-1"},
    ),
    "broken-link": (elsewhere(f"https://{HOST}/nowhere/metadata"), {"RFC9728-5.1-2"}),
    "link-to-another-resource": (another_resource, {"RFC9728-3.3-2", "RFC9728-3.3-3"}),
    "401-without-challenge": (
        where(of("expired"), fields(params=None)),
        {"RFC9110-15.5.2-1", "RFC6750-3-2"},
    ),
    "quote-not-closed": (
        where(of("expired"), fields(line='Bearer realm="x, error="invalid_token"')),
        {"RFC9110-11.6.1-1"},
    ),
    "parameter-twice": (
        where(of("expired"), fields(line='Bearer error="invalid_token", ERROR="x"')),
        {"RFC9110-11.2-1"},
    ),
    "realm-as-token": (
        where(
            of("bad_signature"), fields(line='Bearer a="realm=x", realm=x, error="invalid_token"')
        ),
        {"RFC9110-11.5-1"},
    ),
    "one-case-only": (
        where(
            lambda asked: any(line.startswith("bEARER") for line in asked.lines),
            lambda _: Answer(401).having(realm="stub"),
        ),
        {"RFC9110-11.1-1"},
    ),
    "head-has-another-challenge": (
        where(lambda asked: asked.method == "HEAD", params(realm="head")),
        {"RFC9110-9.3.2-1"},
    ),
    "cacheable": (lambda _, answer: replace(answer, cache_control=None), {"RFC9111-5.2.2.5-1"}),
    "not-exposed": (lambda _, answer: replace(answer, exposed=None), {"RFC9449-7.1-1"}),
}


def test_server_that_conforms_meets_every_requirement(tmp_path: Path) -> None:
    result = run(None, tmp_path)

    assert {v.requirement.id: v.outcome for v in result.verdicts} == {
        requirement.id: "pass" for requirement in REQUIREMENTS
    }
    assert result.ok


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_caught_by_the_right_requirement(tmp_path: Path, name: str) -> None:
    fault, expected = FAULTS[name]

    result = run(fault, tmp_path)

    assert failed(result) == expected
    levels = {r.level for r in REQUIREMENTS if r.id in expected}
    assert result.ok == ("MUST" not in levels)


def test_every_requirement_is_failed_by_some_fault() -> None:
    caught: set[str] = set().union(*(expected for _, expected in FAULTS.values()))

    assert caught == {requirement.id for requirement in REQUIREMENTS}


def test_ids_are_unique_and_name_their_section() -> None:
    ids = [requirement.id for requirement in REQUIREMENTS]

    assert len(set(ids)) == len(ids)
    assert (REQUIREMENTS[0].rfc, REQUIREMENTS[0].section) == ("RFC 9470", "3")


def test_connection_closed_without_an_answer_is_a_failure(tmp_path: Path) -> None:
    result = run(where(of("weak"), lambda _: None), tmp_path)

    assert not result.ok
    assert "RFC9470-3-1" in failed(result)
    faults = {fault for v in result.verdicts for name, fault in v.faults if name == "weak"}
    assert faults == {"no response: RemoteProtocolError"}


def test_prefix_as_resource_is_worth_a_note_only(tmp_path: Path) -> None:
    """The well-known URL of a path-less resource has no path after it."""

    def fault(asked: Asked, answer: Answer) -> Answer:
        if asked.path == WELL_KNOWN:
            body = json.dumps(metadata(resource=f"https://{HOST}")).encode()
            return Answer(200, body=body)
        return challenged(answer, resource_metadata=f"https://{HOST}{WELL_KNOWN}")

    with serving(StubApi(fault)) as api:
        text = PROFILE.replace("https://api.test/accounts", f"https://{HOST}")
        result = conform(api.url, write_profile(tmp_path, text))

    assert failed(result) == {"RFC9728-3.3-3"}
    assert result.ok
