"""What the running bridge has seen of login loops, asked at its admin address."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from bridge.config.settings import TcpAddress, UnixAddress
from bridge.rehearsal.doctor.check import Check, listed

_METRIC = "stepup_step_up_ignored_total"
_TIMEOUT_SECONDS = 2.0
_MAX_BYTES = 8 * 1024 * 1024

Ignored = Mapping[str, Mapping[str, int]]
"""By issuer: how many new tokens still lacked what was asked for, by operation."""


async def fetch_ignored(admin: TcpAddress | UnixAddress) -> Ignored | None:
    """Ask the bridge that this configuration is of; None: none answers there."""
    if isinstance(admin, UnixAddress):
        connector: aiohttp.BaseConnector = aiohttp.UnixConnector(str(admin.path))
        place = "localhost"
    elif admin.port:
        connector, place = aiohttp.TCPConnector(), str(admin)
    else:
        return None
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            session.get(f"http://{place}/metrics", allow_redirects=False) as response,
        ):
            # `read(n)` gives what is there, and the rest may yet come
            body = b""
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > _MAX_BYTES:
                    return None
            return read_ignored(body.decode()) if response.ok else None
    except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError, ValueError, OSError):
        return None


def read_ignored(text: str) -> Ignored | None:
    """Read the metric; None: these are not the metrics of a bridge that has it.

    Raises:
        ValueError: This is no text of Prometheus.
    """
    found: dict[str, dict[str, int]] | None = None
    for family in text_string_to_metric_families(text):
        if family.name == _METRIC.removesuffix("_total"):
            found = found or {}
            for sample in family.samples:
                if sample.name == _METRIC:
                    labels = sample.labels
                    name = f"{labels.get('api', '')}.{labels.get('operation', '')}"
                    found.setdefault(labels.get("issuer", ""), {})[name] = int(sample.value)
    return found


def check_login_loops(issuer: str, ignored: Ignored | None) -> Check:
    """Tell whether users of an issuer log in again and again, and in vain."""
    if ignored is None:
        return Check("login_loops", "skipped", "no running bridge answers at listen.admin")
    loops = ignored.get(issuer)
    if not loops:
        return Check("login_loops", "ok", "the running bridge has seen none")
    names = listed(f"{name} ({count})" for name, count in sorted(loops.items()))
    return Check(
        "login_loops",
        "warning",
        f"since the bridge started, new logins did not bring what was asked for at {names}:"
        " its log says what came (step_up_ignored)",
    )
