"""What was sent and what came back, as checks read it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from bridge.decision.challenge_parser import Challenge, parse_challenges


class NotApplicableError(Exception):
    """The exchange says nothing about a requirement; the text says why."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as it may be shown: each token stands there by its name, `<good>`."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Received:
    """A response.

    Attributes:
        headers: Names in lower case, one entry for each line.
        shown: The same as they may be shown: tokens that the target sent back by their names.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    shown: tuple[tuple[str, str], ...] = ()
    body: bytes = field(default=b"", repr=False)

    def values(self, name: str) -> list[str]:
        """Give the lines of a header."""
        return [value for key, value in self.headers if key == name]


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and what came of it.

    Attributes:
        received: None where no response came.
        fault: Why none came.
        accepted_statuses: By these the API says that it did what was asked; empty: any 2xx.
    """

    name: str
    sent: Sent
    received: Received | None
    fault: str = ""
    accepted_statuses: Collection[int] = ()

    @property
    def response(self) -> Received:
        """The response.

        Raises:
            NotApplicableError: None came.
        """
        if self.received is None:
            raise NotApplicableError(f"no response: {self.fault}")
        return self.received

    @property
    def accepted(self) -> bool:
        """Tell whether the request got through to the API."""
        status = self.response.status
        return status in self.accepted_statuses if self.accepted_statuses else status // 100 == 2  # noqa: PLR2004

    @property
    def denial(self) -> Received:
        """The response of a request that did not get through.

        Raises:
            NotApplicableError: It did.
        """
        if self.accepted:
            raise NotApplicableError(f"accepted with {self.response.status}")
        return self.response

    @property
    def challenges(self) -> list[Challenge]:
        """The challenges of a denial.

        Raises:
            NotApplicableError: The request was accepted.
            ChallengeSyntaxError: The lines cannot be read.
        """
        return parse_challenges(self.denial.values("www-authenticate"))

    @property
    def bearer(self) -> Challenge:
        """The first Bearer challenge of a denial.

        Raises:
            NotApplicableError: There is none.
            ChallengeSyntaxError: The lines cannot be read.
        """
        for challenge in self.challenges:
            if challenge.scheme.lower() == "bearer":
                return challenge
        raise NotApplicableError("no Bearer challenge")


@dataclass(frozen=True, slots=True)
class Facts:
    """What the profile says of the API.

    Attributes:
        resource: Identifier (RFC 9728 §1.2); None: it publishes no metadata.
        acr_values: What the sensitive operation demands; empty: not said.
        max_age: Likewise; None: not said.
    """

    resource: str | None = None
    acr_values: tuple[str, ...] = ()
    max_age: int | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that was seen.

    Attributes:
        exchanges: By name.
        missing: Why an exchange was not made, by its name.
    """

    facts: Facts
    exchanges: Mapping[str, Exchange]
    missing: Mapping[str, str] = field(default_factory=dict)

    def other(self, name: str) -> Exchange:
        """Give an exchange to compare with.

        Raises:
            NotApplicableError: It was not made, or got no response.
        """
        if name not in self.exchanges:
            raise NotApplicableError(self.missing.get(name, f"{name} was not sent"))
        exchange = self.exchanges[name]
        _ = exchange.response
        return exchange
