"""The ``group`` document: who holds the group key of its epoch (protocol section 5)."""

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
from stronghold_cli.protocol.signed_map import MapRoot


class Group(Document):
    """``kcv`` commits to the group key; ``members``: member id → TLV(kind, owner, seal_sha256, sealed_sha256)."""

    KIND: ClassVar[str] = "group"

    org_id: bytes
    id: bytes
    version: int
    name: str
    epoch: int
    kcv: bytes
    operators: tuple[bytes, ...]
    member_map: MapRoot

    @classmethod
    def _json_names(cls) -> tuple[str, ...]:
        return ("kind", "org_id", "id", "version", "name", "epoch", "kcv", "operators", "members", "ext", "crit")

    @classmethod
    def _from_members(cls, members: Members) -> Group:
        members.one_of("kind", ("group",))
        return cls(
            org_id=members.hash("org_id"),
            id=members.id("id"),
            version=members.count("version", 1, MAX_SEQ),
            name=members.name("name"),
            epoch=members.count("epoch", 1, MAX_SEQ),
            kcv=members.hash("kcv"),
            operators=members.ids("operators"),
            member_map=members.map_root("members"),
            **extensions(members),
        )

    def _to_members(self) -> dict[str, Any]:
        return {
            "kind": "group",
            "org_id": self.org_id.hex(),
            "id": self.id.hex(),
            "version": self.version,
            "name": self.name,
            "epoch": self.epoch,
            "kcv": self.kcv.hex(),
            "operators": hex_ids(self.operators),
            "members": map_root_to_json(self.member_map),
        }
