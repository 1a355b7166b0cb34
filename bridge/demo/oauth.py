"""What the parts of the demo's authorization server share: its clients, its users, its errors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from aiohttp import web

PWD = "urn:example:pwd"
MFA = "urn:example:mfa"
ACR_VALUES_SUPPORTED = (PWD, MFA)
"""What this server can vouch for: a password, and a password with a one-time code."""


@dataclass(frozen=True, slots=True)
class Client:
    """A registered public client (RFC 6749 §2.1): it has no secret, PKCE stands in for one.

    Attributes:
        redirect_uris: Compared as strings, whole (RFC 9700 §2.1).
        scopes: What it may ask for.
    """

    client_id: str
    redirect_uris: tuple[str, ...]
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who can log in. The login page shows all of this: it is a demo.

    Attributes:
        code: The second factor; None: has none, so cannot reach `urn:example:mfa`.
    """

    name: str
    password: str
    code: str | None


ALICE = User("alice", "wonderland", "492817")
BOB = User("bob", "builder", None)


class OAuthError(Exception):
    """The request is answered with an error of RFC 6749 or of an extension.

    Attributes:
        error: The code, as on the wire.
        description: One sentence for the client's developer, without anything that was sent.
    """

    def __init__(self, error: str, description: str) -> None:
        super().__init__(f"{error}: {description}")
        self.error = error
        self.description = description


def single_values(pairs: Iterable[tuple[str, object]]) -> dict[str, str]:
    """Read the parameters of a query or a form.

    Raises:
        OAuthError: A parameter stands there twice (RFC 6749 §3.1, §3.2), or is a file.
    """
    values: dict[str, str] = {}
    for name, value in pairs:
        if name in values:
            raise OAuthError("invalid_request", "A parameter is there more than once")
        if not isinstance(value, str):
            raise OAuthError("invalid_request", "A parameter is no text")
        values[name] = value
    # A parameter without a value counts as left out (RFC 6749 §3.1).
    return {name: value for name, value in values.items() if value}


async def read_form(request: web.Request) -> dict[str, str]:
    """Read the parameters of a form.

    Raises:
        OAuthError: It is no form, or not a good one.
    """
    try:
        form = await request.post()
    except (ValueError, LookupError):  # no UTF-8, an unknown charset, broken multipart
        raise OAuthError("invalid_request", "The form cannot be read") from None
    return single_values(form.items())
