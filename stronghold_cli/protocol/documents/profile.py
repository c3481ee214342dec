"""The ``profile`` document: a named set of secrets, its key's epoch, its editors, and the groups that may read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from stronghold_cli.protocol.documents.base import (
    MAX_SEQ,
    Document,
    Members,
    extensions,
    hex_ids,
    map_root_to_json,
)
from stronghold_cli.protocol.encoding import decode_hex
from stronghold_cli.protocol.names import MAX_DESCRIPTION
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.signed_map import MapRoot


class Grant(Record):
    """The profile key, boxed under the group key of ``epoch``; ``wrap_sha256`` is that box's hash."""

    epoch: int
    wrap_sha256: bytes


class Profile(Document):
    """``grants`` is the mapping of groups to profiles; ``old_keys``: epoch as u64be → TLV(kcv, box sha256)."""

    KIND: ClassVar[str] = "profile"

    org_id: bytes
    id: bytes
    version: int
    name: str
    description: str
    epoch: int
    kcv: bytes
    old_keys: MapRoot
    editors: tuple[bytes, ...]
    grants: Mapping[bytes, Grant]

    @classmethod
    def _json_names(cls) -> tuple[str, ...]:
        return ("kind", *super()._json_names())

    @classmethod
    def _from_members(cls, members: Members) -> Profile:
        members.one_of("kind", ("profile",))
        return cls(
            org_id=members.hash("org_id"),
            id=members.id("id"),
            version=members.count("version", 1, MAX_SEQ),
            name=members.name("name", profile=True),
            description=members.plain_text("description", MAX_DESCRIPTION),
            epoch=members.count("epoch", 1, MAX_SEQ),
            kcv=members.hash("kcv"),
            old_keys=members.map_root("old_keys"),
            editors=members.ids("editors"),
            grants={decode_hex(id_, 16): _grant(value) for id_, value in members.object("grants", 1000).items()},
            **extensions(members),
        )

    def _to_members(self) -> dict[str, Any]:
        return {
            "kind": "profile",
            "org_id": self.org_id.hex(),
            "id": self.id.hex(),
            "version": self.version,
            "name": self.name,
            "description": self.description,
            "epoch": self.epoch,
            "kcv": self.kcv.hex(),
            "old_keys": map_root_to_json(self.old_keys),
            "editors": hex_ids(self.editors),
            "grants": {
                id_.hex(): {"epoch": grant.epoch, "wrap_sha256": grant.wrap_sha256.hex()}
                for id_, grant in sorted(self.grants.items())
            },
        }


def _grant(value: object) -> Grant:
    members = Members(value, "profile.grants", Grant.members)
    return Grant(epoch=members.count("epoch", 1, MAX_SEQ), wrap_sha256=members.hash("wrap_sha256"))
