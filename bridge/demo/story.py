"""The story of a step-up, played by a small client and checked line by line."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

from bridge.decision.challenge import Challenge, ChallengeSyntaxError, parse_challenges
from bridge.demo.client import Exchange, StoryClient, peek
from bridge.demo.errors import DemoError
from bridge.demo.oauth import ALICE, MFA, PWD, Client
from bridge.demo.policy import READ_SCOPE, REALM, WRITE_SCOPE

_SHOWN_CLAIMS = ("sub", "acr", "auth_time", "scope")
# Said neither in full nor in part: whoever has them has the user's access.
_SECRET_PARAMETERS = frozenset({"code", "state", "code_challenge"})
_PAGE_TITLE = re.compile(r"<title>([^<]*) - ")
_DULL_HEADERS = frozenset({"date", "server", "content-length"})
_DIFFERENT_LEVEL = "A different authentication level is required"
_MORE_RECENT = "More recent authentication is required"


async def play(gateway: str, issuer: str, client: Client, max_age_seconds: int) -> None:
    """Play the story against what the demo has started.

    Args:
        gateway: Where Envoy is, without a slash at the end.
        max_age_seconds: Of a transfer; the story lasts a little longer than that.

    Raises:
        DemoError: Something is not as it should be; the text says what differed.
    """
    async with StoryClient(client, ALICE, issuer, _print_exchange) as alice:
        await _Story(gateway, issuer, client, max_age_seconds, alice).play()


class _Story:
    def __init__(
        self, gateway: str, issuer: str, client: Client, max_age_seconds: int, alice: StoryClient
    ) -> None:
        self._accounts = f"{gateway}/accounts"
        self._transfers = f"{gateway}/transfers"
        self._issuer = issuer
        self._client = client
        self._max_age = max_age_seconds
        self._alice = alice

    async def play(self) -> None:
        _title("1. Without a token: who are you?")
        answer = await self._alice.call("GET", self._accounts)
        _check_challenge(answer, f'Bearer realm="{REALM}", scope="{READ_SCOPE}"')

        _title("2. Alice logs in with her password, for the scope that the challenge names.")
        weak = await self._log_in(_read_challenge(answer))
        answer = await self._alice.call("GET", self._accounts, weak)
        self._check_identity(answer, weak, PWD)

        _title("3. A transfer wants more than a password.")
        answer = await self._alice.call("POST", self._transfers, weak)
        _check_challenge(
            answer, self._step_up_challenge(_DIFFERENT_LEVEL, f', scope="{WRITE_SCOPE}"')
        )

        _title("4. The client does what the challenge says. Alice gives her one-time code.")
        strong = await self._step_up(weak, _read_challenge(answer))
        answer = await self._alice.call("POST", self._transfers, strong)
        self._check_identity(answer, strong, MFA)

        _title("5. The same token later: she authenticated too long ago.")
        await _wait_until(peek(strong)["auth_time"] + self._max_age + 1)
        answer = await self._alice.call("POST", self._transfers, strong)
        _check_challenge(answer, self._step_up_challenge(_MORE_RECENT))

        _title("6. She steps up again, and goes on.")
        strong = await self._step_up(strong, _read_challenge(answer))
        answer = await self._alice.call("POST", self._transfers, strong)
        self._check_identity(answer, strong, MFA)

    def _step_up_challenge(self, description: str, scope: str = "") -> str:
        """Write what a transfer must get, by hand: the bridge's own code is on trial."""
        return (
            f'Bearer realm="{REALM}", error="insufficient_user_authentication", '
            f'error_description="{description}", '
            f'acr_values="{MFA}", max_age="{self._max_age}"{scope}'
        )

    async def _step_up(self, token: str, challenge: Challenge) -> str:
        """Get another token as the challenge says.

        Args:
            token: Whose scopes are kept, beside those of the challenge.
        """
        return await self._log_in(challenge, peek(token)["scope"].split())

    async def _log_in(self, challenge: Challenge, scopes: Sequence[str] = ()) -> str:
        token = await self._alice.authorize(challenge, scopes)
        claims = peek(token)
        _say("a token: " + ", ".join(f"{name} {claims[name]}" for name in _SHOWN_CLAIMS))
        return token

    def _check_identity(self, answer: Exchange, token: str, acr: str) -> None:
        """Check that the API answered, and that it saw who asks as the bridge made it out."""
        _check("status", HTTPStatus.OK.value, answer.status)
        claims = peek(token)
        wanted = {
            "x-stepup-subject": ALICE.name,
            "x-stepup-client-id": self._client.client_id,
            "x-stepup-issuer": self._issuer,
            "x-stepup-acr": acr,
            "x-stepup-auth-time": str(claims["auth_time"]),
            "x-stepup-scope": claims["scope"],
        }
        came: Mapping[str, object] = json.loads(answer.body).get("identity", {})
        for name, value in wanted.items():
            _check(f"{name} at the API", value, came.get(name))
            _say(f"     the API saw {name}: {value}")
        _check("number of identity headers", len(wanted), len(came))
        _say("ok: allowed, and the API knows who asks")


def _check_challenge(answer: Exchange, wanted: str) -> None:
    _check("status", HTTPStatus.UNAUTHORIZED.value, answer.status)
    _check("www-authenticate", wanted, answer.headers.get("www-authenticate"))
    _say("ok: exactly this challenge")


def _check(what: str, wanted: object, came: object) -> None:
    if wanted != came:
        raise DemoError(f"the story differs: {what}: wanted {wanted!r}, came {came!r}")


def _read_challenge(answer: Exchange) -> Challenge:
    """Read the one Bearer challenge as a client does."""
    try:
        challenges = parse_challenges([answer.headers.get("www-authenticate", "")])
    except ChallengeSyntaxError as error:
        raise DemoError(f"the challenge cannot be read: {error}") from None
    bearer = [challenge for challenge in challenges if challenge.scheme.lower() == "bearer"]
    _check("number of Bearer challenges", 1, len(bearer))
    return bearer[0]


async def _wait_until(instant: int) -> None:
    """Wait until a time, epoch seconds: the story is about time passing."""
    seconds = max(0.0, instant - time.time())
    _say(f"... {seconds:.0f} s later ...")
    await asyncio.sleep(seconds + 0.05)


def _title(text: str) -> None:
    print(f"\n{text}", flush=True)


def _say(text: str) -> None:
    print(f"   {text}", flush=True)


def _print_exchange(exchange: Exchange) -> None:
    """Print a request and its answer; of the authorization server's only where it leads."""
    _say(f"{exchange.method} {_show_url(exchange.url)}")
    if exchange.token is not None:
        _say("  authorization: Bearer (not shown)")
    page = _PAGE_TITLE.search(exchange.body)
    _say(f"-> {exchange.status} {exchange.reason}" + (f" (page: {page[1]})" if page else ""))
    for name, value in exchange.headers.items():
        if name == "location":
            _say(f"     location: {_show_url(value)}")
        elif exchange.of_api and name not in _DULL_HEADERS:
            _say(f"     {name}: {value}")


def _show_url(url: str) -> str:
    """Show a URL a person can read, without what is secret."""
    parts = urlsplit(url)
    place = f"{parts.scheme}://{parts.netloc}{parts.path}" if parts.scheme else parts.path
    pairs = parse_qsl(parts.query)
    shown = [f"{n}={'(not shown)' if n in _SECRET_PARAMETERS else v}" for n, v in pairs]
    return f"{place}?{'&'.join(shown)}" if shown else place
