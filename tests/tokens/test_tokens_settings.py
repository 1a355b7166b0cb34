"""What an issuer is trusted with by default (spec §3)."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from bridge.tokens.settings import ALGORITHMS, DEFAULT_ALGORITHMS, ClaimNames, IssuerSettings


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
        claims=ClaimNames((("acr",),), (("auth_time",),), (("scope",), ("scp",))),
        takes_jwt=True,
        takes_opaque=False,
        introspection=None,
    )


def test_settings_cannot_be_changed() -> None:
    changed: Any = IssuerSettings("i", ("a",))
    with pytest.raises(FrozenInstanceError):
        changed.algorithms = ("none",)
