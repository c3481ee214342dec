"""A server in this process: the application on a real SQLite store, called without sockets.

Requests go the way that the HTTP server sends them: pulls that memory knows go the short way, all others through ASGI.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp

from stronghold_cli.protocol.audit import AuditLeaf, decode_leaf
from stronghold_cli.protocol.encoding import decode_json
from stronghold_cli.protocol.keys import SigningKey
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.requests import KeyId, sign_request
from stronghold_server.app import create_app
from stronghold_server.folder import LogKey
from stronghold_server.quick import Answered
from stronghold_server.settings import load_settings
from stronghold_server.setup import setup_code_hash
from stronghold_server.store.sqlite import SqliteStore

AUTHORITY = "secrets.test"
BEHIND_PROXY = "proxy.test:8443/base"
NOW = 1_800_000_000
# By the application alone; quickly where memory knows the answer; the same, and it knows that of the furnished org's token.
WAYS = ("application", "quick", "known")


class Reply(Record):
    """An answer of the server."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The code of a refusal, or nothing."""
        if self.status < 400:
            return ""
        error = decode_json(self.body, 1 << 20)["error"]
        assert set(error) == {"code", "message"}
        return str(error["code"])


class World:
    """One server: application, store, clock."""

    def __init__(self, folder: Path, *, is_quick: bool = True, **settings: str) -> None:
        """Without ``is_quick`` everything goes through ASGI."""
        self.folder = folder
        self.is_quick = is_quick
        self.quick_answers = 0
        self.now = NOW
        self.loop = asyncio.new_event_loop()
        self.settings = load_settings(
            {
                "STRONGHOLD_DATA_DIR": str(folder),
                "STRONGHOLD_AUTHORITIES": f"{AUTHORITY},{BEHIND_PROXY}",
                **{f"STRONGHOLD_{name.upper()}": value for name, value in settings.items()},
            }
        )
        self.log_key = LogKey(b"L" * 16, b"l" * 32)
        self.path = str(folder / "stronghold.db")
        self.store = SqliteStore(self.path, now=NOW)
        self.app = create_app(self.store, self.settings, self.log_key, clock=lambda: self.now)
        self._codes = 0

    def restart(self) -> None:
        """The server process ends and another one opens the folder."""
        self.store.close()
        self.store = SqliteStore(self.path, now=self.now)
        self.app = create_app(self.store, self.settings, self.log_key, clock=lambda: self.now)

    def close(self) -> None:
        """End the server."""
        self.store.close()
        self.loop.close()

    def setup_code(self) -> str:
        """A fresh setup code."""
        self._codes += 1
        code = f"setup-code-{self._codes:020d}"
        assert self.store.write(lambda writer: writer.add_setup_code(setup_code_hash(code), self.now)).result()
        return code

    def call(
        self,
        method: str,
        target: str,
        *,
        body: bytes = b"",
        headers: list[tuple[bytes, bytes]] | None = None,
        host: str = AUTHORITY,
        address: str = "192.0.2.7",
    ) -> Reply:
        """One request as an HTTP server hands it to the application."""
        return self.loop.run_until_complete(self.request(method, target, body, headers, host, address))

    async def request(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: list[tuple[bytes, bytes]] | None = None,
        host: str = AUTHORITY,
        address: str = "192.0.2.7",
        *,
        application: ASGIApp | None = None,
    ) -> Reply:
        """The same, inside an event loop; ``application`` is another one on the same store."""
        lines = [(b"host", host.encode("latin-1")), *(headers or [])]
        if self.is_quick and application is None and not body:
            reply = await self._request_quickly(method, target, lines, address)
            if reply is not None:
                return reply
        path, _, query = target.partition("?")
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "https",
            "path": path,
            "raw_path": path.encode("latin-1"),
            "query_string": query.encode("latin-1"),
            "root_path": "",
            "headers": lines,
            "client": (address, 40_000),
            "server": ("127.0.0.1", 8321),
        }
        sent: list[dict[str, Any]] = []
        incoming = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            return incoming.pop() if incoming else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await (application or self.app)(scope, receive, send)
        start = sent[0]
        answer = {name.decode(): value.decode() for name, value in start["headers"]}
        return Reply(status=start["status"], headers=answer, body=b"".join(part.get("body", b"") for part in sent[1:]))

    async def _request_quickly(
        self, method: str, target: str, headers: list[tuple[bytes, bytes]], address: str
    ) -> Reply | None:
        """The answer of the short way; None where it leaves the request to the application."""
        quick, url = self.app.quick, target.encode("latin-1")
        answered: asyncio.Future[Answered | None] = asyncio.get_running_loop().create_future()
        if not quick.knows(method.encode(), url) or not quick.begin(url, headers, (address, 40_000), answered.set_result):
            return None
        answer = await answered
        if answer is None:
            return None
        self.quick_answers += 1
        lines = {name.decode(): value.decode() for name, value in answer[0]}
        return Reply(status=200, headers=lines, body=answer[1])

    def send(
        self,
        key: SigningKey,
        key_id: KeyId,
        method: str,
        target: str,
        body: bytes = b"",
        *,
        created: int | None = None,
        nonce: bytes | None = None,
        address: str = "192.0.2.7",
    ) -> Reply:
        """A signed request."""
        headers = self.sign(key, key_id, method, target, body, created=created, nonce=nonce)
        return self.call(method, target, body=body, headers=headers, address=address)

    def sign(
        self,
        key: SigningKey,
        key_id: KeyId,
        method: str,
        target: str,
        body: bytes = b"",
        *,
        created: int | None = None,
        nonce: bytes | None = None,
        authority: str = AUTHORITY,
    ) -> list[tuple[bytes, bytes]]:
        """The headers of a signed request."""
        signed, _ = sign_request(
            key,
            key_id,
            method=method,
            authority=authority,
            target=target,
            body=body,
            created=self.now if created is None else created,
            nonce=nonce or os.urandom(16),
        )
        return [(name.lower().encode(), value.encode()) for name, value in signed.items()]

    def log(self, org_id: bytes) -> list[AuditLeaf]:
        """All entries of an org's audit log."""
        with self.store.read() as reader:
            return [decode_leaf(leaf) for _, leaf in reader.log_leaves(org_id, 0, 1_000_000)]

    def last(self, org_id: bytes) -> AuditLeaf:
        """The newest entry."""
        return self.log(org_id)[-1]
