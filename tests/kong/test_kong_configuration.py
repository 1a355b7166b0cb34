"""Which configurations Kong refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .certificates import Certificates
from .conftest import GATEWAY_PARAMS, GATEWAYS
from .gateways import ConfigurationRefusedError
from .wire import free_port


@pytest.mark.parametrize(
    ("conf", "field"),
    [
        pytest.param({}, "url", id="no-url"),
        pytest.param({"url": "127.0.0.1:9191"}, "url", id="url-without-scheme"),
        pytest.param({"url": "ftp://a"}, "url", id="url-with-another-scheme"),
        pytest.param({"url": "http://a/path"}, "url", id="url-with-path"),
        pytest.param({"url": "http://u:p@a"}, "url", id="url-with-user"),
        pytest.param({"url": "http://a:0"}, "url", id="url-with-port-0"),
        pytest.param({"url": "unix:relative"}, "url", id="socket-relative"),
        pytest.param({"url": "http://a", "timeout": 0}, "timeout", id="timeout-0"),
        pytest.param({"url": "http://a", "timeout": "2s"}, "timeout", id="timeout-text"),
        pytest.param({"url": "http://a", "keepalive": -1}, "keepalive", id="keepalive-negative"),
        pytest.param({"url": "http://a", "pool_size": 0}, "pool_size", id="pool-0"),
        pytest.param({"url": "http://a", "ssl_verify": "no"}, "ssl_verify", id="verify-text"),
        pytest.param({"url": "http://a", "forward_headers": []}, "forward_headers", id="none"),
        pytest.param({"url": "http://a", "forward_headers": ["a b"]}, "forward_headers", id="name"),
        pytest.param({"url": "http://a", "policy": 1}, "policy", id="unknown"),
    ],
)
@pytest.mark.parametrize("kind", GATEWAY_PARAMS)
def test_wrong_configuration_is_refused_by_name(
    kind: str, conf: dict[str, Any], field: str, tmp_path: Path, certificates: Certificates
) -> None:
    gateway = GATEWAYS[kind](tmp_path, certificates)
    with pytest.raises(ConfigurationRefusedError, match=field):
        gateway.start({"api.test": conf}, free_port())
