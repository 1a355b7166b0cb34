"""The demo's policy is one that the bridge takes, and demands what the story is about."""

from __future__ import annotations

from pathlib import Path

from bridge.config.load import load_config
from bridge.demo.policy import AUDIENCE, REALM, bridge_yaml
from bridge.policy.requirement import Requirement


def test_the_bridge_takes_it(tmp_path: Path) -> None:
    file = tmp_path / "bridge.yaml"
    file.write_text(
        bridge_yaml(authz_port=0, admin_port=0, issuer="http://127.0.0.1:1", max_age_seconds=7)
    )

    config = load_config(file)

    (issuer,), (api,) = config.issuers, config.policy.apis
    assert (issuer.issuer, issuer.audiences, issuer.leeway) == (
        "http://127.0.0.1:1",
        (AUDIENCE,),
        0,
    )
    assert api.realm == REALM
    assert {o.name: None if o.public else o.requirement for o in api.operations} == {
        "health": None,
        "read-accounts": Requirement(scopes=("accounts:read",)),
        "create-transfer": Requirement(
            scopes=("payments:write",), acr_values=("urn:example:mfa",), max_age=7
        ),
    }
