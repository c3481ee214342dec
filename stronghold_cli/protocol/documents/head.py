"""The ``head`` document: the one counter of an org, and the hashes of everything that is current (protocol section 5)."""

from __future__ import annotations

from typing import Any, ClassVar

from stronghold_cli.protocol.documents.base import MAX_SEQ, Document, Members, extensions, map_root_to_json
from stronghold_cli.protocol.signed_map import MapRoot


class Head(Document):
    """``contents``: profile_id → payload sha256 of that profile's contents."""

    KIND: ClassVar[str] = "head"

    org_id: bytes
    seq: int
    prev: bytes
    org_sha256: bytes
    structure_sha256: bytes
    contents: MapRoot
    created: int

    @classmethod
    def _from_members(cls, members: Members) -> Head:
        return cls(
            org_id=members.hash("org_id"),
            seq=members.count("seq", 1, MAX_SEQ),
            prev=members.hash("prev"),
            org_sha256=members.hash("org_sha256"),
            structure_sha256=members.hash("structure_sha256"),
            contents=members.map_root("contents"),
            created=members.count("created"),
            **extensions(members),
        )

    def _to_members(self) -> dict[str, Any]:
        return {
            "org_id": self.org_id.hex(),
            "seq": self.seq,
            "prev": self.prev.hex(),
            "org_sha256": self.org_sha256.hex(),
            "structure_sha256": self.structure_sha256.hex(),
            "contents": map_root_to_json(self.contents),
            "created": self.created,
        }
