"""Clients whose requests may go unanswered: a token that pulls, and an operator who sends a commit again until it stands."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from stronghold_cli.crypto.keys import TokenSecret
from stronghold_cli.protocol.messages import Commit
from stronghold_cli.protocol.requests import KeyId
from stronghold_cli.protocol.state import advance
from tests.faults.bookkeeping import Agreement, compare
from tests.faults.serving import Serving
from tests.server.drafts import Draft
from tests.server.furnished import Furnished, furnish
from tests.server.in_process import Reply
from tests.server.support import TestOrg


class Customer:
    """An org with one of everything, and what its clients know of it."""

    def __init__(self, serving: Serving, name: str) -> None:
        self.serving = serving
        self.full: Furnished = furnish(TestOrg(serving, name).create())
        self.org = self.full.org
        self.heads = [self.org.state.head.document.sha256]
        self._pending: Commit | None = None

    # Single requests.

    def pull(self, token_id: bytes | None = None) -> Reply:
        """One pull on a connection of its own."""
        with contextlib.closing(self.serving.connect()) as connection:
            return self._pull(connection, token_id or self.full.token)

    def commit(self, change: Callable[[Draft], None] | None = None) -> Reply:
        """A commit that changes a secret, or does ``change``; one that went unanswered before is sent again instead."""
        if self._pending is None:
            draft = self.org.draft()
            if change is None:
                self.org.put(draft, self.full.profile, "API_KEY", b"another", self.full.second_secret)
            else:
                change(draft)
            self._pending = draft.finish()
        reply = self.org.send(self._pending)
        if reply.status == 200:
            self.org.state = advance(self.org.state, self._pending.changes)
            self.heads.append(self.org.state.head.document.sha256)
            self._pending = None
        return reply

    @property
    def is_settled(self) -> bool:
        """Whether every commit that was sent has been acknowledged."""
        return self._pending is None

    # Many.

    def load(self, stop: threading.Event, pullers: int) -> list[threading.Thread]:
        """Commit and pull without a pause until the server is gone."""
        tokens = (self.full.token, self.full.second_token)
        threads = [threading.Thread(target=self._keep_committing, args=(stop,))]
        threads += [
            threading.Thread(target=self._keep_pulling, args=(stop, tokens[number % 2])) for number in range(pullers)
        ]
        return threads

    def _keep_committing(self, stop: threading.Event) -> None:
        while not stop.is_set() and self.commit().status == 200:
            pass

    def _keep_pulling(self, stop: threading.Event, token_id: bytes) -> None:
        with contextlib.closing(self.serving.connect()) as connection:
            while not stop.is_set() and self._pull(connection, token_id).status == 200:
                pass

    def _pull(self, connection: object, token_id: bytes) -> Reply:
        key = TokenSecret(self.org.tokens[token_id].token.secret).auth
        target = f"/v1/pull?org={self.org.pin.hex()}"
        return self.serving.exchange(connection, key, KeyId(kind="t", raw=token_id), "GET", target)  # type: ignore[arg-type]

    # What stands.

    def compare(self) -> Agreement:
        """Compare everything that this org's clients were told with the disk."""
        mine = self._keys()
        told = [answer for answer in list(self.serving.told) if any(key in answer.base for key in mine)]
        with self.serving.reader() as reader:
            return compare(reader, self.org.org_id, told, self.heads)

    def _keys(self) -> list[str]:
        operator = KeyId(kind="o", raw=self.org.admin.operator_id).text
        return [operator, *(KeyId(kind="t", raw=token_id).text for token_id in self.org.tokens)]
