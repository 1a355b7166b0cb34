"""The bench: a started gateway, the bridges that it asks, and the API behind it."""

from __future__ import annotations

from typing import Any

from .fake_bridge import FakeBridge
from .gateways import Gateway
from .wire import Reply, Upstream, head, send

QUERY_SECRET = "query-secret-7d1f"
TOKEN_SECRET = "token-secret-93ab"
ANSWER_SECRET = "answer-secret-40cd"

TIMEOUT_SECONDS = 2.0
QUICK_TIMEOUT_SECONDS = 0.4
# What a gateway may need beyond the time-out, on a busy machine.
SLACK_SECONDS = 1.0

UNAVAILABLE = {
    "error": "temporarily_unavailable",
    "error_description": "Access cannot be checked at the moment",
}
IDENTITY = {"x-stepup-subject": "alice", "x-stepup-acr": "urn:example:mfa"}
REMOVED = ["x-stepup-scope", "x_stepup_scope"]


class Bench:
    """A started gateway, the bridges it asks, and the API behind it."""

    def __init__(self, gateway: Gateway, api: Upstream, bridges: dict[str, FakeBridge]) -> None:
        self.gateway = gateway
        self.api = api
        self.bridge = bridges["tcp"]
        self.bridges = bridges

    def send(
        self, target: str = "/payments/x", *lines: str, method: str = "GET", host: str = "api.test"
    ) -> Reply:
        return send(head(method, target, *lines, "Connection: close", host=host), self.gateway.port)

    def question(self) -> Any:
        """Give the one question that was asked."""
        (question,) = self.bridge.questions
        return question.json()
