"""`stepup-bridge call`, as a subprocess, with a scripted browser."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bridge import pip_install
from bridge.cli import main
from bridge.demo.oauth import MFA

from .client_stage import CLIENT_ID, ClientStage
from .scripted_browser import ScriptedBrowser

BROWSER = f"{sys.executable} {Path(__file__).with_name('scripted_browser.py')} %s"
URL_LINE = re.compile(r"open this in a browser: (\S+)")
SECONDS = 60


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "bridge", "call", *arguments]


def environment(stage: ClientStage, browser: str = BROWSER) -> dict[str, str]:
    return {**os.environ, "SSL_CERT_FILE": str(stage.authority), "BROWSER": browser}


def run(
    stage: ClientStage, *arguments: str, browser: str = BROWSER, stdin: bytes = b""
) -> tuple[int, str, str]:
    done = subprocess.run(
        command(*arguments),
        env=environment(stage, browser),
        input=stdin,
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def exit_code(*arguments: str) -> object:
    try:
        return main(arguments)
    except SystemExit as ended:
        return ended.code


def test_everything_is_discovered_and_the_steps_are_shown(stage: ClientStage) -> None:
    code, out, err = run(
        stage, "--client-id", CLIENT_ID, "-i", "-d", '{"amount": 10}', f"{stage.api}/transfers?x=1"
    )
    assert code == 0, err
    head, _, body = out.partition("\n\n")
    assert head.startswith("HTTP/1.1 200 OK\ncontent-type: application/json\n")
    assert json.loads(body)["identity"]["x-stepup-acr"] == MFA
    api, issuer = stage.api, stage.issuer
    # A step of the program is one line; what servers said stands as it came.
    assert [line for line in err.splitlines() if "www-authenticate" not in line] == [
        f"* POST {api}/transfers",
        "* 401 Unauthorized",
        "* 401: the API asks for: a token, scope payments:write",
        f"* resource {api} takes tokens of {issuer}",
        f"* logging in at {issuer} for: a token, scope payments:write",
        "* waiting for the browser to come back from the login",
        "* logged in: Bearer token, scope payments:write",
        f"* POST {api}/transfers, with a Bearer token",
        "* 401 Unauthorized",
        f"* 401: the API asks for: insufficient_user_authentication, acr_values {MFA}, max_age 60",
        f"* resource {api} takes tokens of {issuer}",
        f"* logging in at {issuer} for: insufficient_user_authentication, acr_values {MFA}, "
        "max_age 60, scope payments:write",
        "* waiting for the browser to come back from the login",
        "* logged in: Bearer token, scope payments:write",
        f"* POST {api}/transfers, with a Bearer token",
        "* 200 OK",
    ]
    assert [seen.body for seen in stage.seen] == [b'{"amount": 10}'] * 3
    tokens = {seen.authorization for seen in stage.seen} - {None}
    assert len(tokens) == 2
    assert not [token for token in tokens if token and token.partition(" ")[2] in out + err]


def test_without_a_browser_the_url_is_printed(stage: ClientStage) -> None:
    with subprocess.Popen(
        command("--no-browser", "-q", "--client-id", CLIENT_ID, f"{stage.api}/accounts"),
        env=environment(stage, "false"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        threading.Timer(SECONDS, process.kill).start()
        line = process.stderr.readline()
        found = URL_LINE.fullmatch(line.strip())
        assert found is not None, line
        assert found[1].startswith(f"{stage.issuer}/authorize?response_type=code&client_id=cli&")
        ScriptedBrowser()(found[1])
        assert json.loads(process.stdout.read())["path"] == "/accounts"
        assert process.stderr.read() == ""
        assert process.wait(SECONDS) == 0


def test_ctrl_c_while_the_browser_is_open_ends_it(stage: ClientStage) -> None:
    with subprocess.Popen(
        command("--no-browser", "-q", "--client-id", CLIENT_ID, f"{stage.api}/accounts"),
        env=environment(stage),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        threading.Timer(SECONDS, process.kill).start()
        assert URL_LINE.match(process.stderr.readline())
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == "stepup-bridge call: cancelled\n"
        assert process.wait(SECONDS) == 1


def test_tokens_are_kept_in_a_file_when_asked(stage: ClientStage, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    arguments = ("-q", "--client-id", CLIENT_ID, "--token-file", str(file))
    assert run(stage, *arguments, f"{stage.api}/accounts")[0] == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    stage.seen.clear()
    code, _, err = run(stage, *arguments, f"{stage.api}/accounts", browser="false")
    assert (code, err) == (0, "")
    assert [seen.status for seen in stage.seen] == [200]
    file.chmod(0o644)
    code, out, err = run(stage, *arguments, f"{stage.api}/accounts")
    assert (code, out) == (1, "")
    assert "its mode must be 0600" in err


def test_public_operation_needs_no_client(stage: ClientStage) -> None:
    code, out, err = run(stage, "-q", f"{stage.api}/health")
    assert (code, json.loads(out)["path"], err) == (0, "/health", "")


def test_login_without_a_client_id_says_so(stage: ClientStage) -> None:
    code, out, err = run(stage, "-q", f"{stage.api}/accounts")
    assert (code, out) == (1, "")
    assert err == (
        "stepup-bridge call: the API asks for a login: give --client-id, as registered at its "
        "authorization server\n"
    )


def test_refusal_is_printed_and_the_exit_code_says_so(stage: ClientStage) -> None:
    code, out, err = run(stage, "-i", "-X", "PATCH", f"{stage.api}/accounts")
    assert code == 1
    assert re.match(r"HTTP/1\.1 40\d ", out)
    assert err.startswith(f"* PATCH {stage.api}/accounts\n")


def test_browser_that_never_comes_back_ends_it(stage: ClientStage) -> None:
    code, out, err = run(
        stage, "-q", "--timeout", "0.5", "--client-id", CLIENT_ID, f"{stage.api}/accounts",
        browser="true",
    )  # fmt: skip
    assert (code, out) == (1, "")
    assert "the browser did not come back within 0.5 s" in err


def test_taken_port_is_said(stage: ClientStage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = run(
            stage, "-q", "--port", str(port), "--client-id", CLIENT_ID, f"{stage.api}/accounts"
        )
    assert (code, out) == (1, "")
    assert f"port {port} of 127.0.0.1" in err
    assert "Address already in use" in err


def test_issuer_that_the_api_does_not_take_is_refused(stage: ClientStage) -> None:
    code, _, err = run(
        stage, "-q", "--client-id", CLIENT_ID, "--issuer", "https://as.example",
        f"{stage.api}/accounts",
    )  # fmt: skip
    assert code == 1
    assert "does not take tokens of the issuer that was named" in err


def test_nobody_there_is_one_line(stage: ClientStage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    code, out, err = run(stage, "-q", f"http://127.0.0.1:{port}/x?secret=1")
    assert (code, out) == (1, "")
    assert err.startswith(f"stepup-bridge call: http://127.0.0.1:{port}/x: ConnectError")
    assert "secret" not in err
    assert err.count("\n") == 1


def test_nothing_that_a_server_says_commands_the_terminal(stage: ClientStage) -> None:
    answer = b'HTTP/1.1 403 No\x9b31m\r\nwww-authenticate: Basic realm="\x9b2J"\r\n\r\n'
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        code, out, err = run(stage, "-i", f"http://127.0.0.1:{server.getsockname()[1]}/")
        thread.join()
    assert code == 1
    assert 'Basic realm="' in err
    assert re.sub(r"[\n -~]", "", out + err) == ""


def test_without_the_extra_it_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['httpx'] = None; from bridge.cli import main; "
        "sys.exit(main(['call', 'https://api.example.com/']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"stepup-bridge: call needs httpx: {pip_install('client')}\n"
    assert done.stderr.endswith(f"{sys.executable} -m pip install 'stepup-bridge[client]'\n")


def test_body_comes_from_a_file_or_stdin(stage: ClientStage, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(b"\x00\xff")
    run(stage, "-q", "-d", f"@{tmp_path / 'body'}", f"{stage.api}/transfers")
    run(stage, "-q", "-d", "@-", "-X", "PUT", f"{stage.api}/transfers", stdin=b"stdin")
    assert [(seen.method, seen.body) for seen in stage.seen] == [
        ("POST", b"\x00\xff"),
        ("PUT", b"stdin"),
    ]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        pytest.param([], "the following arguments are required: URL", id="no-url"),
        pytest.param(["/accounts"], "absolute http or https URL", id="relative"),
        pytest.param(["ftp://a/"], "absolute http or https URL", id="ftp"),
        pytest.param(["http://api.example/"], "must be https", id="no-tls"),
        pytest.param(["-H", "nonsense", "https://a/"], "'Name: value'", id="header"),
        pytest.param(["-H", "authorization: Bearer x", "https://a/"], "sets it itself", id="auth"),
        pytest.param(["--port", "65536", "https://a/"], "0 to 65535", id="port"),
        pytest.param(["--timeout", "0", "https://a/"], "over 0 s", id="timeout"),
        pytest.param(["--timeout", "nan", "https://a/"], "over 0 s", id="timeout-nan"),
        pytest.param(["-d", "@/none/there", "https://a/"], "cannot be read", id="body"),
        pytest.param(["--dpop", "--token-file", "x", "https://a/"], "only as long", id="dpop"),
    ],
)
def test_wrong_usage_is_2_and_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], text: str
) -> None:
    assert exit_code("call", *arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert text in err
    assert err.count("\n") == 1


def test_help_has_an_example_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("call", "--help") == 0
    words = " ".join(capsys.readouterr().out.split())
    assert "example: stepup-bridge call --client-id" in words
    assert "exit codes: 0 for a response below 400, 1 otherwise, 2 for wrong usage" in words
