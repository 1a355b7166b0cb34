"""What an issuer is trusted with by default (spec §3)."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from bridge.tokens.settings import (
    ALGORITHMS,
    DEFAULT_ALGORITHMS,
    POLICY_NAMES,
    AcrNames,
    ClaimNames,
    IssuerSettings,
)


def test_no_symmetric_algorithm_and_no_none_can_be_configured() -> None:
    assert set(ALGORITHMS) == {
        *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
        *("ES256", "ES384", "ES512", "EdDSA"),
    }


def test_what_an_issuer_leaves_out_has_the_defaults_of_the_spec() -> None:
    assert DEFAULT_ALGORITHMS == ("RS256", "PS256", "ES256", "EdDSA")
    assert IssuerSettings("i", ("a",)) == IssuerSettings(
        issuer="i",
        audiences=("a",),
        algorithms=("RS256", "PS256", "ES256", "EdDSA"),
        jwks_uri=None,
        jwks_file=None,
        token_type="any",
        id_token_claims="refuse",
        leeway=5,
        timeout=2,
        allow_insecure_http=False,
        claims=ClaimNames(
            (("acr",),), (("auth_time",),), (("scope",), ("scp",)), (("client_id",),)
        ),
        acr_names=AcrNames(()),
        insufficient_claims=False,
        provider=None,
        takes_jwt=True,
        takes_opaque=False,
        introspection=None,
    )


def test_settings_cannot_be_changed() -> None:
    changed: Any = IssuerSettings("i", ("a",))
    with pytest.raises(FrozenInstanceError):
        changed.algorithms = ("none",)


NAMES = AcrNames((("2", "mfa"), ("gold", "mfa"), ("3", "phr")))


@pytest.mark.parametrize(
    ("acr", "policy"),
    [
        pytest.param((), (), id="none"),
        pytest.param(("2",), ("mfa",), id="mapped"),
        pytest.param(("gold", "3"), ("mfa", "phr"), id="each"),
        pytest.param(("1", "mfa"), ("1", "mfa"), id="not-in-the-map"),
    ],
)
def test_a_tokens_acr_is_read_in_the_policys_names(
    acr: tuple[str, ...], policy: tuple[str, ...]
) -> None:
    assert NAMES.to_policy(acr) == policy


@pytest.mark.parametrize(
    ("demanded", "asked"),
    [
        pytest.param((), (), id="none"),
        pytest.param(("phr", "mfa"), ("3", "2", "gold"), id="in-the-policys-order"),
        pytest.param(("pwd", "phr"), ("pwd", "3"), id="not-in-the-map"),
        pytest.param(("3", "phr"), ("3",), id="each-once"),
    ],
)
def test_an_issuer_is_asked_for_what_it_calls_a_demand(
    demanded: tuple[str, ...], asked: tuple[str, ...]
) -> None:
    assert NAMES.to_issuer(demanded) == asked


def test_an_issuer_without_a_map_uses_the_policys_names() -> None:
    assert POLICY_NAMES.to_policy(("a",)) == POLICY_NAMES.to_issuer(("a",)) == ("a",)
