"""The authz listener: gateways ask here. The one error boundary of a check."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import traceback
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, NamedTuple

from aiohttp import HttpVersion11, web
from aiohttp.http import RawRequestMessage

from bridge.decision.decide import Decision, Row, decide_unavailable
from bridge.decision.resource_metadata import WELL_KNOWN_PATH
from bridge.decision.response import Response
from bridge.errors import RequestError
from bridge.gateways import envoy, forward_auth, native, nginx
from bridge.gateways.check_request import CheckRequest, Headers
from bridge.policy.hosts import read_host
from bridge.service.check import Begun, Checked, Checker
from bridge.service.connection import AuthzServer
from bridge.service.log import CheckLog
from bridge.service.openapi import openapi_document
from bridge.service.reply import Reply, in_bytes
from bridge.service.runtime import Runtime
from bridge.tokens.identity import UpstreamHeaders

# A long path, query or token, many headers: they must reach the rules, not the parser's limits.
_MAX_LINE_BYTES = 128 * 1024
_MAX_HEADER_BYTES = 128 * 1024
_MAX_HEADERS = 1_000  # as many as a client may send through any gateway here
_NATIVE = "/v1/check"
_KEEPALIVE_SECONDS = 3630.0  # longer than any gateway's, so that ours never closes first
_BODY_TIMEOUT_SECONDS = 5.0
_SERVER = ("server", "stepup-bridge")
_JSON = (("content-type", "application/json"), _SERVER)
_PROBLEM = (("content-type", "application/problem+json"), _SERVER)
# They believe forwarded headers, so the configuration must open them.
_DOORS = {door.PATH: door for door in (forward_auth, nginx)}

_silent = logging.getLogger("bridge.aiohttp")  # its messages quote what clients sent
_silent.propagate = False
_silent.addHandler(logging.NullHandler())


class _Asked(NamedTuple):
    """A gateway's question, and how it wants the answer written."""

    question: CheckRequest
    reply: Callable[[Decision, CheckRequest, UpstreamHeaders], Response]


class _Check(NamedTuple):
    """A check in hand.

    Attributes:
        checker: Of the configuration that it began under.
        started: On the clock of `perf_counter`.
    """

    asked: _Asked
    checker: Checker
    now: int
    started: float
    begun: Checked | Begun


class AuthzHandler:
    """Answers the requests of the authz listener.

    Args:
        runtime: What decides.
        log: Where defects are logged.
        check_log: Where checks are logged.
    """

    def __init__(self, runtime: Runtime, log: Any, check_log: CheckLog) -> None:
        self._runtime = runtime
        self._log = log
        self._check_log = check_log
        self._openapi = openapi_document()
        self._in_hand = 0
        self._finished: asyncio.Event | None = None

    def server(self) -> web.Server:
        """Make the server; a bare one, since a router would decode and normalise the path."""
        return AuthzServer(
            self._answer,
            self._answer_at_once,
            self._fail,
            access_log=None,
            auto_decompress=False,
            logger=_silent,
            max_line_size=_MAX_LINE_BYTES,
            max_field_size=_MAX_HEADER_BYTES,
            max_headers=_MAX_HEADERS,
            keepalive_timeout=_KEEPALIVE_SECONDS,
        )

    async def finish(self, timeout_seconds: float) -> None:
        """Wait for the requests in hand, also for those whose body is still arriving.

        aiohttp's own shutdown reads nothing more. Connections that are asked again meanwhile are
        closed after the answer.
        """
        await asyncio.sleep(0)  # what has arrived begins
        if not self._in_hand:
            return
        self._finished = asyncio.Event()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._finished.wait(), timeout_seconds)

    async def _answer(self, request: web.BaseRequest, check: _Check | None) -> web.StreamResponse:
        self._in_hand += 1
        try:
            response = await self._route(request, check)
        finally:
            self._in_hand -= 1
            if self._finished is not None and not self._in_hand:
                self._finished.set()
        if self._finished is not None:
            response.force_close()
        return response

    def _answer_at_once(self, message: RawRequestMessage, body: bytes) -> bytes | _Check | None:
        """Write the answer to a check that waits for nobody.

        Returns:
            The answer, or the check in hand for `_answer` to finish; None: nothing has begun.
        """
        if self._finished is not None:
            return None
        try:
            asked = self._read(message.method, message.path, message.headers, body)
        except Exception:  # `_answer` meets it again, and tells
            return None
        if asked is None:
            return None
        check = self._begin(asked)
        decision = self._decide_at_once(check)
        if decision is None:
            return check
        try:
            answer = asked.reply(decision, asked.question, check.checker.nobody)
            return in_bytes(answer, head=message.method == "HEAD")
        except Exception as defect:
            self._log.error("unexpected_error", **describe(defect))
            return in_bytes(Response(self._unavailable_status, (("retry-after", "1"),), ""))

    @property
    def _unavailable_status(self) -> int:
        return self._runtime.checker.config.unavailable_status

    def _fail(self, status: int, defect: BaseException | None) -> web.StreamResponse:
        """Answer what is no HTTP (400), or a defect outside of any check (row 8), without JSON."""
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return web.Response(status=status, headers=(_SERVER,))
        if defect is not None:
            self._log.error("unexpected_error", **describe(defect))
        headers = (("retry-after", "1"), _SERVER)
        return web.Response(status=self._unavailable_status, headers=headers)

    async def _route(self, request: web.BaseRequest, check: _Check | None) -> web.StreamResponse:
        if check is not None:
            return await self._answer_check(check)
        path = request.raw_path.partition("?")[0]
        if path == "/v1/openapi.json":
            return self._answer_openapi(request)
        if path == WELL_KNOWN_PATH or path.startswith(f"{WELL_KNOWN_PATH}/"):
            return self._answer_metadata(request)
        if path == _NATIVE and request.method != "POST":
            return web.Response(status=405, headers=(("allow", "POST"), _SERVER))
        try:
            body = await _read_body(request) if path == _NATIVE else b""
            asked = self._read(request.method, request.raw_path, request.headers, body)
        except native.QuestionError as fault:
            return web.Response(status=400, body=native.problem(fault), headers=_PROBLEM)
        if asked is None:
            return web.Response(status=404, headers=(_SERVER,))
        return await self._answer_check(self._begin(asked))

    async def _answer_check(self, check: _Check) -> web.StreamResponse:
        asked, decision = check.asked, await self._decide(check)
        return Reply(asked.reply(decision, asked.question, check.checker.nobody))

    def _read(self, method: str, target: str, headers: Headers, body: bytes) -> _Asked | None:
        """Read a gateway's question; None: nobody asks one there.

        Raises:
            QuestionError: It is malformed.
        """
        config = self._runtime.checker.config
        if target.startswith(envoy.PREFIX):
            question = envoy.read_request(method, target, headers, trust_xfcc=config.trust_xfcc)
            return _Asked(question, envoy.reply)
        path = target.partition("?")[0]
        if path == _NATIVE and method == "POST":
            return _Asked(native.read_question(_bounded(body)), native.reply)
        door = _DOORS.get(path)
        if door is not None and door.NAME in config.doors:
            return _Asked(door.read_request(headers), door.reply)
        return None

    def _answer_openapi(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, headers=(("allow", "GET, HEAD"), _SERVER))
        return web.Response(body=self._openapi, headers=_JSON)

    def _answer_metadata(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer with the metadata of a protected resource (RFC 9728 §3.2)."""
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, headers=(("allow", "GET, HEAD"), _SERVER))
        try:
            host = read_host(request.headers.getall("host", ()))
        except RequestError:
            return web.Response(status=400, headers=(_SERVER,))
        authority = request.headers["host"]
        document = self._runtime.checker.metadata.find(authority, host, request.raw_path)
        if document is None:
            return web.Response(status=404, headers=(_SERVER,))
        return web.Response(body=document.encode(), headers=_JSON)

    def _begin(self, asked: _Asked) -> _Check:
        """Begin a check; a defect of ours ends as row 8, never as an allow."""
        started, now, checker = time.perf_counter(), int(time.time()), self._runtime.checker
        begun: Checked | Begun
        try:
            begun = checker.begin(asked.question, now)
        except Exception as defect:
            begun = Checked(self._refuse(defect))
        return _Check(asked, checker, now, started, begun)

    def _decide_at_once(self, check: _Check) -> Decision | None:
        """Decide, count and log what waits for nobody; None: somebody must be waited for."""
        if not isinstance(check.begun, Checked):
            return None
        decision: Decision | None = check.begun.decision
        if check.begun.decision.row is Row.STEP_UP:
            try:
                decision = self._runtime.guard_loops_at_once(check.begun.decision, check.now)
            except Exception as defect:
                decision = self._refuse(defect)
        if decision is not None:
            self._record(check, decision)
        return decision

    async def _decide(self, check: _Check) -> Decision:
        """Decide, count and log, whoever must be waited for."""
        begun = check.begun
        try:
            checked = begun if isinstance(begun, Checked) else await check.checker.finish(begun)
            decision = checked.decision
            if decision.row is Row.STEP_UP:
                decision = await self._runtime.guard_loops(decision, check.now)
        except Exception as defect:
            decision = self._refuse(defect)
        self._record(check, decision)
        return decision

    def _refuse(self, defect: Exception) -> Decision:
        self._log.error("check_failed", **describe(defect))
        return decide_unavailable(self._unavailable_status)

    def _record(self, check: _Check, decision: Decision) -> None:
        seconds = time.perf_counter() - check.started
        question = check.asked.question
        self._runtime.tally.count_check(
            question.gateway,
            decision.api.name if decision.api is not None else "",
            decision.operation.name if decision.operation is not None else "",
            decision.outcome,
            decision.error or "",
            seconds,
        )
        self._check_log.write(question, decision, check.now, seconds)


def describe(defect: BaseException) -> dict[str, Any]:
    """Tell an exception's type and where it was raised; its text may quote a token."""
    frames = traceback.extract_tb(defect.__traceback__)[-5:]
    return {
        "type": type(defect).__name__,
        "place": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }


async def _read_body(request: web.BaseRequest) -> bytes:
    """Read a question's body, bounded in size and time."""
    content = request.content
    try:
        if content.is_eof():  # it came with the head: no timer, no task switch
            return _bounded(content.read_nowait())
        _bounded(b"", request.content_length or 0)
        expected = request.headers.get("expect", "").lower()
        if expected == "100-continue" and request.version >= HttpVersion11:  # RFC 9110 §10.1.1
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0
        body = bytearray()
        async with asyncio.timeout(_BODY_TIMEOUT_SECONDS):
            async for chunk in content.iter_any():
                body += _bounded(chunk, len(body))
        return bytes(body)
    except TimeoutError:
        raise native.QuestionError("", "must arrive within 5 seconds") from None
    except (web.RequestPayloadError, ConnectionError):
        raise native.QuestionError("", "must arrive whole") from None


def _bounded(chunk: bytes, before: int = 0) -> bytes:
    if before + len(chunk) > native.MAX_QUESTION_BYTES:
        raise native.QuestionError("", "must not be larger than 256 KiB")
    return chunk
