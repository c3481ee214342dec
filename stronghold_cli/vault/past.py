"""The way back through an org's history: one verified state after the other, from the current one to the first.

Every former state is proven by the hashes of the one after it (``protocol.past``), so what is told of the past is told by
signed documents and not by the server.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from stronghold_cli.protocol.errors import IntegrityError
from stronghold_cli.protocol.messages_past import decode_past
from stronghold_cli.protocol.past import author_of, retreat
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.state import Changes, OrgState
from stronghold_cli.vault.ahead import Progress, silent
from stronghold_cli.vault.operator import Operator

_FIRST_PAGE = 10
_PAGE = 200


class Step(Record):
    """One commit: the states around it, and what it replaced. ``before`` is ``None`` for the one that made the org."""

    before: OrgState | None
    after: OrgState
    replaced: Changes | None

    @property
    def author(self) -> bytes | None:
        """Whose signature on the head verifies; ``None`` where nobody's of that time does."""
        return author_of(self.after)


class Past:
    """Walks back from a verified state; ``state`` is where it stands."""

    def __init__(self, operator: Operator, state: OrgState, progress: Progress = silent) -> None:
        self.state = state
        self._operator = operator
        self._progress = progress
        self._newest = state.seq
        self._fetched: deque[Changes] = deque()
        self._page = _FIRST_PAGE

    def steps(self) -> Iterator[Step]:
        """The commits from the current one back to the first; ``state`` is then the state before the one just given."""
        while self.state.seq > 1:
            after, replaced = self.state, self._next()
            self.state = retreat(after, replaced)
            yield Step(before=self.state, after=after, replaced=replaced)
        yield Step(before=None, after=self.state, replaced=None)

    def back_to(self, seq: int) -> OrgState:
        """The state under the newest head whose seq is not above ``seq``."""
        while self.state.seq > max(seq, 1):
            self.state = retreat(self.state, self._next())
        return self.state

    def _next(self) -> Changes:
        """What the commit of the current head replaced; fetched page by page, small ones first."""
        if not self._fetched:
            self._fetched.extend(decode_past(self._operator.get(f"/past?before={self.state.seq}&limit={self._page}")))
            self._page = min(2 * self._page, _PAGE)
            if not self._fetched:
                raise IntegrityError("The server does not deliver the history of the org.", evidence={"seq": self.state.seq})
        self._progress("Going back", self._newest - self.state.seq + 1, self._newest)
        return self._fetched.popleft()
