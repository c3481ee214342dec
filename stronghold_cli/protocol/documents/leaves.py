"""The leaves of the signed maps: TLV values with their types (protocol section 5)."""

from __future__ import annotations

from struct import Struct

from stronghold_cli.protocol.documents.base import MAX_SEQ, ZERO_HASH
from stronghold_cli.protocol.encoding import decode_text, digest, split_tlv, tlv
from stronghold_cli.protocol.errors import MalformedError
from stronghold_cli.protocol.record import Record

DOCUMENT_KINDS = ("agent", "group", "invite", "profile")
MEMBER_KINDS = ("token", "operator", "root")
ROOT_MEMBER = bytes(16)
# TLV(version, epoch, ciphertext sha256, prev, oldest): each length, then its part.
_ENTRY = Struct(">IQIQI32sI32sIQ")


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
    # All parts have fixed sizes, so the whole TLV is one pattern; a pull reads as many leaves as the profile has secrets.
    if len(value) != _ENTRY.size:
        raise MalformedError("an entry leaf has not the size of one")
    one, version, two, epoch, three, ciphertext_sha256, four, prev, five, oldest = _ENTRY.unpack(value)
    if (one, two, three, four, five) != (8, 8, 32, 32, 8):
        raise MalformedError("an entry leaf is not made of counters and hashes")
    if not (1 <= version <= MAX_SEQ and 1 <= epoch <= MAX_SEQ and 1 <= oldest <= MAX_SEQ):
        raise MalformedError("a counter in a leaf is out of range")
    if oldest > version:
        raise MalformedError("an entry's oldest version is above its version")
    return EntryLeaf(version=version, epoch=epoch, ciphertext_sha256=ciphertext_sha256, prev=prev, oldest=oldest)


def leaf_link(key: bytes, value: bytes) -> bytes:
    """What the ``prev`` of the next leaf under ``key`` must be: SHA-256(TLV(key, value))."""
    return digest(tlv(key, value))


def _hash(data: bytes) -> bytes:
    if len(data) != 32:
        raise MalformedError("a hash in a leaf is not 32 bytes")
    return data
