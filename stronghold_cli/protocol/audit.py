"""The leaf of the audit log (protocol section 7): what a server records of one verified request.

A leaf is strict JSON and kept as exact bytes; its hash in the log's tree is ``signed_map.leaf_hash`` of those bytes. What
makes it evidence is the signature base and signature of the request: the rest is the server's word.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from stronghold_cli.protocol.encoding import (
    MAX_INTEGER,
    decode_base64,
    decode_hex,
    decode_json,
    digest,
    encode_base64,
    encode_json,
    tlv,
)
from stronghold_cli.protocol.errors import MalformedError
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.requests import KEY_ID_BYTES, SIGNATURE_BYTES, KeyId, parse_key_id

VERSION = 1
MAX_LEAF = 16 << 10
MAX_SIGNATURE_BASE = 4096
MAX_SEQ = 2**32 - 1
SALT_BYTES = 16
OUTCOMES = frozenset({"ok", "refused", "error"})
DEPRECATED = "TOKEN_DEPRECATED"

_LEAF_MEMBERS = (
    "v", "index", "kind", "server_time", "signature_base", "signature", "key_id",
    "outcome", "code", "head_seq", "document", "correlation_id", "side",
)  # fmt: skip
_DOCUMENT_MEMBERS = ("kind", "id", "version", "sha256")
_KIND = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_CODE = re.compile(r"([A-Z][A-Z0-9_]{0,63})?")
_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{64}")
_MAX_KIND = 64


class DocumentReference(Record):
    """What was delivered or written. ``id`` is 16 bytes, for the org's own documents (org, structure, head) 32."""

    kind: str
    id: bytes
    version: int
    sha256: bytes


class AuditLeaf(Record):
    """One entry. ``correlation_id`` is 16 bytes, ``side`` the 32 bytes of ``side_hash``; times are Unix seconds."""

    index: int
    kind: str
    server_time: int
    signature_base: str
    signature: bytes
    key_id: KeyId
    outcome: str
    code: str
    head_seq: int
    document: DocumentReference | None
    correlation_id: bytes
    side: bytes

    def encode(self) -> bytes:
        """The leaf's bytes, as the log keeps them; raises ``MalformedError`` where ``decode_leaf`` would."""
        # An entry that nobody could read back must not enter the log; reading each one back would cost more than the rest.
        _check_leaf(self)
        # Every member but one is of letters, digits and signs that JSON takes as they are (``_check_leaf``).
        document = "null" if self.document is None else _document_json(self.document)
        encoded = (
            f'{{"v":{VERSION},"index":{self.index},"kind":"{self.kind}","server_time":{self.server_time}'
            f',"signature_base":{encode_json(self.signature_base).decode()},"signature":"{encode_base64(self.signature)}"'
            f',"key_id":"{self.key_id.text}","outcome":"{self.outcome}","code":"{self.code}","head_seq":{self.head_seq}'
            f',"document":{document},"correlation_id":"{self.correlation_id.hex()}","side":"{self.side.hex()}"}}'
        ).encode()
        if len(encoded) > MAX_LEAF:
            raise MalformedError(f"an audit entry has {len(encoded)} bytes, more than the {MAX_LEAF} allowed")
        return encoded


def decode_leaf(encoded: bytes) -> AuditLeaf:
    """Decode a leaf strictly: every member present, none beside them, each within its limits; else ``MalformedError``."""
    members = _members(decode_json(encoded, MAX_LEAF), _LEAF_MEMBERS)
    if _integer(members, "v", VERSION) != VERSION:
        raise MalformedError("an audit entry is of another version")
    leaf = AuditLeaf(
        index=_integer(members, "index", MAX_INTEGER),
        kind=_kind(members),
        server_time=_integer(members, "server_time", MAX_INTEGER),
        signature_base=_text(members, "signature_base"),
        signature=decode_base64(_text(members, "signature"), length=SIGNATURE_BYTES),
        key_id=parse_key_id(_text(members, "key_id")),
        outcome=_text(members, "outcome"),
        code=_text(members, "code"),
        head_seq=_integer(members, "head_seq", MAX_SEQ),
        document=None if members["document"] is None else _decode_document(members["document"]),
        correlation_id=decode_hex(_text(members, "correlation_id"), 16),
        side=decode_hex(_text(members, "side"), 32),
    )
    _check_base(leaf.signature_base)
    _check_outcome(leaf.outcome, leaf.code)
    return leaf


def side_hash(salt: bytes, address: str, user_agent: str) -> bytes:
    """SHA-256(TLV(salt, client address, user agent)), the only trace of both in the log; ``salt`` is 16 random bytes."""
    if len(salt) != SALT_BYTES:
        raise MalformedError(f"a salt has {len(salt)} bytes instead of {SALT_BYTES}")
    return digest(tlv(salt, address, user_agent))


def _check_leaf(leaf: AuditLeaf) -> None:
    """Every check of ``decode_leaf``, on the values themselves."""
    _check_integer("index", leaf.index, MAX_INTEGER)
    _check_integer("server_time", leaf.server_time, MAX_INTEGER)
    _check_integer("head_seq", leaf.head_seq, MAX_SEQ)
    _check_kind(leaf.kind)
    _check_base(leaf.signature_base)
    _check_length("signature", leaf.signature, SIGNATURE_BYTES)
    _check_length("correlation_id", leaf.correlation_id, 16)
    _check_length("side", leaf.side, 32)
    if len(leaf.key_id.raw) != KEY_ID_BYTES.get(leaf.key_id.kind):
        raise MalformedError("the key id of an audit entry is of no known kind, or not as long as its kind's")
    _check_outcome(leaf.outcome, leaf.code)
    document = leaf.document
    if document is not None:
        _check_kind(document.kind)
        _check_integer("version", document.version, MAX_INTEGER)
        _check_length("sha256", document.sha256, 32)
        if len(document.id) not in (16, 32):
            raise MalformedError("the id of a document in an audit entry is not 32 or 64 hex digits")


def _check_base(base: str) -> None:
    if not 1 <= len(base) <= MAX_SIGNATURE_BASE:
        raise MalformedError("an audit entry has no signature base, or one that is too long")


def _check_length(name: str, value: bytes, length: int) -> None:
    if len(value) != length:
        raise MalformedError(f"the member {name} of an audit entry has {len(value)} bytes instead of {length}")


def _document_json(document: DocumentReference) -> str:
    return (
        f'{{"kind":"{document.kind}","id":"{document.id.hex()}","version":{document.version}'
        f',"sha256":"{document.sha256.hex()}"}}'
    )


def _decode_document(value: Any) -> DocumentReference:
    members = _members(value, _DOCUMENT_MEMBERS)
    identity = _text(members, "id")
    if not _ID.fullmatch(identity):
        raise MalformedError("the id of a document in an audit entry is not 32 or 64 hex digits")
    return DocumentReference(
        kind=_kind(members),
        id=decode_hex(identity, len(identity) // 2),
        version=_integer(members, "version", MAX_INTEGER),
        sha256=decode_hex(_text(members, "sha256"), 32),
    )


@lru_cache(maxsize=256)
def _check_outcome(outcome: str, code: str) -> None:
    """A code is an error's, or ``TOKEN_DEPRECATED``, which goes with ``ok`` and alone does."""
    if outcome not in OUTCOMES:
        raise MalformedError("the outcome of an audit entry is none of ok, refused, error")
    if not _CODE.fullmatch(code):
        raise MalformedError("the code of an audit entry is not an upper-case word")
    if code and (outcome == "ok") != (code == DEPRECATED):
        raise MalformedError("the code of an audit entry contradicts its outcome")


def _members(value: Any, names: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict) or value.keys() != set(names):
        raise MalformedError(f"an audit entry does not have exactly the members {', '.join(names)}")
    return value


def _text(members: dict[str, Any], name: str) -> str:
    value = members[name]
    if not isinstance(value, str):
        raise MalformedError(f"the member {name} of an audit entry is not a text")
    return value


def _integer(members: dict[str, Any], name: str, highest: int) -> int:
    value: int = members[name]
    _check_integer(name, value, highest)
    return value


def _check_integer(name: str, value: object, highest: int) -> None:
    if type(value) is not int or not 0 <= value <= highest:
        raise MalformedError(f"the member {name} of an audit entry is not an integer from 0 to {highest}")


def _kind(members: dict[str, Any]) -> str:
    kind = _text(members, "kind")
    _check_kind(kind)
    return kind


@lru_cache(maxsize=256)
def _check_kind(kind: str) -> None:
    if len(kind) > _MAX_KIND or not _KIND.fullmatch(kind):
        raise MalformedError("a kind in an audit entry is not a lower-case word")
