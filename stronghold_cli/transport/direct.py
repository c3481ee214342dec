"""One request over one connection with the standard library: the agents' way (see ``wire``)."""

from __future__ import annotations

import io
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from typing import TYPE_CHECKING, Any

from stronghold_cli.transport.route import Route, tls_context
from stronghold_cli.transport.wire import (
    CONNECT_SECONDS,
    PIECE,
    Body,
    Deadline,
    NotSent,
    WireAnswer,
    broken_off,
    connect_failure,
    proxy_refusal,
)

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class DirectWire:
    """``Wire`` over ``http.client``."""

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
            connection = HTTPConnection(route.host, route.port)
            connection.sock = _TimedSocket(connected, deadline)
            sent = {"Connection": "close", **headers}
            if route.proxy and route.plain_http:
                target = f"http://{route.authority}{target}"
                if route.proxy.authorization:
                    sent["Proxy-Authorization"] = route.proxy.authorization
            # A server that refuses a large body answers and closes before it has read it all: that answer is read.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, target, body=body or None, headers=sent)
            with connection.getresponse() as response:
                return _read(response, limit)
        except (OSError, HTTPException, ValueError) as error:
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
        place = (route.proxy.host, route.proxy.port) if route.proxy else (route.host, route.port)
        connected: socket.socket | None = None
        try:
            connected = socket.create_connection(place, timeout=min(CONNECT_SECONDS, deadline.left()))
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context is None:
                return connected
            if route.proxy:
                _open_tunnel(connected, route, deadline)
            connected.settimeout(min(CONNECT_SECONDS, deadline.left()))
            return context.wrap_socket(connected, server_hostname=route.host)
        except (OSError, HTTPException, ValueError) as error:
            if connected is not None:
                connected.close()
            raise connect_failure(route, error, self._environ) from error
        except NotSent:
            if connected is not None:
                connected.close()
            raise


class _TimedSocket:
    """A socket on which no byte is waited for past the deadline, however slowly they come."""

    def __init__(self, connected: socket.socket, deadline: Deadline) -> None:
        self._socket = connected
        self._deadline = deadline

    def sendall(self, content: Any) -> None:
        self._socket.settimeout(self._deadline.left())
        self._socket.sendall(content)

    def makefile(self, mode: str) -> io.BufferedReader:
        assert mode == "rb"  # noqa: S101  (what http.client asks for)
        return io.BufferedReader(_TimedReader(self._socket, self._deadline))

    def close(self) -> None:
        """What ``http.client`` calls before the body is read; whoever connected the socket closes it."""


class _TimedReader(io.RawIOBase):
    def __init__(self, connected: socket.socket, deadline: Deadline) -> None:
        super().__init__()
        self._socket = connected
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        self._socket.settimeout(self._deadline.left())
        return self._socket.recv_into(buffer)


def _open_tunnel(connected: socket.socket, route: Route, deadline: Deadline) -> None:
    """Ask the proxy for a way to the server (RFC 9110, section 9.3.6)."""
    host = f"[{route.host}]" if ":" in route.host else route.host
    place = f"{host}:{route.port}"
    lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}"]
    if route.proxy and route.proxy.authorization:
        lines.append(f"Proxy-Authorization: {route.proxy.authorization}")
    timed = _TimedSocket(connected, deadline)
    timed.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
    response = HTTPResponse(timed, method="CONNECT")  # type: ignore[arg-type]
    try:
        response.begin()
    except HTTPException as error:
        raise proxy_refusal(route, None) from error
    if not 200 <= response.status < 300:
        raise proxy_refusal(route, response.status)


def _read(response: HTTPResponse, limit: int) -> WireAnswer:
    headers: dict[str, str] = {}
    for name, value in response.getheaders():
        known = headers.get(name.lower())
        headers[name.lower()] = value if known is None else f"{known}, {value}"
    body = Body(headers, limit)
    while piece := response.read1(PIECE):
        body.add(piece)
    if response.length:
        raise IncompleteRead(body.content(), response.length)
    return WireAnswer(status=response.status, headers=headers, body=body.content())
