"""The command line: parse, then call. Errors go to stderr, one line each."""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import bridge
from bridge.config.values import duration
from bridge.errors import BridgeError, ConfigError, printable
from bridge.service.early_signals import keep_signals
from bridge.service.output import flush_or_discard, open_closed_streams

if TYPE_CHECKING:
    from bridge.config.settings import Config

ALLOWED, FAILED, UNUSABLE, DENIED = 0, 1, 2, 3
"""Exit codes: fine; cannot run, or a case or check failed; wrong usage or config; a denial."""

_INTERRUPTED = 130  # as a shell tells of SIGINT


_PORTS = 65536
_MAX_TIMEOUT_SECONDS = 86400
_MAX_TOKEN_BYTES = 1 << 20  # of a file with a token or claims; no header is near as long


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(UNUSABLE, f"{printable(f'{self.prog}: {message}')} (see {self.prog} --help)\n")


class _UsageError(BridgeError):
    """An argument cannot be used; the text says which and why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the locale cannot write
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except ConfigError as error:
        _print_problems(error)
        return UNUSABLE
    except _UsageError as error:
        print(printable(f"stepup-bridge: {error}"), file=sys.stderr)
        return UNUSABLE
    except KeyboardInterrupt:
        return _INTERRUPTED
    except OSError as error:
        flush_or_discard()
        if not isinstance(error, BrokenPipeError):  # the reader has seen enough
            print(f"stepup-bridge: {error.strerror}", file=sys.stderr)
        return FAILED
    return code


def _print_problems(error: ConfigError) -> None:
    for problem in error.problems:
        print(printable(problem.render(error.file)), file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="stepup-bridge", description=bridge.__doc__)
    parser.add_argument("--version", action="version", version=f"%(prog)s {bridge.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)

    serve = _command(commands, "serve", _serve, "run the service until SIGTERM")
    serve.add_argument("--config", metavar="FILE", required=True, help="the configuration file")
    serve.epilog = "example: stepup-bridge serve --config bridge.yaml"

    check = _command(commands, "check-config", _check_config, "validate a configuration file")
    check.add_argument("file", metavar="FILE", help="the configuration file")
    check.epilog = "example: stepup-bridge check-config bridge.yaml"

    explain = _command(commands, "explain", _explain, "print a decision, step by step")
    explain.add_argument("--config", metavar="FILE", required=True, help="the configuration file")
    explain.add_argument("--method", metavar="M", required=True, help="the request's method")
    explain.add_argument("--url", metavar="URL", required=True, help="absolute; taken as written")
    explain.add_argument(
        "--header",
        metavar="'N: V'",
        action="append",
        default=[],
        help="a header; repeatable; Host takes the place of the URL's",
    )
    explain.add_argument("--token", metavar="FILE|-", help="a file with the access token, or stdin")
    explain.add_argument(
        "--assume-verified",
        metavar="CLAIMS",
        nargs="?",
        const="",
        help="take a JSON file of claims (this one, or --token's) as a verified token",
    )
    explain.add_argument("--now", metavar="EPOCH", type=int, help="decide as at this time")
    explain.add_argument("--json", action="store_true", help="print JSON")
    explain.epilog = (
        "example: stepup-bridge explain --config bridge.yaml --method POST "
        "--url https://api.example.com/payments/transfers --token token.txt"
    )

    test = _command(commands, "test", _test, "run policy test cases")
    test.add_argument("--config", metavar="FILE", required=True, help="the configuration file")
    test.add_argument("cases", metavar="CASES.yaml", nargs="+", help="files of test cases")
    test.epilog = "example: stepup-bridge test --config bridge.yaml policy-tests.yaml"

    doctor = _command(commands, "doctor", _doctor, "ask issuers whether anything would fail")
    doctor.add_argument("--config", metavar="FILE", required=True, help="the configuration file")
    doctor.add_argument(
        "--token",
        metavar="FILE|-",
        action="append",
        default=[],
        help="a file with an access token to look at, or stdin; repeatable",
    )
    doctor.add_argument("--json", action="store_true", help="print JSON")
    doctor.epilog = "example: stepup-bridge doctor --config bridge.yaml --token token.txt"

    schema = _command(commands, "schema", _schema, "print the JSON Schema of the configuration")
    schema.epilog = "example: stepup-bridge schema > bridge.schema.json"

    _add_call(commands)
    _add_conform(commands)

    demo = _command(commands, "demo", _demo, "show it all, with a real Envoy, on this machine")
    demo.add_argument("--once", action="store_true", help="play the story and exit")
    demo.epilog = "example: stepup-bridge demo --once"
    return parser


def _add_call(commands: Any) -> None:
    call = _command(
        commands,
        "call",
        _call,
        "call a protected API, logging in as it asks; needs the extra `client`",
    )
    call.add_argument("url", metavar="URL", help="absolute, https or on this machine")
    call.add_argument("-X", "--method", metavar="M", help="default: GET, with a body POST")
    call.add_argument(
        "-H", "--header", metavar="'N: V'", action="append", default=[], help="repeatable"
    )
    call.add_argument("-d", "--data", metavar="TEXT|@FILE|@-", help="the body, as it is")
    call.add_argument("-i", "--include", action="store_true", help="print status and headers too")
    call.add_argument("-q", "--quiet", action="store_true", help="do not say the steps")
    call.add_argument("--client-id", metavar="ID", help="as registered, with a loopback redirect")
    call.add_argument("--issuer", metavar="URL", help="where to log in; default: as the API says")
    call.add_argument("--scope", metavar="'A B'", default="", help="scopes to ask for besides")
    call.add_argument("--dpop", action="store_true", help="bind tokens to a key (RFC 9449)")
    call.add_argument("--no-browser", action="store_true", help="print the URL of the login")
    call.add_argument("--port", metavar="N", type=int, default=0, help="of the loopback redirect")
    call.add_argument(
        "--timeout", metavar="SECONDS", type=float, default=300.0, help="of a login; default: 300"
    )
    call.add_argument("--token-file", metavar="FILE", help="keep tokens there, mode 0600")
    call.epilog = (
        "example: stepup-bridge call --client-id my-cli -d '{\"amount\": 10}' "
        "https://api.example.com/payments/transfers -- exit codes: 0 for a response below 400, "
        "1 otherwise, 2 for wrong usage"
    )


def _add_conform(commands: Any) -> None:
    conform = _command(
        commands,
        "conform",
        _conform,
        "check a resource server or gateway from outside; needs the extra `client`",
    )
    conform.add_argument("url", metavar="URL", help="of the target, https or on this machine")
    conform.add_argument("--profile", metavar="FILE", required=True, help="operations and tokens")
    conform.add_argument("-v", "--verbose", action="store_true", help="show every exchange")
    conform.add_argument("--json", action="store_true", help="print JSON")
    conform.epilog = (
        "example: stepup-bridge conform --profile profile.yaml https://api.example.com "
        "-- exit codes: 0 if no MUST fails, 1 if one does, 2 for wrong usage"
    )


def _command(commands: Any, name: str, run: Any, description: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=description, description=description
    )
    parser.set_defaults(run=run)
    return parser


def _load_config(file: str) -> Config:
    """Load it; what that takes to import is not waited for before signals are heeded."""
    from bridge.config.load import load_config  # noqa: PLC0415

    return load_config(file)


def _serve(options: argparse.Namespace) -> int:
    came = keep_signals()
    from bridge.service.line_writer import stdout_lines  # noqa: PLC0415
    from bridge.service.serve import serve  # noqa: PLC0415
    from bridge.service.sockets import ListenError  # noqa: PLC0415

    config = _load_config(options.config)  # late: a change of the files is seen from now on
    try:
        serve(config, came)
    except ListenError as error:
        print(f"stepup-bridge: {error}", file=sys.stderr)
        return FAILED
    finally:
        stdout_lines().close()
    return ALLOWED


def _check_config(options: argparse.Namespace) -> int:
    config = _load_config(options.file)
    operations = sum(len(api.operations) for api in config.policy.apis)
    print(
        f"{options.file}: good: {len(config.issuers)} issuers, {len(config.policy.apis)} APIs, "
        f"{operations} operations"
    )
    return ALLOWED


def _explain(options: argparse.Namespace) -> int:
    import asyncio  # noqa: PLC0415

    from bridge.rehearsal.explain import render  # noqa: PLC0415

    config = _load_config(options.config)
    document = asyncio.run(_explanation(config, options))
    if options.json:
        print(json.dumps(document, indent=2))
    else:
        print(render(document), end="")
    return ALLOWED if document["decision"] == "allow" else DENIED


async def _explanation(config: Config, options: argparse.Namespace) -> dict[str, Any]:
    from bridge.rehearsal.assumed import (  # noqa: PLC0415
        PLACEHOLDER_TOKEN,
        AssumedBinding,
        AssumedVerifier,
    )
    from bridge.rehearsal.explain import explain  # noqa: PLC0415
    from bridge.rehearsal.question import (  # noqa: PLC0415
        QuestionSyntaxError,
        ask,
        read_header,
    )
    from bridge.service.binding import UnusedProofs  # noqa: PLC0415
    from bridge.service.check import Checker  # noqa: PLC0415
    from bridge.service.log import silent_log  # noqa: PLC0415
    from bridge.service.runtime import Runtime  # noqa: PLC0415

    now = int(time.time()) if options.now is None else options.now
    claims = _read_claims(options) if options.assume_verified is not None else None
    token = PLACEHOLDER_TOKEN if claims is not None else _read_token(options.token)
    try:
        headers = [read_header(line) for line in options.header]
        if token is not None:
            scheme = "DPoP" if any(name.lower() == "dpop" for name, _ in headers) else "Bearer"
            headers.append(("authorization", f"{scheme} {token}"))
        request = ask(options.method, options.url, headers)
    except QuestionSyntaxError as error:
        raise _UsageError(str(error)) from None
    if claims is not None:
        verifier = AssumedVerifier(config, claims)
        checker = Checker(config, verifier, AssumedBinding())
        checked = await checker.check(request, now)
        api = checked.decision.api
        if api is not None:
            claims = verifier.complete(api.issuers, api.audiences, now)
        return explain(
            request, checked, checker.nobody, now, issuers=config.issuers, assumed=claims
        )
    async with Runtime(config, silent_log(), proofs=UnusedProofs()) as runtime:
        checked = await runtime.checker.check(request, now)
        nobody = runtime.checker.nobody
        return explain(request, checked, nobody, now, issuers=config.issuers, token=token)


def _read_token(source: str | None) -> str | None:
    return None if source is None else _read(source, "the token").strip()


def _read_claims(options: argparse.Namespace) -> dict[str, Any]:
    from bridge.tokens import json_strict  # noqa: PLC0415

    if options.assume_verified and options.token:
        raise _UsageError("--assume-verified FILE takes the place of --token: give one of them")
    source = options.assume_verified or options.token
    if not source:
        raise _UsageError("--assume-verified needs a JSON file of claims")
    try:
        claims = json_strict.loads(_read(source, "the claims").encode())
    except ValueError as error:
        why = "lone surrogate" if isinstance(error, UnicodeError) else error
        raise _UsageError(f"{source}: the claims must be one JSON object: {why}") from None
    if not isinstance(claims, dict):
        raise _UsageError(f"{source}: the claims must be one JSON object")
    if "auth_age" in claims:
        try:
            claims["auth_age"] = duration(claims["auth_age"])
        except ValueError as error:
            raise _UsageError(f"{source}: auth_age: {error}") from None
    return claims


def _read(source: str, what: str) -> str:
    try:
        if source != "-":
            with Path(source).open("rb") as file:
                content = file.read(_MAX_TOKEN_BYTES + 1)
        elif sys.stdin is None:
            raise _UsageError(f"{source}: {what} cannot be read: stdin is closed")
        else:
            content = sys.stdin.buffer.read(_MAX_TOKEN_BYTES + 1)
        if len(content) > _MAX_TOKEN_BYTES:
            raise _UsageError(f"{source}: {what} cannot be read: larger than 1 MiB")
        return content.decode("utf-8-sig")  # whatever the locale's encoding
    except OSError as error:
        raise _UsageError(f"{source}: {what} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise _UsageError(f"{source}: {what} cannot be read: not UTF-8") from None


def _test(options: argparse.Namespace) -> int:
    import asyncio  # noqa: PLC0415

    from bridge.rehearsal.cases import read_cases, run_cases  # noqa: PLC0415

    config = _load_config(options.config)
    files, cases, usable = [], [], True
    for file in options.cases:
        try:
            read = read_cases(file)
        except ConfigError as error:
            _print_problems(error)
            usable = False
        else:
            cases += read
            files += [file] * len(read)
    if not usable:
        return UNUSABLE
    failed = 0
    results = asyncio.run(run_cases(config, cases, int(time.time())))
    for file, result in zip(files, results, strict=True):
        failed += bool(result.differences)
        print(printable(f"{result.outcome}  {file}: {result.name}"))
        for member, wanted, came in result.differences:
            print(f"    - {member}: {printable(wanted)}")
            print(f"    + {member}: {came}")
        if result.differences:
            print(f"      because: {result.reason}")
    print(f"{len(cases) - failed} passed, {failed} failed")
    return FAILED if failed else ALLOWED


def _doctor(options: argparse.Namespace) -> int:
    import asyncio  # noqa: PLC0415

    from bridge.rehearsal.doctor.diagnose import NamedToken, diagnose  # noqa: PLC0415
    from bridge.rehearsal.doctor.table import render  # noqa: PLC0415

    config = _load_config(options.config)
    if options.token.count("-") > 1:
        raise _UsageError("--token -: stdin holds one token")
    tokens = [NamedToken(source, _read(source, "the token").strip()) for source in options.token]
    document = asyncio.run(diagnose(config, tokens))
    if options.json:
        print(json.dumps(document, indent=2))
    else:
        print(render(document), end="")
    return ALLOWED if document["ok"] else FAILED


def _schema(_: argparse.Namespace) -> int:
    from bridge.config.schema import json_schema  # noqa: PLC0415

    print(json.dumps(json_schema(), indent=2))
    return ALLOWED


def _call(options: argparse.Namespace) -> int:
    from bridge.rehearsal.question import QuestionSyntaxError, read_header  # noqa: PLC0415

    try:
        from bridge.client.call import Call, run_call  # noqa: PLC0415
    except ModuleNotFoundError as error:
        print(
            f"stepup-bridge: call needs {error.name}: {bridge.pip_install('client')}",
            file=sys.stderr,
        )
        return FAILED
    try:
        headers = [read_header(line) for line in options.header]
    except QuestionSyntaxError as error:
        raise _UsageError(str(error)) from None
    _check_call(options, headers)
    body = None if options.data is None else _read_body(options.data)
    call = Call(
        method=options.method or ("GET" if body is None else "POST"),
        url=options.url,
        headers=headers,
        body=body,
        client_id=options.client_id,
        issuer=options.issuer,
        scopes=tuple(options.scope.split()),
        port=options.port,
        timeout_seconds=options.timeout,
        browser=not options.no_browser,
        token_file=None if options.token_file is None else Path(options.token_file),
        dpop=options.dpop,
        include=options.include,
        quiet=options.quiet,
    )
    return ALLOWED if run_call(call) else FAILED


def _check_call(options: argparse.Namespace, headers: Sequence[tuple[str, str]]) -> None:
    from bridge.client.origin import is_protected, origin_of  # noqa: PLC0415

    try:
        origin_of(options.url)
    except ValueError:
        raise _UsageError("URL must be an absolute http or https URL") from None
    if not is_protected(options.url):
        raise _UsageError("URL must be https: no token is sent without TLS")
    for name, _ in headers:
        if name.lower() in {"authorization", "dpop"}:
            raise _UsageError(f"--header {name}: the command sets it itself")
    if options.dpop and options.token_file is not None:
        raise _UsageError("--dpop and --token-file: the key lives only as long as the command")
    if not 0 <= options.port < _PORTS:
        raise _UsageError("--port must be 0 to 65535")
    if not 0 < options.timeout < _MAX_TIMEOUT_SECONDS:
        raise _UsageError("--timeout must be over 0 s, and under a day")


def _read_body(data: str) -> bytes:
    if not data.startswith("@"):
        return data.encode("utf-8", "surrogateescape")
    source = data[1:]
    try:
        return sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as error:
        raise _UsageError(f"{source}: the body cannot be read: {error.strerror}") from None


def _conform(options: argparse.Namespace) -> int:
    try:
        from bridge.conformance.run import TargetError, conform  # noqa: PLC0415
    except ModuleNotFoundError as error:
        print(
            f"stepup-bridge: conform needs {error.name}: {bridge.pip_install('client')}",
            file=sys.stderr,
        )
        return FAILED
    from bridge.conformance.report import document, render  # noqa: PLC0415

    try:
        result = conform(options.url, options.profile)
    except TargetError as error:
        raise _UsageError(str(error)) from None
    found = document(result)
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        print(render(found, verbose=options.verbose), end="")
    return ALLOWED if result.ok else FAILED


def _demo(options: argparse.Namespace) -> int:
    from bridge.demo.run import run_demo  # noqa: PLC0415

    return run_demo(once=options.once)


if __name__ == "__main__":
    raise SystemExit(main())
