"""Runs last: nothing that a client sent in confidence is in anything that anybody said."""

from __future__ import annotations

import re

from e2e.harness.arrangement import Evidence
from e2e.harness.bridge import Bridge
from e2e.harness.http1 import Request
from e2e.harness.stack import BASIC_SECRET, COOKIE_SECRET, QUERY_SECRET, Stack
from e2e.harness.tokens import TokenSpec

# Shorter pieces of a token, such as its header, are not secret.
_MIN_PIECE = 40
_LONG_RUN = re.compile(rf"[A-Za-z0-9_-]{{{_MIN_PIECE},}}")


def test_every_outcome_is_said_with_secrets_about(stack: Stack) -> None:
    """Ask once more with each kind of secret, so that the search below misses no gateway."""
    for token in (None, TokenSpec(), TokenSpec(expires_in=-60), TokenSpec(signed_by="stranger")):
        request = Request(target="/payments/profile?access_token=a")
        if token is not None:
            request = request.with_headers(stack.bearer(stack.issuer.mint(token)))
        assert stack.send(request).reply is not None
    basic = Request(headers=(("Authorization", f"Basic {BASIC_SECRET}"),))
    assert stack.send(basic).reply is not None


def test_no_log_metric_or_page_holds_a_secret(bridge: Bridge, evidence: Evidence) -> None:
    for known in evidence.bridges:
        evidence.collect(known)
    logs = [file.read_text(errors="replace") for file in evidence.logs if file.exists()]
    said = "\n".join([*logs, *evidence.pages])

    assert "check_decided" in said
    assert "stepup_checks_total" in said
    for secret in (QUERY_SECRET, COOKIE_SECRET, BASIC_SECRET):
        assert secret not in said
    beginnings = {
        piece[:_MIN_PIECE]
        for issuer in evidence.issuers
        for token_text in issuer.minted
        for piece in token_text.split(".")
        if len(piece) >= _MIN_PIECE
    }
    for run in set(_LONG_RUN.findall(said)):
        for start in range(len(run) - _MIN_PIECE + 1):
            assert run[start : start + _MIN_PIECE] not in beginnings
