"""A check that waits for nobody is decided without a task, and decided the same."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from running_bridge import (
    HOST,
    MFA,
    PWD,
    Service,
    api,
    bearer,
    policy,
    question,
    write_config,
    write_keys,
)

from bridge.config.load import load_config
from bridge.errors import ReplayStoreError, TokenError
from bridge.gateways.check_request import CheckRequest
from bridge.policy.operations import Api
from bridge.service.check import Begun, Checked, Checker
from bridge.tokens.access_token import AccessToken
from bridge.tokens.credentials import Credentials
from bridge.tokens.dpop import UsedProof
from bridge.tokens.identity import UpstreamHeaders
from e2e.harness.http1 import Reply, exchange
from e2e.harness.tokens import SigningKey, TokenSpec

NOW = 1_700_000_000
TOKEN = AccessToken(
    iss="https://login.example.com",
    aud=None,
    exp=NOW + 60,
    leeway=0,
    acr=(),
    auth_time=None,
    scopes=frozenset(),
    client_id=None,
    upstream=UpstreamHeaders((), ()),
)


class Verifier:
    """Knows a token, or has to ask for it.

    Args:
        finds: What `find` gives or raises.
    """

    def __init__(self, finds: AccessToken | TokenError | None) -> None:
        self.finds = finds
        self.asked = 0
        self.looked_for = 0

    def find(self, *_: Any) -> AccessToken | None:
        self.looked_for += 1
        if isinstance(self.finds, TokenError):
            raise self.finds
        return self.finds

    async def verify(
        self,
        credentials: Credentials,
        issuers: Sequence[str],
        audiences: tuple[str, ...] | None,
        now: int,
    ) -> AccessToken:
        self.asked += 1
        return TOKEN


class Binding:
    """Demands a proof, of which it counts the uses."""

    def __init__(self) -> None:
        self.claimed = 0

    def check(
        self,
        api: Api,
        credentials: Credentials,
        token: AccessToken,
        request: CheckRequest,
        path: str,
        now: int,
    ) -> UsedProof | None:
        return UsedProof("jkt", "jti", now) if credentials.scheme == "dpop" else None

    async def claim(self, proof: UsedProof, now: int) -> None:
        self.claimed += 1
        raise ReplayStoreError("replay_store_unavailable")


@pytest.fixture
def checker_of(tmp_path: Path, signing_key: SigningKey) -> Any:
    write_keys(tmp_path, signing_key)
    bound = api("payments", sender_constraint="any", external_origin=f"https://{HOST}")
    config = load_config(write_config(tmp_path / "bridge.yaml", policy(apis=[bound])))

    def make(finds: AccessToken | TokenError | None) -> tuple[Checker, Verifier, Binding]:
        verifier, binding = Verifier(finds), Binding()
        return Checker(config, verifier, binding), verifier, binding

    return make


def asked(authorization: str, **changes: Any) -> CheckRequest:
    fields = {"dpop": ("proof",), **changes}
    return CheckRequest("native", "GET", (HOST,), "/payments/profile", (authorization,), **fields)


@pytest.mark.parametrize(
    ("finds", "authorization", "reason"),
    [
        pytest.param(TOKEN, "Bearer a", "requirement_met", id="known"),
        pytest.param(TokenError("exp", "token_expired"), "Bearer a", "token_expired", id="refused"),
        pytest.param(None, "Bearer a,b", "authorization_repeated", id="malformed"),
        pytest.param(None, "Basic a", "no_credentials", id="another-scheme"),
    ],
)
async def test_what_waits_for_nobody_is_decided_at_once(
    checker_of: Any, finds: Any, authorization: str, reason: str
) -> None:
    checker, verifier, _ = checker_of(finds)
    checked = checker.begin(asked(authorization), NOW)
    assert isinstance(checked, Checked)
    assert checked.decision == (await checker.check(asked(authorization), NOW)).decision
    assert (checked.decision.reason, verifier.asked) == (reason, 0)


async def test_a_token_that_must_be_asked_for_is_not_decided_at_once(checker_of: Any) -> None:
    checker, verifier, _ = checker_of(None)
    begun = checker.begin(asked("Bearer a"), NOW)
    assert (type(begun), verifier.asked) == (Begun, 0)
    assert (await checker.finish(begun)).decision.allow
    assert (verifier.asked, verifier.looked_for) == (1, 1)


async def test_a_proof_is_claimed_once_and_never_at_once(checker_of: Any) -> None:
    checker, _, binding = checker_of(TOKEN)
    begun = checker.begin(asked("DPoP a"), NOW)
    assert (type(begun), binding.claimed) == (Begun, 0)
    assert (await checker.finish(begun)).decision.status == 503
    assert binding.claimed == 1


def envoy_head(method: str, target: str, *lines: str) -> bytes:
    head = [f"{method} /envoy{target} HTTP/1.1", f"Host: {HOST}", *lines, "", ""]
    return "\r\n".join(head).encode()


def native_head(asked_for: dict[str, Any], *lines: str) -> bytes:
    body = json.dumps(asked_for).encode()
    head = ["POST /v1/check HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *lines, "", ""]
    return "\r\n".join(head).encode() + body


def parts(reply: Reply | None) -> tuple[Any, ...]:
    assert reply is not None
    lines = [line for line in reply.headers if line[0] not in ("date", "connection")]
    return reply.status, lines, re.sub(rb'"request_id":"[^"]*"', b"", reply.body)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
@pytest.mark.parametrize(
    "target",
    ["/payments/profile", "/payments/transfers", "/payments/health", "/payments/a//b", "/other/x"],
)
@pytest.mark.parametrize("token", ["none", "good", "weak", "expired", "malformed"])
def test_both_ways_answer_alike(
    service: Service, signing_key: SigningKey, method: str, target: str, token: str
) -> None:
    value = {
        "none": "",
        "good": bearer(signing_key, TokenSpec(acr=MFA)),
        "weak": bearer(signing_key, TokenSpec(acr=PWD)),
        "expired": bearer(signing_key, TokenSpec(expires_in=-3600)),
        "malformed": "Bearer a,b",
    }[token]
    lines = [f"authorization: {value}"] if value else []
    headers = {"authorization": value} if value else {}
    asked_for = question(method, target, **headers)
    for at_once, in_a_task in [
        (
            envoy_head(method, target, *lines),
            envoy_head(method, target, *lines, "Connection: close"),
        ),
        (native_head(asked_for), native_head(asked_for, "Connection: close")),
    ]:
        answer = parts(service.send(at_once))
        assert answer == parts(exchange(service.authz, in_a_task))


def test_a_check_that_waits_for_a_shared_guard_is_counted_once(
    tmp_path: Path, signing_key: SigningKey
) -> None:
    """It begins as it arrives, and a task finishes it: the token is looked for once."""
    write_keys(tmp_path, signing_key)
    weak = question("POST", "/payments/transfers", authorization=bearer(signing_key))
    document = policy(
        loop_guard={"shared": True}, dpop={"replay": {"redis_url": "redis://127.0.0.1:1"}}
    )
    with Service(tmp_path, document) as service:
        service.wait_until_ready()
        for _ in range(3):
            assert service.ask(weak)["response"]["status"] == 401
        lines = service.checks()
        samples = service.samples()
    assert len(lines) == 3
    assert samples["stepup_token_cache_misses_total"] == 1
    assert samples["stepup_token_cache_hits_total"] == 2


def test_a_defect_while_an_answer_is_written_is_told_and_counted_once(
    tmp_path: Path, signing_key: SigningKey
) -> None:
    write_keys(tmp_path, signing_key)
    script = tmp_path / "defect.py"
    script.write_text(
        "from bridge.gateways import envoy\n"
        "def reply(decision, request, nobody):\n"
        "    raise RuntimeError('marked-secret')\n"
        "envoy.reply = reply\n"
        "from bridge.cli import main\n"
        "raise SystemExit(main())\n"
    )
    with Service(tmp_path, policy(), command=(str(script),)) as service:
        service.wait_until_ready()
        reply = service.send(envoy_head("GET", "/payments/health"))
        told = service.wait_for_event("unexpected_error")
        decided = service.checks()
        output = service.process.output()
    assert (reply.status, reply.values("retry-after")) == (503, ["1"])
    assert told["type"] == "RuntimeError"
    assert len(decided) == 1
    assert "marked-secret" not in output
