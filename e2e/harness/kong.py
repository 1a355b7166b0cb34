"""Kong with the plugin, on the configuration that the project ships: `kong/kong.yml`."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import yaml

from e2e.harness import nginx
from e2e.harness.addresses import LOOPBACK, Tcp, Unix, free_port
from e2e.harness.gateway import Capabilities, Check, Wiring
from e2e.harness.http1 import Request, exchange
from e2e.harness.runtime import Program, prepare
from e2e.harness.upstream import Received
from e2e.harness.waiting import wait_until

DIRECTORY = Path(__file__).parents[2] / "kong"
CONFIGURATION = DIRECTORY / "kong.yml"
_START_SECONDS = 60
_STATUS_HOST = "kong.test"


def find_binary() -> str | None:
    """Give Kong's command: `KONG_BIN`, or `kong` on the PATH."""
    return os.environ.get("KONG_BIN") or shutil.which("kong")


def missing() -> str | None:
    """Say why Kong cannot run here; None where it can."""
    if find_binary() is None:
        return "no Kong: set KONG_BIN, or put kong on the PATH"
    return None


def read_check(received: Received) -> Check:
    """Read what the plugin asked: a JSON question."""
    assert (received.method, received.target) == ("POST", "/v1/check")
    question = json.loads(received.body)
    assert question["scheme"] == "http"
    assert set(question) == {"method", "scheme", "host", "path", "headers"}
    return Check(question["method"], question["path"], [question["host"]], question["headers"])


def upstream_target(target: str) -> str:
    """Normalise a target as Kong's router does, and Kong sends that on (`kong.tools.uri`)."""
    path, mark, query = target.partition("?")
    kept: list[str] = []
    segments = re.sub("%[0-9A-Fa-f]{2}", _decode, path).split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment not in {"", "."}:
            kept.append(segment)
    if segments[-1] in {"", ".", ".."}:
        kept.append("")
    return re.sub(_ESCAPED, _encode, "/" + "/".join(kept)) + mark + query


def own_refusal(request: Request) -> int | None:
    """Tell what nginx and Kong's router refuse before any plugin runs."""
    if (status := nginx.own_refusal(request)) is not None:
        return status
    try:
        unquote_to_bytes(request.target.partition("?")[0]).decode()
    except UnicodeDecodeError:
        return 404  # the router reads no other encoding than UTF-8
    return None


CAPABILITIES = Capabilities(
    read_check=read_check,
    relays_unavailable=True,
    upstream_target=upstream_target,
    own_refusal=own_refusal,
    absolute_form_wins=False,
    # nginx ignores a `connection` field; Kong has `underscores_in_headers on`.
    http2_tolerated=frozenset({"connection", "underscore"}),
)


@dataclass(frozen=True, slots=True)
class KongOptions:
    """What of the shipped configuration is changed beside its addresses.

    Attributes:
        cors: Switch on what stands there in comments for browsers.
        origin: Of the pages that `cors` is for.
    """

    cors: bool = False
    origin: str = "https://app.example.com"


class KongGateway:
    """Satisfies `Gateway`."""

    capabilities = CAPABILITIES

    def __init__(self, options: KongOptions, wiring: Wiring) -> None:
        self.address = self.http2_address = Tcp(free_port())
        name = f"kong-{self.address.port}"
        self._prefix = wiring.directory / f"{name}-prefix"
        declaration, settings = f"{name}.json", f"{name}.conf"
        self._program = prepare(
            Program(
                kind="kong",
                name=name,
                directory=wiring.directory,
                files={
                    declaration: json.dumps(_declaration(options, wiring)),
                    settings: _settings(
                        self.address.port, self._prefix, wiring.directory / declaration
                    ),
                },
                ports=(self.address.port,),
                binary=lambda: find_binary() or "kong",
                arguments=("start", "-c", str(wiring.directory / settings)),
                stop_arguments=("stop", "-p", str(self._prefix)),
                sources=(DIRECTORY,),
            )
        )

    @property
    def logs(self) -> tuple[Path, ...]:
        return (*self._program.outputs, self._prefix / "logs" / "error.log")

    def start(self) -> None:
        self._program.start()
        wait_until(self._answers, seconds=_START_SECONDS, what="Kong serves")

    def stop(self) -> None:
        self._program.stop()

    def _answers(self) -> bool:
        """Ask for what no route has: Kong says 404 itself once its routes are there."""
        assert self._program.running, f"Kong ended at once:\n{self._program.output()}"
        raw = Request("OPTIONS", "/", host=_STATUS_HOST).raw()
        try:
            reply = exchange(self.address, raw)
        except OSError:
            return False
        return reply is not None and reply.status == 204


def _declaration(options: KongOptions, wiring: Wiring) -> dict[str, Any]:
    """Write `kong.yml` with other addresses, open to every host and path of the suite."""
    text = CONFIGURATION.read_text()
    document: dict[str, Any] = yaml.safe_load(text)
    api, metadata = document["services"]
    _replace(api, "url", "http://payments.internal:8080", f"http://{wiring.upstream}")
    (route,), (plugin,) = api["routes"], api["plugins"]
    _replace(route, "hosts", ["api.example.com"], None)
    _replace(route, "paths", ["/payments"], ["/"])
    _replace(route, "protocols", ["https"], ["http"])
    unix = isinstance(wiring.authz, Unix)
    url = str(wiring.authz) if unix else f"http://{wiring.authz}"
    _replace(plugin["config"], "url", "http://127.0.0.1:9191", url)
    if unix:  # a service cannot be one
        document["services"].remove(metadata)
    else:
        (route,) = metadata["routes"]
        _replace(metadata, "url", "http://127.0.0.1:9191", f"http://{wiring.authz}")
        _replace(route, "hosts", ["api.example.com"], ["api.test"])
        _replace(route, "protocols", ["https"], ["http"])
    if options.cors:
        document |= _commented_out(text)
        config = document["plugins"][0]["config"]
        _replace(config, "origins", ["https://app.example.com"], [options.origin])
    # Says that the configuration is there.
    document["services"].append(
        {
            "name": "status",
            "url": f"http://{wiring.upstream}",
            "routes": [{"name": "status", "hosts": [_STATUS_HOST]}],
            "plugins": [{"name": "request-termination", "config": {"status_code": 204}}],
        }
    )
    return document


def _settings(port: int, prefix: Path, declaration: Path) -> str:
    settings = {
        "prefix": prefix,
        "database": "off",
        "declarative_config": declaration,
        "plugins": "stepup-bridge, cors, request-termination",
        "lua_package_path": f"{DIRECTORY}/?.lua;;",
        "proxy_listen": f"{LOOPBACK}:{port} http2",
        "admin_listen": "off",
        "status_listen": "off",
        "admin_gui_listen": "off",
        "nginx_worker_processes": 2,
        # In the foreground: `kong start` ends with its nginx.
        "nginx_main_daemon": "off",
        # A path of 8 KiB, a token of 16 KiB, a long query.
        "nginx_proxy_large_client_header_buffers": "4 64k",
        # Has the query of every request.
        "proxy_access_log": "off",
        # Neither API nor client sees x-kong-*.
        "headers": "off",
        "headers_upstream": "off",
        "anonymous_reports": "off",
        "log_level": "notice",
    }
    if os.geteuid() == 0:  # a worker of another user could not read the files of this one
        settings["nginx_user"] = "root root"
    return "".join(f"{name} = {value}\n" for name, value in settings.items())


def _commented_out(text: str) -> dict[str, Any]:
    """Give the block of `kong.yml` that begins with `# plugins:`, for browsers."""
    lines = text.splitlines()
    start = lines.index("# plugins:")
    block = lines[start : lines.index("#", start)]
    document: dict[str, Any] = yaml.safe_load("\n".join(line[2:] for line in block))
    return document


def _replace(mapping: MutableMapping[str, Any], key: str, old: object, new: object) -> None:
    """Replace what must be there, so that no test runs on something else."""
    assert mapping[key] == old, f"kong.yml has another {key}"
    if new is None:
        del mapping[key]
    else:
        mapping[key] = new


_ESCAPED = re.compile(r"[^!#$&'()*+,/:;=?@\[\]A-Za-z0-9\-_.~%]")
_KEPT_ENCODED = "!*'();:@&=+$,/?%#[]"


def _decode(encoded: re.Match[str]) -> str:
    character = chr(int(encoded[0][1:], 16))
    return encoded[0].upper() if character in _KEPT_ENCODED else character


def _encode(character: re.Match[str]) -> str:
    return f"%{ord(character[0]):02X}"
