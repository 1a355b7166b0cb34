"""The whole way, on real gateways: client, gateway, bridge, issuer, upstream."""

import pytest

pytest.register_assert_rewrite("e2e.harness.stack")  # its assertions explain themselves too
