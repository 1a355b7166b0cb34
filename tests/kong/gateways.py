"""The gateways that the plugin runs in: a real nginx with a stand-in for Kong, and a real Kong."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from .certificates import Certificates
from .wire import LOOPBACK, free_port

KONG_DIRECTORY = Path(__file__).resolve().parents[2] / "kong"
START_SECONDS = 60

Routes = dict[str, dict[str, Any]]
"""The plugin's configuration for each host."""


class ConfigurationRefusedError(Exception):
    """The gateway did not start with this configuration; the text says why."""


class Gateway(Protocol):
    """A gateway with the plugin on one route per host, on loopback."""

    port: int
    http2_port: int
    tls_port: int

    def start(self, routes: Routes, upstream_port: int) -> None: ...

    def stop(self) -> None: ...

    def log(self) -> str:
        """Give all that it has logged."""


class StandIn:
    """nginx with Lua from Debian's packages, and `kong/spec/harness` for Kong's side."""

    def __init__(self, prefix: Path, certificates: Certificates) -> None:
        self.port, self.http2_port, self.tls_port = free_port(), free_port(), free_port()
        self._prefix = prefix
        self._certificates = certificates
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def missing() -> str | None:
        """Say why this cannot run here; None where it can."""
        if shutil.which("nginx") is None:
            return "nginx is not installed: run kong/spec/run as root, or install its packages"
        if not (_modules() / "ngx_http_lua_module.so").exists():
            return "nginx has no Lua: install libnginx-mod-http-lua (kong/spec/run does)"
        return None

    def start(self, routes: Routes, upstream_port: int, *, with_plugin: bool = True) -> None:
        for name in ("logs", "temp"):
            (self._prefix / name).mkdir(exist_ok=True)
        routes_file = self._prefix / "routes.json"
        routes_file.write_text(json.dumps(routes))
        values = {
            "MODULES": _modules(),
            "KONG_DIRECTORY": KONG_DIRECTORY,
            "ROUTES": routes_file,
            "PORT": self.port,
            "HTTP2_PORT": self.http2_port,
            "TLS_PORT": self.tls_port,
            "UPSTREAM_PORT": upstream_port,
            "TRUSTED": self._certificates.authority,
            "CERTIFICATE": self._certificates.server,
            "CERTIFICATE_KEY": self._certificates.server_key,
        }
        template = (KONG_DIRECTORY / "spec" / "harness" / "nginx.conf").read_text()
        if not with_plugin:
            template = template.replace('require("stand_in").access()', "")
        configuration = self._prefix / "nginx.conf"
        configuration.write_text(re.sub(r"@([A-Z0-9_]+)@", lambda m: str(values[m[1]]), template))
        # A worker of another user could not reach the files of this one.
        directives = "daemon off;" + (" user root;" if os.geteuid() == 0 else "")
        with (self._prefix / "nginx.out").open("ab") as out:
            self._process = subprocess.Popen(
                ["nginx", "-p", str(self._prefix), "-c", str(configuration), "-g", directives],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        _wait_until_listening(self.port, self._process, self.log)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(15)

    def log(self) -> str:
        files = (self._prefix / "logs" / "error.log", self._prefix / "nginx.out")
        return "".join(file.read_text("latin-1") for file in files if file.exists())


class RealKong:
    """A Kong from `KONG_BIN`, or `kong` on the PATH."""

    def __init__(self, prefix: Path, certificates: Certificates) -> None:
        self.port, self.http2_port, self.tls_port = free_port(), free_port(), free_port()
        self._prefix = prefix
        self._certificates = certificates
        self._started = False

    @staticmethod
    def missing() -> str | None:
        """Say why this cannot run here; None where it can."""
        if _kong() is None:
            return "no real Kong: set KONG_BIN, or put kong on the PATH"
        return None

    def start(self, routes: Routes, upstream_port: int) -> None:
        plugin = "stepup-bridge"
        services = [
            {
                "name": f"service-{number}",
                "url": f"http://{LOOPBACK}:{upstream_port}",
                "routes": [
                    {
                        "name": f"route-{number}",
                        "hosts": [host],
                        "preserve_host": True,
                        "strip_path": False,
                        "plugins": [{"name": plugin, "config": conf}],
                    }
                ],
            }
            for number, (host, conf) in enumerate(routes.items())
        ]
        declarative = self._prefix / "kong.json"
        declarative.write_text(json.dumps({"_format_version": "3.0", "services": services}))
        settings = {
            "prefix": self._prefix / "run",
            "database": "off",
            "declarative_config": declarative,
            "plugins": plugin,
            "lua_package_path": f"{KONG_DIRECTORY}/?.lua;;",
            "proxy_listen": f"{LOOPBACK}:{self.port}, {LOOPBACK}:{self.http2_port} http2, "
            f"{LOOPBACK}:{self.tls_port} ssl",
            "admin_listen": "off",
            "status_listen": "off",
            "admin_gui_listen": "off",
            "nginx_worker_processes": 1,
            "nginx_proxy_ssl_verify_client": "optional_no_ca",
            "ssl_cert": self._certificates.server,
            "ssl_cert_key": self._certificates.server_key,
            "lua_ssl_trusted_certificate": self._certificates.authority,
            "proxy_access_log": "off",
            "anonymous_reports": "off",
            "log_level": "info",
        }
        if os.geteuid() == 0:
            settings["nginx_user"] = "root root"  # as above
        configuration = self._prefix / "kong.conf"
        configuration.write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
        self._run("start", "-c", str(configuration))
        self._started = True
        _wait_until_listening(self.port, None, self.log)

    def stop(self) -> None:
        if self._started:
            self._run("stop", "-p", str(self._prefix / "run"))

    def log(self) -> str:
        file = self._prefix / "run" / "logs" / "error.log"
        return file.read_text("latin-1") if file.exists() else ""

    def _run(self, *arguments: str) -> None:
        kong = _kong()
        assert kong is not None
        done = subprocess.run(
            [kong, *arguments], capture_output=True, text=True, timeout=START_SECONDS, check=False
        )
        if done.returncode != 0:
            raise ConfigurationRefusedError(done.stdout + done.stderr + self.log())


def _kong() -> str | None:
    return os.environ.get("KONG_BIN") or shutil.which("kong")


def _modules() -> Path:
    return Path(os.environ.get("NGINX_MODULES", "/usr/lib/nginx/modules"))


def _wait_until_listening(
    port: int, process: subprocess.Popen[bytes] | None, log: Callable[[], str]
) -> None:
    for _ in range(START_SECONDS * 20):
        if process is not None and process.poll() is not None:
            raise ConfigurationRefusedError(log())
        try:
            socket.create_connection((LOOPBACK, port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    if process is not None:
        process.send_signal(signal.SIGTERM)
    raise ConfigurationRefusedError(log())
