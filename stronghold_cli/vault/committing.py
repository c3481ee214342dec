"""Carrying out one act as one commit: verify, draft, send, and meet what may happen on the way (protocol section 5).

After a ``CONFLICT`` or a lost answer the client looks for its own head in the newest chain. Where it is there, the commit
took effect; else the act is carried out again from its arguments, over the newly verified state, with nothing used twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from stronghold_cli.protocol.errors import Conflict, IntegrityError, Refused, StrongholdError
from stronghold_cli.protocol.messages import Commit, decode_committed
from stronghold_cli.protocol.state import OrgState
from stronghold_cli.vault.ahead import Progress, send_ahead, silent
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.keyring import Keyring, Overtaken, is_overtaken
from stronghold_cli.vault.operator import Operator
from stronghold_cli.vault.replica import Replica

T = TypeVar("T")

_ATTEMPTS = 8
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

    def commit(self, act: Callable[[Draft], T]) -> T:
        """Carry out ``act`` as one commit and return what it returned; an act that changes nothing sends nothing."""
        sent: list[tuple[bytes, T]] = []
        for _ in range(_ATTEMPTS):
            draft = self.draft()
            try:
                result = act(draft)
            except (Overtaken, Refused) as error:
                if not is_overtaken(error) or not self._has_left(draft):
                    raise
                continue
            if draft.is_empty:
                return result
            draft.require_allowed()
            commit, after = draft.finish()
            commit = send_ahead(self.operator, commit, self.progress)
            sent.append((after.head.document.sha256, result))
            if self._send(commit, after):
                return result
            # An earlier attempt may have landed after it was looked for: then that one is what took effect.
            for head_sha256, earlier in sent:
                if self.replica.has_passed(head_sha256):
                    return earlier
        raise Conflict("Others changed the org at every attempt, so nothing was changed.", hint="Run the command again.")

    def draft(self) -> Draft:
        """An empty draft over the newest state; one that is never sent shows what an act would do."""
        return Draft(self.state, self.operator.keyset, self.keys, self.operator.now, self.operator.random, self.progress)

    def refresh(self) -> bool:
        """Bring the state up to date; whether somebody had changed it."""
        known = self.state.head.document.sha256
        self._adopt(self.replica.sync())
        return self.state.head.document.sha256 != known

    def _has_left(self, draft: Draft) -> bool:
        """Whether the org is no longer as it was for a draft; the act itself may have looked already."""
        return self.refresh() or self.state.head.document.sha256 != draft.state.head.document.sha256

    def _send(self, commit: Commit, after: OrgState) -> bool:
        """Whether the commit was acknowledged; False: look in the newest chain, which is verified now."""
        try:
            answer = decode_committed(self.operator.post("/commits", commit.encode()))
        except Refused as refusal:
            if refusal.code != "CONFLICT":
                raise
            self._adopt(self.replica.sync())
            return False
        except StrongholdError as error:
            self._look_after(error)
            return False
        except KeyboardInterrupt as interrupt:
            raise KeyboardInterrupt(_MAY_STAND) from interrupt
        if answer.seq != after.seq:
            raise IntegrityError("The server answers a commit with another number than it has.")
        self._adopt(after)
        return True

    def _look_after(self, error: StrongholdError) -> None:
        """No answer that can be read: the commit may stand. Where the chain cannot be had either, that is said."""
        try:
            self._adopt(self.replica.sync())
        except StrongholdError:
            error.message = f"{error.message} {_MAY_STAND}"
            error.hint = "Look at the state when the server is back, before you run the command again."
            raise error from None

    def _adopt(self, state: OrgState) -> None:
        self.replica.keep(state)
        self.state = state
        self.keys = Keyring(self.operator, state)
