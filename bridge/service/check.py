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
from bridge.policy.operations import Api
from bridge.policy.paths import split_target
from bridge.service.binding import Binding
from bridge.tokens.access_token import AccessToken
from bridge.tokens.confirmation import require_scheme
from bridge.tokens.credentials import Credentials, presented_scheme, read_credentials
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
        """Give a token that was verified before."""

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
        finding: Finding = None
        token: AccessToken | None = None
        credentials: Credentials | None = None
        try:
            credentials = read_credentials(request.authorization)
            if credentials is not None:
                if credentials.scheme != "bearer":
                    require_scheme(api.sender_constraint, credentials.scheme)
                    require_one_proof(request.dpop)
                asked = (credentials, api.issuers, api.audiences, now)
                token = self._verifier.find(*asked) or await self._verifier.verify(*asked)
                # A plain bearer token where none is demanded to be more: the common case.
                if (
                    token.confirmation is not None
                    or credentials.scheme != "bearer"
                    or api.sender_constraint not in _TAKES_UNBOUND
                ):
                    await self._binding.check(api, credentials, token, request, path, now)
                finding = token
        except (RequestError, TokenError, IssuerError, ReplayStoreError) as fault:
            finding = fault
        scheme = (
            presented_scheme(request.authorization) if credentials is None else credentials.scheme
        )
        if credentials is None and scheme == "dpop":  # malformed, but that counts where it is taken
            try:
                require_scheme(api.sender_constraint, scheme)
            except TokenError as fault:
                finding = fault
        status = self.config.unavailable_status
        decision = decide_on_token(api, operation, finding, now, status, scheme)
        return Checked(decision, finding, template, token)
