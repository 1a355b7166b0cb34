"""Ask every issuer, present every token, have it judged. The only part that does I/O."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from hashlib import sha256
from secrets import token_urlsafe
from typing import Any, NamedTuple

from bridge.config.settings import Config
from bridge.decision.decide import Finding
from bridge.errors import IssuerError, RequestError, TokenError
from bridge.policy.operations import Api
from bridge.rehearsal.doctor.facts import Exchange, IssuerFacts, has_metadata
from bridge.rehearsal.doctor.issuer import check_issuer
from bridge.rehearsal.doctor.running import check_login_loops, fetch_ignored
from bridge.rehearsal.doctor.seen import require_sender
from bridge.rehearsal.doctor.token import PresentedToken, describe_token
from bridge.service.runtime import key_source
from bridge.tokens.cache import TokenCache
from bridge.tokens.credentials import Credentials, read_credentials
from bridge.tokens.fetch import Document, Fetcher, FetchError
from bridge.tokens.identity import IdentityHeaders
from bridge.tokens.introspection import Introspection
from bridge.tokens.jwt import read_jwt
from bridge.tokens.keys import KeySet
from bridge.tokens.metadata import metadata_urls
from bridge.tokens.settings import IssuerSettings
from bridge.tokens.verifier import Issuer, TokenVerifier


class NamedToken(NamedTuple):
    """An access token and where it was read from, by which it is spoken of."""

    source: str
    token: str

    def __repr__(self) -> str:
        return f"NamedToken(source={self.source!r})"


async def diagnose(config: Config, tokens: Sequence[NamedToken] = ()) -> dict[str, Any]:
    """Examine every issuer, then every token, and tell as a JSON document.

    Nothing in it is a token or a whole claim set. `ok` is false where a check failed.
    """
    async with contextlib.AsyncExitStack() as stack:
        patients = [
            await stack.enter_async_context(_Patient(settings)) for settings in config.issuers
        ]
        facts, ignored = await asyncio.gather(
            asyncio.gather(*(patient.examine() for patient in patients)),
            fetch_ignored(config.listen_admin),
        )
        issuers = [
            {
                "issuer": patient.settings.issuer,
                "checks": [
                    check._asdict()
                    for check in (
                        *check_issuer(patient.settings, config.policy, seen),
                        check_login_loops(patient.settings.issuer, ignored),
                    )
                ],
            }
            for patient, seen in zip(patients, facts, strict=True)
        ]
        verifier = _verifier(config, patients)
        described = await asyncio.gather(
            *(_examine_token(config, verifier, token) for token in tokens)
        )
    checks = [check for each in (*issuers, *described) for check in each["checks"]]
    return {
        "ok": all(check["outcome"] != "failure" for check in checks),
        "issuers": issuers,
        "tokens": described,
    }


class _Patient:
    """An issuer under examination. It has its own connections: one that hangs blocks no other."""

    def __init__(self, settings: IssuerSettings) -> None:
        self.settings = settings
        self.fetcher = _RecordingFetcher()
        self.keys: KeySet | None = None
        if settings.takes_jwt:
            self.keys = KeySet(key_source(settings), self.fetcher, lambda _: None)
        self.introspection: Introspection | None = None
        if settings.introspection is not None:
            self.introspection = Introspection(settings, lambda _: None)

    async def __aenter__(self) -> _Patient:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.keys is not None:
            await self.keys.stop()
        if self.introspection is not None:
            await self.introspection.stop()
        await self.fetcher.__aexit__(None, None, None)

    async def examine(self) -> IssuerFacts:
        """Fetch keys and ask about a token as the service would; see metadata in any case."""
        facts, said = await asyncio.gather(self._fetch(), self._introspect())
        return facts._replace(introspection=said)

    async def _fetch(self) -> IssuerFacts:
        keys, error = None, None
        if self.keys is not None:
            await self.keys.start()
            keys, error = self.keys.keys, self.keys.error
        asked = {exchange.url for exchange in self.fetcher.exchanges}
        urls = metadata_urls(self.settings.issuer) if has_metadata(self.settings) else ()
        await asyncio.gather(*(self._ask(url) for url in urls if url not in asked))
        return IssuerFacts(tuple(self.fetcher.exchanges), keys or (), error)

    async def _introspect(self) -> str | None:
        """Ask about a token that nobody has; see `IssuerFacts.introspection`."""
        if self.introspection is None:
            return None
        token = token_urlsafe()
        said = await self.introspection.ask(token, sha256(token.encode()).digest())
        if isinstance(said, IssuerError):
            return said.reason.removeprefix("introspection_")
        return "inactive" if said is None else "active"

    async def _ask(self, url: str) -> None:
        with contextlib.suppress(FetchError):  # it is on record
            await self.fetcher.get(
                url,
                timeout_seconds=self.settings.timeout,
                allow_insecure_http=self.settings.allow_insecure_http,
            )


class _RecordingFetcher(Fetcher):
    """A fetcher that remembers what it was asked for, and what came."""

    def __init__(self) -> None:
        super().__init__()
        self.exchanges: list[Exchange] = []

    async def get(self, url: str, *, timeout_seconds: float, allow_insecure_http: bool) -> Document:
        """Fetch a document, see `Fetcher.get`."""
        document, fault = None, None
        asked_at = time.time()
        try:
            document = await super().get(
                url, timeout_seconds=timeout_seconds, allow_insecure_http=allow_insecure_http
            )
        except FetchError as error:
            fault = str(error)
            raise
        finally:
            self.exchanges.append(Exchange(url, fault, document, asked_at, time.time()))
        return document


def _verifier(config: Config, patients: Sequence[_Patient]) -> TokenVerifier:
    identity = IdentityHeaders(config.upstream_headers)
    issuers = {
        patient.settings.issuer: Issuer(
            patient.settings, patient.keys, identity, patient.introspection
        )
        for patient in patients
    }
    return TokenVerifier(issuers, TokenCache(config.token_cache.max_entries, 1))


async def _examine_token(
    config: Config, verifier: TokenVerifier, named: NamedToken
) -> dict[str, Any]:
    """Present a token to every API, as its client would that proves what it is bound to."""
    now = int(time.time())
    jwt = None
    try:
        credentials = read_credentials([f"Bearer {named.token}"])
        with contextlib.suppress(TokenError):
            jwt = read_jwt(named.token)
    except RequestError as fault:
        findings: list[Finding] = [fault for _ in config.policy.apis]
    else:
        findings = [await _find(verifier, credentials, api, now) for api in config.policy.apis]
    return describe_token(config, PresentedToken(named.source, jwt, tuple(findings)), now)


async def _find(
    verifier: TokenVerifier, credentials: Credentials | None, api: Api, now: int
) -> Finding:
    if credentials is None:
        return None
    asked = (credentials, api.issuers, api.audiences, now)
    try:
        token = verifier.find(*asked) or await verifier.verify(*asked)
        require_sender(api, token)
    except (TokenError, IssuerError) as fault:
        return fault
    return token
