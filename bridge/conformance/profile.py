"""The profile: which API, two of its operations, and how to get tokens for it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError, model_validator

from bridge.config.load import read_text
from bridge.config.messages import empty_values, schema_problems
from bridge.config.model import Section
from bridge.config.places import Place
from bridge.config.yaml_marks import UnreadableYamlError, read_yaml
from bridge.errors import ConfigError

_STATUSES = range(200, 600)

# token (RFC 9110 §5.6.2); a method is case-sensitive, and ours are upper case
_METHOD = re.compile(r"[A-Z][A-Z0-9_-]{0,31}")

# origin-form (RFC 9112 §3.2.1), as written; no fragment
_PATH = re.compile(r"/(?!/)[!\"$-~]*")

# uri-host [ ":" port ]  (RFC 9110 §7.2)
_HOST = re.compile(r"[A-Za-z0-9.\-]+(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?")

# SP / VCHAR (RFC 9110 §5.5)
_FIELD_VALUE = re.compile(r"[ -~]+")

# NQCHAR = %x21 / %x23-5B / %x5D-7E, as in a scope (RFC 6749 appendix A.4)
_ACR = re.compile(r"[!#-\[\]-~]+")

# resource identifier: https, no fragment (RFC 9728 §1.2)
_RESOURCE = re.compile(r"https://[^\s#?/@]+[!\"$-~]*")


def _matches(pattern: re.Pattern[str], message: str) -> AfterValidator:
    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(message)
        return value

    return AfterValidator(check)


class OperationSection(Section):
    """A request that the API knows."""

    method: Annotated[str, _matches(_METHOD, "must be a method in upper case")] = "GET"
    path: Annotated[str, _matches(_PATH, "must be an absolute path, with / first and no #")]
    body: str | None = None
    content_type: Annotated[str, _matches(_FIELD_VALUE, "must be printable ASCII")] = (
        "application/json"
    )
    accepted: list[int] = Field(default_factory=list)

    @model_validator(mode="after")
    def _check(self) -> OperationSection:
        if not all(status in _STATUSES for status in self.accepted):
            raise ValueError("accepted must list statuses of 200 to 599")
        if {401, 403} & set(self.accepted):
            raise ValueError("accepted must not list 401 or 403: they are denials")
        return self


class SensitiveSection(OperationSection):
    """The one that demands a step-up."""

    acr_values: list[Annotated[str, _matches(_ACR, 'must have no space, " or \\')]] = Field(
        default_factory=list
    )
    max_age: Annotated[int, Field(ge=0)] | None = None


class MintSection(Section):
    """How to sign tokens that the target trusts."""

    issuer: str
    key_file: str
    kid: str | None = None
    typ: str = "at+jwt"
    audience: str
    claims: dict[str, Any] = Field(default_factory=dict)


class TokenSection(Section):
    """Where a token comes from: one of these."""

    file: str | None = None
    env: str | None = None
    command: list[str] | None = None
    claims: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _check(self) -> TokenSection:
        if len(self.model_fields_set) != 1:
            raise ValueError("must have one of file, env, command, claims")
        if self.command is not None and not self.command:
            raise ValueError("command must not be empty")
        return self


class TokensSection(Section):
    """The tokens, by what they are good for."""

    good: TokenSection | None = None
    weak: TokenSection | None = None
    stale: TokenSection | None = None
    strong: TokenSection | None = None
    expired: TokenSection | None = None
    wrong_audience: TokenSection | None = None
    bad_signature: TokenSection | None = None
    insufficient_scope: TokenSection | None = None


class ProfileSection(Section):
    """A whole profile."""

    resource: (
        Annotated[str, _matches(_RESOURCE, "must be an https URL without fragment")] | None
    ) = None
    host: Annotated[str, _matches(_HOST, "must be a host, maybe with a port")] | None = None
    ordinary: OperationSection
    sensitive: SensitiveSection
    mint: MintSection | None = None
    tokens: TokensSection = Field(default_factory=TokensSection)


def read_profile(file: str | Path) -> tuple[ProfileSection, Place]:
    """Read a profile.

    Returns:
        The profile, and its place in the file, for problems that come later.

    Raises:
        ConfigError: It cannot be used; every problem with its place.
    """
    try:
        root, problems = read_yaml(read_text(file))
    except UnreadableYamlError as error:
        raise ConfigError(file, [error.problem]) from None
    top = Place(root, line=root.line)
    # A claim without a value is left out of the token.
    problems += [each for each in empty_values(top) if ".claims." not in each.path]
    profile: ProfileSection | None = None
    try:
        profile = ProfileSection.model_validate(root.plain())
    except ValidationError as error:
        problems += schema_problems(root, error, ProfileSection)
    if profile is not None and profile.mint is None:
        problems += [
            place.problem("claims need mint, which says who signs them")
            for _, place in _tokens(top)
            if place.has("claims")
        ]
    if problems or profile is None:
        raise ConfigError(file, list(dict.fromkeys(problems)))
    return profile, top


def _tokens(top: Place) -> list[tuple[str, Place]]:
    tokens = top.child("tokens")
    return [] if tokens is None else list(tokens.entries())
