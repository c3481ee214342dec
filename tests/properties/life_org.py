"""One org on a real server in this process, for sequences of acts: devices of its admin, agents, and the database's rows."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from stronghold_cli.protocol.errors import Unavailable
from stronghold_cli.protocol.keys import SigningKey
from stronghold_cli.protocol.requests import KeyId
from stronghold_cli.protocol.token import AgentToken
from stronghold_cli.reader.client import pull
from stronghold_cli.reader.profile import Asked
from stronghold_cli.transport.refusals import read_answer
from stronghold_cli.transport.route import find_route
from stronghold_cli.transport.wire import WireAnswer
from stronghold_cli.vault.agents import Address
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.operator import Operator
from stronghold_cli.version import VERSION
from tests.server.support import AUTHORITY, TestOrg, World

ADDRESS = Address(address=AUTHORITY, plain_http=False)


class Wire:
    """The ``SignedServer`` of the client's library; ``lose`` is what happens to the next commit on its way."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.lose = "nothing"
        self._route = find_route(f"https://{AUTHORITY}", {}, lambda _: None)

    def request(self, method: str, target: str, body: bytes, key: SigningKey, key_id: KeyId, limit: int) -> bytes:
        lose = "nothing"
        if target.endswith("/commits"):
            lose, self.lose = self.lose, lose
        if lose == "request":
            raise Unavailable("the request was lost")
        reply = self.world.send(key, key_id, method, target, body)
        if lose == "answer":
            raise Unavailable("the answer was lost")
        headers = {name.lower(): value for name, value in reply.headers.items()}
        answer = WireAnswer(status=reply.status, headers=headers, body=reply.body)
        return read_answer(answer, self._route, version=VERSION, now=self.world.now)


class LifeOrg:
    """A fresh org, its admin's devices, and the clock that all of them share."""

    def __init__(self, world: World, folder: Path, devices: int) -> None:
        self.world = world
        self.wire = Wire(world)
        self._folder = folder
        self._org = TestOrg(world).create()
        self.org_id = self._org.org_id
        self._operator = Operator(
            server=self.wire,
            keyset=self._org.admin.keyset,
            anchor=self._org.pin,
            floor=1,
            clock=lambda: self.world.now,
            random=os.urandom,
        )
        self._rows = apsw.Connection(world.path)
        self.devices = [self._open(number) for number in range(devices)]

    @property
    def now(self) -> int:
        return self.world.now

    def restart(self, device: int) -> None:
        """The program on this device ends, and is started again: it knows what it wrote to its disk."""
        self.devices[device] = self._open(device)

    def head(self) -> tuple[int, bytes]:
        """Seq and hash of the server's newest head."""
        with self.world.store.read() as reader:
            row = reader.head(self.org_id)
        assert row is not None
        return row.seq, row.sha256

    def pull(self, token: AgentToken, profile: str) -> dict[str, bytes]:
        """What an agent gets; it remembers what it saw from one pull to the next."""
        with self._home("agents"):
            pulled = pull(self.wire, token, Asked(name=profile, id=None), lambda: self.now)
        return {name: secret.value for name, secret in pulled.secrets.items()}

    def dump(self) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
        """All blobs by hash, and all shares by token, as they stand in the database's file."""
        blobs = self._rows.execute("SELECT sha256, content FROM blobs WHERE org_id = ?", (self.org_id,))
        shares = self._rows.execute("SELECT token_id, share FROM shares WHERE org_id = ?", (self.org_id,))
        return dict(blobs), dict(shares)

    def close(self) -> None:
        """Look at the database no more."""
        self._rows.close()

    def _open(self, device: int) -> Vault:
        with self._home(f"device {device}"):
            return Vault(self._operator)

    @contextlib.contextmanager
    def _home(self, name: str) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_DATA_HOME", str(self._folder / self.org_id.hex()[:16] / name))
            yield
