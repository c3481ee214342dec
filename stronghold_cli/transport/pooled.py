"""Many requests over kept connections with httpx: the operators' way (see ``wire``)."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from stronghold_cli.transport.route import Route, tls_context
from stronghold_cli.transport.wire import (
    CONNECT_SECONDS,
    Body,
    Deadline,
    WireAnswer,
    broken_off,
    connect_failure,
    proxy_refusal,
)

if TYPE_CHECKING:
    import httpx
else:
    # Where Click is installed (the server's libraries bring it), httpx imports a command line of its own with Click and
    # Rich: two thirds of its import, and nothing that is used here. Without Click it leaves that out.
    _click = sys.modules.get("click")
    sys.modules["click"] = None
    try:
        import httpx
    finally:
        if _click is None:
            del sys.modules["click"]
        else:
            sys.modules["click"] = _click


class PooledWire:
    """``Wire`` over httpx. Nothing of it reads the environment: route and certificates are found as for ``DirectWire``."""

    def __init__(self, route: Route, environ: Mapping[str, str]) -> None:
        self._route = route
        self._environ = environ
        self._client: httpx.Client | None = None
        self._watch = _Watch()

    def send(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, *, limit: int, deadline: Deadline
    ) -> WireAnswer:
        """See ``Wire.send``."""
        if self._client is None:
            self._client = self._open()
        self._client.cookies.clear()
        try:
            left = deadline.left()
        except TimeoutError as error:
            raise connect_failure(self._route, error, self._environ) from error
        watch = self._watch
        watch.expired = False
        request = self._client.build_request(
            method,
            self._route.base_url,
            headers=dict(headers),
            content=body or None,
            timeout=httpx.Timeout(left, connect=min(CONNECT_SECONDS, left)),
            extensions={"trace": watch.see},
        )
        request.url = _ExactURL(self._route.base_url, target)
        alarm = threading.Timer(left, watch.expire)
        alarm.daemon = True
        alarm.start()
        try:
            response = self._client.send(request, stream=True)
            try:
                return _read(response, limit)
            finally:
                response.close()
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise connect_failure(self._route, error, self._environ) from error
        except httpx.ProxyError as error:
            raise proxy_refusal(self._route, _status_of(error)) from error
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError) as error:
            raise broken_off(self._route, method, TimeoutError() if watch.expired else error, deadline) from error
        finally:
            alarm.cancel()

    def close(self) -> None:
        """Close the kept connections."""
        if self._client is not None:
            self._client.close()

    def _open(self) -> httpx.Client:
        route = self._route
        proxy = None
        if route.proxy:
            host = f"[{route.proxy.host}]" if ":" in route.proxy.host else route.proxy.host
            authorization = {"Proxy-Authorization": route.proxy.authorization} if route.proxy.authorization else None
            proxy = httpx.Proxy(f"http://{host}:{route.proxy.port}", headers=authorization)
        return httpx.Client(
            verify=False if route.plain_http else tls_context(self._environ),
            proxy=proxy,
            trust_env=False,
            limits=httpx.Limits(max_connections=1),
            follow_redirects=False,
            default_encoding="utf-8",
        )


class _ExactURL(httpx.URL):
    """A URL whose path and query go out as they were signed, not as httpx would write them."""

    def __init__(self, base_url: str, target: str) -> None:
        super().__init__(base_url)
        self._target = target.encode("ascii")

    @property
    def raw_path(self) -> bytes:
        """What the request line holds."""
        return self._target


class _Watch:
    """Ends a request at its deadline: httpx limits each wait, not their sum, and a slow trickle would go on for ever.

    The pool holds one connection, so the newest socket that was seen is the one in use.
    """

    def __init__(self) -> None:
        self.expired = False
        self._socket: socket.socket | None = None

    def see(self, event: str, details: Mapping[str, Any]) -> None:
        """Keep the newest socket: the plain one, then that of TLS."""
        stream: Any = details.get("return_value")
        if event.endswith(".complete") and hasattr(stream, "get_extra_info"):
            self._socket = stream.get_extra_info("socket")

    def expire(self) -> None:
        """The deadline has come: whoever waits for the socket wakes up."""
        self.expired = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


def _read(response: httpx.Response, limit: int) -> WireAnswer:
    headers: dict[str, str] = {}
    for name, value in response.headers.multi_items():
        known = headers.get(name.lower())
        headers[name.lower()] = value if known is None else f"{known}, {value}"
    body = Body(headers, limit)
    for piece in response.iter_raw():
        body.add(piece)
    return WireAnswer(status=response.status_code, headers=headers, body=body.content())


def _status_of(error: httpx.ProxyError) -> int | None:
    """The status that the proxy gave to CONNECT: httpx has it only as the first word of its message."""
    word = str(error)[:3]
    return int(word) if word.isdigit() else None
