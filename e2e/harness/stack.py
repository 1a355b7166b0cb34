"""One complete arrangement: issuer, upstream, bridge, gateway; and how to ask it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from e2e.harness.bridge import Bridge
from e2e.harness.gateway import Gateway
from e2e.harness.http1 import Reply, Request, exchange
from e2e.harness.issuer import Issuer
from e2e.harness.scenario import Allowed, Denied, Expectation, Scenario
from e2e.harness.upstream import BODY, Received, RecordingUpstream

# In every request, so that the last test can look for them in everything that was said.
QUERY_SECRET = f"q-{secrets.token_hex(16)}"
COOKIE_SECRET = f"c-{secrets.token_hex(16)}"
BASIC_SECRET = f"b{secrets.token_hex(16)}"

IDENTITY_PREFIX = "x-stepup-"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request at both ends.

    Attributes:
        reply: What the client got; None: the connection was closed without a response.
        upstream: What reached the upstream.
    """

    reply: Reply | None
    upstream: tuple[Received, ...]

    @property
    def status(self) -> int:
        """Status of the reply; 0 for none."""
        return self.reply.status if self.reply is not None else 0

    @property
    def refused(self) -> bool:
        """Tell whether the request ended before the upstream."""
        return not self.upstream and not 200 <= self.status < 400

    def only_upstream(self) -> Received:
        """Give the one request that the upstream got."""
        assert len(self.upstream) == 1, f"{len(self.upstream)} requests upstream: {self}"
        return self.upstream[0]


@dataclass(frozen=True, slots=True)
class Stack:
    """The parts, all running."""

    issuer: Issuer
    upstream: RecordingUpstream
    bridge: Bridge
    gateway: Gateway

    def bearer(self, token: str) -> tuple[str, str]:
        return ("Authorization", f"Bearer {token}")

    def send(self, request: Request | bytes, timeout_seconds: float = 10) -> Answer:
        """Send a request and collect what came of it. One at a time."""
        raw = request if isinstance(request, bytes) else with_secrets(request).raw()
        self.upstream.take()
        reply = exchange(self.gateway.address, raw, timeout_seconds)
        return Answer(reply, tuple(self.upstream.take()))

    def play(self, scenario: Scenario) -> None:
        """Send a scenario's request and check everything that came of it.

        Raises:
            AssertionError: Something is not as expected.
        """
        request = scenario.request
        if scenario.token is not None:
            request = request.with_headers(self.bearer(self.issuer.mint(scenario.token)))
        status = self.gateway.capabilities.own_refusal(request)
        if status is not None:
            check_own_refusal(self.send(request.raw()), status)
        else:
            self.check(self.send(request), scenario.expect, head=request.method == "HEAD")

    def check(self, answer: Answer, expect: Expectation, *, head: bool = False) -> None:
        """Compare what came of a request with what is expected."""
        match expect:
            case Allowed(identity=identity):
                wanted = [
                    (name, value.replace("ISSUER", self.issuer.url)) for name, value in identity
                ]
                seen = answer.only_upstream().with_prefix(IDENTITY_PREFIX)
                assert seen == sorted(wanted)
                assert answer.status == 200
                assert answer.reply is not None
                assert answer.reply.body == (b"" if head else BODY)
            case Denied() as denied:
                assert answer.upstream == ()
                assert answer.reply is not None
                _check_denial(answer.reply, denied, head=head)
            case _:
                assert answer.upstream == ()
                assert answer.reply is not None
                assert answer.reply.values("www-authenticate") == []
                traits = self.gateway.capabilities
                relayed = answer.reply.values("retry-after") != []
                if answer.status == traits.own_fault:
                    assert not relayed
                else:
                    assert answer.status == traits.fault_status
                    assert relayed == traits.relays_unavailable


def check_own_refusal(answer: Answer, status: int) -> None:
    """Check that a gateway refused by itself, with nothing that looks like a challenge."""
    assert answer.upstream == ()
    assert answer.reply is not None
    assert answer.status == status
    assert answer.reply.values("www-authenticate") == []


def with_secrets(request: Request) -> Request:
    """Add a marked query and a marked cookie to a request."""
    mark = "&" if "?" in request.target else "?"
    target = f"{request.target}{mark}code={QUERY_SECRET}"
    request = request.with_headers(("Cookie", f"session={COOKIE_SECRET}"))
    return Request(request.method, target, request.host, request.headers, request.body)


def _check_denial(reply: Reply, denied: Denied, *, head: bool) -> None:
    assert reply.values("www-authenticate") == (
        [] if denied.challenge is None else [denied.challenge]
    )
    assert reply.status == denied.status
    assert reply.body.decode() == ("" if head else denied.body)
    if not head:  # Envoy drops it with the body
        assert reply.values("content-type") == ["application/json"]
    assert reply.values("cache-control") == ["no-store"]
    for name, value in denied.headers:
        assert reply.values(name) == [value]
