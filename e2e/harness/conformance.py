"""The conformance kit, pointed at the gateways of the suite."""

from __future__ import annotations

from pathlib import Path

import yaml
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bridge.conformance.run import Result, conform
from e2e.harness.gateway import Gateway
from e2e.harness.issuer import Issuer
from e2e.harness.policy import MFA, PHR, PWD
from e2e.harness.tokens import AUDIENCE


def write_profile(directory: Path, issuer: Issuer) -> Path:
    """Write a profile of the suite's API; the kit signs its tokens with the issuer's key.

    They are not among `issuer.minted`: the kit sends tokens where no client must, and what refuses
    such a request before the bridge is asked may quote it in its log.
    """
    key = issuer.keys[-1]
    pem = key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (directory / "issuer.pem").write_bytes(pem)
    profile = {
        "resource": "https://api.test/payments",
        "host": "api.test",
        "ordinary": {"path": "/payments/accounts"},
        "sensitive": {
            "method": "POST",
            "path": "/payments/transfers",
            "body": '{"amount":1}',
            "acr_values": [MFA, PHR],
            "max_age": 300,
        },
        "mint": {
            "issuer": issuer.url,
            "key_file": "issuer.pem",
            "kid": key.kid,
            "audience": AUDIENCE,
            "claims": {"acr": PWD, "scope": "accounts:read payments:write"},
        },
    }
    file = directory / "profile.yaml"
    file.write_text(yaml.safe_dump(profile))
    return file


def check(gateway: Gateway, profile: Path) -> Result:
    """Run the kit against a gateway that serves."""
    return conform(f"http://{gateway.address}", profile)
