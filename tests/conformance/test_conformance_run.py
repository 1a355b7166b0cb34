"""The command: what it prints, what it never prints, how it ends, whom it does not ask."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from stub_api import (
    PROFILE,
    TOKENS,
    WELL_KNOWN,
    Answer,
    Asked,
    StubApi,
    serving,
    write_profile,
)

from bridge.cli import main
from bridge.conformance.plan import Probe
from bridge.conformance.probe import Prober
from bridge.conformance.profile import OperationSection
from bridge.conformance.requirements import REQUIREMENTS

EXPIRED_ACCEPTED = """\
RFC9068-4-1        MUST     fail          An expired token is not accepted.
    expired: accepted with 200
      > GET {url}/accounts
      > host: api.test
      > authorization: Bearer <expired>
      < 200
      < cache-control: no-store
      < access-control-expose-headers: WWW-Authenticate
      < content-type: application/json
"""


def expired_accepted(asked: Asked, answer: Answer) -> Answer:
    return Answer(200) if asked.token == "expired" and not asked.sensitive else answer


def echoing(asked: Asked, answer: Answer) -> Answer:
    """Put what was sent into every header that is shown."""
    sent = " ".join(asked.lines).encode("ascii", "replace").decode().replace('"', "")
    return replace(
        answer.having(realm=sent, error=sent, error_description=sent.upper(), **{sent[-30:]: sent}),
        location=sent,
    )


def test_table_shows_what_failed_with_what_was_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(StubApi(expired_accepted)) as api:
        code = main(["conform", api.url, "--profile", str(write_profile(tmp_path))])

    printed = capsys.readouterr().out
    assert code == 1
    assert EXPIRED_ACCEPTED.format(url=api.url) in printed
    assert printed.count("    expired: ") == 1
    must = sum(requirement.level == "MUST" for requirement in REQUIREMENTS)
    assert f"\nMUST {must - 1} pass, 1 fail, 0 not testable\n" in printed


def test_server_that_conforms_ends_with_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(StubApi()) as api:
        code = main(["conform", "--profile", str(write_profile(tmp_path)), "--json", api.url])

    found = json.loads(capsys.readouterr().out)
    assert code == 0
    assert found["ok"] is True
    assert [each["id"] for each in found["requirements"]] == [r.id for r in REQUIREMENTS]
    exchanges = {each["name"]: each for each in found["exchanges"]}
    assert exchanges["query"]["sent"]["url"] == f"{api.url}/accounts?access_token=<good>"
    assert exchanges["comma"]["sent"]["headers"][1] == [
        "authorization",
        "Bearer <good>, Bearer <good>",
    ]
    assert exchanges["metadata"]["sent"]["url"] == f"{api.url}{WELL_KNOWN}/accounts"
    assert exchanges["weak"]["received"]["status"] == 401


@pytest.mark.parametrize(
    "options", [["--json"], ["--verbose"], []], ids=["json", "verbose", "table"]
)
def test_no_token_is_printed_though_the_target_sends_it_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    with serving(StubApi(echoing)) as api:
        main(["conform", api.url, "--profile", str(write_profile(tmp_path)), *options])

    printed = "".join(capsys.readouterr())
    assert "<good>" in printed
    for token in TOKENS:
        for at in range(len(token) - 11):
            assert token[at : at + 12] not in printed.lower()


def test_short_token_is_not_printed_either(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "profile.yaml"
    file.write_text(f"{PROFILE}  good: {{command: [echo, abc123]}}\n")

    with serving(StubApi(echoing)) as api:
        main(["conform", api.url, "--profile", str(file), "--json"])

    printed = capsys.readouterr().out
    assert 'realm=\\"Bearer <good>\\"' in printed
    assert "abc123" not in printed


def test_verbose_shows_what_passed_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(StubApi()) as api:
        main(["conform", api.url, "--profile", str(write_profile(tmp_path)), "-v"])

    printed = capsys.readouterr().out
    shown = "authorization: Bearer <strong>\n      > content-type: application/json\n      < 200\n"
    assert f"      > {shown}" in printed


def test_without_tokens_the_rest_is_not_testable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "profile.yaml"
    file.write_text("ordinary: {path: /accounts}\nsensitive: {path: /transfers}\n")

    with serving(StubApi()) as api:
        code = main(["conform", api.url, "--profile", str(file), "--json"])

    found = {each["id"]: each for each in json.loads(capsys.readouterr().out)["requirements"]}
    assert code == 0
    assert found["RFC6750-3-1"]["outcome"] == "pass"
    assert found["RFC9470-3-1"]["outcome"] == "not testable"
    assert found["RFC9470-3-1"]["reasons"] == [
        "the profile has no token weak",
        "the profile has no token stale",
    ]
    assert found["RFC9728-3.1-1"]["reasons"] == ["the profile names no resource"]


def test_nobody_there_is_a_failure(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"

        assert main(["conform", url, "--profile", str(write_profile(tmp_path))]) == 1


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        pytest.param("ftp://api.test", "URL must be an absolute http or https URL", id="scheme"),
        pytest.param(
            "http://api.test",
            "URL must be https, or on this machine: tokens are sent there",
            id="no-tls",
        ),
        pytest.param(
            "https://a:b@api.test", "URL must have no user, query or fragment", id="password"
        ),
        pytest.param(
            "https://api.test?a=b", "URL must have no user, query or fragment", id="query"
        ),
    ],
)
def test_url_that_tokens_are_not_sent_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], url: str, problem: str
) -> None:
    assert main(["conform", url, "--profile", str(write_profile(tmp_path))]) == 2
    assert capsys.readouterr().err == f"stepup-bridge: {problem}\n"


def test_profile_that_cannot_be_used_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "profile.yaml"

    assert main(["conform", "https://api.test", "--profile", str(file)]) == 2
    assert capsys.readouterr().err == f"{file}: cannot be read: No such file or directory\n"


def test_redirect_is_not_followed_and_no_acceptance(tmp_path: Path) -> None:
    def redirect(asked: Asked, answer: Answer) -> Answer:
        return Answer(302, location="/elsewhere") if asked.path == "/accounts" else answer

    with serving(StubApi(redirect)) as api:
        assert main(["conform", api.url, "--profile", str(write_profile(tmp_path))]) == 1

    assert "/elsewhere" not in {asked.path for asked in api.seen}


def test_metadata_of_another_origin_is_not_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(StubApi()) as other:

        def fault(_: Asked, answer: Answer) -> Answer:
            link = f"{other.url}{WELL_KNOWN}/accounts"
            return answer if answer.params is None else answer.having(resource_metadata=link)

        with serving(StubApi(fault)) as api:
            code = main(["conform", api.url, "--profile", str(write_profile(tmp_path)), "--json"])

    found = {each["id"]: each for each in json.loads(capsys.readouterr().out)["requirements"]}
    assert code == 0
    assert other.seen == []
    assert found["RFC9728-5.1-2"]["reasons"] == [
        "it is at an origin that is not the target's, and was not asked"
    ]


def test_accepted_statuses_are_the_profiles(tmp_path: Path) -> None:
    """An API may answer the kit's empty transfer with 422, and that is an acceptance."""

    def validating(asked: Asked, answer: Answer) -> Answer:
        return replace(answer, status=422) if answer.status == 200 and asked.sensitive else answer

    with serving(StubApi(validating)) as api:
        arguments = ["conform", api.url, "--profile"]
        assert main([*arguments, str(write_profile(tmp_path))]) == 1
        text = PROFILE.replace("path: /transfers", "path: /transfers\n  accepted: [422]")
        assert main([*arguments, str(write_profile(tmp_path, text))]) == 0


async def test_target_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with Prober(url, None, {}, seconds=0.2) as prober:
            exchange = await prober.send(Probe("none", OperationSection(path="/")))

    assert (exchange.received, exchange.fault) == (None, "TimeoutError")


def test_huge_answer_is_cut_off(tmp_path: Path) -> None:
    def huge(asked: Asked, answer: Answer) -> Answer:
        return replace(answer, body=b" " * 3_000_000) if asked.token == "good" else answer

    with serving(StubApi(huge)) as api:
        assert main(["conform", api.url, "--profile", str(write_profile(tmp_path))]) == 0
