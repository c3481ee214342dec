"""The audit leaf: its bytes, and that a leaf of any other form is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stronghold_cli.protocol.audit import AuditLeaf, DocumentReference, decode_leaf, side_hash
from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.errors import MalformedError
from stronghold_cli.protocol.requests import KeyId

DOCUMENT = DocumentReference(kind="contents", id=b"p" * 16, version=3, sha256=b"d" * 32)
LEAF = AuditLeaf(
    index=5,
    kind="pull",
    server_time=1_700_000_000,
    signature_base='"@method": GET\n…',
    signature=b"s" * 64,
    key_id=KeyId(kind="t", raw=b"k" * 16),
    outcome="ok",
    code="",
    head_seq=9,
    document=DOCUMENT,
    correlation_id=b"c" * 16,
    side=b"x" * 32,
)


def _changed(**changes: Any) -> bytes:
    return json.dumps({**json.loads(LEAF.encode()), **changes}).encode()


def _changed_document(**changes: Any) -> bytes:
    return _changed(document={**json.loads(LEAF.encode())["document"], **changes})


def test_the_bytes_are_those_of_the_protocol() -> None:
    assert (
        LEAF.encode()
        == (
            '{"v":1,"index":5,"kind":"pull","server_time":1700000000,"signature_base":"\\"@method\\": GET\\n…",'
            f'"signature":"{"c3Nz" * 21}cw==","key_id":"t:{"6b" * 16}","outcome":"ok","code":"","head_seq":9,'
            f'"document":{{"kind":"contents","id":"{"70" * 16}","version":3,"sha256":"{"64" * 32}"}},'
            f'"correlation_id":"{"63" * 16}","side":"{"78" * 32}"}}'
        ).encode()
    )


@pytest.mark.parametrize(
    "leaf",
    [
        LEAF,
        LEAF.replace(document=None),
        LEAF.replace(document=DOCUMENT.replace(kind="head", id=b"o" * 32)),
        LEAF.replace(index=0, head_seq=0, server_time=0),
        LEAF.replace(index=2**53 - 1, head_seq=2**32 - 1),
        LEAF.replace(code="TOKEN_DEPRECATED"),
        LEAF.replace(outcome="refused", code="PROFILE_FORBIDDEN"),
        LEAF.replace(outcome="error", code=""),
        LEAF.replace(kind="cache-report", key_id=KeyId(kind="r", raw=b"o" * 32)),
    ],
)
def test_leaves_read_back_as_themselves(leaf: AuditLeaf) -> None:
    assert decode_leaf(leaf.encode()) == leaf


@pytest.mark.parametrize("name", json.loads(LEAF.encode()))
def test_every_member_is_required_and_none_may_be_of_another_type(name: str) -> None:
    members = json.loads(LEAF.encode())
    del members[name]
    with pytest.raises(MalformedError):
        decode_leaf(json.dumps(members).encode())
    wrong: list[object] = [True, 1.5, [], [1], {"a": 1}, -1, 2**53]
    if name != "document":
        wrong.append(None)
    wrong.append("5" if isinstance(json.loads(LEAF.encode())[name], int) else 5)
    for value in wrong:
        with pytest.raises(MalformedError):
            decode_leaf(_changed(**{name: value}))


@pytest.mark.parametrize("name", ["kind", "id", "version", "sha256"])
def test_every_member_of_the_document_is_required_and_typed(name: str) -> None:
    members = json.loads(LEAF.encode())
    del members["document"][name]
    with pytest.raises(MalformedError):
        decode_leaf(json.dumps(members).encode())
    for value in (None, True, [], -1, 2**53, 1.5, "5" if name == "version" else 5):
        with pytest.raises(MalformedError):
            decode_leaf(_changed_document(**{name: value}))


@pytest.mark.parametrize(
    "encoded",
    [
        _changed(extra=1),
        _changed_document(extra=1),
        _changed(v=2),
        _changed(v=0),
        _changed(kind=""),
        _changed(kind="Pull"),
        _changed(kind="pull-"),
        _changed(kind="pull\n"),
        _changed(kind="a" * 65),
        _changed(signature=""),
        _changed(signature="AAAA"),
        _changed(signature_base=""),
        _changed(signature_base="x" * 4097),
        _changed(key_id="t:00"),
        _changed(key_id="T:" + "6b" * 16),
        _changed(outcome="OK"),
        _changed(outcome=""),
        _changed(outcome="refused", code="lower"),
        _changed(outcome="refused", code="TOKEN_REVOKED\n"),
        _changed(outcome="refused", code="7"),
        _changed(outcome="refused", code="TOKEN REVOKED"),
        _changed(outcome="refused", code="A" * 65),
        _changed(code="TOKEN_REVOKED"),
        _changed(outcome="refused", code="TOKEN_DEPRECATED"),
        _changed(head_seq=2**32),
        _changed(correlation_id="63" * 15),
        _changed(correlation_id="6C" * 16),
        _changed(side="78" * 31),
        _changed(side=""),
        _changed_document(kind=""),
        _changed_document(id="70" * 15),
        _changed_document(id="70" * 24),
        _changed_document(id=""),
        _changed_document(sha256="64" * 31),
        LEAF.encode() + b"x",
        LEAF.encode()[:-1],
        LEAF.encode().replace(b'"v":1', b'"v":1,"v":1'),
        LEAF.encode() + b" " * (16 << 10),
        b"[]",
        b"null",
        b"",
    ],
)
def test_leaves_of_any_other_form_are_refused(encoded: bytes) -> None:
    with pytest.raises(MalformedError):
        decode_leaf(encoded)


@pytest.mark.parametrize(
    "leaf",
    [
        LEAF.replace(signature=b""),
        LEAF.replace(signature_base=""),
        LEAF.replace(side=b""),
        LEAF.replace(kind="Pull"),
        LEAF.replace(index=-1),
    ],
)
def test_no_leaf_is_made_that_could_not_be_read_back(leaf: AuditLeaf) -> None:
    with pytest.raises(MalformedError):
        leaf.encode()


def test_side_hides_address_and_agent_under_the_salt() -> None:
    salt = bytes(range(16))
    expected = digest(b"\0\0\0\x10" + salt + b"\0\0\0\x07" + b"1.2.3.4" + b"\0\0\0\x03" + b"c/1")
    assert side_hash(salt, "1.2.3.4", "c/1") == expected
    assert side_hash(salt, "1.2.3.4c", "/1") != expected
    with pytest.raises(MalformedError):
        side_hash(bytes(15), "1.2.3.4", "c/1")


@pytest.mark.parametrize(
    ("kind", "raw"), [("t", b"k" * 15), ("t", b"k" * 32), ("r", b"k" * 16), ("x", b"k" * 16), ("", b"")]
)
def test_entry_of_a_key_that_cannot_be_does_not_enter_the_log(kind: str, raw: bytes) -> None:
    with pytest.raises(MalformedError):
        LEAF.replace(key_id=KeyId(kind=kind, raw=raw)).encode()
