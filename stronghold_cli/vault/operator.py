"""The operator at work: who signs, where the server is, and the signed requests of the operators' routes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from stronghold_cli.crypto.keys import Keyset
from stronghold_cli.keystore.marks import HeadMark
from stronghold_cli.protocol.keys import SigningKey
from stronghold_cli.protocol.messages import MAX_BODY
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.requests import KeyId


class SignedServer(Protocol):
    """What the vault needs of ``transport.Server``."""

    def request(self, method: str, target: str, body: bytes, key: SigningKey, key_id: KeyId, limit: int) -> bytes:
        """Sign, send, and return the body of a 2xx answer; raises ``Refused``, ``Unavailable`` or ``IntegrityError``."""


class Operator(Record):
    """An unlocked operator of one org. ``clock`` gives Unix seconds, ``random`` bytes.

    ``anchor`` and ``floor`` are the kit's pin and floor; ``seen`` is a head that this very command verified at login.
    """

    server: SignedServer
    keyset: Keyset
    anchor: bytes
    floor: int
    clock: Callable[[], float]
    random: Callable[[int], bytes]
    seen: HeadMark | None = None

    @property
    def org_id(self) -> bytes:
        """The org's 32-byte id."""
        return self.keyset.org_id

    @property
    def id(self) -> bytes:
        """The operator's 16-byte id."""
        return self.keyset.operator_id

    @property
    def now(self) -> int:
        """Unix seconds by this machine's clock."""
        return int(self.clock())

    def get(self, path: str, limit: int = MAX_BODY) -> bytes:
        """GET a route below the org, e.g. ``/sync?since=0``; an answer of more than ``limit`` bytes is refused."""
        return self._request("GET", path, b"", limit)

    def post(self, path: str, body: bytes) -> bytes:
        """POST to a route below the org."""
        return self._request("POST", path, body, MAX_BODY)

    def _request(self, method: str, path: str, body: bytes, limit: int) -> bytes:
        key_id = KeyId(kind="o", raw=self.id)
        target = f"/v1/orgs/{self.org_id.hex()}{path}"
        return self.server.request(method, target, body, self.keyset.request, key_id, limit)
