"""`GET /v1/openapi.json`: the native check, described for who builds a gateway."""

from __future__ import annotations

from pathlib import Path

import orjson
import yaml

import bridge
from bridge import gateways

_SOURCE = Path(gateways.__path__[0]) / "openapi.yaml"


def openapi_document() -> bytes:
    """Write the OpenAPI 3.1 document of this version as JSON."""
    document = yaml.safe_load(_SOURCE.read_bytes())
    document["info"]["version"] = bridge.__version__
    return orjson.dumps(document)
