"""One request over one connection with the standard library's sockets: the agents' way (see ``wire``).

``http.client`` is not used: it reads headers with the ``email`` package, whose import costs a pull more than all of its
cryptography (docs/decisions/http-two-ways.md). ``http1`` reads the answer.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from stronghold_cli.transport.http1 import Incoming, read_answer, read_head, request_head
from stronghold_cli.transport.route import Route, tls_context
from stronghold_cli.transport.wire import (
    CONNECT_SECONDS,
    Deadline,
    NotSent,
    WireAnswer,
    broken_off,
    connect_failure,
    proxy_refusal,
)

if TYPE_CHECKING:
    import ssl


class DirectWire:
    """``Wire`` over a socket."""

    def __init__(self, route: Route, environ: Mapping[str, str]) -> None:
        self._route = route
        self._environ = environ
        self._context: ssl.SSLContext | None = None

    def send(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, *, limit: int, deadline: Deadline
    ) -> WireAnswer:
        """See ``Wire.send``."""
        route = self._route
        connected = self._connect(deadline)
        try:
            sent = {"Connection": "close", **headers}
            if body or method != "GET":
                sent["Content-Length"] = str(len(body))
            if route.proxy and route.plain_http:
                target = f"http://{route.authority}{target}"
                if route.proxy.authorization:
                    sent["Proxy-Authorization"] = route.proxy.authorization
            # A server that refuses a large body answers and closes before it has read it all: that answer is read.
            with suppress(BrokenPipeError, ConnectionResetError):
                _send_all(connected, request_head(method, target, sent) + body, deadline)
            return read_answer(Incoming(connected, deadline), limit)
        except (OSError, ValueError) as error:
            raise broken_off(route, method, error, deadline) from error
        finally:
            connected.close()

    def close(self) -> None:
        """Nothing stays open between requests."""

    def _connect(self, deadline: Deadline) -> socket.socket:
        """A connected socket, through the proxy and TLS where they are used."""
        route = self._route
        context = self._context
        if context is None and not route.plain_http:
            context = self._context = tls_context(self._environ)
        host, port = (route.proxy.host, route.proxy.port) if route.proxy else (route.host, route.port)
        connected: socket.socket | None = None
        try:
            connected = socket.create_connection((_plain(host), port), timeout=min(CONNECT_SECONDS, deadline.left()))
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context is None:
                return connected
            if route.proxy:
                _open_tunnel(connected, route, deadline)
            connected.settimeout(min(CONNECT_SECONDS, deadline.left()))
            return context.wrap_socket(connected, server_hostname=_plain(route.host))
        except (OSError, ValueError) as error:
            if connected is not None:
                connected.close()
            raise connect_failure(route, error, self._environ) from error
        except NotSent:
            if connected is not None:
                connected.close()
            raise


def _plain(host: str) -> str:
    """The name as bytes where it is ASCII: for text, Python loads its tables of international names first.

    Python takes both; the types of ``socket`` know only one.
    """
    return cast("str", host.encode("ascii")) if host.isascii() else host


def _send_all(connected: socket.socket, content: bytes, deadline: Deadline) -> None:
    connected.settimeout(deadline.left())
    connected.sendall(content)


def _open_tunnel(connected: socket.socket, route: Route, deadline: Deadline) -> None:
    """Ask the proxy for a way to the server (RFC 9110, section 9.3.6)."""
    host = f"[{route.host}]" if ":" in route.host else route.host
    place = f"{host}:{route.port}"
    headers = {"Host": place}
    if route.proxy and route.proxy.authorization:
        headers["Proxy-Authorization"] = route.proxy.authorization
    _send_all(connected, request_head("CONNECT", place, headers), deadline)
    try:
        status, _ = read_head(Incoming(connected, deadline))
    except ValueError as error:
        raise proxy_refusal(route, None) from error
    if not 200 <= status < 300:
        raise proxy_refusal(route, status)
