"""The API behind a gateway, asked with tokens of a real authorization server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from e2e.harness.arrangement import Arrangement
from e2e.harness.bridge import Bridge
from e2e.harness.gateway import Gateway, GatewayFactory
from e2e.harness.http1 import Request, exchange
from e2e.harness.oauth import Tokens
from e2e.harness.policy import MFA, PWD
from e2e.harness.stack import Answer
from e2e.harness.upstream import RecordingUpstream
from e2e.harness.waiting import wait_until

ACCOUNTS = Request("GET", "/payments/accounts")
ADDRESS = Request("PUT", "/payments/address")
LIMITS = Request("PUT", "/payments/limits")
PROFILE = Request("GET", "/payments/profile")
TRANSFERS = Request("POST", "/payments/transfers")

SCOPE = "openid accounts:read payments:write"

OPERATIONS: list[dict[str, Any]] = [
    {"name": "profile", "methods": ["GET"], "paths": ["/profile"]},
    {
        "name": "read-accounts",
        "methods": ["GET"],
        "paths": ["/accounts"],
        "require": {"scopes": ["accounts:read"]},
    },
    {
        "name": "create-transfer",
        "methods": ["POST"],
        "paths": ["/transfers"],
        "require": {"scopes": ["payments:write"], "acr_values": [MFA], "max_age": "5m"},
    },
    {
        "name": "change-limits",
        "methods": ["PUT"],
        "paths": ["/limits"],
        "require": {"acr_values": [MFA], "max_age": "3s"},
    },
    {
        "name": "change-address",
        "methods": ["PUT"],
        "paths": ["/address"],
        "require": {"max_age": "3s"},
    },
]


@dataclass(frozen=True, slots=True)
class Api:
    """Gateway, bridge and upstream, all running."""

    bridge: Bridge
    gateway: Gateway
    upstream: RecordingUpstream
    sent: set[str] = field(default_factory=set, repr=False)

    def ask(
        self,
        request: Request,
        token: Tokens | str | None = None,
        *proofs: str,
        scheme: str = "Bearer",
    ) -> Answer:
        """Send a request, with a token and DPoP proofs if given, and collect what came of it."""
        if token is not None:
            text = token if isinstance(token, str) else token.access_token
            request = request.with_headers(("Authorization", f"{scheme} {text}"))
            self.sent.update({text, *proofs})
        request = request.with_headers(*(("DPoP", proof) for proof in proofs))
        self.upstream.take()
        reply = exchange(self.gateway.address, request.raw())
        return Answer(reply, tuple(self.upstream.take()))

    def check_silence(self) -> None:
        """Find no piece of a token that was sent in anything that bridge and gateway said."""
        files = [*self.bridge.logs, *self.gateway.logs]

        def read() -> str:
            return "".join(file.read_text(errors="replace") for file in files)

        if self.sent:
            wait_until(lambda: "check_decided" in read(), seconds=5, what="a check in the log")
        said = read()
        # The header of a JWT is no secret.
        pieces = {piece for text in self.sent for piece in text.split(".")[1:] or [text]}
        assert not [piece for piece in pieces if piece in said]


def build_api(
    arrangement: Arrangement, factory: GatewayFactory, issuer: Mapping[str, Any], **api: Any
) -> Api:
    """Start gateway, bridge and upstream.

    Args:
        issuer: Its entry in the configuration.
        api: Further settings of the API.
    """
    payments = {"name": "payments", "hosts": ["api.test"], "base_path": "/payments"}
    bridge = arrangement.bridge(
        {
            "version": 1,
            "issuers": [issuer],
            "assurance_levels": [PWD, MFA],
            "apis": [{**payments, "operations": OPERATIONS, **api}],
            "log": {"level": "debug"},
        }
    )
    upstream = arrangement.upstream()
    return Api(bridge, arrangement.gateway(factory, bridge, upstream), upstream)


def challenge_of(answer: Answer) -> str:
    """Give the one challenge of a 401 that the upstream never saw."""
    (challenge,) = challenges_of(answer)
    return challenge


def challenges_of(answer: Answer) -> list[str]:
    """Give the challenges of a 401 that the upstream never saw."""
    assert answer.status == 401
    assert answer.upstream == ()
    assert answer.reply is not None
    return answer.reply.values("www-authenticate")
