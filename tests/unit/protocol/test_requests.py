"""The one profile of RFC 9421: what is signed, and that the server reads nothing else."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import http_message_signatures as independent
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from stronghold_cli.protocol.encoding import decode_base64, digest, encode_base64
from stronghold_cli.protocol.errors import IntegrityError, MalformedError
from stronghold_cli.protocol.keys import SigningKey, VerifyKey
from stronghold_cli.protocol.requests import (
    KeyId,
    RequestSignature,
    SignatureBase,
    parse_key_id,
    parse_request,
    parse_signature_base,
    sign_request,
)

VECTOR = json.loads((Path(__file__).parents[2] / "vectors" / "rfc9421" / "b26.json").read_text())
KEY = SigningKey(bytes(range(32)))
KEY_ID = KeyId(kind="t", raw=bytes(range(16)))
NONCE = bytes(range(16, 32))
BODY = b'{"a":1}'
REQUEST = {
    "method": "POST",
    "authority": "secrets.example:8443",
    "target": "/base/v1/pull?org=ab&profile=x%20y",
    "body": BODY,
}
HEADERS, BASE = sign_request(KEY, KEY_ID, created=1_700_000_000, nonce=NONCE, **REQUEST)
PARAMETERS = (
    '("@method" "@authority" "@path" "@query" "content-digest");created=1700000000'
    ';nonce="101112131415161718191a1b1c1d1e1f";keyid="t:000102030405060708090a0b0c0d0e0f";alg="ed25519";tag="stronghold-v1"'
)


def _parse(**changes: Any) -> RequestSignature:
    received: dict[str, Any] = {
        **REQUEST,
        "content_digest": [HEADERS.content_digest],
        "signature_input": [HEADERS.signature_input],
        "signature": [HEADERS.signature],
    }
    return parse_request(**{**received, **changes})


def test_the_rfc_s_ed25519_example_verifies() -> None:
    base = "\n".join(VECTOR["base"]).encode()
    signature = decode_base64(VECTOR["signature"], length=64)
    VerifyKey(bytes.fromhex(VECTOR["public_key"])).verify(signature, base)
    signer = SigningKey(bytes.fromhex(VECTOR["seed"]))
    assert (signer.public.hex(), signer.sign(base)) == (VECTOR["public_key"], signature)
    with pytest.raises(IntegrityError):
        VerifyKey(signer.public).verify(signature, base + b"\n")


def test_the_components_shared_with_the_rfc_s_example_have_its_lines() -> None:
    _, base = sign_request(
        KEY,
        KEY_ID,
        method=VECTOR["method"],
        authority=VECTOR["authority"],
        target=f"{VECTOR['path']}?{VECTOR['query']}",
        body=VECTOR["body"].encode(),
        created=1618884473,
        nonce=NONCE,
    )
    lines = base.split("\n")
    shared = [line for line in VECTOR["base"] if line.startswith(('"@method"', '"@path"', '"@authority"'))]
    assert len(shared) == 3
    assert set(shared) < set(lines)
    assert f'"content-digest": {VECTOR["content_digest"]}' in lines
    assert f'"@query": ?{VECTOR["query"]}' in lines


def test_base_and_headers_are_those_of_the_protocol() -> None:
    assert (
        '"@method": POST\n"@authority": secrets.example:8443\n"@path": /base/v1/pull\n"@query": ?org=ab&profile=x%20y\n'
        f'"content-digest": sha-256=:{encode_base64(digest(BODY))}:\n"@signature-params": {PARAMETERS}'
    ) == BASE
    assert dict(HEADERS.items()) == {
        "Content-Digest": f"sha-256=:{encode_base64(digest(BODY))}:",
        "Signature-Input": f"sh={PARAMETERS}",
        "Signature": f"sh=:{encode_base64(KEY.sign(BASE.encode()))}:",
    }


def test_an_absent_query_is_a_question_mark_in_the_base() -> None:
    _, base = sign_request(KEY, KEY_ID, created=0, nonce=NONCE, method="GET", authority="h", target="/", body=b"")
    assert '\n"@path": /\n"@query": ?\n' in base
    assert parse_signature_base(base).query == ""


def test_a_signed_request_is_read_and_verifies() -> None:
    found = _parse()
    assert (found.key_id, found.created, found.nonce, found.base) == (KEY_ID, 1_700_000_000, NONCE, BASE)
    found.verify(VerifyKey(KEY.public))
    with pytest.raises(IntegrityError):
        found.verify(VerifyKey(SigningKey(bytes(32)).public))


class _Resolver(independent.HTTPSignatureKeyResolver):
    def resolve_public_key(self, key_id: str) -> Any:
        assert key_id == KEY_ID.text
        return Ed25519PublicKey.from_public_bytes(KEY.public)


class _Message:
    """A request as the independent library wants it."""

    def __init__(self, target: str) -> None:
        self.method = "POST"
        self.url = f"https://{REQUEST['authority']}{target}"
        self.headers = dict(HEADERS.items())


def _verify_independently(target: str) -> None:
    verifier = independent.HTTPMessageVerifier(signature_algorithm=independent.algorithms.ED25519, key_resolver=_Resolver())
    verifier.verify(_Message(target), max_age=timedelta(days=36500))  # type: ignore[arg-type]


def test_an_independent_library_verifies_our_signature() -> None:
    _verify_independently(str(REQUEST["target"]))
    with pytest.raises(independent.InvalidSignature):
        _verify_independently("/base/v1/pull?org=ab&profile=other")


@pytest.mark.parametrize(
    "change",
    [
        {"method": "PUT"},
        {"authority": "secrets.example"},
        {"target": "/base/v1/pull?org=ab&profile=x%20z"},
        {"target": "/base/v1/pull"},
        {"target": "/v1/pull?org=ab&profile=x%20y"},
        {"signature_input": [HEADERS.signature_input.replace("created=1700000000", "created=1700000001")]},
        {"signature_input": [HEADERS.signature_input.replace('nonce="1', 'nonce="2')]},
        {"signature_input": [HEADERS.signature_input.replace('keyid="t', 'keyid="o')]},
        {"signature": [HEADERS.signature.replace(HEADERS.signature[6], "A" if HEADERS.signature[6] != "A" else "B", 1)]},
        {"body": b"", "content_digest": [f"sha-256=:{encode_base64(digest(b''))}:"]},
    ],
    ids=str,
)
def test_every_component_altered_no_longer_verifies(change: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError, match="does not verify"):
        _parse(**change).verify(VerifyKey(KEY.public))


def test_the_digest_must_be_that_of_the_body() -> None:
    with pytest.raises(MalformedError, match="not that of the body"):
        _parse(body=BODY + b" ")


@pytest.mark.parametrize("name", ["content_digest", "signature_input", "signature"])
def test_each_header_stands_exactly_once(name: str) -> None:
    value = getattr(HEADERS, name)
    for lines in ([], [value, value], [value, ""], [f"{value}, {value}"], [""]):
        with pytest.raises(MalformedError):
            _parse(**{name: lines})


@pytest.mark.parametrize("name", ["content_digest", "signature_input", "signature"])
def test_every_single_character_cut_doubled_or_padded_is_refused(name: str) -> None:
    value = getattr(HEADERS, name)
    key = VerifyKey(KEY.public)
    for position in range(len(value)):
        for changed in (
            value[:position] + value[position + 1 :],
            value[:position] + value[position] * 2 + value[position + 1 :],
            value[:position] + " " + value[position:],
            value[:position] + "\u00df" + value[position + 1 :],
            value[:position] + value[position].swapcase() + value[position + 1 :],
        ):
            if changed != value:
                with pytest.raises(IntegrityError):
                    _parse(**{name: [changed]}).verify(key)
    for changed in (value + "\n", value + " ", value + ";x", " " + value, value + "\0", value + " " * 2000):
        with pytest.raises(MalformedError):
            _parse(**{name: [changed]})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("sh=", "SH="),
        ("sh=", "sig1="),
        ("sh=(", "other=(), sh=("),
        ('"@method" "@authority"', '"@authority" "@method"'),
        (' "content-digest"', ""),
        (' "content-digest"', ' "content-digest" "date"'),
        ('"@path"', '"@path";req'),
        (";alg=", ";expires=1800000000;alg="),
        (';alg="ed25519"', ""),
        ('"ed25519"', '"hmac-sha256"'),
        ('"stronghold-v1"', '"stronghold-v2"'),
        (';tag="stronghold-v1"', ""),
        ("created=1700000000", "created=01700000000"),
        ("created=1700000000", "created=-1700000000"),
        ("created=1700000000", "created=+1700000000"),
        ("created=1700000000", "created=1700000000.0"),
        ("created=1700000000", "created="),
        ("created=1700000000", "created=1e9"),
        ("created=1700000000", "created=1000000000000000"),
        ("created=1700000000", "created=١٧"),
        ('nonce="10', 'nonce="'),
        ('nonce="10', 'nonce="1010'),
        ('nonce="1011121314', 'nonce="101112131A'),
        ('keyid="t:00', 'keyid="r:00'),
        ('keyid="t:00', 'keyid="x:00'),
        ('keyid="t:00', 'keyid="00'),
        ('keyid="t:', 'keyid="t:t:'),
        ('keyid="t:00', 'keyid="t:0000'),
    ],
)
def test_signature_inputs_beside_the_profile_are_refused(old: str, new: str) -> None:
    assert old in HEADERS.signature_input
    with pytest.raises(MalformedError):
        _parse(signature_input=[HEADERS.signature_input.replace(old, new, 1)])


@pytest.mark.parametrize(
    "value", ["sha-512=:{}:", "sha-256={}", "SHA-256=:{}:", "sha-256=:{}:, sha-512=:AA==:", "sha-256=:{}=:"]
)
def test_content_digests_of_another_form_are_refused(value: str) -> None:
    with pytest.raises(MalformedError):
        _parse(content_digest=[value.format(encode_base64(digest(BODY)))])


def test_base64_with_stray_bits_is_refused() -> None:
    last = HEADERS.signature[-4]
    other = chr(ord(last) + 1)
    with pytest.raises(MalformedError):
        _parse(signature=[HEADERS.signature[:-4] + other + HEADERS.signature[-3:]])


@pytest.mark.parametrize(
    "change",
    [
        {"method": "post"},
        {"method": ""},
        {"method": "POST\n"},
        {"method": "A" * 17},
        {"authority": "Secrets.example"},
        {"authority": ""},
        {"authority": "a\n"},
        {"authority": "a b"},
        {"authority": "user@a"},
        {"target": ""},
        {"target": "v1/pull"},
        {"target": "*"},
        {"target": "https://h/v1"},
        {"target": "/v1#fragment"},
        {"target": "/v1?a#fragment"},
        {"target": "/v1?"},
        {"target": "/v 1"},
        {"target": "/v1\n"},
        {"target": "/v1?a\n"},
        {"target": "/ä"},
        {"target": "/\x7f"},
        {"target": "/" + "a" * 2048},
    ],
    ids=str,
)
def test_requests_that_have_no_one_form_are_neither_signed_nor_read(change: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        _parse(**change)
    with pytest.raises(MalformedError):
        sign_request(KEY, KEY_ID, created=1, nonce=NONCE, **{**REQUEST, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": bytes(15)},
        {"nonce": bytes(17)},
        {"created": -1},
        {"created": 10**15},
        {"key_id": KeyId(kind="t", raw=bytes(32))},
    ],
    ids=str,
)
def test_nothing_is_signed_that_the_server_would_not_read(change: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        sign_request(KEY, **{"key_id": KEY_ID, "created": 1, "nonce": NONCE, **REQUEST, **change})


@pytest.mark.parametrize(("kind", "length"), [("t", 16), ("o", 16), ("l", 16), ("i", 16), ("r", 32)])
def test_key_ids_have_one_text_each(kind: str, length: int) -> None:
    raw = bytes(range(200, 200 + length))
    text = f"{kind}:{raw.hex()}"
    assert parse_key_id(text) == KeyId(kind=kind, raw=raw)
    assert parse_key_id(text).text == text
    for wrong in (text.upper(), text[:-2], text + "00", text + "\n", " " + text, text[1:], raw.hex(), "", "x" + text[1:]):
        with pytest.raises(MalformedError):
            parse_key_id(wrong)


def test_a_kept_signature_base_is_read_back() -> None:
    assert parse_signature_base(BASE) == SignatureBase(
        method="POST",
        authority="secrets.example:8443",
        path="/base/v1/pull",
        query="org=ab&profile=x%20y",
        content_sha256=digest(BODY),
        key_id=KEY_ID,
        created=1_700_000_000,
        nonce=NONCE,
    )


def test_a_kept_signature_base_with_any_line_off_is_refused() -> None:
    lines = BASE.split("\n")
    for number in range(len(lines)):
        for changed in (
            lines[:number] + lines[number + 1 :],
            [*lines[:number], "", *lines[number:]],
            [*lines[:number], lines[number]],
        ):
            if changed != lines:
                with pytest.raises(MalformedError):
                    parse_signature_base("\n".join(changed))
    for changed in (BASE + "\n", BASE.replace("\n", "\r\n"), "", BASE.replace("POST", "post"), BASE.replace("?org", "org")):
        with pytest.raises(MalformedError):
            parse_signature_base(changed)
