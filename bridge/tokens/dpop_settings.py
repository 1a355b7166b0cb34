"""What the configuration says about DPoP proofs, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

DEFAULT_DPOP_ALGORITHMS = ("ES256", "EdDSA", "RS256", "PS256")


@dataclass(frozen=True, slots=True)
class DpopSettings:
    """What proofs must be like, and where the used ones are remembered (RFC 9449 §11.1).

    Attributes:
        iat_window: Oldest acceptable proof, seconds.
        leeway: Clock skew of clients that is tolerated at both ends of the window, seconds.
        nonce_secret: What nonces are made from; None: this start's own secret.
        redis_url: Where workers and replicas share used proofs; None: in memory.
        on_error: What becomes of proofs while Redis cannot be asked; `allow` falls back on memory.
        timeout: Bound of each call to Redis, seconds.
        max_entries: Most used proofs remembered in memory.
    """

    algorithms: tuple[str, ...] = DEFAULT_DPOP_ALGORITHMS
    iat_window: int = 60
    leeway: int = 10
    nonce: Literal["off", "required"] = "off"
    nonce_secret: bytes | None = field(default=None, repr=False)
    redis_url: str | None = field(default=None, repr=False)
    on_error: Literal["refuse", "allow"] = "refuse"
    timeout: int = 1
    max_entries: int = 1_000_000

    @property
    def lifetime(self) -> int:
        """How long a proof can be used, seconds: from `leeway` before its `iat` to its end."""
        return self.iat_window + 2 * self.leeway

    @property
    def shared_lifetime(self) -> int:
        """How long Redis remembers a used proof, seconds.

        Through the whole of the last second, and on the clock of a replica that is behind.
        """
        return self.lifetime + 1 + self.leeway


DEFAULT_DPOP = DpopSettings()
