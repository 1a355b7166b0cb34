"""One stage for all tests of the client."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .client_stage import ClientStage


@pytest.fixture(scope="session")
def whole_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClientStage]:
    with ClientStage(tmp_path_factory.mktemp("client")) as running:
        yield running


@pytest.fixture
def stage(whole_stage: ClientStage) -> ClientStage:
    whole_stage.seen.clear()
    return whole_stage
