"""The short way inside uvicorn's httptools protocol: pulls that ``quick`` takes are answered without the application.

The connection goes on as uvicorn leads it (pipelining, keep-alive, a graceful end): a ``QuickCycle`` stands where uvicorn
keeps the cycle of a request that an application answers. A request that the short way gives back gets such a cycle after
all. Like the guard (``guard``), which is put on top of this, it knows internals of uvicorn: its version is pinned there.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from stronghold_server.quick import Answered, Headers, Quick

_OK: Final = b"HTTP/1.1 200 OK\r\n"
_BODY_HEADERS: Final = frozenset((b"content-length", b"transfer-encoding"))


class _NobodyWaits:
    """The event of a request without a body."""

    def set(self) -> None:
        """Nobody is woken."""


class QuickCycle:
    """What uvicorn and the guard ask of a request's cycle, for one that the short way has taken."""

    __slots__ = ("disconnected", "headers", "keep_alive", "more_body", "response_complete", "url")
    response_started = False
    message_event = _NobodyWaits()

    def __init__(self, url: bytes, headers: Headers, *, keep_alive: bool) -> None:
        self.url = url
        self.headers = headers
        self.keep_alive = keep_alive
        self.disconnected = False
        self.more_body = True
        self.response_complete = False


class QuickProtocol(HttpToolsProtocol):
    """One connection; ``quick`` is None where everything goes to the application."""

    quick: Quick | None

    def begins_quickly(self, method: bytes) -> bool:
        """Whether the short way has taken the request whose headers are complete.

        It takes what comes alone, without a body, and asks for nothing special of HTTP.
        """
        former: Any = self.cycle
        if self.quick is None or not self.quick.knows(method, self.url) or (former and not former.response_complete):
            return False
        if self.flow.write_paused or self.expect_100_continue or self.parser.get_http_version() != "1.1":
            return False
        if not _BODY_HEADERS.isdisjoint(name for name, _ in self.headers):
            return False
        cycle = QuickCycle(self.url, self.headers, keep_alive=self.parser.should_keep_alive())
        if not self.quick.begin(self.url, self.headers, self.client, lambda answer: self._answer_quickly(cycle, answer)):
            return False
        self.cycle = cycle  # type: ignore[assignment] # has all that is asked of one
        return True

    def _answer_quickly(self, cycle: QuickCycle, answer: Answered | None) -> None:
        if cycle.disconnected or self.transport.is_closing():
            return
        if answer is None:
            self._put_to_application(cycle)
            return
        headers, body = answer
        head = [_OK, *(b"%b: %b\r\n" % header for header in (*self.server_state.default_headers, *headers))]
        if not cycle.keep_alive:
            head.append(b"connection: close\r\n")
        self.transport.write(b"".join((*head, b"\r\n", body)))
        cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _put_to_application(self, quick: QuickCycle) -> None:
        """The short way gave a request back: the application answers it as though it had just come."""
        path, _, query = quick.url.partition(b"?")
        scope: Any = {
            **self.scope,
            "http_version": "1.1",
            "method": "GET",
            "path": path.decode("ascii"),
            "raw_path": path,
            "query_string": query,
            "headers": quick.headers,
        }
        cycle = RequestResponseCycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=quick.keep_alive,
            on_response=self.on_response_complete,
        )
        cycle.more_body = False
        cycle.message_event.set()
        newest: object = self.cycle
        if newest is quick:  # otherwise a request that came meanwhile waits for this one
            self.cycle = cycle
        self._start_asgi_task(cycle, self.app)
