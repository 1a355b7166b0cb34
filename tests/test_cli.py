"""The command line: exit codes, one line per error, never a traceback."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator  # type: ignore[import-untyped, unused-ignore]
from running_bridge import MFA, SECONDS, bearer, policy, write_config, write_keys

import bridge
from bridge.cli import main
from e2e.harness.tokens import SigningKey, TokenSpec

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "bridge.yaml"
COMMANDS = ["serve", "check-config", "explain", "test", "doctor", "schema", "demo"]
ALLOWED, FAILED, UNUSABLE, DENIED = 0, 1, 2, 3


@dataclass(frozen=True, slots=True)
class Done:
    """What a command said at its end."""

    code: int
    stdout: str
    stderr: str

    def error(self) -> str:
        """Give the one line on stderr; nothing else was said."""
        assert self.stdout == ""
        assert self.stderr.count("\n") == 1
        assert self.stderr.endswith("\n")
        assert "Traceback" not in self.stderr
        return self.stderr.removesuffix("\n")


class Cli:
    """The command line in this process; what it raises fails the test."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str | Path) -> Done:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else -1
        captured = self._capsys.readouterr()
        return Done(code, captured.out, captured.err)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


@pytest.fixture
def config(tmp_path: Path, signing_key: SigningKey) -> Path:
    write_keys(tmp_path, signing_key)
    return write_config(tmp_path / "bridge.yaml", policy())


def explain_of(config: Path, *more: str | Path, path: str = "/payments/profile") -> Sequence[Any]:
    url = f"https://api.test{path}"
    return ("explain", "--config", config, "--method", "GET", "--url", url, *more)


# help and version


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_has_an_example(cli: Cli, command: str) -> None:
    done = cli(command, "--help")
    assert (done.code, done.stderr) == (ALLOWED, "")
    example = re.search(rf"example: stepup-bridge {command}\b", done.stdout)
    assert example is not None


def test_help_names_every_command(cli: Cli) -> None:
    done = cli("--help")
    assert done.code == ALLOWED
    for command in COMMANDS:
        assert re.search(rf"^ +{command}\b", done.stdout, flags=re.MULTILINE)


def test_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "bridge", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (done.returncode, done.stdout) == (0, f"stepup-bridge {bridge.__version__}\n")


# usage


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([], id="none"),
        pytest.param(["nonsense"], id="command"),
        pytest.param(["serve"], id="serve-without-config"),
        pytest.param(["check-config"], id="check-config-without-file"),
        pytest.param(["explain", "--config", "x"], id="explain-without-request"),
        pytest.param(["test", "--config", "x"], id="test-without-cases"),
        pytest.param(["doctor"], id="doctor-without-config"),
        pytest.param(["doctor", "--config", "x", "--token"], id="doctor-token-without-file"),
        pytest.param(["schema", "extra"], id="schema-with-more"),
        pytest.param(["serve", "--config", "x", "--port", "1"], id="unknown-option"),
        pytest.param([*explain_of(EXAMPLE), "--now", "soon"], id="now-is-no-number"),
        pytest.param([*explain_of(EXAMPLE), "--now", "1.5"], id="now-is-no-whole-number"),
        pytest.param([*explain_of(EXAMPLE), "--now", ""], id="now-is-empty"),
    ],
)
def test_wrong_usage_is_one_line(cli: Cli, arguments: list[str]) -> None:
    done = cli(*arguments)
    assert done.code == UNUSABLE
    assert done.error().startswith("stepup-bridge")
    assert done.error().endswith("--help)")


@pytest.mark.parametrize(
    "url", ["", "/payments", "api.test/payments", "ftp://api.test/", "https:/x"]
)
def test_url_that_is_not_absolute_is_wrong_usage(cli: Cli, url: str) -> None:
    done = cli("explain", "--config", EXAMPLE, "--method", "GET", "--url", url)
    assert done.code == UNUSABLE
    assert done.error() == (
        "stepup-bridge: the URL must be absolute, such as https://api.example.com/path"
    )


@pytest.mark.parametrize("header", ["", "origin", ": x", "a b: c", "a\n: b", "ä: b"])
def test_header_that_is_none_is_wrong_usage(cli: Cli, header: str) -> None:
    done = cli(*explain_of(EXAMPLE, "--header", header))
    assert done.code == UNUSABLE
    assert done.error() == "stepup-bridge: a header must be written as 'Name: value'"


@pytest.mark.parametrize("option", ["--token", "--assume-verified"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(None, "No such file or directory", id="missing"),
        pytest.param("directory", "Is a directory", id="directory"),
        pytest.param(b"\xff\x00", "not UTF-8", id="binary"),
    ],
)
def test_token_or_claims_that_cannot_be_read(
    cli: Cli, config: Path, tmp_path: Path, option: str, content: bytes | str | None, reason: str
) -> None:
    file = tmp_path / "token"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        file.mkdir()
    done = cli(*explain_of(config, option, file))
    what = "token" if option == "--token" else "claims"
    assert done.code == UNUSABLE
    assert done.error() == f"stepup-bridge: {file}: the {what} cannot be read: {reason}"


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        pytest.param("", "Expecting value: line 1 column 1 (char 0)", id="empty"),
        pytest.param("nonsense", "Expecting value: line 1 column 1 (char 0)", id="no-json"),
        pytest.param("[]", None, id="list"),
        pytest.param('"x"', None, id="string"),
        pytest.param('{"auth_time": NaN}', "NaN is not JSON", id="nan"),
        pytest.param('{"auth_time": 1e999}', "number too large", id="infinite"),
        pytest.param('{"a": 1, "a": 2}', "duplicate member", id="duplicate"),
        pytest.param('{"sub": "\\ud800"}', "lone surrogate", id="lone-surrogate"),
        pytest.param("[" * 100_000, "nested too deeply", id="deep"),
        pytest.param('{"n": ' + "9" * 5000 + "}", "number too large", id="huge-number"),
    ],
)
def test_claims_must_be_one_json_object(
    cli: Cli, config: Path, tmp_path: Path, claims: str, why: str | None
) -> None:
    file = tmp_path / "claims.json"
    file.write_text(claims)
    done = cli(*explain_of(config, "--assume-verified", file))
    assert done.code == UNUSABLE
    reason = "" if why is None else f": {why}"
    assert done.error() == f"stepup-bridge: {file}: the claims must be one JSON object{reason}"


@pytest.mark.parametrize("age", ['"30"', "-1", "1.5", "true", "null", '"1d"', "[1]"])
def test_auth_age_of_claims_must_be_a_duration(
    cli: Cli, config: Path, tmp_path: Path, age: str
) -> None:
    file = tmp_path / "claims.json"
    file.write_text(f'{{"auth_age": {age}}}')
    done = cli(*explain_of(config, "--assume-verified", file))
    assert done.code == UNUSABLE
    assert done.error() == (
        f"stepup-bridge: {file}: auth_age: "
        "must be a whole number of seconds or a duration such as 5m"
    )


def test_claims_may_start_with_a_byte_order_mark_and_say_auth_age_as_a_duration(
    cli: Cli, config: Path, tmp_path: Path
) -> None:
    file = tmp_path / "claims.json"
    file.write_bytes(b'\xef\xbb\xbf{"auth_age": "5m"}')
    done = cli(*explain_of(config, "--assume-verified", file, "--now", "1000", "--json"))
    assert (done.code, done.stderr) == (ALLOWED, "")
    assert json.loads(done.stdout)["upstream"]["set"]["x-stepup-auth-time"] == "700"


@pytest.mark.parametrize("option", ["--token", "--assume-verified"])
def test_token_and_claims_are_read_as_far_as_1_mib(cli: Cli, config: Path, option: str) -> None:
    done = cli(*explain_of(config, option, "/dev/zero"))
    assert done.code == UNUSABLE
    assert done.error().endswith(" cannot be read: larger than 1 MiB")


def test_host_header_takes_the_place_of_the_urls(cli: Cli, config: Path) -> None:
    done = cli(*explain_of(config, "--header", "Host: other.test", "--json"))
    document = json.loads(done.stdout)
    assert (document["api"], document["status"]) == (None, 403)
    assert document["steps"][0]["host"] == "other.test"


def test_assume_verified_without_a_file_is_wrong_usage(cli: Cli, config: Path) -> None:
    done = cli(*explain_of(config, "--assume-verified"))
    assert done.code == UNUSABLE
    assert done.error() == "stepup-bridge: --assume-verified needs a JSON file of claims"


def test_two_sources_of_claims_are_wrong_usage(cli: Cli, config: Path, tmp_path: Path) -> None:
    claims = tmp_path / "claims.json"
    claims.write_text("{}")
    done = cli(*explain_of(config, "--token", claims, "--assume-verified", claims))
    assert done.code == UNUSABLE
    assert "--token" in done.error()


# files that cannot be used


def broken_files(directory: Path) -> dict[str, Path]:
    files = {name: directory / name for name in ("missing", "directory", "binary", "empty", "long")}
    files["directory"].mkdir()
    files["binary"].write_bytes(bytes(range(256)))
    files["empty"].touch()
    files["long"].write_bytes(b"#" * (16 * 1024 * 1024 + 1))
    files["no-directory"] = files["empty"] / "bridge.yaml"
    files["unreadable"] = Path("/proc/self/mem")  # also for root
    return files


@pytest.mark.parametrize(
    "kind", ["missing", "directory", "binary", "empty", "long", "no-directory", "unreadable"]
)
@pytest.mark.parametrize("command", ["serve", "check-config", "explain", "test", "cases", "doctor"])
def test_file_that_cannot_be_used_is_one_line(
    cli: Cli, config: Path, tmp_path: Path, command: str, kind: str
) -> None:
    file = broken_files(tmp_path)[kind]
    arguments: dict[str, Sequence[Any]] = {
        "serve": ("serve", "--config", file),
        "check-config": ("check-config", file),
        "explain": explain_of(file),
        "test": ("test", "--config", file, "cases.yaml"),
        "cases": ("test", "--config", config, file),
        "doctor": ("doctor", "--config", file),
    }
    done = cli(*arguments[command])
    assert done.code == UNUSABLE
    assert re.match(rf"{re.escape(str(file))}(:\d+)?: ", done.error())


def test_file_whose_name_has_a_line_break_is_one_line(cli: Cli, tmp_path: Path) -> None:
    for arguments in (
        ["check-config", tmp_path / "a\nb"],
        ["test", "--config", EXAMPLE, tmp_path / "a\nb"],
        explain_of(EXAMPLE, "--token", tmp_path / "a\nb"),
        ["schema", "a\nb"],
    ):
        done = cli(*arguments)
        assert done.code == UNUSABLE
        assert r"a\x0ab" in done.error()


def test_every_problem_of_a_configuration_is_a_line_with_its_place(
    cli: Cli, tmp_path: Path
) -> None:
    document = policy(unknown=True)
    document["apis"][0]["operations"] = [
        {"name": "pay", "paths": ["/pay"], "require": {"max_age": "soon"}}
    ]
    file = write_config(tmp_path / "bridge.yaml", document)
    place = next(
        number for number, line in enumerate(file.read_text().splitlines(), 1) if "soon" in line
    )
    for command in ("check-config", "serve"):
        done = cli(*((command, file) if command == "check-config" else (command, "--config", file)))
        assert (done.code, done.stdout) == (UNUSABLE, "")
        lines = done.stderr.splitlines()
        assert len(lines) == 2
        assert lines[0] == (
            f"{file}:{place}: apis[0].operations[0].require.max_age: "
            "must be a whole number of seconds or a duration such as 5m"
        )
        assert re.match(rf"{re.escape(str(file))}:\d+: unknown: ", lines[1])


def test_good_configuration_is_told_so(cli: Cli) -> None:
    done = cli("check-config", EXAMPLE)
    assert (done.code, done.stderr) == (ALLOWED, "")
    assert done.stdout == f"{EXAMPLE}: good: 3 issuers, 1 APIs, 5 operations\n"


# schema


def test_schema_is_a_json_schema_and_takes_the_example(cli: Cli) -> None:
    done = cli("schema")
    assert (done.code, done.stderr) == (ALLOWED, "")
    schema = json.loads(done.stdout)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    example = yaml.safe_load(EXAMPLE.read_text())
    validator.validate(example)
    assert not validator.is_valid({**example, "unknown": True})


# explain's exit codes; what it says is in tests/rehearsal


def test_explain_tells_allow_and_deny_by_its_status(
    cli: Cli, config: Path, tmp_path: Path, signing_key: SigningKey
) -> None:
    assert cli(*explain_of(config)).code == DENIED
    assert cli(*explain_of(config, path="/payments/health")).code == ALLOWED
    token = tmp_path / "token"
    token.write_text(bearer(signing_key).removeprefix("Bearer ") + "\n")
    done = cli(*explain_of(config, "--token", token))
    assert (done.code, done.stderr) == (ALLOWED, "")
    token.write_text(bearer(SigningKey.generate()).removeprefix("Bearer "))
    assert cli(*explain_of(config, "--token", token)).code == DENIED
    (tmp_path / "keys.json").unlink()
    assert cli(*explain_of(config, "--token", token)).code == DENIED


def test_token_and_claims_are_read_from_stdin(
    cli: Cli, config: Path, signing_key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    for option, text in (
        ("--token", bearer(signing_key, TokenSpec(subject="bob")).removeprefix("Bearer ")),
        ("--assume-verified", '{"sub": "bob"}'),
    ):
        stdin = io.TextIOWrapper(io.BytesIO(text.encode() + b"\n"))
        monkeypatch.setattr(sys, "stdin", stdin)
        done = cli(*explain_of(config, option, "-", "--json"))
        assert (done.code, done.stderr) == (ALLOWED, "")
        assert json.loads(done.stdout)["upstream"]["set"]["x-stepup-subject"] == "bob"


@pytest.mark.parametrize(
    ("stdin", "reason"),
    [
        pytest.param("<<< $'\\xff\\xfe'", "not UTF-8", id="binary"),
        pytest.param("<&-", "stdin is closed", id="closed"),
    ],
)
def test_stdin_that_cannot_be_read_is_one_line(config: Path, stdin: str, reason: str) -> None:
    arguments = map(str, explain_of(config, "--token", "-"))
    done = subprocess.run(
        ["bash", "-c", f'"$@" {stdin}', "bash", sys.executable, "-m", "bridge", *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == UNUSABLE
    assert done.stderr == f"stepup-bridge: -: the token cannot be read: {reason}\n"


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("", id="empty"),
        pytest.param("a b", id="two-words"),
        pytest.param("ü", id="not-ascii"),
        pytest.param("a" * 20_000, id="long"),
    ],
)
def test_token_that_is_none_is_decided_about(
    cli: Cli, config: Path, tmp_path: Path, token: str
) -> None:
    file = tmp_path / "token"
    file.write_text(token)
    done = cli(*explain_of(config, "--token", file, "--json"))
    assert done.code == DENIED
    document = json.loads(done.stdout)
    assert (document["status"], document["error"]) == (400, "invalid_request")


# streams


def test_output_that_nobody_reads_is_no_traceback(config: Path) -> None:
    for sink in ("| :", "| head -1 >/dev/null"):
        done = subprocess.run(
            ["bash", "-c", f'"$@" {sink}', "bash", sys.executable, "-m", "bridge", "schema"],
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.stderr == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["schema"], ["check-config", str(EXAMPLE)]], ids=str)
def test_full_disk_is_one_line_and_status_1(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "bridge", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=SECONDS,
            check=False,
        )
    assert (done.returncode, done.stderr) == (FAILED, b"stepup-bridge: No space left on device\n")


def test_name_that_the_locale_cannot_write_is_escaped(config: Path, tmp_path: Path) -> None:
    good, missing = tmp_path / "cases.yaml", tmp_path / "ü.yaml"
    good.write_text(json.dumps([{**CASE, "name": "Überweisung"}]))
    for file, code, stdout, stderr in (
        (good, ALLOWED, b"\\xdcberweisung\n1 passed", b""),
        (missing, UNUSABLE, b"", b"\\xfc.yaml: cannot be read"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "bridge", "test", "--config", config, file],
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == code
        assert stdout in done.stdout
        assert stderr in done.stderr
        assert b"Traceback" not in done.stderr


def test_closed_stdout_is_no_traceback() -> None:
    command = ["sh", "-c", '"$@" >&-', "sh", sys.executable, "-m", "bridge"]
    command += ["check-config", str(EXAMPLE)]
    done = subprocess.run(command, stderr=subprocess.PIPE, timeout=SECONDS, check=False)
    assert (done.returncode, done.stderr) == (ALLOWED, b"")


# test


CASE = {
    "name": "a transfer needs a second factor",
    "request": {"method": "POST", "url": "https://api.test/payments/transfers"},
    "token": {"scope": "payments:write", "acr": "urn:example:pwd", "auth_age": 30},
    "expect": {"status": 401, "error": "insufficient_user_authentication"},
}


def test_cases_give_a_table_a_diff_and_a_status(cli: Cli, config: Path, tmp_path: Path) -> None:
    good, mixed = tmp_path / "good.yaml", tmp_path / "mixed.yaml"
    good.write_text(yaml.safe_dump([CASE]))
    done = cli("test", "--config", config, good)
    assert (done.code, done.stderr) == (ALLOWED, "")
    assert done.stdout == (
        f"passed  {good}: a transfer needs a second factor\n1 passed, 0 failed\n"
    )
    wrong = {**CASE, "name": "wrong", "expect": {"status": 200, "acr_values": MFA, "scope": "a"}}
    mixed.write_text(yaml.safe_dump([CASE, wrong]))
    done = cli("test", "--config", config, good, mixed)
    assert (done.code, done.stderr) == (FAILED, "")
    assert done.stdout == (
        f"passed  {good}: a transfer needs a second factor\n"
        f"passed  {mixed}: a transfer needs a second factor\n"
        f"failed  {mixed}: wrong\n"
        "    - status: 200\n"
        "    + status: 401\n"
        "    - acr_values: urn:example:mfa\n"
        "    + acr_values: urn:example:mfa urn:example:phr\n"
        "    - scope: a\n"
        "    + scope: -\n"
        "      because: acr_unmet\n"
        "2 passed, 1 failed\n"
    )


BROKEN_CASES = [
    pytest.param("name: x", ":1: must be a list", id="no-list"),
    pytest.param("[]", ":1: must hold at least one case", id="no-case"),
    pytest.param("- [", " is not valid YAML", id="no-yaml"),
    pytest.param([{**CASE, "then": 1}], "[0].then: ", id="unknown-member"),
    pytest.param(
        [{**CASE, "expect": {"state": 1}}], "[0].expect.state: ", id="unknown-expectation"
    ),
    pytest.param([{**CASE, "expect": {}}], "[0].expect: must expect something", id="nothing"),
    pytest.param([{**CASE, "expect": {"status": "401"}}], "[0].expect.status: ", id="text-status"),
    pytest.param([{**CASE, "token": "x"}], "[0].token: ", id="token-is-text"),
    pytest.param(
        [CASE, {**CASE, "request": {"url": "/x"}}],
        "[1].request.url: the URL must be absolute",
        id="relative-url",
    ),
    pytest.param([{"name": "x", "request": {"url": "https://a/"}}], "[0].expect: ", id="missing"),
    pytest.param([{**CASE, "request": None}], "[0].request: must have a value", id="no-request"),
    pytest.param([{**CASE, "expect": None}], "[0].expect: must have a value", id="no-expectation"),
]


@pytest.mark.parametrize(("cases", "problem"), BROKEN_CASES)
def test_cases_that_cannot_be_used_are_told_with_their_place(
    cli: Cli, config: Path, tmp_path: Path, cases: object, problem: str
) -> None:
    file = tmp_path / "cases.yaml"
    file.write_text(cases if isinstance(cases, str) else yaml.safe_dump(cases))
    done = cli("test", "--config", config, file)
    assert done.code == UNUSABLE
    assert done.error().startswith(f"{file}:")
    assert problem in done.error()


def test_one_unusable_file_of_cases_runs_none(cli: Cli, config: Path, tmp_path: Path) -> None:
    good = tmp_path / "good.yaml"
    good.write_text(yaml.safe_dump([CASE]))
    done = cli("test", "--config", config, good, tmp_path / "missing.yaml")
    assert done.code == UNUSABLE
    assert done.error() == (
        f"{tmp_path / 'missing.yaml'}: cannot be read: No such file or directory"
    )


def test_every_unusable_file_of_cases_is_named(cli: Cli, config: Path, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("one.yaml", "other.yaml")]
    done = cli("test", "--config", config, *files)
    assert (done.code, done.stdout) == (UNUSABLE, "")
    assert done.stderr.splitlines() == [
        f"{file}: cannot be read: No such file or directory" for file in files
    ]


def test_case_name_cannot_talk_to_the_terminal(cli: Cli, config: Path, tmp_path: Path) -> None:
    file = tmp_path / "cases.yaml"
    file.write_text(json.dumps([{**CASE, "name": "\x1b[2J\npassed"}]))
    done = cli("test", "--config", config, file)
    assert done.stdout.splitlines()[0] == rf"passed  {file}: \x1b[2J\x0apassed"


# doctor; what it says is in tests/rehearsal


def test_doctor_tells_by_its_status_whether_anything_would_fail(
    cli: Cli, config: Path, tmp_path: Path, signing_key: SigningKey
) -> None:
    done = cli("doctor", "--config", config)
    assert (done.code, done.stderr) == (ALLOWED, "")
    assert done.stdout.endswith("\n0 would fail, 0 to look at\n")
    good, expired = tmp_path / "good", tmp_path / "expired"
    good.write_text(bearer(signing_key).removeprefix("Bearer ") + "\n")
    spec = TokenSpec(expires_in=-60, claims={"iat": 1})
    expired.write_text(bearer(signing_key, spec).removeprefix("Bearer "))
    assert cli("doctor", "--config", config, "--token", good).code == ALLOWED
    done = cli("doctor", "--config", config, "--token", good, "--token", expired, "--json")
    assert (done.code, done.stderr) == (FAILED, "")
    document = json.loads(done.stdout)
    assert document["ok"] is False
    assert set(document) == {"ok", "issuers", "tokens"}
    assert [set(issuer) for issuer in document["issuers"]] == [{"issuer", "checks"}]
    assert [token["token"] for token in document["tokens"]] == [str(good), str(expired)]
    for part in (*document["issuers"], *document["tokens"]):
        assert all(set(check) == {"check", "outcome", "detail"} for check in part["checks"])
    (tmp_path / "keys.json").unlink()
    assert cli("doctor", "--config", config).code == FAILED


def test_doctor_reads_one_token_from_stdin(
    cli: Cli, config: Path, signing_key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = bearer(signing_key).removeprefix("Bearer ").encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text + b"\n")))
    assert cli("doctor", "--config", config, "--token", "-").code == ALLOWED
    done = cli("doctor", "--config", config, "--token", "-", "--token", "-")
    assert done.code == UNUSABLE
    assert done.error() == "stepup-bridge: --token -: stdin holds one token"


def test_doctor_without_its_token_file_is_wrong_usage(
    cli: Cli, config: Path, tmp_path: Path
) -> None:
    done = cli("doctor", "--config", config, "--token", tmp_path / "missing")
    assert done.code == UNUSABLE
    assert done.error() == (
        f"stepup-bridge: {tmp_path / 'missing'}: the token cannot be read: "
        "No such file or directory"
    )
