"""The login callback: what it is, and how it is run."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TypeAlias, cast

import anyio.to_thread

from bridge.client.errors import StepUpError
from bridge.client.flow import LoginRequest
from bridge.client.token import Token

Login: TypeAlias = Callable[[LoginRequest], Token]
AsyncLogin: TypeAlias = Callable[[LoginRequest], Awaitable[Token]]


def log_in(login: Login | AsyncLogin, request: LoginRequest) -> Token:
    """Run a callback from a sync client."""
    token = login(request)
    if not isinstance(token, Token):
        if inspect.iscoroutine(token):
            token.close()
        raise StepUpError("the login callback gave no Token (a sync client cannot await one)")
    return token


async def log_in_async(login: Login | AsyncLogin, request: LoginRequest) -> Token:
    """Run a callback from an async client: a plain function in a thread.

    Cancelled, it sets `request.cancelled` and leaves the thread to notice.
    """
    try:
        if _is_async(login):
            token = await cast(AsyncLogin, login)(request)
        else:
            token = await anyio.to_thread.run_sync(
                cast(Login, login), request, abandon_on_cancel=True
            )
    except BaseException:
        request.cancelled.set()
        raise
    if not isinstance(token, Token):
        raise StepUpError("the login callback gave no Token")
    return token


def _is_async(login: object) -> bool:
    return inspect.iscoroutinefunction(login) or inspect.iscoroutinefunction(
        getattr(login, "__call__", None)  # noqa: B004
    )
