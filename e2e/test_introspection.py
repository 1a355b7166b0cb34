"""Tokens that their issuer is asked about: the same answers, and nobody else suffers."""

from __future__ import annotations

import statistics
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from e2e.harness.arrangement import Arrangement
from e2e.harness.gateway import GatewayFactory
from e2e.harness.http1 import Request, exchange
from e2e.harness.introspection import IntrospectingIssuer
from e2e.harness.issuer import MISBEHAVIOURS, Issuer
from e2e.harness.policy import MFA, configuration, issuer_entry
from e2e.harness.scenario import Allowed, Denied, Faulted, problem
from e2e.harness.stack import Answer, Stack
from e2e.harness.tokens import TokenSpec
from e2e.harness.waiting import wait_until

pytestmark = pytest.mark.faults

# A check waits for at most one call (timeout 1 s), and the gateway for 2.5 s.
PATIENCE_SECONDS = 3
RECOVERY_SECONDS = 45
RESOURCE_METADATA = 'resource_metadata="https://api.test/.well-known/oauth-protected-resource'
STEP_UP = "A different authentication level is required"
INVALID = "The access token is invalid"


def build(
    own: Arrangement,
    factory: GatewayFactory,
    *,
    others: tuple[Issuer, ...] = (),
    tokens: tuple[str, ...] = ("jwt", "opaque"),
    **introspection: Any,
) -> tuple[Stack, IntrospectingIssuer]:
    """Start a stack whose issuer is asked; `others` each have an API, as in `configuration`."""
    issuer, upstream = own.introspecting_issuer(), own.upstream()
    asked = issuer.entry(own.directory, **introspection)
    entries = [issuer_entry(issuer, tokens=list(tokens), introspection=asked)]
    entries += [issuer_entry(other) for other in others]
    bridge = own.bridge(configuration(issuer, others, issuers=entries))
    return Stack(issuer, upstream, bridge, own.gateway(factory, bridge, upstream)), issuer


def profile_with(stack: Stack, token: str) -> Request:
    return Request(target="/payments/profile").with_headers(stack.bearer(token))


def ask(stack: Stack, token: str, target: str = "/payments/profile", method: str = "GET") -> Answer:
    return stack.send(replace(profile_with(stack, token), target=target, method=method))


def test_opaque_tokens_are_judged_as_others_are(
    own: Arrangement, gateway_factory: GatewayFactory
) -> None:
    stack, issuer = build(own, gateway_factory)
    strong = issuer.mint_opaque(TokenSpec(acr=MFA, auth_age=10))
    weak = issuer.mint_opaque()
    auth_time = issuer.active[strong]["auth_time"]
    invalid = Denied(
        401,
        f'Bearer realm="payments", error="invalid_token", error_description="{INVALID}", '
        f'{RESOURCE_METADATA}/payments"',
        problem("invalid_token", INVALID),
    )

    stack.check(
        ask(stack, strong, "/payments/transfers", "POST"),
        Allowed(
            (
                ("x-stepup-acr", MFA),
                ("x-stepup-auth-time", str(auth_time)),
                ("x-stepup-client-id", "app"),
                ("x-stepup-issuer", "ISSUER"),
                ("x-stepup-scope", "accounts:read payments:write"),
                ("x-stepup-subject", "alice"),
            )
        ),
    )
    stack.check(
        ask(stack, weak, "/payments/transfers", "POST"),
        Denied(
            401,
            'Bearer realm="payments", error="insufficient_user_authentication", '
            f'error_description="{STEP_UP}", acr_values="{MFA} urn:example:phr", max_age="300", '
            f'{RESOURCE_METADATA}/payments"',
            problem(
                "insufficient_user_authentication",
                STEP_UP,
                acr_values=f"{MFA} urn:example:phr",
                max_age=300,
            ),
        ),
    )
    stack.check(ask(stack, "never-heard-of"), invalid)
    stack.check(ask(stack, issuer.mint_opaque(TokenSpec(audience="https://other.test"))), invalid)
    stack.check(ask(stack, issuer.mint_opaque(TokenSpec(claims={"cnf": {"jkt": "x"}}))), invalid)
    assert ask(stack, strong).status == 200
    assert issuer.asked.count(strong) == 1
    assert stack.bridge.metric(
        f'stepup_introspections_total{{issuer="{issuer.url}",outcome="ok"}}'
    ) == len(issuer.asked)


def test_an_issuer_of_opaque_tokens_only_needs_no_keys(
    own: Arrangement, newest_gateway: GatewayFactory
) -> None:
    stack, issuer = build(own, newest_gateway, tokens=("opaque",))
    assert ask(stack, issuer.mint_opaque()).status == 200
    assert ask(stack, issuer.mint()).status == 401
    assert not any(target.endswith("/keys") for target in issuer.fetches)


def test_endpoints_that_misbehave_are_faults_then_recover_without_a_restart(
    own: Arrangement, newest_gateway: GatewayFactory
) -> None:
    stack, issuer = build(own, newest_gateway)
    cached = issuer.mint_opaque()
    assert ask(stack, cached).status == 200
    for behaviour in MISBEHAVIOURS:
        issuer.introspection = behaviour
        began = time.monotonic()
        stack.check(ask(stack, issuer.mint_opaque()), Faulted())
        assert time.monotonic() - began < PATIENCE_SECONDS, behaviour
    assert ask(stack, cached).status == 200
    assert ask(stack, issuer.mint()).status == 200  # a JWT, which nobody is asked about
    assert stack.bridge.page("/readyz").status == 503

    issuer.introspection = "ok"

    wait_until(lambda: stack.bridge.answers("/readyz"), seconds=RECOVERY_SECONDS, what="ready")
    assert ask(stack, issuer.mint_opaque()).status == 200


def test_an_endpoint_that_is_down_is_a_fault_until_it_is_up(
    own: Arrangement, newest_gateway: GatewayFactory
) -> None:
    stack, issuer = build(own, newest_gateway)
    issuer.stop()
    token = issuer.mint_opaque()
    stack.check(ask(stack, token), Faulted())
    assert stack.send(Request(target="/payments/profile")).status == 401

    issuer.start()

    wait_until(lambda: ask(stack, token).status == 200, seconds=5, what="200")
    wait_until(lambda: stack.bridge.answers("/readyz"), seconds=RECOVERY_SECONDS, what="ready")


def test_an_endpoint_that_hangs_slows_nobody_elses_tokens(
    own: Arrangement, newest_gateway: GatewayFactory
) -> None:
    good = own.issuer()
    stack, hanging = build(own, newest_gateway, others=(good,))

    def median_seconds() -> float:
        def one() -> float:
            token = good.mint()
            began = time.monotonic()
            assert ask(stack, token, "/other0/profile").status == 200
            return time.monotonic() - began

        return statistics.median(one() for _ in range(40))

    alone = median_seconds()
    hanging.introspection = "silent"
    stopping = threading.Event()

    def keep_asking() -> None:
        while not stopping.is_set():
            exchange(stack.gateway.address, profile_with(stack, hanging.mint_opaque()).raw())

    clients = [threading.Thread(target=keep_asking, daemon=True) for _ in range(20)]
    for client in clients:
        client.start()
    wait_until(lambda: len(hanging.asked) >= 20, seconds=5, what="20 calls that hang")
    beside = median_seconds()
    stopping.set()
    for client in clients:
        client.join(PATIENCE_SECONDS)
        assert not client.is_alive()

    assert beside < 1.5 * alone + 0.01


def test_a_revoked_jwt_is_refused_where_every_token_is_asked_about(
    own: Arrangement, newest_gateway: GatewayFactory
) -> None:
    stack, issuer = build(own, newest_gateway, when="always", cache_ttl=0)
    token = issuer.mint(TokenSpec(acr="urn:example:pwd"))
    transfer = ("/payments/transfers", "POST")
    assert ask(stack, token).status == 200
    assert ask(stack, token, *transfer).status == 401
    issuer.active[token] = {"acr": MFA, "auth_time": int(time.time())}  # RFC 9470 §6.2
    assert ask(stack, token, *transfer).status == 200
    del issuer.active[token]
    assert ask(stack, token).status == 401
    issuer.introspection = "error"
    stack.check(ask(stack, token), Faulted())


def test_a_changed_secret_takes_over_and_a_wrong_one_is_a_fault(
    own: Arrangement, newest_gateway: GatewayFactory
) -> None:
    stack, issuer = build(own, newest_gateway)
    assert ask(stack, issuer.mint_opaque()).status == 200
    issuer.change_secret()
    stack.check(ask(stack, issuer.mint_opaque()), Faulted())

    issuer.entry(own.directory)  # writes the file

    wait_until(
        lambda: ask(stack, issuer.mint_opaque()).status == 200, seconds=10, what="the new secret"
    )
