"""The ``invite`` document: an open invitation of an operator (protocol sections 5 and 8)."""

from __future__ import annotations

from typing import Any, ClassVar

from stronghold_cli.protocol.documents.base import ROLES, Document, Members, extensions
from stronghold_cli.protocol.encoding import encode_base64


class Invite(Document):
    """``public_key`` verifies the acceptance; ``id`` becomes the operator's id."""

    KIND: ClassVar[str] = "invite"

    org_id: bytes
    id: bytes
    public_key: bytes
    role: str
    name: str
    created: int
    not_after: int

    @classmethod
    def _json_names(cls) -> tuple[str, ...]:
        return ("kind", *super()._json_names())

    @classmethod
    def _from_members(cls, members: Members) -> Invite:
        members.one_of("kind", ("invite",))
        return cls(
            org_id=members.hash("org_id"),
            id=members.id("id"),
            public_key=members.verify_key("public_key"),
            role=members.one_of("role", ROLES),
            name=members.name("name"),
            created=members.count("created"),
            not_after=members.count("not_after"),
            **extensions(members),
        )

    def _to_members(self) -> dict[str, Any]:
        return {
            "kind": "invite",
            "org_id": self.org_id.hex(),
            "id": self.id.hex(),
            "public_key": encode_base64(self.public_key),
            "role": self.role,
            "name": self.name,
            "created": self.created,
            "not_after": self.not_after,
        }
