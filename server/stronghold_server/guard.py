"""Deadlines and caps on connections, before anything of a request is believed.

uvicorn has no deadline for receiving a request and no cap on its headers or body. ``guarded`` makes a protocol class of its
httptools protocol that adds, per connection, for what the application answers and for what is answered before it alike:

- a whole request (head and body) within ``receive_seconds`` of its first byte, or of the connection's beginning;
- a cap on the head's bytes and header lines (431), on the body by its route, told from Content-Length before the body comes
  and counted while it comes (413), and on the bytes of all bodies together (503);
- a cap on connections (503); a client has to take its answer at a lowest pace; no upgrade to other protocols.

What is refused is answered in the one form of the API's errors, and the connection ends. The class leans on internals of
uvicorn, so its minor version is pinned: another one stops the server at import, and tests with raw sockets watch the rest.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

import uvicorn

from stronghold_cli.protocol.encoding import encode_json
from stronghold_cli.protocol.record import Record
from stronghold_server.quick import Quick
from stronghold_server.quick_protocol import QuickProtocol

PINNED_UVICORN: Final = "0.54"
LINGER_SECONDS: Final = 1.0
LINGER_BYTES: Final = 1 << 20
MIN_BYTES_PER_SECOND: Final = 256
# The two routes with large bodies; whatever stands before them is the base path.
_LARGE: Final = re.compile(rb"(?:/[^?]*)?/v1/orgs/[0-9a-f]{64}/(commits|blobs)(?:\?.*)?")
_HEADER_LINE_EXTRA: Final = 4  # ": " and the line end
_CLIENT_FAULT_HEADERS: Final = "Content-Type: application/json\r\nStronghold-Protocol: 1\r\nConnection: close\r\n"
_PHRASES: Final = {
    400: "Bad Request",
    408: "Request Timeout",
    413: "Content Too Large",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}

if uvicorn.__version__.split(".")[:2] != PINNED_UVICORN.split("."):
    raise ImportError(f"the guard knows the internals of uvicorn {PINNED_UVICORN}, but {uvicorn.__version__} is installed")


class Limits(Record):
    """What a connection may cost. Sizes are bytes."""

    max_header_bytes: int
    max_headers: int
    max_body_bytes: int
    max_commit_bytes: int
    max_part_bytes: int
    max_memory_bytes: int
    max_connections: int
    receive_seconds: float
    send_seconds: float
    idle_seconds: float


class _Refusal(Exception):
    """What is wrong with a request; raised inside the parser's callbacks to stop it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class _Memory:
    """Bytes of bodies that all connections together hold."""

    __slots__ = ("held", "limit")

    def __init__(self, limit: int) -> None:
        self.held = 0
        self.limit = limit


class GuardedProtocol(QuickProtocol):
    """One guarded connection; see ``guarded``."""

    limits: Limits
    memory: _Memory

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.timeout_keep_alive = self.limits.idle_seconds  # type: ignore[assignment] # call_later takes fractions
        self._receive_timer: asyncio.TimerHandle | None = None
        self._send_timer: asyncio.TimerHandle | None = None
        self._refusal: _Refusal | None = None
        self._refused = False
        self._in_head = True
        self._is_whole = False
        self._fed_head_bytes = 0
        self._head_bytes = 0
        self._body_bytes = 0
        self._body_limit = 0
        self._held = 0
        self._unsent = 0
        self._discarded = 0

    # The connection.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.limits.max_connections:
            self._refuse(_Refusal(503, "SERVER_BUSY", "The server has as many connections as it takes."))
            return
        self._start_receiving()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_receiving()
        self._stop_sending()
        self._release_body()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            self._discard(len(data))
            return
        self._is_whole = False
        if self._in_head:
            self._fed_head_bytes += len(data)
        super().data_received(data)
        # A request that came in one piece, as nearly all do, needs no deadline.
        if not self._is_whole and self._receive_timer is None and not self._refused:
            self._start_receiving()
        # A header that has not ended makes no callback: its bytes are counted as they are fed.
        if self._in_head and self._fed_head_bytes > self.limits.max_header_bytes and not self._refused:
            self._refuse(_headers_too_large())

    def eof_received(self) -> None:
        """The client closed its half; uvicorn answers what is complete, and a part of a request gets nothing."""
        if self._receive_timer is not None:
            self.transport.abort()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_sending()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_sending()

    # The parser's callbacks.

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0
        self._body_bytes = 0
        self._is_whole = False

    def on_url(self, url: bytes) -> None:
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value) + _HEADER_LINE_EXTRA)
        if len(self.headers) >= self.limits.max_headers:
            self._stop(_headers_too_large())
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._fed_head_bytes = 0
        if self.parser.should_upgrade():
            self._stop(_Refusal(400, "REQUEST_MALFORMED", "The server speaks HTTP/1.1 and nothing else."))
        method = self.parser.get_method()
        if self.begins_quickly(method):
            return
        large = _LARGE.fullmatch(self.url) if method == b"POST" else None
        self._body_limit = self.limits.max_body_bytes
        if large is not None:
            self._body_limit = self.limits.max_commit_bytes if large[1] == b"commits" else self.limits.max_part_bytes
        for name, value in self.headers:
            if name == b"content-length" and int(value) > self._body_limit:  # the parser took digits only
                self._stop(_body_too_large(self._body_limit))
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        self._held += len(body)
        self.memory.held += len(body)
        if self._body_bytes > self._body_limit:
            self._stop(_body_too_large(self._body_limit))
        if self.memory.held > self.memory.limit:
            self._stop(_Refusal(503, "SERVER_BUSY", "The server holds as many requests as it takes."))
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_whole = True
        self._stop_receiving()
        super().on_message_complete()

    # Answers.

    def on_response_complete(self) -> None:
        self._release_body()
        super().on_response_complete()
        if self.transport.is_closing():
            self._watch_sending()  # close() waits for a client that may never read

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._watch_sending()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - ours says it better
        """Called by uvicorn when its parser stopped: by itself, or by one of our callbacks."""
        refusal = self._refusal or _Refusal(400, "REQUEST_MALFORMED", "The request is not HTTP/1.1 as it should be.")
        self._refuse(refusal)

    # Refusing.

    def _stop(self, refusal: _Refusal) -> None:
        """Leave a callback of the parser; it reports to ``send_400_response``."""
        self._refusal = refusal
        raise refusal

    def _count_head(self, count: int) -> None:
        self._head_bytes += count
        if self._head_bytes > self.limits.max_header_bytes:
            self._stop(_headers_too_large())

    def _refuse(self, refusal: _Refusal) -> None:
        """Answer, if nothing was answered yet, and end the connection: at once, or once the client took the answer."""
        self._refused = True
        self._stop_receiving()
        self._release_body()
        cycle = self.cycle
        answering = cycle is not None and not cycle.response_complete  # type: ignore[redundant-expr] # None at first
        # Where an answer has begun, or a request before this one waits for its own, nothing can be said.
        speechless = answering and (cycle.response_started or not cycle.more_body or bool(self.pipeline))
        if answering:
            cycle.disconnected = True  # its app is told, and what it still sends goes nowhere
            cycle.message_event.set()
        if speechless or self.transport.is_closing():
            self.transport.abort()
            return
        self.transport.write(_answer(refusal))
        if self.transport.can_write_eof():
            # Closing with unread bytes would reset the connection and take the answer away from the client.
            self.transport.write_eof()
        else:
            self.transport.close()
        self._stop_sending()
        self._send_timer = self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _discard(self, count: int) -> None:
        """The answer is on its way: what still comes is not looked at, and after a while not even received."""
        self._discarded += count
        if self._discarded > LINGER_BYTES:
            self.flow.pause_reading()

    # Timers and memory.

    def _start_receiving(self) -> None:
        self._receive_timer = self.loop.call_later(self.limits.receive_seconds, self._receive_deadline)

    def _stop_receiving(self) -> None:
        if self._receive_timer is not None:
            self._receive_timer.cancel()
            self._receive_timer = None

    def _receive_deadline(self) -> None:
        self._receive_timer = None
        self._refuse(_Refusal(408, "REQUEST_TIMEOUT", "The request did not arrive in time."))

    def _watch_sending(self) -> None:
        if self._send_timer is None:
            self._unsent = self.transport.get_write_buffer_size()
            self._send_timer = self.loop.call_later(self.limits.send_seconds, self._send_deadline)

    def _send_deadline(self) -> None:
        self._send_timer = None
        taken = self._unsent - self.transport.get_write_buffer_size()
        if taken < MIN_BYTES_PER_SECOND * self.limits.send_seconds:
            self.transport.abort()
        else:
            self._watch_sending()

    def _stop_sending(self) -> None:
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None

    def _release_body(self) -> None:
        self.memory.held -= self._held
        self._held = 0


def guarded(limits: Limits, quick: Quick | None = None) -> type[GuardedProtocol]:
    """The protocol class for ``uvicorn.Config(http=…)`` with these limits; its connections share one memory budget.

    Requests that ``quick`` takes do not reach the application.
    """
    members = {"limits": limits, "memory": _Memory(limits.max_memory_bytes), "quick": quick}
    return type("GuardedProtocol", (GuardedProtocol,), members)


def _headers_too_large() -> _Refusal:
    return _Refusal(431, "HEADERS_TOO_LARGE", "The request has too many or too long headers.")


def _body_too_large(limit: int) -> _Refusal:
    return _Refusal(413, "TOO_LARGE", f"The request's body has more than {limit} bytes.")


def _answer(refusal: _Refusal) -> bytes:
    body = encode_json({"error": {"code": refusal.code, "message": refusal.message}})
    retry = "Retry-After: 1\r\n" if refusal.status == 503 else ""
    head = f"HTTP/1.1 {refusal.status} {_PHRASES[refusal.status]}\r\n{_CLIENT_FAULT_HEADERS}{retry}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
