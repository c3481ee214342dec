"""Signed HTTP (protocol section 6): one place for the HTTP library, time limits, retries and the meaning of refusals.

``Server.request`` signs, sends and reads. A request is sent again, with a new nonce, where nothing can have been done: no
connection was made, or the server said that it takes no more requests (429); a GET also after a 503. Waits grow, with
jitter, and all of it ends with the time limit. The client's own clock is used and never adjusted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Self

from stronghold_cli.protocol.errors import Unavailable
from stronghold_cli.protocol.keys import SigningKey
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.requests import NONCE_BYTES, KeyId, sign_request
from stronghold_cli.transport.refusals import ERROR_BYTES, MAX_RETRY_AFTER, read_answer, retry_after
from stronghold_cli.transport.route import Route, find_route
from stronghold_cli.transport.wire import Deadline, NotSent, Wire, WireAnswer, too_large
from stronghold_cli.version import VERSION

TIMEOUT_SECONDS = 30.0
MAX_ATTEMPTS = 4
_FIRST_WAIT = 0.2


class Answer(Record):
    """A 2xx answer to a signed request; a receipt is checked against ``signature_base``, which the log keeps."""

    status: int
    body: bytes
    signature_base: str

    def __repr__(self) -> str:
        return f"Answer({self.status}, {len(self.body)} bytes)"


class Server:
    """One server as seen by one command. Sends one request at a time; ``close`` it, or use it as a context manager."""

    def __init__(
        self,
        base_url: str,
        *,
        pooled: bool = False,
        warn: Callable[[str], None],
        environ: Mapping[str, str] = os.environ,
        timeout: float = TIMEOUT_SECONDS,
        now: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = os.urandom,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """``base_url`` as in a token or account; ``STRONGHOLD_URL`` replaces it. ``pooled`` is for commands that send many.

        Raises ``UsageError`` for an address that cannot be one, and for plain http where it is not allowed.
        """
        self.route: Route = find_route(base_url, environ, warn)
        self._wire = _wire(pooled, self.route, environ)
        self._timeout = timeout
        self._now = now
        self._random = random
        self._sleep = sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what is open."""
        self._wire.close()

    def request(self, method: str, target: str, body: bytes, key: SigningKey, key_id: KeyId, limit: int) -> bytes:
        """The body of the answer to a signed request; see ``exchange``."""
        return self.exchange(method, target, body, key, key_id, limit).body

    def exchange(self, method: str, target: str, body: bytes, key: SigningKey, key_id: KeyId, limit: int) -> Answer:
        """Sign and send one request; ``target`` begins with ``/v1/``, the base path is put before it here.

        ``limit`` is the greatest number of bytes that the answer may have. Raises ``Refused``, ``Unavailable``,
        ``IntegrityError`` (too large), ``ClientTooOld``, or ``StrongholdError`` for what is no Stronghold server.
        """
        whole = self.route.base_path + target
        base = ""

        def headers() -> Mapping[str, str]:
            nonlocal base
            signed, base = sign_request(
                key,
                key_id,
                method=method,
                authority=self.route.authority,
                target=whole,
                body=body,
                created=int(self._now()),
                nonce=self._random(NONCE_BYTES),
            )
            return dict(signed.items())

        answer = self._send(method, whole, headers, body, limit)
        return Answer(status=answer.status, body=answer.body, signature_base=base)

    def get_open(self, target: str, limit: int) -> bytes:
        """The body of an open route (``/healthz``, ``/v1/setup``), asked for without a signature."""
        return self.ask_open(target, limit).body

    def ask_open(self, target: str, limit: int) -> WireAnswer:
        """The answer of an open route with its headers, whose ``Date`` is nobody's word but good for a diagnosis."""
        return self._send("GET", self.route.base_path + target, dict, b"", limit)

    def _send(
        self, method: str, target: str, headers: Callable[[], Mapping[str, str]], body: bytes, limit: int
    ) -> WireAnswer:
        """Send until there is an answer that stands, attempts and time permitting."""
        deadline = Deadline(self._timeout)
        wait = _FIRST_WAIT
        for attempt in range(1, MAX_ATTEMPTS + 1):
            last = attempt == MAX_ATTEMPTS
            try:
                answer = self._send_once(method, target, headers(), body, limit=limit, deadline=deadline)
            except NotSent as error:
                if last or error.code != Unavailable.code or not self._pause(wait, deadline):
                    raise
            else:
                may_repeat = answer.status == 429 or (answer.status == 503 and method == "GET")
                asked = min(retry_after(answer) or 0, MAX_RETRY_AFTER)
                if last or not may_repeat or not self._pause(wait, deadline, at_least=asked):
                    content = read_answer(answer, self.route, version=VERSION, now=int(self._now()))
                    if len(content) > limit:
                        raise too_large(limit)
                    return answer
            wait *= 2
        raise AssertionError("the last attempt returns or raises")

    def _send_once(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, *, limit: int, deadline: Deadline
    ) -> WireAnswer:
        fixed = {
            "Host": self.route.authority,
            "User-Agent": f"stronghold/{VERSION}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        }
        if body:
            fixed["Content-Type"] = "application/json"
        # A refusal is read even where the answer that was hoped for would be smaller.
        return self._wire.send(method, target, {**fixed, **headers}, body, limit=max(limit, ERROR_BYTES), deadline=deadline)

    def _pause(self, seconds: float, deadline: Deadline, *, at_least: int = 0) -> bool:
        """Wait for ``seconds``, or what the server asked for, and by chance a little longer; whether there was time."""
        jittered = max(seconds, at_least) + seconds * self._random(1)[0] / 256
        if not deadline.allows(jittered):
            return False
        self._sleep(jittered)
        return True


def _wire(pooled: bool, route: Route, environ: Mapping[str, str]) -> Wire:
    if pooled:
        from stronghold_cli.transport.pooled import PooledWire

        return PooledWire(route, environ)
    from stronghold_cli.transport.direct import DirectWire

    return DirectWire(route, environ)
