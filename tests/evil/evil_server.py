"""The evil server: the real application on a real store, in the hands of somebody who may do anything with it.

It serves in process (``InProcess``, for the client's library) and on a port of the loopback address (for the real program),
and both ways go through the same hands: every request and answer is recorded, and a test can tell *lies* (answers changed by
route and JSON path, by a function, or made up), take the data folder back to a snapshot, serve a copy of it (``fork``),
restart, and send recorded requests again. Keys that a colluding person gives away are in ``tests.server.support.TestOrg``.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import uvicorn

from stronghold_cli.protocol.keys import SigningKey
from stronghold_cli.protocol.messages import encode_error
from stronghold_cli.protocol.messages_pull import PullAnswer, decode_pull_answer
from stronghold_cli.protocol.requests import KeyId, sign_request
from stronghold_cli.transport.refusals import read_answer
from stronghold_cli.transport.route import find_route
from stronghold_cli.transport.wire import WireAnswer
from stronghold_cli.version import VERSION
from stronghold_server.app import create_app
from stronghold_server.folder import LOG_KEY_FILE
from stronghold_server.store.sqlite import SqliteStore
from tests.server.support import AUTHORITY, Reply, World

PULL, SYNC, KEYS, COMMITS, SETUP = "/v1/pull", "/sync", "/keys", "/commits", "/v1/setup"
Answer = tuple[int, bytes]


class Exchange:
    """One recorded request and its answer, as they went over the wire (after the lies)."""

    def __init__(self, method: str, target: str, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body
        self.status = 0
        self.answer = b""

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def is_signed(self) -> bool:
        return any(name.lower() == b"signature" for name, _ in self.headers)

    def __repr__(self) -> str:
        return f"{self.method} {self.target} -> {self.status}"


class Lie:
    """What is done with the answers of one route; ``told`` counts how often it was."""

    def __init__(self, route: str, change: Callable[[int, bytes], Answer], limit: int | None, *, ask: bool) -> None:
        self.route = route
        self.change = change
        self.limit = limit
        self.ask = ask
        self.told = 0

    def meant_for(self, exchange: Exchange) -> bool:
        return exchange.path.endswith(self.route) and (self.limit is None or self.told < self.limit)


class EvilServer(World):
    """``World`` with a port, a thread of its own, and the means of an attacker."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        # Each request goes through the attacker's hands, and so none the short way.
        super().__init__(folder, is_quick=False, authorities=f"{AUTHORITY},127.0.0.1:{self.port}")
        self.ahead = 0
        self.recorded: list[Exchange] = []
        self._lies: list[Lie] = []
        # The fixed log key of ``World``, where the real program finds it.
        key_file = folder / LOG_KEY_FILE
        key_file.write_text(f"stronghold server log key 1\n{(b'L' * 16).hex()}\n{(b'l' * 32).hex()}\n", "ascii")
        self._open()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        config = uvicorn.Config(
            self._serve,
            interface="asgi3",
            lifespan="off",
            ws="none",
            loop="none",
            proxy_headers=False,
            log_config=None,
            access_log=False,
        )
        self._http = uvicorn.Server(config)
        self._serving = asyncio.run_coroutine_threadsafe(self._http.serve(sockets=[self._socket]), self.loop)
        deadline = time.monotonic() + 10
        while not self._http.started:
            assert time.monotonic() < deadline, "the evil server does not listen"
            time.sleep(0.005)

    # The clock: real time, and what a test puts on top.

    @property
    def now(self) -> int:
        return int(time.time()) + self.ahead

    @now.setter
    def now(self, value: int) -> None:
        self.ahead = value - int(time.time())

    # Serving.

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def call(self, *arguments: Any, **options: Any) -> Reply:
        """One request in process; see ``World.call``."""
        method, target = arguments
        names = ("body", "headers", "host", "address")
        coroutine = self.request(method, target, **{name: options[name] for name in names if name in options})
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def restart(self) -> None:
        """Forget all that is in memory."""
        self.store.close()
        self.store = SqliteStore(self.path, now=self.now)
        self._open()

    def stop_listening(self) -> None:
        """Free the port, so that another process can have it."""
        self._http.should_exit = True
        self._serving.result(10)
        self._socket.close()

    def close(self) -> None:
        if not self._serving.done():
            self.stop_listening()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.store.close()
        self.loop.close()

    def _open(self) -> None:
        self._real = create_app(self.store, self.settings, self.log_key, clock=lambda: self.now)
        self.app = self._serve

    # The attacker's means.

    def snapshot(self) -> Path:
        """A copy of the database as it is now."""
        copy = self.folder.parent / f"{self.folder.name}-{time.monotonic_ns()}.db"
        source, target = apsw.Connection(self.path), apsw.Connection(str(copy))
        with contextlib.closing(source), contextlib.closing(target), target.backup("main", source, "main") as backup:
            while not backup.done:
                backup.step()
        return copy

    def restore(self, snapshot: Path) -> None:
        """Go back to a snapshot."""
        self.store.close()
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path + suffix)
        shutil.copyfile(snapshot, self.path)
        self.store = SqliteStore(self.path, now=self.now)
        self._open()

    def fork(self) -> EvilServer:
        """A second server with a copy of everything, on a port of its own; the caller closes it."""
        folder = self.folder.parent / f"{self.folder.name}-fork-{time.monotonic_ns()}"
        folder.mkdir()
        shutil.copyfile(self.snapshot(), folder / Path(self.path).name)
        return EvilServer(folder)

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Look at, or change, the rows of the database behind the application's back."""
        # Not sqlite3: two SQLite libraries in one process take each other's file locks away.
        with contextlib.closing(apsw.Connection(self.path)) as connection:
            return list(connection.execute(statement, values))

    @contextlib.contextmanager
    def lies(
        self, route: str, change: Callable[[int, bytes], Answer], *, limit: int | None = None, ask: bool = True
    ) -> Iterator[Lie]:
        """Change the answers of a route as long as the context is open. A lie that nobody was told fails the test.

        ``ask=False`` does not trouble the real application at all; ``limit`` is how often it is told at most.
        """
        lie = Lie(route, change, limit, ask=ask)
        self._lies.append(lie)
        try:
            yield lie
        finally:
            self._lies.remove(lie)
        assert lie.told, f"nobody asked {route}, so nothing was shown"

    def lies_to_pulls(self, change: Callable[[PullAnswer], PullAnswer]) -> contextlib.AbstractContextManager[Lie]:
        """Change the typed answer of a pull."""
        return self.lies(PULL, lambda status, body: (status, change(decode_pull_answer(body)).encode()))

    def lies_in_json(self, route: str, path: str, change: Callable[[Any], Any]) -> contextlib.AbstractContextManager[Lie]:
        """Change what stands at a JSON path such as ``changes.heads.0``."""

        def bend(status: int, body: bytes) -> Answer:
            whole = json.loads(body)
            *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
            place = whole
            for step in way:
                place = place[step]
            place[last] = change(place[last])
            return status, json.dumps(whole).encode()

        return self.lies(route, bend)

    def plays_back(self, route: str, body: bytes) -> contextlib.AbstractContextManager[Lie]:
        """Answer a route with recorded bytes."""
        return self.lies(route, lambda *_: (200, body), ask=False)

    def refuses(self, route: str, status: int, code: str, **options: Any) -> contextlib.AbstractContextManager[Lie]:
        """Answer a route with a code of the server's choice."""
        return self.lies(route, lambda *_: (status, encode_error(code, "so I say")), **options)

    def last_answer(self, route: str) -> bytes:
        """The newest recorded answer of a route."""
        return next(each.answer for each in reversed(self.recorded) if each.path.endswith(route) and each.status == 200)

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message.get("more_body"):
                break
        target = scope["raw_path"].decode() + ("?" + scope["query_string"].decode() if scope["query_string"] else "")
        exchange = Exchange(scope["method"], target, list(scope["headers"]), body)
        self.recorded.append(exchange)
        lie = next((each for each in self._lies if each.meant_for(exchange)), None)
        status, headers, answer = 200, [(b"stronghold-protocol", b"1"), (b"content-type", b"application/json")], b""
        if lie is None or lie.ask:
            status, headers, answer = await self._ask(scope, body)
        if lie is not None and status == 200:
            status, answer = lie.change(status, answer)
            lie.told += 1
        exchange.status, exchange.answer = status, answer
        kept = [(name, value) for name, value in headers if name.lower() != b"content-length"]
        kept.append((b"content-length", str(len(answer)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": kept})
        await send({"type": "http.response.body", "body": answer})

    async def _ask(self, scope: Any, body: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        incoming = [{"type": "http.request", "body": body, "more_body": False}]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return incoming.pop() if incoming else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        try:
            await self._real(scope, receive, send)
        except Exception:
            # Its answer is out by then: like an HTTP server, this one leaves the rest to the log.
            if not sent:
                raise
        return sent[0]["status"], list(sent[0]["headers"]), b"".join(part.get("body", b"") for part in sent[1:])


def replay(exchange: Exchange, port: int) -> Answer:
    """Send a recorded request once more, byte for byte, to whatever listens on the port."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.putrequest(exchange.method, exchange.target, skip_host=True, skip_accept_encoding=True)
        for name, value in exchange.headers:
            connection.putheader(name.decode(), value.decode())
        connection.endheaders(exchange.body)
        answer = connection.getresponse()
        return answer.status, answer.read()


class InProcess:
    """The ``SignedServer`` of the client's library, straight into the application."""

    def __init__(self, server: EvilServer) -> None:
        self.server = server
        self._route = find_route(f"https://{AUTHORITY}", {}, lambda _: None)

    def request(self, method: str, target: str, body: bytes, key: SigningKey, key_id: KeyId, limit: int) -> bytes:
        headers, _ = sign_request(
            key,
            key_id,
            method=method,
            authority=AUTHORITY,
            target=target,
            body=body,
            created=int(time.time()),
            nonce=os.urandom(16),
        )
        lines = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        reply = self.server.call(method, target, body=body, headers=lines)
        answer = WireAnswer(
            status=reply.status,
            headers={name.lower(): value for name, value in reply.headers.items()},
            body=reply.body,
        )
        return read_answer(answer, self._route, version=VERSION, now=int(time.time()))
