"""The way of one check, from the question to the decision. The service and `explain` share it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from bridge.config.settings import Config
from bridge.decision.decide import (
    Decision,
    Finding,
    decide_malformed,
    decide_on_token,
    decide_without_api,
    decide_without_token,
)
from bridge.decision.resource_metadata import MetadataIndex
from bridge.errors import IssuerError, ReplayStoreError, RequestError, TokenError
from bridge.gateways.check_request import CheckRequest
from bridge.policy.hosts import read_host
from bridge.policy.matching import PolicyIndex
from bridge.policy.methods import read_method
from bridge.policy.operations import Api, Operation
from bridge.policy.paths import split_target
from bridge.service.binding import Binding
from bridge.tokens.access_token import AccessToken
from bridge.tokens.confirmation import require_scheme
from bridge.tokens.credentials import Credentials, Scheme, presented_scheme, read_credentials
from bridge.tokens.dpop import require_one_proof
from bridge.tokens.identity import IdentityHeaders

_TAKES_UNBOUND = frozenset({"none", "any"})


class Verifier(Protocol):
    """Turns credentials into an access token, or raises; see `tokens.verifier.TokenVerifier`."""

    def find(
        self,
        credentials: Credentials,
        issuers: Sequence[str],
        audiences: tuple[str, ...] | None,
        now: int,
    ) -> AccessToken | None:
        """Give the token if that can be told at once."""

    async def verify(
        self,
        credentials: Credentials,
        issuers: Sequence[str],
        audiences: tuple[str, ...] | None,
        now: int,
    ) -> AccessToken:
        """Verify credentials for an API."""


class Checked(NamedTuple):
    """A decision with what led to it.

    Attributes:
        finding: What became of the credentials; None where none were sent or looked at.
        token: The verified token, also where its binding did not hold.
        template: The path template by which the operation was found.
    """

    decision: Decision
    finding: Finding = None
    template: str | None = None
    token: AccessToken | None = None


class Begun(NamedTuple):
    """A check that has to wait for somebody: an issuer, or a memory of used proofs."""

    api: Api
    operation: Operation | None
    template: str | None
    request: CheckRequest
    now: int
    path: str
    credentials: Credentials


class Checker:
    """One configuration, ready to decide. Immutable: a reload puts another in its place.

    Args:
        config: What to decide by.
        verifier: Verifies tokens by the same configuration.
        binding: Checks what they are bound to.
    """

    def __init__(self, config: Config, verifier: Verifier, binding: Binding) -> None:
        self.config = config
        self.nobody = IdentityHeaders(config.upstream_headers).nobody
        self._policy = config.policy
        self.metadata = MetadataIndex(config.policy.apis)
        self._index = PolicyIndex(config.policy)
        self._verifier = verifier
        self._binding = binding

    async def check(self, request: CheckRequest, now: int) -> Checked:
        """Decide about one request.

        Args:
            now: Current time, epoch seconds.
        """
        begun = self.begin(request, now)
        return begun if isinstance(begun, Checked) else await self.finish(begun)

    def begin(self, request: CheckRequest, now: int) -> Checked | Begun:
        """Decide, which nearly always waits for nobody; else go as far as that goes.

        Args: As of `check`.

        Does not: use up anything, a DPoP proof for one.
        """
        api: Api | None = None
        try:
            if request.fault is not None:
                raise request.fault
            method = read_method(request.method, request.method_overrides)
            path = split_target(request.target)
            api = self._index.find_api(read_host(request.hosts), path)
            match = self._index.find_operation(api, method, path)
        except RequestError as fault:
            return Checked(decide_malformed(fault, api))
        if api is None:
            return Checked(decide_without_api(self._policy.unmatched_host))
        operation, template = (None, None) if match is None else (match.operation, match.path)
        decision = decide_without_token(api, operation, preflight=request.preflight)
        if decision is not None:
            return Checked(decision, template=template)
        try:
            credentials = read_credentials(request.authorization)
        except RequestError as fault:
            scheme = presented_scheme(request.authorization)
            finding: Finding = _judge_malformed(fault, scheme, api)
            return self._conclude(api, operation, template, finding, scheme, now)
        if credentials is None:
            return self._conclude(api, operation, template, None, None, now)
        if credentials.scheme != "bearer":  # a proof is to be claimed
            return Begun(api, operation, template, request, now, path, credentials)
        token: AccessToken | None = None
        try:
            token = self._verifier.find(credentials, api.issuers, api.audiences, now)
            if token is None:
                return Begun(api, operation, template, request, now, path, credentials)
            # A plain bearer token where none is demanded to be more: the common case.
            if token.confirmation is not None or api.sender_constraint not in _TAKES_UNBOUND:
                self._binding.check(api, credentials, token, request, path, now)
            finding = token
        except (RequestError, TokenError, IssuerError) as fault:
            finding = fault
        return self._conclude(api, operation, template, finding, "bearer", now, token)

    async def finish(self, begun: Begun) -> Checked:
        """Decide what `begin` could not."""
        api, operation, template, request, now, path, credentials = begun
        token: AccessToken | None = None
        finding: Finding
        try:
            asked = (credentials, api.issuers, api.audiences, now)
            if credentials.scheme != "bearer":
                require_scheme(api.sender_constraint, credentials.scheme)
                require_one_proof(request.dpop)
                token = self._verifier.find(*asked)
            token = token or await self._verifier.verify(*asked)
            proof = self._binding.check(api, credentials, token, request, path, now)
            if proof is not None:
                await self._binding.claim(proof, now)
            finding = token
        except (RequestError, TokenError, IssuerError, ReplayStoreError) as fault:
            finding = fault
        scheme = credentials.scheme
        return self._conclude(api, operation, template, finding, scheme, now, token)

    def _conclude(
        self,
        api: Api,
        operation: Operation | None,
        template: str | None,
        finding: Finding,
        scheme: Scheme | None,
        now: int,
        token: AccessToken | None = None,
    ) -> Checked:
        status = self.config.unavailable_status
        decision = decide_on_token(api, operation, finding, now, status, scheme)
        return Checked(decision, finding, template, token)


def _judge_malformed(
    fault: RequestError, scheme: Scheme | None, api: Api
) -> RequestError | TokenError:
    """Tell what counts of malformed credentials: a fault of DPoP only where DPoP is taken."""
    if scheme == "dpop":
        try:
            require_scheme(api.sender_constraint, scheme)
        except TokenError as refusal:
            return refusal
    return fault
