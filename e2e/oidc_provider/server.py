"""One oidc-provider on loopback: `server.mjs` with its settings."""

from __future__ import annotations

import json
import secrets
import shutil
from pathlib import Path

from e2e.harness.addresses import Tcp, free_port
from e2e.harness.http1 import get
from e2e.harness.policy import MFA, PWD
from e2e.harness.process import Process
from e2e.harness.tokens import AUDIENCE
from e2e.harness.waiting import wait_until

OPAQUE_AUDIENCE = "https://opaque.api.test"
OTHER_OPAQUE_AUDIENCE = "https://other.api.test"
_HERE = Path(__file__).parent
_START_SECONDS = 30


class OidcProvider:
    """An authorization server that keeps everything in memory.

    Args:
        redirect_uri: Of its client `app`.
    """

    def __init__(self, redirect_uri: str, directory: Path) -> None:
        node = shutil.which("node")
        assert node is not None, "no Node.js on the path"
        assert (_HERE / "node_modules").exists(), "`make e2e-oidc-provider` installs oidc-provider"
        self.address = Tcp(free_port())
        self.bridge_secret = secrets.token_urlsafe(24)
        self.password = secrets.token_urlsafe(12)
        self.code = f"{secrets.randbelow(1_000_000):06}"
        settings = {
            "issuer": self.issuer,
            "port": self.address.port,
            "redirect_uri": redirect_uri,
            "bridge_secret": self.bridge_secret,
            "password": self.password,
            "code": self.code,
            "pwd": PWD,
            "mfa": MFA,
            "scopes": "accounts:read payments:write",
            "resources": {
                AUDIENCE: "jwt",
                OPAQUE_AUDIENCE: "opaque",
                OTHER_OPAQUE_AUDIENCE: "opaque",
            },
        }
        self._process = Process(
            "oidc-provider",
            [node, str(_HERE / "server.mjs")],
            directory,
            environment={"SETTINGS": json.dumps(settings)},
        )

    @property
    def issuer(self) -> str:
        return f"http://{self.address}"

    @property
    def logs(self) -> tuple[Path, ...]:
        return self._process.outputs

    def start(self) -> None:
        self._process.start()
        wait_until(self._answers, seconds=_START_SECONDS, what="oidc-provider answers")

    def stop(self) -> None:
        self._process.stop()

    def _answers(self) -> bool:
        assert self._process.running, f"oidc-provider ended:\n{self._process.output()[-2000:]}"
        try:
            return get(self.address, "/.well-known/openid-configuration").status == 200
        except OSError:
            return False
