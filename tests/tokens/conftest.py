"""Issuers on loopback for the I/O half of tokens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from bridge.tokens.fetch import Fetcher
from bridge.tokens.keys import KeySet, KeySource

from .tokens_issuer import Clock, IssuerServer, Reports, serving


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    loop = asyncio.get_running_loop()
    clock = Clock(loop)
    monkeypatch.setattr(loop, "time", clock)
    return clock


@pytest.fixture
async def issuer() -> AsyncIterator[IssuerServer]:
    async with serving() as server:
        yield server


@pytest.fixture
async def other_issuer() -> AsyncIterator[IssuerServer]:
    async with serving() as server:
        yield server


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    async with Fetcher() as opened:
        yield opened


@pytest.fixture
async def reports() -> Reports:
    return Reports()


@pytest.fixture
async def new_key_set(
    fetcher: Fetcher, reports: Reports
) -> AsyncIterator[Callable[[KeySource], KeySet]]:
    """Make key sets that are stopped at the end; their fetches are in `reports`."""
    made = []

    def make(source: KeySource) -> KeySet:
        made.append(KeySet(source, fetcher, reports.add))
        return made[-1]

    yield make
    for keys in made:
        await keys.stop()
