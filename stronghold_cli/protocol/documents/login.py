"""The signed records of section 8: ``login`` (which box opens for an operator) and ``acceptance`` (an invitee's keys)."""

from __future__ import annotations

from typing import Any, ClassVar

from stronghold_cli.protocol.documents.base import MAX_SEQ, Document, Members, extensions
from stronghold_cli.protocol.encoding import encode_base64, tlv


class Login(Document):
    """Signed by op/sign: the public op/login key, and the hash of the box that holds the keyset."""

    KIND: ClassVar[str] = "login"

    org_id: bytes
    operator_id: bytes
    version: int
    login: bytes
    box_sha256: bytes

    @classmethod
    def _from_members(cls, members: Members) -> Login:
        return cls(
            org_id=members.hash("org_id"),
            operator_id=members.id("operator_id"),
            version=members.count("version", 1, MAX_SEQ),
            login=members.verify_key("login"),
            box_sha256=members.hash("box_sha256"),
            **extensions(members),
        )

    def _to_members(self) -> dict[str, Any]:
        return {
            "org_id": self.org_id.hex(),
            "operator_id": self.operator_id.hex(),
            "version": self.version,
            "login": encode_base64(self.login),
            "box_sha256": self.box_sha256.hex(),
        }


class Acceptance(Document):
    """Signed by the invite key: the invitee's name and public keys, with proof of possession of op/sign."""

    KIND: ClassVar[str] = "acceptance"

    org_id: bytes
    invite_id: bytes
    name: str
    sign: bytes
    request: bytes
    seal_sha256: bytes
    proof: bytes

    @classmethod
    def _from_members(cls, members: Members) -> Acceptance:
        return cls(
            org_id=members.hash("org_id"),
            invite_id=members.id("invite_id"),
            name=members.name("name"),
            sign=members.verify_key("sign"),
            request=members.verify_key("request"),
            seal_sha256=members.hash("seal_sha256"),
            proof=members.signature("proof"),
            **extensions(members),
        )

    def _to_members(self) -> dict[str, Any]:
        return {
            "org_id": self.org_id.hex(),
            "invite_id": self.invite_id.hex(),
            "name": self.name,
            "sign": encode_base64(self.sign),
            "request": encode_base64(self.request),
            "seal_sha256": self.seal_sha256.hex(),
            "proof": encode_base64(self.proof),
        }

    def proof_message(self) -> bytes:
        """What ``proof`` signs: TLV("stronghold/v1/proof", org_id, invite_id, name, sign, request, seal_sha256)."""
        return tlv(
            "stronghold/v1/proof",
            self.org_id,
            self.invite_id,
            self.name,
            self.sign,
            self.request,
            self.seal_sha256,
        )
