"""Whether a verified token was sent by whom it is bound to (RFC 9449, RFC 8705)."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from bridge.errors import ProofError, ReplayStoreError
from bridge.gateways.check_request import CheckRequest
from bridge.policy.operations import Api
from bridge.tokens.access_token import AccessToken
from bridge.tokens.confirmation import check_binding
from bridge.tokens.credentials import Credentials
from bridge.tokens.dpop import UsedProof, check_proof, read_proof
from bridge.tokens.dpop_settings import DpopSettings
from bridge.tokens.nonce import Nonces
from bridge.tokens.replay import ReplayMemory, replay_key
from bridge.tokens.replay_redis import ReplayRedis


class Binding(Protocol):
    """Checks what a token is bound to; see `SenderBinding`."""

    async def check(
        self,
        api: Api,
        credentials: Credentials,
        token: AccessToken,
        request: CheckRequest,
        path: str,
        now: int,
    ) -> None:
        """Raise where the binding does not hold."""


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

    async def check(
        self,
        api: Api,
        credentials: Credentials,
        token: AccessToken,
        request: CheckRequest,
        path: str,
        now: int,
    ) -> None:
        """Check the binding of a verified token, and use its proof.

        Args:
            path: Of the request, raw, without the query.
            now: Current time, epoch seconds.

        Raises:
            RequestError: The proof is not exactly one.
            TokenError: It is not bound as the API demands, or not to this client.
            ProofError: The proof does not hold, or was used before.
            ReplayStoreError: It cannot be told whether it was.
        """
        jkt = check_binding(
            api.sender_constraint,
            credentials.scheme,
            token.confirmation,
            request.client_certificate,
        )
        if jkt is None:
            return
        proof = check_proof(
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
        await self._used.claim(proof, self._settings, now)


class ProofMemory:
    """Remembers used proofs, in Redis or in this process.

    Attributes:
        outcomes: How many claims ended how, for the metrics.

    Args:
        memory: Of this process.
        redis: Of all processes; None: this process is the only one.
    """

    def __init__(self, memory: ReplayMemory, redis: ReplayRedis | None) -> None:
        self._memory = memory
        self._redis = redis
        self.outcomes: Counter[str] = Counter()

    def use(self, redis: ReplayRedis | None) -> None:
        """Take another Redis, or none."""
        self._redis = redis

    async def claim(self, proof: UsedProof, settings: DpopSettings, now: int) -> None:
        """Use a proof.

        Raises:
            ProofError: It was used before, or so long ago that it cannot be told.
            ReplayStoreError: Redis does not answer, or the memory is full.
        """
        key = replay_key(proof.jkt, proof.jti)
        if self._redis is None:
            self._settle(self._memory.claim(key, proof.iat, now))
            return
        try:
            # Other replicas' clocks may be behind.
            fresh = await self._redis.claim(key, settings.lifetime + settings.leeway)
        except ReplayStoreError:
            self.outcomes["error"] += 1
            if settings.on_error == "refuse":
                raise
            # The operator prefers to let it pass; what this process itself remembers still counts.
            if self._memory.claim(key, proof.iat, now) == "replayed":
                self._settle("replayed")
            return
        self._settle("fresh" if fresh else "replayed")

    def _settle(self, outcome: str) -> None:
        self.outcomes[outcome] += 1
        match outcome:
            case "fresh":
                return
            case "replayed":
                raise ProofError("replay", "dpop_proof_replayed")
            case "forgotten":
                raise ProofError("replay", "dpop_proof_older_than_memory")
            case _:
                raise ReplayStoreError("replay_memory_full")
