"""One Keycloak on loopback, with the realm of `realm.json`, and its administrator."""

from __future__ import annotations

import hmac
import secrets
import time
from pathlib import Path
from string import Template
from typing import Any

from e2e.harness.addresses import LOOPBACK, Tcp, free_port
from e2e.harness.http1 import get
from e2e.harness.oauth import fetch_json
from e2e.harness.process import Process
from e2e.harness.waiting import wait_until
from e2e.keycloak.distribution import find_java

REALM = "bank"
_REALM_FILE = Path(__file__).with_name("realm.json")
_SHARED = ("conf", "lib", "providers", "themes", "version.txt")
_START_SECONDS = 180
# What kc.sh gives to the JVM, less what is for speed in the long run.
_JVM = (
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED",
    "--add-opens=java.base/java.security=ALL-UNNAMED",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "-Djava.util.logging.manager=org.jboss.logmanager.LogManager",
    # The distribution as it was built by its authors: another build takes a minute.
    "-Dkc.config.built=true",
)
_OPTIONS = ("--db=dev-file", "--cache=local", "--http-enabled=true", f"--http-host={LOOPBACK}")


class Keycloak:
    """A Keycloak that may be killed and started again; its database is in `directory`.

    The JVM is started without `kc.sh`, so that the process that is killed is Keycloak itself.

    Args:
        distribution: Unpacked; nothing is written there.
    """

    def __init__(self, distribution: Path, directory: Path) -> None:
        self.address = Tcp(free_port())
        self.bridge_secret = secrets.token_urlsafe(24)
        self.password = secrets.token_urlsafe(12)
        self.admin_password = secrets.token_urlsafe(24)
        self._totp_secret = secrets.token_hex(10)
        self._priority = 1000
        home = directory / "keycloak"
        (home / "data" / "import").mkdir(parents=True)
        for name in _SHARED:
            (home / name).symlink_to(distribution.resolve() / name)
        realm = Template(_REALM_FILE.read_text()).substitute(
            BRIDGE_SECRET=self.bridge_secret,
            ALICE_PASSWORD=self.password,
            ALICE_TOTP_SECRET=self._totp_secret,
        )
        (home / "data" / "import" / f"{REALM}-realm.json").write_text(realm)
        options = [*_OPTIONS, f"--http-port={self.address.port}", f"--hostname={self.url}"]
        command = [find_java(), *_JVM]
        command += [f"-Dkc.home.dir={home}", f"-Djboss.server.config.dir={home}/conf"]
        command += ["-cp", f"{home}/lib/quarkus-run.jar"]
        command += ["io.quarkus.bootstrap.runner.QuarkusEntryPoint", "start", "--import-realm"]
        administrator = {
            "KC_BOOTSTRAP_ADMIN_USERNAME": "admin",
            "KC_BOOTSTRAP_ADMIN_PASSWORD": self.admin_password,
        }
        self._process = Process(
            "keycloak", [*command, *options], directory, environment=administrator
        )

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def issuer(self) -> str:
        return f"{self.url}/realms/{REALM}"

    @property
    def logs(self) -> tuple[Path, ...]:
        return self._process.outputs

    def start(self) -> None:
        self._process.start()
        wait_until(self._answers, seconds=_START_SECONDS, what="Keycloak answers")

    def stop(self) -> None:
        self._process.stop()

    def kill(self) -> None:
        self._process.kill()

    def totp(self) -> str:
        """Give alice's code of this moment (RFC 6238)."""
        counter = int(time.time()) // 30
        digest = hmac.digest(self._totp_secret.encode(), counter.to_bytes(8, "big"), "sha1")
        offset = digest[-1] & 15
        number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFF_FFFF
        return f"{number % 1_000_000:06}"

    def set_max_age(self, level: int, seconds: int) -> None:
        """Set for how long a level of the browser flow stands once it was reached."""
        executions = self.admin("GET", "/authentication/flows/step-up/executions")
        for execution in executions:
            identifier = execution.get("authenticationConfig")
            if identifier and execution["alias"] == f"level-{level}":
                path = f"/authentication/config/{identifier}"
                config = self.admin("GET", path)
                config["config"]["loa-max-age"] = str(seconds)
                self.admin("PUT", path, config)
                return
        raise AssertionError(f"no level {level} in the flow")

    def add_key(self) -> str:
        """Sign with a new key from now on; the old ones stay published. Gives its provider."""
        self._priority += 1
        name = f"key-{self._priority}"
        self.admin(
            "POST",
            "/components",
            {
                "name": name,
                "providerId": "rsa-generated",
                "providerType": "org.keycloak.keys.KeyProvider",
                "config": {
                    "priority": [str(self._priority)],
                    "algorithm": ["RS256"],
                    "keySize": ["2048"],
                },
            },
        )
        return name

    def withdraw_other_keys(self, name: str) -> None:
        """Delete every RS256 key but that of a provider."""
        kind = "org.keycloak.keys.KeyProvider"
        for component in self.admin("GET", f"/components?type={kind}"):
            algorithm = component["config"].get("algorithm", ["RS256"])
            signs = component["providerId"] == "rsa-generated" and algorithm == ["RS256"]
            if signs and component["name"] != name:
                self.admin("DELETE", f"/components/{component['id']}")

    def end_sessions(self) -> None:
        """Log everybody out, as an administrator does it."""
        self.admin("POST", "/logout-all")

    def admin(self, method: str, path: str, document: Any = None) -> Any:
        """Call the administration API of the realm."""
        token = fetch_json(
            f"{self.url}/realms/master/protocol/openid-connect/token",
            form={
                "grant_type": "password",
                "client_id": "admin-cli",
                "username": "admin",
                "password": self.admin_password,
            },
        )["access_token"]
        return fetch_json(
            f"{self.url}/admin/realms/{REALM}{path}",
            method=method,
            document=document,
            headers={"Authorization": f"Bearer {token}"},
        )

    def _answers(self) -> bool:
        assert self._process.running, f"Keycloak ended:\n{self._process.output()[-2000:]}"
        try:
            return get(self.address, f"/realms/{REALM}").status == 200
        except OSError:
            return False
