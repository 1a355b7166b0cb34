"""Whether a verified token was sent by whom it is bound to (RFC 9449, RFC 8705)."""

from __future__ import annotations

from typing import Protocol

from bridge.gateways.check_request import CheckRequest
from bridge.policy.operations import Api
from bridge.tokens.access_token import AccessToken
from bridge.tokens.confirmation import check_binding
from bridge.tokens.credentials import Credentials
from bridge.tokens.dpop import UsedProof, check_proof, read_proof
from bridge.tokens.dpop_settings import DpopSettings
from bridge.tokens.nonce import Nonces


class Binding(Protocol):
    """Checks what a token is bound to; see `SenderBinding`."""

    def check(
        self,
        api: Api,
        credentials: Credentials,
        token: AccessToken,
        request: CheckRequest,
        path: str,
        now: int,
    ) -> UsedProof | None:
        """Raise where the binding does not hold."""

    async def claim(self, proof: UsedProof, now: int) -> None:
        """Use a proof; raise where it was used before, or that cannot be told."""


class UsedProofs(Protocol):
    """Remembers used proofs; see `ProofMemory`."""

    async def claim(self, proof: UsedProof, settings: DpopSettings, now: int) -> None:
        """Use a proof; raise where it was used before, or that cannot be told."""


class SenderBinding:
    """Checks bindings by one configuration.

    Args:
        settings: Of DPoP proofs.
        nonces: What proofs must hold; None: no demand.
        used: The used proofs, of all configurations.
    """

    def __init__(self, settings: DpopSettings, nonces: Nonces | None, used: UsedProofs) -> None:
        self._settings = settings
        self._nonces = nonces
        self._used = used

    def check(
        self,
        api: Api,
        credentials: Credentials,
        token: AccessToken,
        request: CheckRequest,
        path: str,
        now: int,
    ) -> UsedProof | None:
        """Check the binding of a verified token.

        Args:
            path: Of the request, raw, without the query.
            now: Current time, epoch seconds.

        Returns:
            The proof, still to be claimed; None: none is due, as for every bearer token.

        Raises:
            RequestError: The proof is not exactly one.
            TokenError: It is not bound as the API demands, or not to this client.
            ProofError: The proof does not hold.
        """
        jkt = check_binding(
            api.sender_constraint,
            credentials.scheme,
            token.confirmation,
            request.client_certificate,
        )
        if jkt is None:
            return None
        return check_proof(
            read_proof(request.dpop),
            self._settings,
            jkt=jkt,
            method=request.method,
            origin=api.origin or "",
            path=path,
            token=credentials.token,
            now=now,
            nonces=self._nonces,
        )

    async def claim(self, proof: UsedProof, now: int) -> None:
        """Use a proof.

        Raises:
            ProofError: It was used before.
            ReplayStoreError: It cannot be told whether it was.
        """
        await self._used.claim(proof, self._settings, now)


class UnusedProofs:
    """Takes every proof as fresh and remembers none: `explain` must not use one up."""

    async def claim(self, proof: UsedProof, settings: DpopSettings, now: int) -> None:
        """Do nothing."""
