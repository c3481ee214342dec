"""A real server process on a data folder, the clients that use it, and what is on its disk.

``Serving`` starts and ends the process. To ``TestOrg`` it is a ``World`` at the far end of a socket: requests go over HTTP,
and whatever the server answered is kept in ``told``, to be compared with the log (``bookkeeping``).
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import apsw

from stronghold_cli.protocol.keys import SigningKey
from stronghold_cli.protocol.messages import decode_setup
from stronghold_cli.protocol.requests import KeyId, sign_request
from stronghold_server.folder import DATABASE_FILE
from stronghold_server.setup import setup_code_hash
from stronghold_server.store.sqlite import SqliteStore
from stronghold_server.store.sqlite_reading import SqliteReader
from tests.faults.bookkeeping import Answered
from tests.server.in_process import Reply

ROOT = Path(__file__).parents[2]
SECONDS = 30
FULL = os.environ.get("FAULTS") == "full"
_LISTENING = re.compile(r"listening on http://127\.0\.0\.1:([0-9]+)\n")
NO_ANSWER = Reply(status=0, headers={}, body=b"")


class Serving:
    """One data folder and at most one server process on it."""

    def __init__(self, folder: Path, beside: Path) -> None:
        """``beside`` is a folder for what does not belong on the server's disk."""
        self.folder = folder
        self.errors = beside / "errors"  # what the server said on stderr since its last start
        self.process: subprocess.Popen[str] | None = None
        self.printed: list[str] = []
        self.port = 0
        self.told: list[Answered] = []
        self._codes = 0

    # The process.

    def spawn(self, *before: str) -> None:
        """Start the server, ``before`` being a program that starts it; does not wait."""
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [*before, sys.executable, "-m", "stronghold_server", "--data-dir", str(self.folder), "--port", "0"],
                env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'server'}", "STRONGHOLD_LOG_LEVEL": "warning"},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def listens(self) -> bool:
        """Wait until it listens; false where it ended instead."""
        assert self.process is not None
        assert self.process.stdout is not None
        self.printed = []
        for line in self.process.stdout:
            self.printed.append(line)
            if match := _LISTENING.fullmatch(line):
                self.port = int(match[1])
                return True
        return False

    def start(self) -> None:
        """Start the server, which must come up."""
        self.spawn()
        assert self.listens(), self.said()

    def said(self) -> str:
        """What the server wrote to stderr."""
        return self.errors.read_text()

    @property
    def pid(self) -> int:
        """The process id."""
        assert self.process is not None
        return self.process.pid

    def kill(self) -> None:
        """``kill -9``, whatever it is doing."""
        if self.process is not None:
            self.process.kill()
            self.ended()

    def stop(self) -> str:
        """Tell it to end, which it does with 0; what it said since its start."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        assert self.ended() == 0
        return self.said()

    def ended(self) -> int:
        """Wait for its end; the exit code."""
        assert self.process is not None
        assert self.process.stdout is not None
        code = self.process.wait(SECONDS)
        self.process.stdout.close()
        self.process = None
        return code

    def ends_within(self, seconds: float) -> bool:
        """Whether it ends by itself in that time."""
        assert self.process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
            return True
        return False

    # What ``TestOrg`` needs of a ``World``.

    @property
    def now(self) -> int:
        """Unix seconds."""
        return int(time.time())

    @property
    def log_key(self) -> SimpleNamespace:
        """The server's log key, as it tells it."""
        (key,) = decode_setup(self.ask("GET", "/v1/setup").body)
        return SimpleNamespace(id=key.id, sign=SimpleNamespace(public=key.public_key))

    def setup_code(self) -> str:
        """A fresh setup code."""
        self._codes += 1
        code = f"setup-code-{self._codes:020d}"
        store = SqliteStore(str(self.folder / DATABASE_FILE), now=self.now)
        assert store.write(lambda writer: writer.add_setup_code(setup_code_hash(code), self.now)).result()
        store.close()
        return code

    def send(
        self, key: SigningKey, key_id: KeyId, method: str, target: str, body: bytes = b"", *, address: str = ""
    ) -> Reply:
        """A signed request on a connection of its own."""
        with contextlib.closing(self.connect()) as connection:
            return self.exchange(connection, key, key_id, method, target, body)

    # Requests.

    def connect(self) -> http.client.HTTPConnection:
        """A connection that is opened by its first request."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)

    def exchange(
        self,
        connection: http.client.HTTPConnection,
        key: SigningKey,
        key_id: KeyId,
        method: str,
        target: str,
        body: bytes = b"",
    ) -> Reply:
        """A signed request; ``NO_ANSWER`` where none came. An answer counts from its first line on."""
        signed, base = sign_request(
            key,
            key_id,
            method=method,
            authority=f"127.0.0.1:{self.port}",
            target=target,
            body=body,
            created=self.now,
            nonce=os.urandom(16),
        )
        return self._ask(connection, method, target, body, dict(signed.items()), base)

    def ask(self, method: str, target: str) -> Reply:
        """An unsigned request."""
        with contextlib.closing(self.connect()) as connection:
            return self._ask(connection, method, target, b"", {}, "")

    def _ask(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        target: str,
        body: bytes,
        headers: dict[str, str],
        base: str,
    ) -> Reply:
        status, content = 0, b""
        try:
            connection.request(method, target, body, headers)
            response = connection.getresponse()
            status = response.status
            content = response.read()
            reply = Reply(status=status, headers=dict(response.getheaders()), body=content)
        except (OSError, http.client.HTTPException):
            connection.close()
            reply = NO_ANSWER
        if base and status:
            self.told.append(Answered(base=base, status=status, code=reply.code, body=content))
        return reply

    # The disk.

    @contextlib.contextmanager
    def reader(self) -> Iterator[SqliteReader]:
        """A snapshot of the database, which must be sound."""
        connection = apsw.Connection(str(self.folder / DATABASE_FILE), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            connection.execute("BEGIN")
            assert list(connection.execute("PRAGMA integrity_check")) == [("ok",)]
            yield SqliteReader(connection)
        finally:
            connection.close()


def database_files(folder: Path) -> Sequence[str]:
    """The database, its companions, and the folder whose names must be durable too."""
    path = str(folder / DATABASE_FILE)
    return (path, f"{path}-wal", f"{path}-shm", str(folder))
