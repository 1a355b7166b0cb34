"""Why a client gives up. No text holds a token, a code or a query string."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.errors import BridgeError

if TYPE_CHECKING:
    from bridge.client.demand import Demand


class StepUpError(BridgeError):
    """Base of what this room raises; the text is one line for a person."""


class ChallengeError(StepUpError):
    """The API's challenge cannot be understood or followed: the API is to blame."""


class DiscoveryError(StepUpError):
    """It cannot be found out where to log in: the metadata is missing or not to be trusted."""


class LoginError(StepUpError):
    """The login gave no token.

    Attributes:
        error: Error code of the authorization server (RFC 6749 §4.1.2.1, §5.2); None: not its word.
    """

    def __init__(self, text: str, error: str | None = None) -> None:
        super().__init__(text)
        self.error = error


class LoginCancelledError(LoginError):
    """The user or the authorization server said no: `access_denied`."""


class LoginTimeoutError(LoginError):
    """The browser never came back."""


class UnmetRequirementsError(LoginError):
    """The user cannot authenticate as the API asks: `unmet_authentication_requirements`."""


class ReplayError(StepUpError):
    """The body was a stream: it is spent and cannot be sent again. A new request will do."""


class LoopError(StepUpError):
    """A token made for a challenge got the same challenge again.

    Attributes:
        asked: What the login asked for.
        came: What the API asks for now.
        to_blame: `authorization server`, `API`, or `unknown`.
    """

    def __init__(self, text: str, asked: Demand, came: Demand, to_blame: str) -> None:
        super().__init__(text)
        self.asked = asked
        self.came = came
        self.to_blame = to_blame
