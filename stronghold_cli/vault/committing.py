"""Carrying out one act as one commit: verify, draft, send, and meet what may happen on the way (protocol section 5).

After a ``CONFLICT`` or a lost answer the client looks for its own head in the newest chain. Where it is there, the commit
took effect; else the act is carried out again from its arguments, over the newly verified state, with nothing used twice.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from stronghold_cli.protocol.errors import Conflict, IntegrityError, Refused, StrongholdError, Unavailable
from stronghold_cli.protocol.messages import Commit, decode_committed
from stronghold_cli.protocol.state import OrgState
from stronghold_cli.vault.ahead import Progress, send_ahead, silent
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.keyring import Keyring, Overtaken, is_overtaken
from stronghold_cli.vault.operator import Operator
from stronghold_cli.vault.replica import Replica
from stronghold_cli.vault.work import Work

T = TypeVar("T")

_ATTEMPTS = 8
# REPLAYED: something on the way sent the request twice, and the answer to the first one is lost.
_LOOK_AFTER = frozenset({"CONFLICT", "REPLAYED"})
_MAY_STAND = "The change was sent and may have taken effect."


class Vault:
    """An operator with the verified state of the org: what every management command works on.

    ``to_refresh`` is for signing the head anew alone: its age may be past then, on a machine with a mark.
    """

    def __init__(self, operator: Operator, *, to_refresh: bool = False) -> None:
        self.operator = operator
        self.replica = Replica(operator, to_refresh=to_refresh)
        self.state: OrgState = self.replica.sync()
        self.keys = Keyring(operator, self.state)
        self.progress: Progress = silent
        # Why the commit sent last, which may yet take effect, has no answer; and the head that it follows.
        self._silence: StrongholdError | None = None
        self._silent_base = b""

    def commit(self, act: Callable[[Draft], T]) -> T:
        """Carry out ``act`` as one commit and return what it returned; an act that changes nothing sends nothing.

        Where it ends while something was sent that has no answer, and may yet take effect, the error says so.
        """
        try:
            return self._repeat(act)
        except StrongholdError as error:
            if self._silence is None:
                raise
            # What cannot be trusted outweighs what was not answered.
            told = error if isinstance(error, IntegrityError) else self._silence
            told.message = f"{told.message.rstrip('.')}. {_MAY_STAND}"
            told.hint = "Look at the state when the server is back, before you run the command again."
            raise told from (None if error is told else error)
        except KeyboardInterrupt as interrupt:
            if self._silence is None:
                raise
            raise KeyboardInterrupt(_MAY_STAND) from interrupt

    def _repeat(self, act: Callable[[Draft], T]) -> T:
        sent: list[tuple[bytes, T]] = []
        self._silence = None
        work = Work()
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._take_turn()
            draft = self.draft(work)
            try:
                result = act(draft)
            except (Overtaken, Refused) as error:
                if not is_overtaken(error) or not self._has_left(draft):
                    raise
            else:
                if draft.is_empty:
                    return result
                draft.require_allowed()
                commit, after = draft.finish()
                commit = send_ahead(self.operator, commit, self.progress, is_repeated=attempt > 0)
                sent.append((after.head.document.sha256, result))
                if self._send(commit, after):
                    return result
            # An earlier attempt may have landed after it was looked for: then that one is what took effect.
            for head_sha256, earlier in sent:
                if self.replica.has_passed(head_sha256):
                    return earlier
        raise Conflict("Others changed the org at every attempt, so nothing was changed.", hint="Run the command again.")

    def draft(self, work: Work | None = None) -> Draft:
        """An empty draft over the newest state; one that is never sent shows what an act would do."""
        operator = self.operator
        return Draft(self.state, operator.keyset, self.keys, operator.now, operator.random, self.progress, work)

    def refresh(self) -> bool:
        """Bring the state up to date; whether somebody had changed it."""
        known = self.state.head.document.sha256
        self._adopt(self.replica.sync())
        return self.state.head.document.sha256 != known

    def _has_left(self, draft: Draft) -> bool:
        """Whether the org is no longer as it was for a draft; the act itself may have looked already."""
        return self.refresh() or self.state.head.document.sha256 != draft.state.head.document.sha256

    def _take_turn(self) -> None:
        """Ask the server to hold editors back for a while, whose commits would be first again and again.

        It is a courtesy of the server: without it the act is carried out again all the same.
        """
        if self.state.org.document.role_of(self.operator.id) == "admin":
            with suppress(Refused, Unavailable):
                self.operator.post("/turn", b"")

    def _send(self, commit: Commit, after: OrgState) -> bool:
        """Whether the commit was acknowledged; False: look in the newest chain, which is verified now."""
        self._silent_base = after.head.document.prev
        try:
            answer = decode_committed(self.operator.post("/commits", commit.encode()))
        except StrongholdError as error:
            if error.code == "TOO_LARGE":
                raise _too_large(commit) from error
            if isinstance(error, Refused) and error.code not in _LOOK_AFTER:
                raise
            if error.code != "CONFLICT":
                self._silence = error
            self._adopt(self.replica.sync())
            return False
        except KeyboardInterrupt as interrupt:
            raise KeyboardInterrupt(_MAY_STAND) from interrupt
        if answer.seq != after.seq:
            self._silence = IntegrityError("The server answers a commit with another number than it has.")
            raise self._silence
        self._adopt(after)
        return True

    def _adopt(self, state: OrgState) -> None:
        self.replica.keep(state)
        self.state = state
        self.keys = Keyring(self.operator, state)
        if state.head.document.sha256 != self._silent_base:
            # A commit that follows another head than the newest one stands in the chain by now, or never will.
            self._silence = None


def _too_large(commit: Commit) -> Refused:
    """A removal is one commit, so it cannot be cut into pieces: what can be done is told."""
    size = sum(map(len, commit.blobs)) >> 20
    return Refused(
        "TOO_LARGE",
        f"The change is larger than the server takes at once: {size} MiB stand in it beside what was sent ahead.",
        hint="Whoever runs the server can raise STRONGHOLD_MAX_AHEAD_BYTES; or change less at once, as one group at a time.",
    )
