"""Step-up authentication (RFC 9470) for API gateways."""

import shlex
import sys

__version__ = "0.1.0"


def pip_install(extra: str) -> str:
    """Give the command that installs an extra of this package where it runs.

    The pip of another Python finds no such package; this one's finds what is installed already.
    """
    return shlex.join([sys.executable, "-m", "pip", "install", f"stepup-bridge[{extra}]"])
