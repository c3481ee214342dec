"""Signed requests made by hand, each part of which a test can alter after it was signed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from stronghold_cli.crypto.keys import TokenSecret
from stronghold_cli.protocol.keys import SigningKey
from stronghold_cli.protocol.requests import KeyId, SignedHeaders, sign_request
from tests.evil.evil_server import PULL, EvilServer
from tests.evil.scene import TWO, Scene
from tests.server.support import AUTHORITY, Reply


class Request:
    """A signed request, each part of which can be altered after it was signed."""

    def __init__(self, key: SigningKey, key_id: KeyId, method: str, target: str, body: bytes = b"") -> None:
        self.key, self.key_id = key, key_id
        self.method, self.target, self.body, self.host = method, target, body, AUTHORITY
        self.signed: SignedHeaders
        self.lines: list[tuple[str, str]]
        self.sign()

    def sign(self, *, authority: str = AUTHORITY, created: int | None = None) -> None:
        self.signed, _ = sign_request(
            self.key,
            self.key_id,
            method=self.method,
            authority=authority,
            target=self.target,
            body=self.body,
            created=int(time.time()) if created is None else created,
            nonce=os.urandom(16),
        )
        self.lines = list(self.signed.items())

    def header(self, name: str, change: Callable[[str], str]) -> None:
        before = dict(self.lines)[name]
        self.lines = [(each, change(value) if each == name else value) for each, value in self.lines]
        assert dict(self.lines)[name] != before, name

    def send(self, scene: Scene) -> Reply:
        return self.send_to(scene.server)

    def send_to(self, server: EvilServer) -> Reply:
        headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in self.lines]
        return server.call(self.method, self.target, body=self.body, headers=headers, host=self.host)


def pull_of(scene: Scene) -> Request:
    secret = TokenSecret(scene.org.tokens[scene.token_id].token.secret)
    target = f"{PULL}?org={scene.org.pin.hex()}&profile=production"
    return Request(secret.auth, KeyId(kind="t", raw=scene.token_id), "GET", target)


def commit_of(scene: Scene) -> Request:
    draft, admin = scene.draft(), scene.org.admin
    scene.org.put(draft, scene.production, "API_KEY", TWO, scene.ids["API_KEY"])
    key_id = KeyId(kind="o", raw=admin.operator_id)
    return Request(admin.keyset.request, key_id, "POST", f"{scene.org.path}/commits", draft.finish().encode())


def effects(scene: Scene) -> list[Any]:
    """Whatever a request that was taken would leave."""
    tables = ("log_heads", "requests", "tokens", "shares", "signed_documents")
    return [scene.server.query(f"SELECT * FROM {table}") for table in tables]
