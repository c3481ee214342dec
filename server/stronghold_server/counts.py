"""What requests leave in memory: counts of those without an audit entry, and the newest time that a verified one carried.

A flood of requests that are turned away (protocol section 7) must not become a flood of writes: housekeeping adds the
counts to the store now and then.
"""

from __future__ import annotations

from collections import Counter

from stronghold_server.store.interface import CounterKind


class Counts:
    """Counts since the last time that they were taken. Used by the event loop's thread alone."""

    def __init__(self) -> None:
        self._counts: Counter[CounterKind] = Counter()

    def add(self, kind: CounterKind) -> None:
        """One more."""
        self._counts[kind] += 1

    def take(self) -> dict[CounterKind, int]:
        """All counts; they begin at nothing again."""
        taken, self._counts = dict(self._counts), Counter()
        return taken


class Times:
    """The newest ``created`` of a verified request, per org (protocol section 8, "Expire"). One number for each org."""

    def __init__(self) -> None:
        self._newest: dict[bytes, int] = {}

    def see(self, org_id: bytes, created: int) -> None:
        """A request whose signature verified, and whose time the server's clock agrees with, carried this time."""
        if created > self._newest.get(org_id, 0):
            self._newest[org_id] = created

    def newest(self) -> dict[bytes, int]:
        """The newest time of each org that was heard of since the process began."""
        return dict(self._newest)
