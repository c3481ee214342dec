"""Turns: an admin whose act was overtaken is let through before editors commit again (protocol section 13, "Turns").

Every commit that stands makes all others on the way stale. An editor who commits without a pause could so keep an admin from
ever taking something away from them: to give new keys to large profiles takes longer than to write one secret. For a while
after an admin asked, editors' commits are therefore refused as ``RATE_LIMITED``; a turn ends with a commit of whoever has
it. Admins are never held back: a lockdown waits for nobody.

Turns are kept in the memory of one process; with several replicas an admin's request holds editors back at the one it met.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from stronghold_cli.protocol.encoding import encode_json
from stronghold_cli.protocol.state import OrgState
from stronghold_server.reads import require_role
from stronghold_server.refusals import Unlogged
from stronghold_server.service import Effect, Plan, Request, Tools
from stronghold_server.states import LoadedState
from stronghold_server.store.interface import Reader

SECONDS: Final = 60
# What an editor's client waits before it tries again; it does so a few times by itself.
RETRY_AFTER: Final = 3


class Turns:
    """Who has a turn in which org, and until when. Safe to use from any thread."""

    def __init__(self) -> None:
        self._turns: dict[bytes, tuple[bytes, int]] = {}
        self._door = threading.Lock()

    def plan_take(self, _: Tools, request: Request, __: Reader, loaded: LoadedState) -> Plan:
        """POST turn: hold editors' commits back until this admin's next one, for a minute at most."""
        admin = require_role(loaded.state, request, frozenset({"admin"}))
        request.query()
        effect = Effect(body=encode_json({"seconds": SECONDS}), head_seq=loaded.state.seq, document=None, code="")

        def settle() -> None:
            with self._door:
                self._turns[request.org_id] = admin, request.now + SECONDS

        return Plan(head_sha256=loaded.head_sha256, apply=lambda _: effect, settle=settle)

    def require_none(self, state: OrgState, author: bytes, now: int) -> None:
        """Raise ``Unlogged`` where the author is no admin, and an admin's turn is not over."""
        if state.org.document.role_of(author) == "admin":
            return
        with self._door:
            _, until = self._turns.get(state.org_id, (b"", now))
        if until > now:
            raise Unlogged("RATE_LIMITED", "an admin has the turn", counted="rate_limited", retry_after=RETRY_AFTER)

    def ending(self, state: OrgState, author: bytes, settle: Callable[[], None] | None) -> Callable[[], None]:
        """What to do when a commit of the author is durable: ``settle``, and the end of the turn that they have."""

        def end() -> None:
            if settle is not None:
                settle()
            with self._door:
                if self._turns.get(state.org_id, (b"", 0))[0] == author:
                    del self._turns[state.org_id]

        return end
