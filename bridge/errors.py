"""Whose fault something is. "Not good enough" is a decision, never an exception."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType


class BridgeError(Exception):
    """Base of everything that this package raises on purpose."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong in a file that an operator wrote.

    Attributes:
        line: 1-based line, 0 where there is none (file missing, no YAML at all).
        path: Place in it, e.g. `apis[0].operations[2].require.max_age`; empty for the whole.
        message: What is wrong and what would be right. Never the value of a secret.
    """

    line: int
    path: str
    message: str

    def render(self, file: str | Path) -> str:
        """Format as `bridge.yaml:14: apis[0].name: message`, leaving out what is unknown."""
        place = f"{file}:{self.line}" if self.line else str(file)
        return f"{place}: {self.path}: {self.message}" if self.path else f"{place}: {self.message}"


class ConfigError(BridgeError):
    """The operator's file cannot be used. The command line exits with 2.

    Attributes:
        file: The file as the operator named it.
        problems: Every problem found, in the order of their lines; never empty.
        files: The files that the problems may be in, with their fingerprints from before they were
            read; see `Config.files`.
    """

    def __init__(
        self,
        file: str | Path,
        problems: list[Problem],
        files: Mapping[Path, tuple[int, ...] | None] = MappingProxyType({}),
    ) -> None:
        self.file = str(file)
        self.files = files
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(p.render(file) for p in self.problems))


class RequestError(BridgeError):
    """The client's request is malformed or can be read in two ways: 400.

    Attributes:
        reason: Stable code for logs and `explain`, e.g. `path_dot_segment`.
        description: One fixed sentence for the client; holds nothing that the client sent.
    """

    def __init__(self, reason: str, description: str) -> None:
        super().__init__(description)
        self.reason = reason
        self.description = description


class TokenError(BridgeError):
    """The client's access token is unusable: 401 `invalid_token` (RFC 6750 §3.1).

    Attributes:
        check: The check that failed, for `explain`: one of `tokens.jwt.CHECKS`, `introspection`, or
            one of `tokens.confirmation.BINDING_CHECKS`.
        reason: Stable code for logs, e.g. `token_expired`. Never sent to the client.
    """

    def __init__(self, check: str, reason: str) -> None:
        super().__init__(reason)
        self.check = check
        self.reason = reason


class ProofError(TokenError):
    """The DPoP proof is unusable: 401 `invalid_dpop_proof` (RFC 9449 §7.1).

    Attributes:
        check: One of `tokens.dpop.PROOF_CHECKS`.
        nonce: The one that the proof should have held: 401 `use_dpop_nonce` instead (§9).
    """

    def __init__(self, check: str, reason: str, nonce: str | None = None) -> None:
        super().__init__(check, reason)
        self.nonce = nonce


class ReplayStoreError(BridgeError):
    """It cannot be told whether a proof was used before: 503, never 401, never allow.

    Attributes:
        reason: Stable code for logs, e.g. `replay_store_unavailable`.
        retry_after_seconds: When a retry can make sense, >= 1.
    """

    def __init__(self, reason: str, retry_after_seconds: int = 1) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds


class IssuerError(BridgeError):
    """The issuer is unreachable or talks nonsense: 503, never 401, never allow.

    Attributes:
        issuer: The configured issuer whose fault it is.
        reason: Stable code for logs, e.g. `keys_unavailable`.
        retry_after_seconds: When a retry can make sense, >= 1.
    """

    def __init__(self, issuer: str, reason: str, retry_after_seconds: int = 1) -> None:
        super().__init__(f"{issuer}: {reason}")
        self.issuer = issuer
        self.reason = reason
        self.retry_after_seconds = max(1, retry_after_seconds)


def printable(text: str) -> str:
    """Write on one line, which cannot command a terminal, what others named."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
