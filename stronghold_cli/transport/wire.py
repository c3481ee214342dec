"""What the two ways of sending a request have in common: one interface, and what each failure is called.

``direct`` (a socket and a small reader of HTTP/1.1; one connection per request) is for the agents' commands, whose whole
run is shorter than the import of the other; ``pooled`` (httpx) is for operators' commands, which send many. The tests of
the wire run over both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from stronghold_cli.protocol.errors import IntegrityError, MalformedError, StrongholdError, Unavailable
from stronghold_cli.protocol.record import Record
from stronghold_cli.transport.route import Route

if TYPE_CHECKING:
    import ssl

CONNECT_SECONDS = 10.0
PIECE = 1 << 16


class WireAnswer(Record):
    """An answer as received: header names in lower case; of a header that came twice, the values joined by ``, ``."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"WireAnswer({self.status}, {len(self.body)} bytes)"


class NotSent(Unavailable):
    """The connection failed before any byte of the request was sent: nothing has been done."""


class Deadline:
    """A moment on the monotonic clock by which everything has to be over."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._end = clock() + seconds

    def left(self) -> float:
        """Seconds left; raises ``TimeoutError`` where there are none."""
        left = self._end - self._clock()
        if left <= 0:
            raise TimeoutError
        return left

    def allows(self, seconds: float) -> bool:
        """Whether so many seconds, and a little more, are left."""
        return self._clock() + seconds < self._end


class Wire(Protocol):
    """One way of sending a request."""

    def send(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, *, limit: int, deadline: Deadline
    ) -> WireAnswer:
        """Send one request and read its answer of at most ``limit`` bytes; ``target`` holds the base path.

        Raises ``NotSent``, ``Unavailable`` for everything that breaks off later, and ``IntegrityError`` for an answer that
        is too large or compressed.
        """
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


class Body:
    """Collects an answer's body and refuses more than ``limit`` bytes while it is read (rule R18)."""

    def __init__(self, headers: Mapping[str, str], limit: int) -> None:
        self._limit = limit
        self._pieces = bytearray()
        if headers.get("content-encoding", "identity") != "identity":
            raise MalformedError("The server's answer is compressed, which was not asked for.")
        length = headers.get("content-length", "")
        if length.isdigit() and (len(length) > 15 or int(length) > limit):
            raise too_large(limit)

    def add(self, piece: bytes) -> None:
        """Take the next bytes."""
        self._pieces += piece
        if len(self._pieces) > self._limit:
            raise too_large(self._limit)

    def content(self) -> bytes:
        """All of it."""
        return bytes(self._pieces)


def too_large(limit: int) -> IntegrityError:
    """The error for an answer of more than ``limit`` bytes."""
    return IntegrityError(
        f"The server's answer is larger than the {limit} bytes that this request allows.",
        hint="The server, or something between, is not what it should be.",
    )


def connect_failure(route: Route, error: BaseException, environ: Mapping[str, str]) -> NotSent:
    """The error for a connection that could not be made."""
    if tls := _tls_cause(error):
        return _tls_failure(route, tls, environ)
    place = f"{route.proxy.host}:{route.proxy.port} (the proxy)" if route.proxy else route.authority
    reason = _reason(error)
    return NotSent(
        f"The server cannot be reached at {place}: {reason}.",
        hint="Check the address, the network and that the server runs; HTTPS_PROXY, NO_PROXY and STRONGHOLD_URL hold.",
    )


def proxy_refusal(route: Route, status: int | None) -> NotSent:
    """The error for a proxy that does not open the way."""
    place = f"{route.proxy.host}:{route.proxy.port}" if route.proxy else ""
    said = f"answered {status}" if status is not None else "refused"
    return NotSent(
        f"The proxy {place} {said} when it was asked for {route.authority}.",
        hint="Check HTTPS_PROXY, HTTP_PROXY and NO_PROXY.",
    )


def broken_off(route: Route, method: str, error: BaseException, deadline: Deadline) -> Unavailable:
    """The error for a request that was sent, in part or whole, and not answered."""
    timed_out = isinstance(error, TimeoutError) or "Timeout" in type(error).__name__
    what = f"did not answer within {deadline.seconds:.0f} s" if timed_out else "broke off before it had answered"
    if method == "GET":
        return Unavailable(f"The server at {route.authority} {what}.", hint="Try again later.")
    return Unavailable(
        f"The server at {route.authority} {what}: the change may have been made, or not.", hint="Look before you try again."
    )


def not_stronghold(message: str, code: str = "NOT_STRONGHOLD") -> StrongholdError:
    """The error for an answer that no Stronghold server gives."""
    return StrongholdError(message, hint="Check the address, STRONGHOLD_URL and the proxy settings.", code=code)


def _tls_cause(error: BaseException) -> ssl.SSLError | None:
    """The TLS error at the bottom of ``error``, if there is one."""
    import ssl  # only failures, and what speaks TLS, need it

    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    return cause


def _tls_failure(route: Route, error: ssl.SSLError, environ: Mapping[str, str]) -> NotSent:
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        named = next((each for each in ("STRONGHOLD_CA_FILE", "SSL_CERT_FILE") if environ.get(each)), "")
        hint = (
            f"{named} names the certificates that are believed: check that the server's CA is in that file."
            if named
            else "If the server has a CA of its own, set STRONGHOLD_CA_FILE to that CA's certificate (PEM)."
        )
        reason = f"its certificate is not believed ({error.verify_message.rstrip('.')})"
    else:
        hint = "If the server speaks plain http, or the port is another one, set STRONGHOLD_URL."
        reason = (error.reason or "TLS failed").replace("_", " ").lower()
    return NotSent(f"No TLS connection to {route.authority}: {reason}.", hint=hint, code="TLS_FAILED")


def _reason(error: BaseException) -> str:
    """What the operating system says, from the error itself or from the one below it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, TimeoutError):
            return "the connection timed out"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
        cause = cause.__cause__ or cause.__context__
    return "no connection"
