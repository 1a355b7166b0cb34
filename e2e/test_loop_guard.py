"""A login loop, through every gateway: the client is told, stopped, and let in when it may."""

from __future__ import annotations

import time

from e2e.harness.arrangement import Arrangement
from e2e.harness.gateway import GatewayFactory
from e2e.harness.http1 import Reply, Request
from e2e.harness.policy import MFA, PWD
from e2e.harness.stack import Stack
from e2e.harness.tokens import TokenSpec

TRANSFER = Request("POST", "/payments/transfers", body=b'{"amount":1}')
TOLD = "The authorization server did not do what was asked: after a new login acr is still unmet"


def _log_in_and_call(stack: Stack, logged_in: int, acr: str = PWD, sub: str = "alice") -> Reply:
    spec = TokenSpec(sub, acr=acr, claims={"auth_time": logged_in})
    answer = stack.send(TRANSFER.with_headers(stack.bearer(stack.issuer.mint(spec))))
    assert answer.reply is not None
    assert bool(answer.upstream) is (answer.status == 200)
    return answer.reply


def test_a_loop_is_told_then_forbidden_and_a_step_up_ends_it(
    own: Arrangement, gateway_factory: GatewayFactory
) -> None:
    stack = own.stack(gateway_factory, loop_guard={"action": "forbid", "window": "1h"})
    logins = range(int(time.time()), 2**31, 10)  # each later than the challenge before

    looping = [_log_in_and_call(stack, logins[turn]) for turn in range(5)]

    assert [reply.status for reply in looping] == [401, 401, 401, 403, 403]
    challenges = [reply.values("www-authenticate") for reply in looping]
    assert [len(values) for values in challenges] == [1, 1, 1, 0, 0]
    assert [TOLD in values[0] for values in challenges[:3]] == [False, False, True]
    before, after = challenges[1][0], challenges[2][0]
    assert after.partition("acr_values=")[2] == before.partition("acr_values=")[2]
    (seconds,) = looping[3].values("retry-after")
    assert 3500 < int(seconds) <= 3600
    assert TOLD in looping[3].body.decode()

    assert _log_in_and_call(stack, int(time.time()), sub="bob").status == 401
    assert _log_in_and_call(stack, int(time.time()), acr=MFA).status == 200
    assert _log_in_and_call(stack, logins[6]).status == 403


def test_renewed_tokens_are_challenged_as_ever(
    own: Arrangement, newest_gateway: GatewayFactory
) -> None:
    stack = own.stack(newest_gateway, loop_guard={"action": "forbid", "limit": 2})
    logged_in = int(time.time()) - 30

    replies = [_log_in_and_call(stack, logged_in) for _ in range(10)]

    assert len({(reply.status, *reply.values("www-authenticate")) for reply in replies}) == 1
    assert replies[0].status == 401
