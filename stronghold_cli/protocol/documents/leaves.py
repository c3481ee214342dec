"""The leaves of the signed maps: TLV values with their types (protocol section 5)."""

from __future__ import annotations

from stronghold_cli.protocol.documents.base import MAX_SEQ, ZERO_HASH
from stronghold_cli.protocol.encoding import decode_text, decode_u64, digest, split_tlv, tlv
from stronghold_cli.protocol.errors import MalformedError
from stronghold_cli.protocol.record import Record

DOCUMENT_KINDS = ("agent", "group", "invite", "profile")
MEMBER_KINDS = ("token", "operator", "root")
ROOT_MEMBER = bytes(16)


class DocumentLeaf(Record):
    """A leaf of the structure's documents map: TLV(name, payload sha256)."""

    name: str
    sha256: bytes

    def encode(self) -> bytes:
        """The leaf's value."""
        return tlv(self.name, self.sha256)


class MemberLeaf(Record):
    """A leaf of a group's member map: TLV(kind, id of the owning agent or empty, seal_sha256, sealed_sha256)."""

    kind: str
    owner: bytes
    seal_sha256: bytes
    sealed_sha256: bytes

    def encode(self) -> bytes:
        """The leaf's value."""
        return tlv(self.kind, self.owner, self.seal_sha256, self.sealed_sha256)


class OldKeyLeaf(Record):
    """A leaf of a profile's old keys map: TLV(kcv, box sha256)."""

    kcv: bytes
    box_sha256: bytes

    def encode(self) -> bytes:
        """The leaf's value."""
        return tlv(self.kcv, self.box_sha256)


class EntryLeaf(Record):
    """A leaf of a contents' entries map. A deleted secret has a ciphertext_sha256 of zeros."""

    version: int
    epoch: int
    ciphertext_sha256: bytes
    prev: bytes
    oldest: int

    @property
    def is_live(self) -> bool:
        """Whether the secret exists at this version (and was not deleted)."""
        return self.ciphertext_sha256 != ZERO_HASH

    def encode(self) -> bytes:
        """The leaf's value."""
        return tlv(self.version, self.epoch, self.ciphertext_sha256, self.prev, self.oldest)


def document_key(kind: str, id_: bytes) -> bytes:
    """The key of a document: ASCII kind ‖ "/" ‖ raw id."""
    return kind.encode("ascii") + b"/" + id_


def split_document_key(key: bytes) -> tuple[str, bytes]:
    """Kind and 16-byte id of a documents key; raises ``MalformedError``."""
    kind, slash, id_ = key.partition(b"/")
    name = kind.decode("latin-1")
    if name not in DOCUMENT_KINDS or not slash or len(id_) != 16:
        raise MalformedError("a key of the documents map is not kind/id")
    return name, id_


def decode_document_leaf(value: bytes) -> DocumentLeaf:
    """Parse a documents leaf."""
    name, sha256 = split_tlv(value, 2)
    return DocumentLeaf(name=decode_text(name), sha256=_hash(sha256))


def decode_member_leaf(value: bytes) -> MemberLeaf:
    """Parse a member leaf: tokens have an owner of 16 bytes, the others none."""
    kind, owner, seal_sha256, sealed_sha256 = split_tlv(value, 4)
    name = kind.decode("latin-1")
    if name not in MEMBER_KINDS or len(owner) != (16 if name == "token" else 0):
        raise MalformedError("a member leaf has an unknown kind or a wrong owner")
    return MemberLeaf(kind=name, owner=owner, seal_sha256=_hash(seal_sha256), sealed_sha256=_hash(sealed_sha256))


def decode_old_key_leaf(value: bytes) -> OldKeyLeaf:
    """Parse an old-key leaf."""
    kcv, box_sha256 = split_tlv(value, 2)
    return OldKeyLeaf(kcv=_hash(kcv), box_sha256=_hash(box_sha256))


def decode_entry_leaf(value: bytes) -> EntryLeaf:
    """Parse an entry leaf; versions and epochs are 1 to 2^32-1 and ``oldest`` is not above the version."""
    version, epoch, ciphertext_sha256, prev, oldest = split_tlv(value, 5)
    leaf = EntryLeaf(
        version=_counter(version),
        epoch=_counter(epoch),
        ciphertext_sha256=_hash(ciphertext_sha256),
        prev=_hash(prev),
        oldest=_counter(oldest),
    )
    if leaf.oldest > leaf.version:
        raise MalformedError("an entry's oldest version is above its version")
    return leaf


def leaf_link(key: bytes, value: bytes) -> bytes:
    """What the ``prev`` of the next leaf under ``key`` must be: SHA-256(TLV(key, value))."""
    return digest(tlv(key, value))


def _hash(data: bytes) -> bytes:
    if len(data) != 32:
        raise MalformedError("a hash in a leaf is not 32 bytes")
    return data


def _counter(data: bytes) -> int:
    value = decode_u64(data)
    if not 1 <= value <= MAX_SEQ:
        raise MalformedError("a counter in a leaf is out of range")
    return value
