"""Every document in its one form: the frozen vectors come out again, and each malformed input is refused as its class."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from stronghold_cli.protocol.documents import base
from stronghold_cli.protocol.documents.agent import Agent
from stronghold_cli.protocol.documents.base import SIZE_LIMITS, Document, optional_hex
from stronghold_cli.protocol.documents.contents import Contents
from stronghold_cli.protocol.documents.group import Group
from stronghold_cli.protocol.documents.head import Head
from stronghold_cli.protocol.documents.invite import Invite
from stronghold_cli.protocol.documents.leaves import (
    decode_document_leaf,
    decode_entry_leaf,
    decode_member_leaf,
    decode_old_key_leaf,
    split_document_key,
)
from stronghold_cli.protocol.documents.login import Acceptance, Login
from stronghold_cli.protocol.documents.org import Org, check_org
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.documents.structure import Structure
from stronghold_cli.protocol.encoding import tlv
from stronghold_cli.protocol.envelope import decode_envelope
from stronghold_cli.protocol.errors import ClientTooOld, IntegrityError, MalformedError, StrongholdError
from stronghold_cli.protocol.keys import VerifyKey
from tests.support.org import workshop

VECTORS = Path(__file__).parents[2] / "vectors"
KINDS: dict[str, type[Document]] = {
    kind.KIND: kind for kind in (Org, Structure, Agent, Group, Profile, Invite, Contents, Head, Login, Acceptance)
}
GOOD: dict[str, Any] = json.loads((VECTORS / "own" / "documents.json").read_text(encoding="utf-8"))
MALFORMED: list[dict[str, str]] = json.loads((VECTORS / "own" / "malformed_documents.json").read_text(encoding="utf-8"))[
    "inputs"
]


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_document_vectors", os.path.join(VECTORS, "make_document_vectors.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_frozen_vectors_come_out_again(maker: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert maker.main(["--check"]) == 0, capsys.readouterr().err


def test_the_check_tells_a_changed_vector(
    maker: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = tmp_path / "documents.json"
    kept = json.loads(json.dumps(GOOD))
    kept["documents"]["head"]["sha256"] = "00"
    changed.write_text(json.dumps(kept), encoding="utf-8")
    monkeypatch.setattr(maker, "PATH", str(changed))
    assert maker.main(["--check"]) == 1
    assert capsys.readouterr().err == "differs: /documents/head/sha256\n"


@pytest.mark.parametrize("name", GOOD["documents"])
def test_a_document_is_read_and_written_to_the_byte(name: str) -> None:
    vector = GOOD["documents"][name]
    payload = vector["payload"].encode()
    document = KINDS[vector["kind"]].decode(payload)
    assert document.payload == payload
    assert document.replace(crit=()).payload == payload
    assert document.sha256.hex() == vector["sha256"]
    if "envelope" in vector:
        envelope = decode_envelope(vector["envelope"].encode())
        envelope.verify(vector["kind"], VerifyKey(bytes.fromhex(vector["public_key"])))
        assert envelope.payload == payload
        for kind in KINDS.keys() - {vector["kind"]}:
            with pytest.raises(IntegrityError, match="not of the type"):
                envelope.verify(kind, VerifyKey(bytes.fromhex(vector["public_key"])))


@pytest.mark.parametrize("name", GOOD["documents"])
def test_a_document_of_one_kind_is_no_other(name: str) -> None:
    vector = GOOD["documents"][name]
    for kind in KINDS.keys() - {vector["kind"]}:
        with pytest.raises(MalformedError):
            KINDS[kind].decode(vector["payload"].encode())


@pytest.mark.parametrize("vector", MALFORMED, ids=lambda vector: vector["name"])
def test_a_malformed_document_is_refused(vector: dict[str, str]) -> None:
    text = vector["payload"]
    payload = bytes.fromhex(text[4:]) if text.startswith("hex:") else text.encode()
    with pytest.raises(StrongholdError) as caught:
        KINDS[vector["kind"]].decode(payload)
    assert caught.value.code == vector["error"]


def test_the_malformed_inputs_have_names_of_their_own() -> None:
    assert len({vector["name"] for vector in MALFORMED}) == len(MALFORMED)
    assert len({(vector["kind"], vector["payload"]) for vector in MALFORMED}) == len(MALFORMED)


@pytest.mark.parametrize("kind", SIZE_LIMITS)
def test_every_kind_has_a_size_limit(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    payload = GOOD["documents"][kind]["payload"].encode()
    monkeypatch.setitem(base.SIZE_LIMITS, kind, len(payload))
    assert KINDS[kind].decode(payload)
    monkeypatch.setitem(base.SIZE_LIMITS, kind, len(payload) - 1)
    with pytest.raises(MalformedError, match="more than the"):
        KINDS[kind].decode(payload)


def test_a_later_document_is_told_as_such_before_its_members_are_read() -> None:
    later = json.loads(GOOD["documents"]["head"]["payload"])
    later.update(crit=["quorum"], quorum=3)
    with pytest.raises(ClientTooOld, match="'quorum'"):
        Head.decode(json.dumps(later).encode())


def test_ext_is_kept_and_signed() -> None:
    vector = GOOD["documents"]["head"]
    head = Head.decode(vector["payload"].encode())
    assert head.ext == {"note": {"é": [1, None, True]}}
    assert head.replace(ext={}).sha256 != head.sha256
    assert head.replace(seq=10).ext == head.ext


def test_an_org_holds_a_bounded_number_of_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    org = workshop().state.org.document
    monkeypatch.setattr("stronghold_cli.protocol.documents.org.MAX_OPERATORS", 4)
    check_org(org)
    monkeypatch.setattr("stronghold_cli.protocol.documents.org.MAX_OPERATORS", 3)
    with pytest.raises(MalformedError, match="too many operators"):
        check_org(org)


def test_optional_hashes() -> None:
    assert (optional_hex(None), optional_hex(b"\xab")) == (None, "ab")


# Leaves


@pytest.mark.parametrize("name", GOOD["formats"]["leaves"])
def test_a_leaf_is_read_and_written_to_the_byte(name: str) -> None:
    value = bytes.fromhex(GOOD["formats"]["leaves"][name])
    decode: Any = {
        "document": decode_document_leaf,
        "member": decode_member_leaf,
        "old": decode_old_key_leaf,
        "entry": decode_entry_leaf,
    }[name.split(maxsplit=1)[0]]
    assert decode(value).encode() == value
    for damaged in (value[:-1], value + b"\0", b"", value[4:]):
        with pytest.raises(MalformedError):
            decode(damaged)


HASH = bytes(32)


@pytest.mark.parametrize(
    ("decode", "value"),
    [
        (decode_document_leaf, tlv("name", bytes(31))),
        (decode_document_leaf, tlv(b"\xff", HASH)),
        (decode_member_leaf, tlv("agent", b"", HASH, HASH)),
        (decode_member_leaf, tlv("token", b"", HASH, HASH)),
        (decode_member_leaf, tlv("token", bytes(15), HASH, HASH)),
        (decode_member_leaf, tlv("operator", bytes(16), HASH, HASH)),
        (decode_member_leaf, tlv("root", bytes(16), HASH, HASH)),
        (decode_member_leaf, tlv("root", b"", bytes(33), HASH)),
        (decode_member_leaf, tlv("root", b"", HASH, b"")),
        (decode_member_leaf, tlv(b"\xff", b"", HASH, HASH)),
        (decode_old_key_leaf, tlv(b"", HASH)),
        (decode_old_key_leaf, tlv(HASH, b"")),
        (decode_entry_leaf, tlv(0, 1, HASH, HASH, 1)),
        (decode_entry_leaf, tlv(1, 0, HASH, HASH, 1)),
        (decode_entry_leaf, tlv(1, 1, HASH, HASH, 0)),
        (decode_entry_leaf, tlv(1, 1, HASH, HASH, 2)),
        (decode_entry_leaf, tlv(2**32, 1, HASH, HASH, 1)),
        (decode_entry_leaf, tlv(1, 1, b"", HASH, 1)),
        (decode_entry_leaf, tlv(1, 1, HASH, b"", 1)),
        (decode_entry_leaf, tlv(b"\x01", 1, HASH, HASH, 1)),
    ],
)
def test_a_malformed_leaf_is_refused(decode: Any, value: bytes) -> None:
    with pytest.raises(MalformedError):
        decode(value)


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"agent",
        b"agent/",
        b"agent/" + bytes(15),
        b"agent/" + bytes(17),
        b"Agent/" + bytes(16),
        b"other/" + bytes(16),
        bytes(16),
        b"agent" + bytes(16),
        b"\xff/" + bytes(16),
    ],
)
def test_a_key_of_the_documents_map_is_kind_and_id(key: bytes) -> None:
    with pytest.raises(MalformedError, match="not kind/id"):
        split_document_key(key)
    assert split_document_key(b"agent/" + b"/" * 16) == ("agent", b"/" * 16)


def test_a_deleted_entry_is_not_live() -> None:
    assert decode_entry_leaf(bytes.fromhex(GOOD["formats"]["leaves"]["entry"])).is_live
    assert not decode_entry_leaf(bytes.fromhex(GOOD["formats"]["leaves"]["entry deleted"])).is_live
