"""The authorization endpoint and the pages behind it: from the client's request to its code."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlencode, urlsplit

from aiohttp import web

from bridge.demo.authorization_request import (
    AuthorizationRequest,
    find_client,
    read_authorization_request,
    unmet_requirements,
)
from bridge.demo.grants import CODE_LIFETIME_SECONDS, Grant, Grants
from bridge.demo.login_pages import HEADERS, error_page, password_page, second_factor_page
from bridge.demo.oauth import Client, OAuthError, User, read_form, single_values
from bridge.demo.sessions import Session, Step, next_step

_MAX_SESSIONS = 1000


class Interaction:
    """The part of the authorization server that a user's browser sees.

    Args:
        now: Current time, epoch seconds.
    """

    def __init__(
        self,
        issuer: str,
        clients: Mapping[str, Client],
        users: Sequence[User],
        grants: Grants,
        now: Callable[[], int],
    ) -> None:
        self._issuer = issuer
        # Browsers send a host's cookies to all of its ports: two demos must not share a name.
        self._cookie = f"demo_session_{urlsplit(issuer).port}"
        self._clients = clients
        self._users = users
        self._grants = grants
        self._now = now
        self._sessions: dict[str, Session] = {}

    def routes(self) -> list[web.RouteDef]:
        """Give the routes that the browser takes."""
        return [
            web.get("/authorize", self._authorize),
            web.post("/login", self._login),
            web.post("/second-factor", self._second_factor),
        ]

    async def _authorize(self, request: web.Request) -> web.Response:
        try:
            client, redirect_uri = find_client(request.query.items(), self._clients)
        except OAuthError as refusal:
            return _show_error(refusal.description)
        try:
            values = single_values(request.query.items())
            wanted = read_authorization_request(client, redirect_uri, values)
        except OAuthError as refusal:
            return self._redirect(redirect_uri, request.query.get("state"), _error(refusal))
        session_id = request.cookies.get(self._cookie, "")
        session = self._sessions.get(session_id)
        if session is None:
            session = Session()
            session_id = self._keep(session)
        response = self._go_on(session, session.remember(wanted))
        return self._with_cookie(response, session_id)

    async def _login(self, request: web.Request) -> web.Response:
        found = await self._find_pending(request)
        if found is None:
            return _show_error(_LOST)
        session, name, form = found
        if "cancel" in form:
            return self._finish(session, name, _CANCELLED)
        user = next((u for u in self._users if u.name == form.get("username")), None)
        if user is None or not _equal(form.get("password"), user.password):
            return self._show_password(name, session, wrong=True)
        session.pending[name].authenticated = True
        # A new identifier, or somebody who knew the old one would be logged in too. And a new
        # session: a second factor given before this password says nothing about it.
        del self._sessions[request.cookies[self._cookie]]
        session = Session(user, self._now(), None, session.pending)
        session_id = self._keep(session)
        return self._with_cookie(self._go_on(session, name), session_id)

    async def _second_factor(self, request: web.Request) -> web.Response:
        found = await self._find_pending(request)
        if found is None or found[0].user is None or found[0].user.code is None:
            return _show_error(_LOST)
        session, name, form = found
        if "cancel" in form:
            return self._finish(session, name, _CANCELLED)
        if not _equal(form.get("code"), found[0].user.code):
            return _show(second_factor_page(name, found[0].user, wrong=True))
        session.second_factor_at = self._now()
        session.pending[name].authenticated = True
        return self._go_on(session, name)

    async def _find_pending(
        self, request: web.Request
    ) -> tuple[Session, str, dict[str, str]] | None:
        """Find the request that a form belongs to; None: not a form that we gave this browser."""
        try:
            form = await read_form(request)
        except OAuthError:
            return None
        session = self._sessions.get(request.cookies.get(self._cookie, ""))
        name = form.get("request", "")
        if session is None or name not in session.pending:
            return None
        return session, name, form

    def _go_on(self, session: Session, name: str) -> web.Response:
        """Show the next page, or send the browser back to the client."""
        pending = session.pending[name]
        step = next_step(session, pending, self._now())
        if step is Step.UNMET:
            return self._finish(session, name, _error(unmet_requirements()))
        if step is not Step.GRANT and "none" in pending.request.prompts:
            return self._finish(session, name, _error(_PROMPT_NEEDED))
        if session.user is None or step is Step.PASSWORD:
            return self._show_password(name, session, wrong=False)
        if step is Step.SECOND_FACTOR:
            return _show(second_factor_page(name, session.user, wrong=False))
        code = self._grants.add(_grant(session, session.user, pending.request, self._now()))
        return self._finish(session, name, {"code": code})

    def _show_password(self, name: str, session: Session, *, wrong: bool) -> web.Response:
        client_id = session.pending[name].request.client.client_id
        return _show(password_page(name, client_id, self._users, wrong=wrong))

    def _finish(self, session: Session, name: str, answer: Mapping[str, str]) -> web.Response:
        request = session.pending.pop(name).request
        return self._redirect(request.redirect_uri, request.state, answer)

    def _redirect(
        self, redirect_uri: str, state: str | None, answer: Mapping[str, str]
    ) -> web.Response:
        """Answer the client, and say who answers: a client may know several servers (RFC 9207)."""
        echoed = {} if state is None else {"state": state}
        query = urlencode({**answer, **echoed, "iss": self._issuer})
        location = f"{redirect_uri}{'&' if '?' in redirect_uri else '?'}{query}"
        # 303: whatever the form's method was, the client gets a GET (RFC 9700 §4.12).
        return web.Response(status=303, headers={**HEADERS, "location": location})

    def _with_cookie(self, response: web.Response, session_id: str) -> web.Response:
        response.set_cookie(self._cookie, session_id, httponly=True, samesite="Lax", path="/")
        return response

    def _keep(self, session: Session) -> str:
        """Keep a session and give its identifier."""
        while len(self._sessions) >= _MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        session_id = secrets.token_urlsafe(32)
        self._sessions[session_id] = session
        return session_id


def _grant(session: Session, user: User, request: AuthorizationRequest, now: int) -> Grant:
    return Grant(
        client_id=request.client.client_id,
        redirect_uri=request.redirect_uri,
        code_challenge=request.code_challenge,
        sub=user.name,
        scopes=request.scopes,
        # What was asked for, not what was reached beyond it: resource servers compare exactly.
        acr=request.acr or session.acr,
        auth_time=session.auth_time,
        nonce=request.nonce,
        expires_at=now + CODE_LIFETIME_SECONDS,
    )


def _error(refusal: OAuthError) -> dict[str, str]:
    return {"error": refusal.error, "error_description": refusal.description}


_LOST = "This form is not, or no longer, a good one. Go back to where you came from"
_PROMPT_NEEDED = OAuthError("login_required", "The user must be asked, and prompt is none")
_CANCELLED = _error(OAuthError("access_denied", "The user cancelled"))


def _show(page: str) -> web.Response:
    return web.Response(text=page, content_type="text/html", headers=HEADERS)


def _show_error(text: str) -> web.Response:
    return web.Response(
        text=error_page(text), status=400, content_type="text/html", headers=HEADERS
    )


def _equal(given: str | None, wanted: str) -> bool:
    return given is not None and hmac.compare_digest(given.encode(), wanted.encode())
