"""One org on a real server in this process, for sequences of acts: its people's devices, agents, and the database's rows.

Two admins, one of them with two devices, an editor, and a reader; their devices' clocks differ by up to 45 seconds.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

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
from tests.properties.life_lines import By
from tests.server.support import AUTHORITY, Person, TestOrg, World

ADDRESS = Address(address=AUTHORITY, plain_http=False)


class Device(NamedTuple):
    """A person's machine, and how many seconds its clock is ahead of the server's."""

    name: str
    owner: str
    ahead: int


DEVICES = (
    Device("laptop", "Ada", -20),
    Device("desktop", "Ada", 20),
    Device("phone", "Bea", 0),
    Device("notebook", "Eve", 25),
    Device("tablet", "Rob", -5),
)
BEA, EDITOR, READER = 2, 3, 4  # whose places these are: another admin's, Eve's and Rob's


class Wire:
    """The ``SignedServer`` of the client's library, on one device or for the agents.

    ``lose`` is what happens to the next commit on its way. ``meanwhile`` is done once, before a request to the route
    ``meanwhile_at`` arrives.
    """

    def __init__(self, world: World, ahead: int = 0) -> None:
        self.world = world
        self.ahead = ahead
        self.lose = ""
        self.meanwhile: Callable[[], None] | None = None
        self.meanwhile_at = ""
        self._route = find_route(f"https://{AUTHORITY}", {}, lambda _: None)

    @property
    def now(self) -> int:
        return self.world.now + self.ahead

    def request(self, method: str, target: str, body: bytes, key: SigningKey, key_id: KeyId, limit: int) -> bytes:
        path = target.partition("?")[0]
        if self.meanwhile is not None and path.endswith(self.meanwhile_at):
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        lose = ""
        if path.endswith("/commits"):
            lose, self.lose = self.lose, ""
        if lose == "request is lost":
            raise Unavailable("the request was lost")
        reply = self.world.send(key, key_id, method, target, body, created=self.now)
        if lose == "answer is lost":
            raise Unavailable("the answer was lost")
        headers = {name.lower(): value for name, value in reply.headers.items()}
        answer = WireAnswer(status=reply.status, headers=headers, body=reply.body)
        return read_answer(answer, self._route, version=VERSION, now=self.now)


class LifeOrg:
    """A fresh org, its people, and the clock of its server."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.wires = [Wire(world, device.ahead) for device in DEVICES]
        self._folder = folder
        self._org = TestOrg(world).create()
        self.org_id = self._org.org_id
        draft = self._org.draft()
        roles = {"Bea": "admin", "Eve": "editor", "Rob": "reader"}
        self.people = {"Ada": self._org.admin}
        self.people.update({name: self._org.add_person(draft, name, role) for name, role in roles.items()})
        self._org.apply(draft)
        self._rows = apsw.Connection(world.path)
        self._agents = Wire(world)
        self._vaults: dict[int, Vault] = {}

    @property
    def now(self) -> int:
        return self.world.now

    def owner(self, device: int) -> Person:
        """Whose device that is."""
        return self.people[DEVICES[device].owner]

    def by(self, device: int) -> By:
        """The same, as the model knows them."""
        person = self.owner(device)
        return By(person.operator_id, person.role == "admin")

    def vault(self, device: int) -> Vault:
        """The client at work on a device; started, and so up to date, the first time."""
        if device not in self._vaults:
            self.restart(device)
        return self._vaults[device]

    def restart(self, device: int) -> None:
        """The program on this device ends, and is started again: it knows what it wrote to its disk."""
        operator = Operator(
            server=self.wires[device],
            keyset=self.owner(device).keyset,
            anchor=self._org.pin,
            floor=1,
            clock=lambda: self.wires[device].now,
            random=os.urandom,
        )
        with self._home(DEVICES[device].name):
            self._vaults[device] = Vault(operator)

    def head(self) -> tuple[int, bytes]:
        """Seq and hash of the server's newest head."""
        with self.world.store.read() as reader:
            row = reader.head(self.org_id)
        assert row is not None
        return row.seq, row.sha256

    def pull(self, token: AgentToken, profile: str) -> dict[str, bytes]:
        """What an agent gets; it remembers what it saw from one pull to the next."""
        with self._home("agents"):
            pulled = pull(self._agents, token, Asked(name=profile, id=None), lambda: self.now)
        return {name: secret.value for name, secret in pulled.secrets.items()}

    def dump(self) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
        """All blobs by hash, and all shares by token, as they stand in the database's file."""
        blobs = self._rows.execute("SELECT sha256, content FROM blobs WHERE org_id = ?", (self.org_id,))
        shares = self._rows.execute("SELECT token_id, share FROM shares WHERE org_id = ?", (self.org_id,))
        return dict(blobs), dict(shares)

    def close(self) -> None:
        """Look at the database no more."""
        self._rows.close()

    @contextlib.contextmanager
    def _home(self, name: str) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_DATA_HOME", str(self._folder / self.org_id.hex()[:16] / name))
            yield
