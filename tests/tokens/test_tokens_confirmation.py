"""What a token is bound to, and which request may use it (RFC 9449 §7.2, RFC 8705 §3)."""

from __future__ import annotations

import hashlib
from typing import Any, Literal, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import TokenError
from bridge.tokens.confirmation import (
    BINDING_CHECKS,
    TAKES_DPOP,
    TAKES_MTLS,
    Confirmation,
    SenderConstraint,
    check_binding,
    read_confirmation,
    require_scheme,
)
from e2e.harness.proofs import base64url

Scheme = Literal["bearer", "dpop"]

JKT = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
# RFC 8705 §3.1, figure 2
X5T = "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"
DIGEST = hashlib.sha256(b"a certificate").digest()
BOUND_X5T = base64url(DIGEST)
CERTIFICATE = DIGEST.hex()
OTHER = hashlib.sha256(b"another certificate").hexdigest()

KEY = Confirmation(jkt=JKT)
MTLS = Confirmation(x5t_s256=BOUND_X5T)
BOTH = Confirmation(JKT, BOUND_X5T)


def refusal(
    constraint: SenderConstraint,
    scheme: Scheme,
    confirmation: Confirmation | None,
    certificate: str | None = None,
) -> str:
    with pytest.raises(TokenError) as refused:
        check_binding(constraint, scheme, confirmation, certificate)
    assert refused.value.check in BINDING_CHECKS
    return refused.value.reason


@pytest.mark.parametrize(
    ("cnf", "confirmation"),
    [
        pytest.param({"jkt": JKT}, KEY, id="key"),
        pytest.param({"x5t#S256": BOUND_X5T}, MTLS, id="certificate"),
        pytest.param({"jkt": JKT, "x5t#S256": BOUND_X5T}, BOTH, id="both"),
    ],
)
def test_confirmation_is_read(cnf: dict[str, str], confirmation: Confirmation) -> None:
    assert read_confirmation(cnf) == confirmation


@pytest.mark.parametrize(
    ("cnf", "reason"),
    [
        pytest.param(None, "token_binding_not_supported", id="null"),
        pytest.param("x", "token_binding_not_supported", id="string"),
        pytest.param([JKT], "token_binding_not_supported", id="list"),
        pytest.param({}, "token_binding_not_supported", id="empty"),
        pytest.param({"jwk": {}}, "token_binding_not_supported", id="another-member"),
        pytest.param({"jkt": JKT, "kid": "1"}, "token_binding_not_supported", id="one-more-member"),
        pytest.param({"JKT": JKT}, "token_binding_not_supported", id="member-in-upper-case"),
        pytest.param({"jkt": None}, "token_binding_malformed", id="value-null"),
        pytest.param({"jkt": 1}, "token_binding_malformed", id="value-a-number"),
        pytest.param({"jkt": ""}, "token_binding_malformed", id="value-empty"),
        pytest.param({"jkt": JKT[:-1]}, "token_binding_malformed", id="value-short"),
        pytest.param({"jkt": JKT + "A"}, "token_binding_malformed", id="value-long"),
        pytest.param({"jkt": JKT + "="}, "token_binding_malformed", id="value-padded"),
        pytest.param({"jkt": JKT + "\n"}, "token_binding_malformed", id="value-with-a-line-end"),
        pytest.param({"jkt": JKT[:-1] + "J"}, "token_binding_malformed", id="stray-bits"),
        pytest.param({"x5t#S256": X5T[:-1] + "+"}, "token_binding_malformed", id="plain-base64"),
        pytest.param({"jkt": JKT, "x5t#S256": 1}, "token_binding_malformed", id="one-of-two"),
    ],
)
def test_confirmation_that_cannot_be_checked_is_refused(cnf: Any, reason: str) -> None:
    with pytest.raises(TokenError) as refused:
        read_confirmation(cnf)
    assert (refused.value.check, refused.value.reason) == ("cnf", reason)


REFUSED: list[Any] = [
    # Without a sender constraint: as before it was there.
    ("none", "bearer", KEY, None, "token_binding_not_supported"),
    ("none", "bearer", MTLS, CERTIFICATE, "token_binding_not_supported"),
    ("none", "bearer", BOTH, CERTIFICATE, "token_binding_not_supported"),
    ("none", "dpop", None, None, "dpop_not_supported"),
    ("none", "dpop", KEY, None, "dpop_not_supported"),
    # A key-bound token is no bearer token (RFC 9449 §7.2).
    ("any", "bearer", KEY, None, "token_bound_to_key_sent_as_bearer"),
    ("dpop", "bearer", KEY, None, "token_bound_to_key_sent_as_bearer"),
    ("mtls", "bearer", KEY, CERTIFICATE, "token_bound_to_key_sent_as_bearer"),
    ("required", "bearer", KEY, None, "token_bound_to_key_sent_as_bearer"),
    ("any", "bearer", BOTH, CERTIFICATE, "token_bound_to_key_sent_as_bearer"),
    ("mtls", "bearer", BOTH, CERTIFICATE, "token_bound_to_key_sent_as_bearer"),
    # A bearer token is no key-bound one.
    ("any", "dpop", None, None, "token_not_bound_to_key"),
    ("any", "dpop", MTLS, CERTIFICATE, "token_not_bound_to_key"),
    ("dpop", "dpop", None, None, "token_not_bound_to_key"),
    ("dpop", "dpop", MTLS, CERTIFICATE, "token_not_bound_to_key"),
    ("required", "dpop", MTLS, CERTIFICATE, "token_not_bound_to_key"),
    # The API demands more.
    ("dpop", "bearer", None, None, "token_not_bound_to_key"),
    ("dpop", "bearer", MTLS, CERTIFICATE, "token_not_bound_to_key"),
    ("mtls", "bearer", None, CERTIFICATE, "token_not_bound"),
    ("required", "bearer", None, CERTIFICATE, "token_not_bound"),
    ("mtls", "dpop", KEY, CERTIFICATE, "dpop_not_supported"),
    ("mtls", "dpop", BOTH, CERTIFICATE, "dpop_not_supported"),
    # The certificate is not the token's; where a token is bound twice, both must hold.
    *(
        (constraint, scheme, confirmation, certificate, reason)
        for constraint, scheme, confirmation in (
            ("any", "bearer", MTLS),
            ("mtls", "bearer", MTLS),
            ("required", "bearer", MTLS),
            ("any", "dpop", BOTH),
            ("dpop", "dpop", BOTH),
            ("required", "dpop", BOTH),
        )
        for certificate, reason in (
            (None, "client_certificate_missing"),
            ("", "client_certificate_malformed"),
            (OTHER, "client_certificate_mismatch"),
        )
    ),
]


@pytest.mark.parametrize(("constraint", "scheme", "confirmation", "certificate", "reason"), REFUSED)
def test_binding_that_does_not_hold_is_refused(
    constraint: SenderConstraint,
    scheme: Scheme,
    confirmation: Confirmation | None,
    certificate: str | None,
    reason: str,
) -> None:
    assert refusal(constraint, scheme, confirmation, certificate) == reason


@pytest.mark.parametrize(
    ("constraint", "scheme", "confirmation", "certificate", "due"),
    [
        ("none", "bearer", None, None, None),
        ("none", "bearer", None, CERTIFICATE, None),
        ("any", "bearer", None, None, None),
        ("any", "bearer", None, "", None),
        ("any", "bearer", MTLS, CERTIFICATE, None),
        ("mtls", "bearer", MTLS, CERTIFICATE, None),
        ("required", "bearer", MTLS, CERTIFICATE, None),
        ("any", "dpop", KEY, None, JKT),
        ("dpop", "dpop", KEY, OTHER, JKT),
        ("required", "dpop", KEY, None, JKT),
        ("any", "dpop", BOTH, CERTIFICATE, JKT),
        ("dpop", "dpop", BOTH, CERTIFICATE, JKT),
        ("required", "dpop", BOTH, CERTIFICATE, JKT),
    ],
)
def test_binding_that_holds_tells_whether_a_proof_is_due(
    constraint: SenderConstraint,
    scheme: Scheme,
    confirmation: Confirmation | None,
    certificate: str | None,
    due: str | None,
) -> None:
    assert check_binding(constraint, scheme, confirmation, certificate) == due


CONSTRAINTS = st.sampled_from(get_args(SenderConstraint))
SCHEMES = st.sampled_from(["bearer", "dpop"])
CONFIRMATIONS = st.sampled_from([None, KEY, MTLS, BOTH])
CERTIFICATES = st.sampled_from([None, "", CERTIFICATE, OTHER])


@given(CONSTRAINTS, SCHEMES, CONFIRMATIONS, CERTIFICATES)
def test_nothing_passes_that_a_stolen_token_could(
    constraint: SenderConstraint,
    scheme: Scheme,
    confirmation: Confirmation | None,
    certificate: str | None,
) -> None:
    """Whatever passes either proves all that the token is bound to, or is unbound and may be."""
    try:
        due = check_binding(constraint, scheme, confirmation, certificate)
    except TokenError:
        return
    bound = confirmation or Confirmation()
    assert due == bound.jkt
    assert bound.x5t_s256 is None or certificate == CERTIFICATE
    assert confirmation is not None or constraint in ("none", "any")
    assert (due is not None) == (scheme == "dpop")
    assert bound.jkt is None or constraint in TAKES_DPOP
    assert bound.jkt is not None or bound.x5t_s256 is None or constraint in TAKES_MTLS


@pytest.mark.parametrize("constraint", get_args(SenderConstraint))
def test_scheme_alone_can_be_refused(constraint: SenderConstraint) -> None:
    require_scheme(constraint, "bearer")
    if constraint in TAKES_DPOP:
        require_scheme(constraint, "dpop")
    else:
        with pytest.raises(TokenError):
            require_scheme(constraint, "dpop")
