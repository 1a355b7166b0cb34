"""What tells one content of a watched file from another, without reading it."""

from __future__ import annotations

from pathlib import Path

Fingerprint = tuple[int, ...] | None
"""None: there is no such file."""


def fingerprint(file: Path) -> Fingerprint:
    """Identify a file's content; a swapped link is another file.

    Take it before the file is opened: what is written meanwhile then counts as a change.
    """
    try:
        status = file.stat()
    except (OSError, ValueError):
        return None
    return (
        status.st_dev,
        status.st_ino,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_size,
    )
