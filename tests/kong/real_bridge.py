"""The real bridge behind the plugin, and tokens that it takes or refuses."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jwt
import yaml
from cryptography.hazmat.primitives.asymmetric import ec

from .wire import LOOPBACK, free_port

HOST = "bridge.test"
ISSUER = "https://login.test"
DOWN_ISSUER = "https://down.test"
AUDIENCE = "https://api.test"
MFA, PHR = "urn:example:mfa", "urn:example:phr"
_START_SECONDS = 30


class RealBridge:
    """`python -m bridge serve` on loopback; ended by its pid.

    Args:
        directory: For its configuration, keys and output.
        port: Of the authz listener.
    """

    def __init__(self, directory: Path, port: int) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._admin_port = free_port()
        self._output = directory / "bridge.out"
        jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key()))
        keys = {"keys": [{**jwk, "kid": "k1", "use": "sig", "alg": "ES256"}]}
        (directory / "keys.json").write_text(json.dumps(keys))
        file = directory / "bridge.yaml"
        file.write_text(yaml.safe_dump(self._configuration(port)))
        with self._output.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bridge", "serve", "--config", str(file)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        self._wait_until_healthy()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)

    def token(self, issuer: str = ISSUER, **claims: Any) -> str:
        """Sign a token that is good for everything; claims replace its own, None leaves one out."""
        now = int(time.time())
        good = {
            "iss": issuer,
            "sub": "alice",
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + 600,
            "client_id": "app",
            "acr": MFA,
            "auth_time": now - 30,
            "scope": "payments:write",
        }
        payload = {name: value for name, value in {**good, **claims}.items() if value is not None}
        headers = {"typ": "at+jwt", "kid": "k1"}
        return jwt.encode(payload, self._key, algorithm="ES256", headers=headers)

    def _configuration(self, port: int) -> dict[str, Any]:
        closed = f"http://{LOOPBACK}:{free_port()}"
        audiences = {"audiences": [AUDIENCE]}
        operations = [
            {"name": "health", "methods": ["GET"], "paths": ["/health"], "public": True},
            {"name": "profile", "methods": ["GET"], "paths": ["/profile"]},
            {
                "name": "transfer",
                "methods": ["POST"],
                "paths": ["/transfers"],
                "require": {
                    "scopes": ["payments:write"],
                    "acr_values": [MFA, PHR],
                    "max_age": "5m",
                },
            },
        ]
        api = {"hosts": [HOST], "operations": operations}
        return {
            "version": 1,
            "listen": {
                "authz": f"{LOOPBACK}:{port}",
                "admin": f"{LOOPBACK}:{self._admin_port}",
            },
            "issuers": [
                {"issuer": ISSUER, "jwks_file": "keys.json", **audiences},
                {"issuer": DOWN_ISSUER, "jwks_uri": f"{closed}/keys", "timeout": 1, **audiences},
            ],
            "apis": [
                {"name": "payments", "base_path": "/payments", "issuers": [ISSUER], **api},
                {"name": "down", "base_path": "/down", "issuers": [DOWN_ISSUER], **api},
                {
                    "name": "watched",
                    "base_path": "/watched",
                    "issuers": [ISSUER],
                    "mode": "monitor",
                    **api,
                },
            ],
        }

    def _wait_until_healthy(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            assert self._process.poll() is None, self._output.read_text()
            connection = http.client.HTTPConnection(LOOPBACK, self._admin_port, timeout=2)
            try:
                connection.request("GET", "/healthz")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                assert time.monotonic() < deadline, self._output.read_text()
                time.sleep(0.05)
            finally:
                connection.close()
