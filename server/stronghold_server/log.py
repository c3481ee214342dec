"""The audit log's arithmetic: its clock, its growth, and its recomputation (protocol section 7).

Pure: the store module calls ``next_server_time`` and ``GrowingLog`` inside its transaction and keeps what they give;
``verify_log`` reads a log back and computes every tree node anew.
"""

from __future__ import annotations

from typing import Final

from stronghold_cli.protocol.errors import IntegrityError, RuleError
from stronghold_cli.protocol.signed_map import EMPTY_ROOT, Frontier, leaf_hash
from stronghold_server.store.interface import ClockBehind, LogHead, Reader

MAX_CLOCK_BEHIND: Final = 60
EMPTY_LOG: Final = LogHead(size=0, root=EMPTY_ROOT, peaks=(), server_time=0, head_seq=0)
_PAGE: Final = 4096


def next_server_time(former: LogHead | GrowingLog, now: int, *, reset_clock: bool) -> int:
    """The server time of the next leaf: the higher of clock and former leaf's.

    ``ClockBehind`` where the clock is more than 60 s behind; ``reset_clock`` takes the clock as it is.
    """
    if reset_clock:
        return now
    if now < former.server_time - MAX_CLOCK_BEHIND:
        raise ClockBehind(
            f"the server's clock is {former.server_time - now} s behind the last entry of the audit log",
            hint="Set the server's clock right; if the former time was wrong, an admin has to sign a clock entry.",
        )
    return max(now, former.server_time)


class GrowingLog:
    """A log to which one transaction appends: it computes the root once for all new leaves."""

    def __init__(self, former: LogHead) -> None:
        self.server_time = former.server_time
        self.head_seq = former.head_seq
        self._frontier = Frontier(former.size, former.peaks)

    @property
    def size(self) -> int:
        """How many leaves there are."""
        return self._frontier.size

    def append(self, leaf: bytes, *, server_time: int, head_seq: int) -> list[tuple[int, int, bytes]]:
        """Append ``leaf`` (its exact bytes); the tree nodes that it finishes as (level, position, hash).

        ``RuleError`` where ``head_seq`` is below the former leaf's.
        """
        if head_seq < self.head_seq:
            raise RuleError(f"an audit entry names head {head_seq}, but the entry before it names head {self.head_seq}")
        self.server_time, self.head_seq = server_time, head_seq
        return self._frontier.append(leaf_hash(leaf))

    def head(self) -> LogHead:
        """Where the log stands now."""
        tree = self._frontier
        return LogHead(
            size=tree.size, root=tree.root, peaks=tree.peaks, server_time=self.server_time, head_seq=self.head_seq
        )


def verify_log(reader: Reader, org_id: bytes) -> LogHead:
    """Recompute an org's log from its leaf bytes; return its head if size, root, peaks and every stored node agree.

    ``IntegrityError`` names the first thing that does not. What the leaves say is not looked at here.
    """
    head = reader.log_head(org_id)
    if head is None:
        raise IntegrityError("the org has no audit log")
    frontier = Frontier()
    for start in range(0, head.size + 1, _PAGE):
        finished: dict[int, list[tuple[int, bytes]]] = {}
        for index, leaf in reader.log_leaves(org_id, start, _PAGE):
            if index != frontier.size:
                raise IntegrityError(f"entry {frontier.size} of the audit log is missing")
            for level, position, node in frontier.append(leaf_hash(leaf)):
                finished.setdefault(level, []).append((position, node))
        for level, nodes in finished.items():
            stored = reader.log_nodes(org_id, level, nodes[0][0], len(nodes))
            if stored != [node for _, node in nodes]:
                raise IntegrityError(f"stored tree nodes of level {level} do not belong to the entries of the audit log")
    if (frontier.size, frontier.root, frontier.peaks) != (head.size, head.root, head.peaks):
        raise IntegrityError(
            "the audit log's entries do not lead to its stored root",
            evidence={"entries": frontier.size, "size": head.size, "root": head.root.hex()},
        )
    return head
