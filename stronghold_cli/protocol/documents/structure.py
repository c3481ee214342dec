"""The ``structure`` document: the map of all agents, groups, profiles and open invites, and the lockdowns."""

from __future__ import annotations

from typing import Any, ClassVar

from stronghold_cli.protocol.documents.base import (
    MAX_SEQ,
    Document,
    Members,
    extensions,
    hex_ids,
    map_root_to_json,
)
from stronghold_cli.protocol.errors import MalformedError
from stronghold_cli.protocol.names import is_label
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.signed_map import MapRoot

MAX_LOCKDOWNS = 1000
MAX_REASON = 1000
MAX_LABELS = 100


class Lockdown(Record):
    """A line that stops agents: all of them, or those named, in a group named, or with a label ``key=value`` named."""

    id: bytes
    all: bool
    groups: tuple[bytes, ...]
    agents: tuple[bytes, ...]
    labels: tuple[str, ...]
    reason: str
    created: int


class Structure(Document):
    """``documents``: kind/id → TLV(name, payload sha256)."""

    KIND: ClassVar[str] = "structure"

    org_id: bytes
    seq: int
    prev: bytes
    documents: MapRoot
    lockdowns: tuple[Lockdown, ...]
    created: int

    @classmethod
    def _from_members(cls, members: Members) -> Structure:
        lockdowns = tuple(_lockdown(value) for value in members.items("lockdowns", MAX_LOCKDOWNS))
        if len({lockdown.id for lockdown in lockdowns}) != len(lockdowns):
            raise MalformedError("structure: a lockdown stands in it twice")
        return cls(
            org_id=members.hash("org_id"),
            seq=members.count("seq", 1, MAX_SEQ),
            prev=members.hash("prev"),
            documents=members.map_root("documents"),
            lockdowns=lockdowns,
            created=members.count("created"),
            **extensions(members),
        )

    def _to_members(self) -> dict[str, Any]:
        return {
            "org_id": self.org_id.hex(),
            "seq": self.seq,
            "prev": self.prev.hex(),
            "documents": map_root_to_json(self.documents),
            "lockdowns": [_lockdown_to_json(lockdown) for lockdown in self.lockdowns],
            "created": self.created,
        }


def _lockdown(value: object) -> Lockdown:
    members = Members(value, "structure.lockdowns", Lockdown.members)
    labels = members.items("labels", MAX_LABELS)
    for label in labels:
        if not isinstance(label, str) or label.count("=") != 1 or not is_label(*label.split("=")):
            raise MalformedError("structure.lockdowns: a label is not key=value")
    lockdown = Lockdown(
        id=members.id("id"),
        all=members.flag("all"),
        groups=members.ids("groups"),
        agents=members.ids("agents"),
        labels=tuple(labels),
        reason=members.plain_text("reason", MAX_REASON),
        created=members.count("created"),
    )
    if lockdown.all == bool(lockdown.groups or lockdown.agents or lockdown.labels):
        raise MalformedError("structure.lockdowns: a lockdown names either all, or groups, agents or labels")
    return lockdown


def _lockdown_to_json(lockdown: Lockdown) -> dict[str, Any]:
    return {
        "id": lockdown.id.hex(),
        "all": lockdown.all,
        "groups": hex_ids(lockdown.groups),
        "agents": hex_ids(lockdown.agents),
        "labels": list(lockdown.labels),
        "reason": lockdown.reason,
        "created": lockdown.created,
    }
