"""What ends the demo early."""

from __future__ import annotations

from bridge.errors import BridgeError


class DemoError(BridgeError):
    """The demo cannot go on; the text is the one line that says why."""
