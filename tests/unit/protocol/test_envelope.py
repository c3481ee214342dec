"""DSSE envelopes: the signed bytes, the one form that is read, and that a kind never stands for another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stronghold_cli.protocol import envelope as module
from stronghold_cli.protocol.encoding import decode_json, digest, encode_json
from stronghold_cli.protocol.envelope import Envelope, decode_envelope, pre_authentication_encoding, sign_envelope
from stronghold_cli.protocol.errors import IntegrityError, MalformedError
from stronghold_cli.protocol.keys import SigningKey, VerifyKey

KEY = SigningKey(b"k" * 32)
VERIFY = VerifyKey(KEY.public)
ENVELOPE = sign_envelope("head", b'{"a":1}', "ab" * 16, KEY)


def test_the_bytes_that_are_signed_are_those_of_dsse() -> None:
    # The example of the DSSE protocol's own text.
    assert pre_authentication_encoding("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    VERIFY.verify(ENVELOPE.signature, b'DSSEv1 39 application/vnd.stronghold.head.v1+json 7 {"a":1}')


def test_an_envelope_comes_back_from_its_bytes() -> None:
    assert decode_envelope(ENVELOPE.encode()) == ENVELOPE
    root = sign_envelope("org", b"payload", "root", KEY)
    assert decode_envelope(root.encode()) == root
    assert (root.operator_id, ENVELOPE.operator_id) == (None, b"\xab" * 16)


def test_a_documents_hash_is_that_of_its_payload() -> None:
    assert ENVELOPE.sha256 == digest(b'{"a":1}') == ENVELOPE.replace(signature=bytes(64)).sha256


def test_a_signature_is_for_one_kind_key_and_payload() -> None:
    ENVELOPE.verify("head", VERIFY)
    for forged, kind, key in (
        (ENVELOPE, "org", VERIFY),
        (ENVELOPE.replace(payload_type="application/vnd.stronghold.org.v1+json"), "org", VERIFY),
        (ENVELOPE.replace(payload=b'{"a":2}'), "head", VERIFY),
        (ENVELOPE.replace(signature=ENVELOPE.signature[:63] + b"\0"), "head", VERIFY),
        (ENVELOPE, "head", VerifyKey(SigningKey(b"o" * 32).public)),
    ):
        with pytest.raises(IntegrityError):
            forged.verify(kind, key)


def change(**members: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda value: {**value, **members}


def signature(**members: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda value: {**value, "signatures": [{**value["signatures"][0], **members}]}


MALFORMED: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no object": (lambda _: [], "other members than payload"),
    "unknown member": (change(more=1), "other members than payload"),
    "missing member": (lambda value: {"payload": value["payload"], "signatures": value["signatures"]}, "other members"),
    "no signature": (change(signatures=[]), "not exactly one signature"),
    "two signatures": (lambda value: {**value, "signatures": value["signatures"] * 2}, "not exactly one signature"),
    "signatures of another type": (change(signatures={}), "not exactly one signature"),
    "signature without members": (change(signatures=["x"]), "other members than keyid and sig"),
    "unknown member of a signature": (signature(cert=""), "other members than keyid and sig"),
    "payload no text": (change(payload=1), "not a text"),
    "type no text": (change(payloadType=None), "not a text"),
    "keyid no text": (signature(keyid=1), "not a text"),
    "signature no text": (signature(sig=1), "not a text"),
    "keyid upper case": (signature(keyid="AB" * 16), "hex digits"),
    "keyid short": (signature(keyid="ab" * 15), "hex digits"),
    "keyid Root": (signature(keyid="Root"), "hex digits"),
    "type not ASCII": (change(payloadType="é"), "not ASCII"),
    "payload no base64": (change(payload="a"), "base64"),
    "payload url-safe base64": (change(payload="-_-_"), "base64"),
    "signature short": (signature(sig="AAAA"), "bytes instead of 64"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_other_forms_are_refused(name: str) -> None:
    make, message = MALFORMED[name]
    with pytest.raises(MalformedError, match=message):
        decode_envelope(encode_json(make(decode_json(ENVELOPE.encode(), 10_000))))


def test_a_member_that_stands_twice_is_refused() -> None:
    with pytest.raises(MalformedError):
        decode_envelope(ENVELOPE.encode().replace(b'{"payload":', b'{"payload":"","payload":', 1))


def test_an_envelope_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(ENVELOPE.encode())
    monkeypatch.setattr(module, "MAX_ENVELOPE", size)
    assert isinstance(decode_envelope(ENVELOPE.encode()), Envelope)
    monkeypatch.setattr(module, "MAX_ENVELOPE", size - 1)
    with pytest.raises(MalformedError):
        decode_envelope(ENVELOPE.encode())
