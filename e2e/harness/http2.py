"""A client that sends HTTP/2 header fields exactly as they are given (RFC 9113, RFC 7541).

Only what attacks need: one stream, no Huffman and no tables when sending, the status when reading.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from contextlib import suppress
from socket import socket

from e2e.harness.addresses import Address

Fields = Sequence[tuple[str, str]]

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _GOAWAY = 0, 1, 3, 4, 7
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
# Entries 8 to 14 of the static table (RFC 7541 appendix A).
_INDEXED_STATUS = {0x88: 200, 0x89: 204, 0x8A: 206, 0x8B: 304, 0x8C: 400, 0x8D: 404, 0x8E: 500}
# The digits' Huffman codes (appendix B).
_DIGITS = {
    "00000": "0", "00001": "1", "00010": "2", "011001": "3", "011010": "4",
    "011011": "5", "011100": "6", "011101": "7", "011110": "8", "011111": "9",
}  # fmt: skip

NO_STATUS = 0


def request_fields(method: str, path: str, authority: str, *more: tuple[str, str]) -> Fields:
    """Give the fields of an ordinary request, pseudo header fields first."""
    pseudo = [(":method", method), (":scheme", "http"), (":authority", authority), (":path", path)]
    return [*pseudo, *more]


def exchange(
    address: Address, fields: Fields, trailers: Fields | None = None, timeout_seconds: float = 10
) -> int:
    """Send one request and give the status; `NO_STATUS` where the stream was reset or closed."""
    last = trailers is None
    out = _PREFACE + _frame(_SETTINGS, 0, 0, b"")
    out += _frame(_HEADERS, _END_HEADERS | (_END_STREAM if last else 0), 1, _block(fields))
    if trailers is not None:
        out += _frame(_DATA, 0, 1, b"body")
        out += _frame(_HEADERS, _END_HEADERS | _END_STREAM, 1, _block(trailers))
    with address.connect(timeout_seconds) as connection:
        with suppress(ConnectionError):
            connection.sendall(out)
            return _read_status(connection)
        return NO_STATUS


def _read_status(connection: socket) -> int:
    """Read frames to the end of the stream."""
    status = NO_STATUS
    with connection.makefile("rb") as stream:
        while len(head := stream.read(9)) == 9:
            size, kind, flags, number = struct.unpack(">IBBI", b"\0" + head)
            payload = stream.read(size)
            if kind == _SETTINGS and not flags & _ACK:
                connection.sendall(_frame(_SETTINGS, _ACK, 0, b""))
            if kind == _HEADERS and status == NO_STATUS:
                status = _status(payload)
            if kind in (_RST_STREAM, _GOAWAY) or (number == 1 and flags & _END_STREAM):
                return status
    return status


def _status(block: bytes) -> int:
    """Decode `:status`, which is the first field of a response."""
    while block[0] & 0xE0 == 0x20:  # a change of the table's size
        block = block[1:]
    if block[0] in _INDEXED_STATUS:
        return _INDEXED_STATUS[block[0]]
    length, text = block[1] & 0x7F, block[2 : 2 + (block[1] & 0x7F)]
    assert length <= 3, "not a literal :status"
    if not block[1] & 0x80:
        return int(text)
    bits, digits = "".join(f"{byte:08b}" for byte in text), ""
    while len(digits) < 3:
        width = 5 if bits[:5] in _DIGITS else 6
        digits, bits = digits + _DIGITS[bits[:width]], bits[width:]
    return int(digits)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">IBBI", len(payload), kind, flags, stream)[1:] + payload


def _block(fields: Fields) -> bytes:
    """Write fields as literals without indexing (RFC 7541 §6.2.2)."""
    return b"".join(b"\0" + _string(name) + _string(value) for name, value in fields)


def _string(text: str) -> bytes:
    raw = text.encode("latin-1")
    return _integer(len(raw)) + raw


def _integer(value: int) -> bytes:
    """Write an integer with a prefix of seven bits (RFC 7541 §5.1)."""
    if value < 0x7F:
        return bytes([value])
    out, value = bytearray([0x7F]), value - 0x7F
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
