"""The ``contents`` document: which ciphertexts a profile holds, at which version (protocol section 5)."""

from __future__ import annotations

from typing import Any, ClassVar

from stronghold_cli.protocol.documents.base import MAX_SEQ, Document, Members, extensions, map_root_to_json
from stronghold_cli.protocol.signed_map import MapRoot


class Contents(Document):
    """``entries``: secret_id → TLV(version, epoch, ciphertext_sha256, prev, oldest)."""

    KIND: ClassVar[str] = "contents"

    org_id: bytes
    profile_id: bytes
    seq: int
    version: int
    prev: bytes
    profile_epoch: int
    entries: MapRoot
    created: int

    @classmethod
    def _from_members(cls, members: Members) -> Contents:
        return cls(
            org_id=members.hash("org_id"),
            profile_id=members.id("profile_id"),
            seq=members.count("seq", 1, MAX_SEQ),
            version=members.count("version", 1, MAX_SEQ),
            prev=members.hash("prev"),
            profile_epoch=members.count("profile_epoch", 1, MAX_SEQ),
            entries=members.map_root("entries"),
            created=members.count("created"),
            **extensions(members),
        )

    def _to_members(self) -> dict[str, Any]:
        return {
            "org_id": self.org_id.hex(),
            "profile_id": self.profile_id.hex(),
            "seq": self.seq,
            "version": self.version,
            "prev": self.prev.hex(),
            "profile_epoch": self.profile_epoch,
            "entries": map_root_to_json(self.entries),
            "created": self.created,
        }
