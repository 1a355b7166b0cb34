"""What the supervisor gives to a worker, over the control socket that only the two of them hold."""

from __future__ import annotations

import asyncio
import pickle
import secrets
from collections import Counter
from dataclasses import dataclass, field

from bridge.config.settings import Config


@dataclass(frozen=True, slots=True)
class Start:
    """One start of the service, as all its processes have it in common.

    Attributes:
        processes: How many answer checks, whatever a configuration of later says.
        nonce_secret: What nonces of DPoP proofs are made from, unless the configuration names one.
    """

    processes: int = 1
    nonce_secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)


@dataclass(frozen=True, slots=True)
class AcceptedConfig:
    """A configuration that has taken over, for the workers that start while it is in force.

    Attributes:
        loaded_timestamp: Epoch seconds.
    """

    config: Config
    loaded_timestamp: float


@dataclass(frozen=True, slots=True)
class Handover:
    """What a worker begins with.

    Attributes:
        accepted: A pickled `AcceptedConfig`; it is handed on as it came.
        config_loads: Of the whole service so far, by outcome; the worker counts on from there.
        config_problems: Of the last load, where it was refused.
    """

    start: Start
    accepted: bytes = field(repr=False)
    config_loads: Counter[str]
    config_problems: list[str]


def framed(content: object) -> bytes:
    """Write something for `read_framed` of another process of the service."""
    pickled = pickle.dumps(content)
    return b"%d\n" % len(pickled) + pickled


async def read_framed(reader: asyncio.StreamReader) -> bytes:
    """Read it, still pickled.

    Raises:
        EOFError: The other process ended before it was written.
    """
    length = await reader.readline()
    if not length:
        raise EOFError
    return await reader.readexactly(int(length))
