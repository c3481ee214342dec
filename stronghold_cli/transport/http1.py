"""HTTP/1.1 as far as one request on one connection needs it (RFC 9112): a request's head, and an answer of bounded size.

Strict where leniency could make two readers see different answers: no folded headers, no blank before a colon, one length.
Everything that is not of this form raises ``ValueError``, a connection that ends too early ``ConnectionError``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from stronghold_cli.transport.wire import PIECE, Body, Deadline, WireAnswer

if TYPE_CHECKING:
    import socket

MAX_LINE = 1 << 16
MAX_HEADERS = 100
_MAX_INTERIM = 10
_HEX = frozenset("0123456789abcdefABCDEF")


class Incoming:
    """What arrives on a socket, of which no byte is waited for past the deadline, however slowly they come."""

    def __init__(self, connected: socket.socket, deadline: Deadline) -> None:
        self._socket = connected
        self._deadline = deadline
        self._buffer = bytearray()

    def some(self, most: int = PIECE) -> bytes:
        """At least one byte and at most ``most``; none at the end of the connection."""
        if not self._buffer:
            self._receive()
        piece = bytes(self._buffer[:most])
        del self._buffer[:most]
        return piece

    def line(self) -> str:
        """The next line without its end, as Latin-1."""
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > MAX_LINE:
                raise ValueError("a line is too long")
            if not self._receive():
                raise ConnectionError("the answer ends within a line")
        if end > MAX_LINE:
            raise ValueError("a line is too long")
        line = self._buffer[:end].decode("latin-1")
        del self._buffer[: end + 1]
        return line.removesuffix("\r")

    def _receive(self) -> bool:
        self._socket.settimeout(self._deadline.left())
        received = self._socket.recv(PIECE)
        self._buffer += received
        return bool(received)


def request_head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    """Request line and headers, with the empty line after them; no control character gets in."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if not all(line.isprintable() for line in lines):
        raise ValueError("a request line or header holds a control character")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def read_head(incoming: Incoming) -> tuple[int, dict[str, str]]:
    """Status and headers of the final answer: interim ones (1xx) before it are passed over."""
    for _ in range(_MAX_INTERIM):
        version, _, rest = incoming.line().partition(" ")
        status = rest[:3]
        if version not in {"HTTP/1.0", "HTTP/1.1"} or rest[3:4].strip() or not _is_number(status, 3) or status < "100":
            raise ValueError("no HTTP/1.1 answer")
        headers = _read_headers(incoming)
        if status >= "200":
            return int(status), headers
        if status == "101":
            break
    raise ValueError("no final answer")


def read_answer(incoming: Incoming, limit: int) -> WireAnswer:
    """The whole answer; ``IntegrityError`` where its body has more than ``limit`` bytes."""
    status, headers = read_head(incoming)
    body = Body(headers, limit)
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if status in {204, 304}:
        pass
    elif coding is not None:
        if coding.lower() != "chunked":
            raise ValueError("an unknown transfer coding")
        _read_chunks(incoming, body)
    elif length is not None:
        if not _is_number(length, 15):
            raise ValueError("a length that is no number")
        _read_exactly(incoming, int(length), body)
    else:
        while piece := incoming.some():
            body.add(piece)
    return WireAnswer(status=status, headers=headers, body=body.content())


def _read_headers(incoming: Incoming) -> dict[str, str]:
    headers: dict[str, str] = {}
    for _ in range(MAX_HEADERS + 1):
        line = incoming.line()
        if not line:
            return headers
        name, colon, value = line.partition(":")
        if not colon or not name or not name.isascii() or not name.isprintable() or " " in name:
            raise ValueError("a header without a name")
        known = headers.get(name.lower())
        value = value.strip(" \t")
        headers[name.lower()] = value if known is None else f"{known}, {value}"
    raise ValueError("too many headers")


def _read_exactly(incoming: Incoming, length: int, body: Body) -> None:
    while length:
        piece = incoming.some(min(length, PIECE))
        if not piece:
            raise ConnectionError("the answer ends too early")
        body.add(piece)
        length -= len(piece)


def _read_chunks(incoming: Incoming, body: Body) -> None:
    """RFC 9112, section 7.1; chunk extensions and trailers are passed over."""
    while True:
        size = incoming.line().partition(";")[0].strip(" \t")
        if not 1 <= len(size) <= 8 or not _HEX.issuperset(size):
            raise ValueError("a chunk without a size")
        length = int(size, 16)
        if not length:
            _read_headers(incoming)
            return
        _read_exactly(incoming, length, body)
        if incoming.line():
            raise ValueError("a chunk longer than its size")


def _is_number(text: str, most_digits: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= most_digits
