"""What was seen of an issuer, and what its metadata says. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from bridge.tokens.fetch import Document, FetchError
from bridge.tokens.jwk import VerificationKey
from bridge.tokens.metadata import metadata_urls, read_metadata, url_in
from bridge.tokens.settings import IssuerSettings


class Metadata(NamedTuple):
    """A metadata document of this very issuer."""

    url: str
    members: Mapping[str, Any]


class Exchange(NamedTuple):
    """One document that an issuer was asked for.

    Attributes:
        error: Why it could not be had, the code of a `FetchError`; None: it came.
        document: What came.
        asked_at: When it was asked for, epoch seconds by our clock.
        answered_at: When it was there.
    """

    url: str
    error: str | None
    document: Document | None
    asked_at: float
    answered_at: float


class IssuerFacts(NamedTuple):
    """What was seen of an issuer.

    Attributes:
        exchanges: Everything that it was asked for.
        keys: Usable keys, as the service would have them.
        keys_error: Why there are none, the code of a `FetchError`.
        introspection: What was said of a made-up token: `inactive`, `active`, or a code of why
            nothing was; None: the issuer is not asked about tokens.
    """

    exchanges: tuple[Exchange, ...] = ()
    keys: tuple[VerificationKey, ...] = ()
    keys_error: str | None = None
    introspection: str | None = None


def has_metadata(settings: IssuerSettings) -> bool:
    """Tell whether an issuer can be asked for metadata: not in a closed network, and by a URL."""
    is_url = settings.issuer.lower().startswith(("http:", "https:"))
    return is_url and (settings.jwks_file is None or needs_metadata(settings))


def needs_metadata(settings: IssuerSettings) -> bool:
    """Tell whether the service cannot do without: for keys, or to ask about tokens."""
    introspection = settings.introspection
    return discovers_keys(settings) or (introspection is not None and not introspection.endpoint)


def discovers_keys(settings: IssuerSettings) -> bool:
    """Tell whether the metadata must say where the keys are."""
    return settings.takes_jwt and settings.jwks_uri is None and settings.jwks_file is None


def own_metadata(settings: IssuerSettings, exchanges: Iterable[Exchange]) -> Iterator[Metadata]:
    """Give the metadata documents that are this issuer's, in the order of asking."""
    for exchange in of_metadata(settings, exchanges):
        members = members_of(exchange)
        if not isinstance(members, str) and members.get("issuer") == settings.issuer:
            yield Metadata(exchange.url, members)


def of_metadata(settings: IssuerSettings, exchanges: Iterable[Exchange]) -> list[Exchange]:
    """Give what came of asking for metadata, in the order of asking."""
    latest = {exchange.url: exchange for exchange in exchanges}
    return [latest[url] for url in metadata_urls(settings.issuer) if url in latest]


def members_of(exchange: Exchange) -> Mapping[str, Any] | str:
    """Give a metadata document's members, or the code of what is wrong with it."""
    if exchange.document is None:
        return exchange.error or "bad_answer"
    try:
        return read_metadata(exchange.document.body)
    except FetchError as error:
        return str(error)


def find_jwks_uri(settings: IssuerSettings, own: list[Metadata]) -> tuple[str | None, str | None]:
    """Give where the keys are as the service finds it, or the code of why it does not."""
    fault = None
    if settings.jwks_uri is not None:
        return settings.jwks_uri, None
    for metadata in own:
        try:
            return url_in(metadata.members, settings.issuer, "jwks_uri"), None
        except FetchError as error:
            fault = str(error)
    return None, fault


def strings_in(own: list[Metadata], member: str) -> list[str] | None:
    """Give the first list of strings that this member is."""
    for metadata in own:
        match metadata.members.get(member):
            case list() as values if all(isinstance(value, str) for value in values):
                return values
    return None
