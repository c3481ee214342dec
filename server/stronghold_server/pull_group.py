"""Pulls that memory has planned, entered together: one work of the store for all that wait when its turn comes.

Each pull is compared with the store inside the transaction as every other request is (``service``): the head for which it
was planned, its nonce, the end of its token and its share; and its entry is written there. A pull that is not as it was
planned makes no entry here and is given back: it goes the ordinary way, where it is planned anew or refused with the entry
that belongs to that. The same happens to all pulls of a group whose work fails; where one of them is a replay, the others
are entered each in a work of its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeAlias

from stronghold_cli.protocol.requests import RequestSignature
from stronghold_server.ledger import Entries, Outcome
from stronghold_server.pulls import KnownParts, join, require_share
from stronghold_server.received import Received
from stronghold_server.states import LoadedState
from stronghold_server.store.interface import Store, Writer

Answer: TypeAlias = "bytes | None"


class Replayed(Exception):
    """A request in the group was received before: which one is told when each is entered alone."""


class KnownPullRequest:
    """A verified pull with the answer that memory has for it; ``deliver`` takes the body, or None to go the ordinary way."""

    __slots__ = ("deliver", "loaded", "now", "parts", "received", "signature")

    def __init__(
        self,
        received: Received,
        signature: RequestSignature,
        loaded: LoadedState,
        parts: KnownParts,
        now: int,
        deliver: Callable[[Answer], None],
    ) -> None:
        self.received = received
        self.signature = signature
        self.loaded = loaded
        self.parts = parts
        self.now = now
        self.deliver = deliver

    @property
    def org_id(self) -> bytes:
        """The token's org."""
        return self.loaded.state.org_id


class PullGroups:
    """Gathers pulls while the store is at work on others. ``put`` is for the event loop's thread alone."""

    def __init__(self, store: Store, entries: Entries) -> None:
        self._store = store
        self._entries = entries
        self._waiting: deque[KnownPullRequest] = deque()
        self._is_called = False

    def put(self, pull: KnownPullRequest) -> None:
        """Enter a pull in the log and deliver its answer, in the loop that runs."""
        self._waiting.append(pull)
        if self._is_called:
            return
        self._is_called = True
        self._write(_Group(self))

    def take(self) -> list[KnownPullRequest]:
        """All pulls that wait. Called in the store's thread."""
        # First the mark, then the queue: what is put in after the queue was found empty calls the store again.
        self._is_called = False
        return [self._waiting.popleft() for _ in range(len(self._waiting))]

    def enter(self, writer: Writer, pulls: list[KnownPullRequest]) -> dict[KnownPullRequest, bytes]:
        """The bodies of those pulls that are as they were planned, with their entries.

        ``Replayed`` where a pull was received before, ``Refused`` where a token ended.
        """
        bodies: dict[KnownPullRequest, bytes] = {}
        for org_id in {pull.org_id: None for pull in pulls}:
            head = writer.lock_head(org_id)
            known = [pull for pull in pulls if pull.org_id == org_id and head and pull.loaded.head_sha256 == head.sha256]
            bodies |= self._enter_of_org(writer, org_id, known)
        return bodies

    def _enter_of_org(self, writer: Writer, org_id: bytes, pulls: list[KnownPullRequest]) -> dict[KnownPullRequest, bytes]:
        nonces = [(pull.signature.key_id.text, pull.signature.nonce) for pull in pulls]
        if not writer.use_nonces(org_id, nonces, max((pull.now for pull in pulls), default=0)):
            raise Replayed
        by_token: dict[bytes, list[KnownPullRequest]] = {}
        for pull in pulls:
            by_token.setdefault(pull.signature.key_id.raw, []).append(pull)
        shares = {}
        for token_id, of_token in by_token.items():
            used = writer.use_token(org_id, token_id, max(pull.now for pull in of_token), len(of_token))
            shares[token_id] = require_share(used, of_token[0].parts[0].live.token.limits)
        for pull in pulls:
            self._append(writer, org_id, pull)
        return {pull: join(pull.parts[1], pull.parts[2], shares[pull.signature.key_id.raw]) for pull in pulls}

    def _append(self, writer: Writer, org_id: bytes, pull: KnownPullRequest) -> None:
        known = pull.parts[0]
        outcome = Outcome(outcome="ok", code=known.live.code, head_seq=pull.loaded.state.seq, document=known.document)
        self._entries.append(writer, org_id, "pull", pull.received, pull.signature, outcome, pull.now)

    def _deliver(self, group: _Group, done: Future[dict[KnownPullRequest, bytes]]) -> None:
        pulls = group.pulls if group.pulls is not None else self.take()
        if isinstance(done.exception(), Replayed) and len(pulls) > 1:
            for pull in pulls:
                self._write(_Group(self, [pull]))
            return
        bodies = {} if done.exception() is not None else done.result()
        for pull in pulls:
            pull.deliver(bodies.get(pull))

    def _write(self, group: _Group) -> None:
        loop = asyncio.get_running_loop()
        self._store.write(group).add_done_callback(lambda done: loop.call_soon_threadsafe(self._deliver, group, done))


class _Group:
    """A work of the store: unless told which, it takes the pulls that wait when it is run first, and keeps to them."""

    def __init__(self, groups: PullGroups, pulls: list[KnownPullRequest] | None = None) -> None:
        self._groups = groups
        self.pulls = pulls

    def __call__(self, writer: Writer) -> dict[KnownPullRequest, bytes]:
        if self.pulls is None:
            self.pulls = self._groups.take()
        return self._groups.enter(writer, self.pulls)
