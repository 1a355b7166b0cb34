"""The request's method, and the headers that would let an upstream see another one."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bridge.errors import RequestError

# method = token (RFC 9110 §9.1, §5.6.2); longer ones than 32 nobody has registered
_METHOD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}")


def read_method(method: str, overrides: Sequence[str] = ()) -> str:
    """Check the method of a request.

    Args:
        method: As sent; case-sensitive (RFC 9110 §9.1).
        overrides: Values of `X-HTTP-Method-Override` and its like: some frameworks obey them, in
            upper case, so the operation that was checked would not be the one that runs.

    Raises:
        RequestError: No token, or an override names another method.
    """
    if not _METHOD.fullmatch(method):
        raise RequestError("method_malformed", "The request method is malformed")
    for override in overrides:
        name = override.strip(" \t")
        if name and name.upper() != method:
            raise RequestError("method_override", "The request must not override its method")
    return method
