"""The whole configuration as plain, validated values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bridge.policy.operations import Policy
from bridge.tokens.dpop_settings import DEFAULT_DPOP, DpopSettings
from bridge.tokens.fingerprint import Fingerprint
from bridge.tokens.settings import IssuerSettings

DEFAULT_UPSTREAM_HEADERS = (
    ("x-stepup-subject", "sub"),
    ("x-stepup-client-id", "client_id"),
    ("x-stepup-issuer", "iss"),
    ("x-stepup-acr", "acr"),
    ("x-stepup-auth-time", "auth_time"),
    ("x-stepup-scope", "scope"),
)


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """Where to listen; port 0 lets the system choose (tests)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A Unix socket's absolute path."""

    path: Path

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class TokenCacheSettings:
    """Bounds of the cache of verified tokens: entries, and seconds an entry lives."""

    max_entries: int = 100_000
    ttl: int = 300


@dataclass(frozen=True, slots=True)
class LoopGuardSettings:
    """What becomes of step-ups that lead nowhere.

    Attributes:
        limit: New tokens that still fail within the window from which on `forbid` forbids.
        window: Seconds.
        max_entries: Operations of users that are remembered in memory.
        redis_url: Where workers and replicas share their counts; None: in memory.
        redis_timeout: Bound of each call to it, seconds.
    """

    action: Literal["report", "forbid"] = "report"
    limit: int = 3
    window: int = 600
    max_entries: int = 10_000
    redis_url: str | None = field(default=None, repr=False)
    redis_timeout: int = 1


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What is logged on stdout, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


@dataclass(frozen=True, slots=True)
class Config:
    """One configuration file, read and found good.

    Attributes:
        file: Absolute path of the file.
        files: What to watch for a reload: the file and the files that it names (not `jwks_file`,
            which its key set watches itself), with their fingerprints from before they were read.
        doors: Names of the endpoints that believe forwarded headers and are open.
        drain_timeout: Seconds that requests in hand are given after SIGTERM.
        unavailable_status: Status when the issuer is at fault; 503 or a 4xx.
        upstream_headers: Lower-case header name and claim, in configured order.
        trust_xfcc: Envoy itself writes the end of `x-forwarded-client-cert`.
    """

    file: Path
    files: Mapping[Path, Fingerprint] = field(compare=False, repr=False)
    policy: Policy
    issuers: tuple[IssuerSettings, ...]
    listen_authz: TcpAddress | UnixAddress = TcpAddress("127.0.0.1", 9191)
    listen_admin: TcpAddress | UnixAddress = TcpAddress("127.0.0.1", 9192)
    doors: frozenset[str] = frozenset()
    workers: int = 1
    drain_timeout: int = 10
    unavailable_status: int = 503
    upstream_headers: tuple[tuple[str, str], ...] = DEFAULT_UPSTREAM_HEADERS
    dpop: DpopSettings = DEFAULT_DPOP
    trust_xfcc: bool = False
    token_cache: TokenCacheSettings = TokenCacheSettings()
    loop_guard: LoopGuardSettings = LoopGuardSettings()
    log: LogSettings = LogSettings()
