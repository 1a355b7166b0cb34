"""What the processes of one service have in common from its start; the supervisor tells each."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True, slots=True)
class Start:
    """One start of the service.

    Attributes:
        processes: How many answer checks, whatever a configuration of later says.
        nonce_secret: What nonces of DPoP proofs are made from, unless the configuration names one.
    """

    processes: int = 1
    nonce_secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def to_line(self) -> bytes:
        """Write it for `from_line` of another process."""
        document = {"processes": self.processes, "nonce_secret": self.nonce_secret.hex()}
        return json.dumps(document).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Read it.

        Raises:
            ValueError: The other process ended before it was written.
        """
        document = json.loads(line)
        return cls(document["processes"], bytes.fromhex(document["nonce_secret"]))
