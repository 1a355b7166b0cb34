"""Every gateway of the suite, and of which variants of it the scenarios can make use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import pytest
from _pytest.mark.structures import ParameterSet

from e2e.harness import forwarding, kong, runtime, traefik
from e2e.harness.caddy import CaddyGateway
from e2e.harness.envoy import (
    EnvoyGateway,
    EnvoyOptions,
    versions,
    with_underscores_kept,
    without_path_normalisation,
)
from e2e.harness.gateway import Gateway, GatewayFactory, Wiring
from e2e.harness.haproxy import HaproxyGateway
from e2e.harness.kong import KongGateway, KongOptions
from e2e.harness.nginx import NginxGateway
from e2e.harness.traefik import TraefikGateway

Variant = Literal["usual", "unix", "verbatim", "underscores", "browsers", "health"]
"""How a gateway is set up.

usual: As the project ships it.
unix: The bridge is on a Unix socket.
verbatim: The path is not normalised.
underscores: Headers with underscores pass.
browsers: It answers preflights, and lets pages read challenges.
health: It asks the bridge whether it is ready.
"""


@dataclass(frozen=True, slots=True)
class Product:
    """One gateway in one version.

    Attributes:
        make: Makes factories for it, with options of its own.
        variants: The options that each variant takes, or why there is none. One that is not here
            has nothing to show that another version does not.
        missing: Why it cannot run here; None where it can.
    """

    name: str
    make: Callable[..., GatewayFactory]
    variants: Mapping[Variant, Mapping[str, Any] | str]
    missing: str | None = None


def envoy(version: str, **options: Any) -> GatewayFactory:
    """Make Envoys of a version; options as of `EnvoyOptions`."""

    def make(wiring: Wiring) -> Gateway:
        return EnvoyGateway(EnvoyOptions(version, **options), wiring)

    return make


def _kong(**options: Any) -> GatewayFactory:
    return lambda wiring: KongGateway(KongOptions(**options), wiring)


def _envoys() -> list[Product]:
    *_, newest = versions()
    return [
        Product(
            f"envoy-{version}",
            lambda version=version, **options: envoy(version, **options),
            {
                "usual": {},
                "verbatim": {"edits": (without_path_normalisation,)},
                "underscores": {"edits": (with_underscores_kept,)},
                "browsers": {"optional_parts": ("cors",)},
                "health": {},
                **({"unix": {}} if version == newest else {}),
            },
            runtime.missing("envoy", None, version),
        )
        for version in versions()
    ]


KONG = Product(
    "kong",
    _kong,
    {
        "usual": {},
        "unix": {},
        "verbatim": "Kong's router normalises always, and the bridge gets the raw path always",
        "underscores": {},
        "browsers": {"cors": True},
        "health": "the plugin asks no bridge whether it is ready: `url` names one",
    },
    runtime.missing("kong", kong.missing()),
)

NGINX = Product(
    "nginx",
    lambda: NginxGateway,
    {
        "usual": {},
        "unix": {},
        "verbatim": "nginx passes the target on as it came, always",
        "underscores": "nginx drops headers with underscores; its configuration says that it must",
        "browsers": "nginx has no part that answers preflights",
        "health": "nginx asks nobody whether it is ready",
    },
    runtime.missing("nginx", forwarding.missing("nginx")),
)

CADDY = Product(
    "caddy",
    lambda: CaddyGateway,
    {
        "usual": {},
        "unix": {},
        "verbatim": "Caddy passes on what Go's parser wrote down of the target, always",
        "underscores": {},
        "browsers": "Caddy has no part that answers preflights",
        "health": "forward_auth asks no bridge whether it is ready",
    },
    runtime.missing("caddy", forwarding.missing("caddy")),
)

HAPROXY = Product(
    "haproxy",
    lambda: HaproxyGateway,
    {
        "usual": {},
        "unix": {},
        "verbatim": "HAProxy passes the target on as it came, always",
        "underscores": {},
        "browsers": "HAProxy has no part that answers preflights",
        "health": "our action asks no bridge whether it is ready",
    },
    runtime.missing("haproxy", forwarding.missing("haproxy")),
)

TRAEFIK = Product(
    "traefik",
    lambda: TraefikGateway,
    {
        "usual": {},
        "unix": "ForwardAuth asks at a URL, and there is none of a Unix socket",
        "verbatim": "Traefik passes on what Go's parser wrote down of the target, always",
        "underscores": {},
        "browsers": "no part of its configuration here answers preflights",
        "health": "ForwardAuth asks no bridge whether it is ready",
    },
    runtime.missing("traefik", traefik.missing()),
)

PRODUCTS = (*_envoys(), KONG, NGINX, CADDY, HAPROXY, TRAEFIK)


def gateways(variant: Variant = "usual") -> list[ParameterSet]:
    """Give a parameter for each gateway: its factory for a variant, or a skip that says why."""
    return _parameters(variant, lambda make: make())


def makers(variant: Variant) -> list[ParameterSet]:
    """Give the same, but what makes the factory, and takes further options of that gateway."""
    return _parameters(variant, lambda make: make)


_Finish = Callable[[Callable[..., GatewayFactory]], object]


def _parameters(variant: Variant, finish: _Finish) -> list[ParameterSet]:
    return [
        _parameter(product, variant, finish) for product in PRODUCTS if variant in product.variants
    ]


def _parameter(product: Product, variant: Variant, finish: _Finish) -> ParameterSet:
    name = product.name if variant == "usual" else f"{product.name}-{variant}"
    options = product.variants[variant]
    reason = options if isinstance(options, str) else product.missing
    if isinstance(options, str) or reason is not None:
        return pytest.param(None, id=name, marks=pytest.mark.skip(reason=f"{name}: {reason}"))
    return pytest.param(finish(partial(product.make, **options)), id=name)
