"""Properties of the protocol's formats: round trips, and proofs against a recomputation written out from RFC 6962."""

from __future__ import annotations

import contextlib
from hashlib import sha256

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stronghold_cli.protocol.encoding import (
    decode_base62,
    decode_base64,
    decode_hex,
    decode_json,
    encode_base62,
    encode_base64,
    encode_json,
    split_tlv,
    tlv,
)
from stronghold_cli.protocol.errors import IntegrityError, MalformedError, StrongholdError, TokenMalformed
from stronghold_cli.protocol.keys import SigningKey, VerifyKey
from stronghold_cli.protocol.requests import KeyId, parse_request, parse_signature_base, sign_request
from stronghold_cli.protocol.signed_map import (
    Frontier,
    MapRoot,
    SignedMap,
    consistency_path,
    inclusion_path,
    leaf_hash,
    map_root,
    tree_root,
    verify_consistency,
    verify_inclusion,
    verify_leaf_inclusion,
)
from stronghold_cli.protocol.token import AgentToken, OperatorKit, parse_token

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
KEY = SigningKey(bytes(32))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(1 - 2**53, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
MAPS = st.dictionaries(st.binary(max_size=20), st.binary(max_size=40), max_size=40)
LOGS = st.lists(st.binary(max_size=8), min_size=1, max_size=70)
HASHES = st.binary(min_size=32, max_size=32)
ADDRESSES = st.from_regex(r"[a-z]{1,20}(\.[a-z]{2,9})?(:[1-9][0-9]{2}1)?(/[A-Za-z0-9_-]{1,9}){0,3}", fullmatch=True)
TOKENS = st.builds(
    AgentToken,
    plain_http=st.booleans(),
    pin=HASHES,
    floor=st.integers(1, 2**32 - 1),
    secret=HASHES,
    wrapped_master_key=st.binary(min_size=48, max_size=48),
    address=ADDRESSES,
)
KITS = st.builds(
    OperatorKit,
    plain_http=st.booleans(),
    pin=HASHES,
    floor=st.integers(1, 2**32 - 1),
    address=ADDRESSES,
    org_id=HASHES,
    operator_id=st.binary(min_size=16, max_size=16),
    account_key=HASHES,
    salt=st.binary(min_size=16, max_size=16),
    memory_kib=st.integers(0, 2**32 - 1),
    time_cost=st.integers(0, 255),
    parallelism=st.integers(0, 255),
)


def _root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, as it stands there."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\0" + leaves[0]).digest()
    cut = _cut(len(leaves))
    return sha256(b"\1" + _root(leaves[:cut]) + _root(leaves[cut:])).digest()


def _cut(count: int) -> int:
    """The largest power of two below ``count``."""
    power = 1
    while power * 2 < count:
        power *= 2
    return power


def _audit_path(index: int, leaves: list[bytes]) -> tuple[bytes, ...]:
    """PATH of section 2.1.1."""
    if len(leaves) == 1:
        return ()
    cut = _cut(len(leaves))
    if index < cut:
        return (*_audit_path(index, leaves[:cut]), _root(leaves[cut:]))
    return (*_audit_path(index - cut, leaves[cut:]), _root(leaves[:cut]))


@given(st.lists(st.binary() | st.text() | st.integers(0, 2**64 - 1)))
def test_tlv_round_trip(parts: list[bytes | str | int]) -> None:
    raw = tuple(p.encode() if isinstance(p, str) else p.to_bytes(8, "big") if isinstance(p, int) else p for p in parts)
    assert split_tlv(tlv(*parts), len(parts)) == raw


@given(st.lists(st.binary(), min_size=1), st.data())
def test_a_cut_tlv_never_reads(parts: list[bytes], draw: st.DataObject) -> None:
    encoded = tlv(*parts)
    with pytest.raises(MalformedError):
        split_tlv(encoded[: draw.draw(st.integers(0, len(encoded) - 1))], len(parts))


@given(st.integers(1, 255), st.binary(max_size=400))
def test_base62_round_trip(first: int, rest: bytes) -> None:
    raw = bytes([first]) + rest
    assert decode_base62(encode_base62(raw)) == raw


@given(st.text(alphabet=DIGITS, max_size=60))
def test_base62_text_has_one_meaning_or_none(text: str) -> None:
    try:
        raw = decode_base62(text)
    except MalformedError:
        assert not text or (text.startswith("0") and text != "0")
    else:
        assert encode_base62(raw) == text


@given(st.binary())
def test_base64_and_hex_round_trip(raw: bytes) -> None:
    assert decode_base64(encode_base64(raw), length=len(raw)) == raw
    assert decode_hex(raw.hex(), len(raw)) == raw


@given(st.text(alphabet="AQgwZm9v+/=\n -_", max_size=12))
def test_base64_text_has_one_meaning_or_none(text: str) -> None:
    try:
        raw = decode_base64(text)
    except MalformedError:
        return
    assert encode_base64(raw) == text


def _depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


@given(JSON)
def test_json_round_trip_unless_too_deep(value: object) -> None:
    encoded = encode_json(value)  # type: ignore[arg-type]
    if _depth(value) > 8:
        with pytest.raises(MalformedError):
            decode_json(encoded, len(encoded))
    else:
        assert decode_json(encoded, len(encoded)) == value


@given(st.binary(max_size=60))
def test_json_decoding_raises_its_own_error_only(encoded: bytes) -> None:
    with contextlib.suppress(MalformedError):
        decode_json(encoded, 60)


@given(MAPS)
def test_map_roots_and_proofs_are_those_of_the_rfc(leaves: dict[bytes, bytes]) -> None:
    pairs = [len(k).to_bytes(4, "big") + k + len(v).to_bytes(4, "big") + v for k, v in sorted(leaves.items())]
    signed = SignedMap(leaves)
    assert map_root(leaves) == signed.root == MapRoot(size=len(pairs), root=_root(pairs))
    for index, key in enumerate(sorted(leaves)):
        proof = signed.prove(key)
        assert (proof.index, proof.path) == (index, _audit_path(index, pairs))
        verify_inclusion(signed.root, key, leaves[key], proof)


@given(MAPS.filter(bool), st.data())
def test_a_changed_map_proof_is_refused(leaves: dict[bytes, bytes], draw: st.DataObject) -> None:
    signed = SignedMap(leaves)
    key = draw.draw(st.sampled_from(sorted(leaves)))
    proof, value = signed.prove(key), leaves[key]
    other_index = draw.draw(st.integers(0, 80).filter(lambda index: index != proof.index))
    cases = [
        (key, value + b"x", proof),
        (key + b"x", value, proof),
        (key, value, proof.replace(index=other_index)),
        (key, value, proof.replace(path=(*proof.path, draw.draw(HASHES)))),
    ]
    if proof.path:
        position = draw.draw(st.integers(0, len(proof.path) - 1))
        node = draw.draw(HASHES.filter(lambda node: node != proof.path[position]))
        cases.append((key, value, proof.replace(path=(*proof.path[:position], node, *proof.path[position + 1 :]))))
        cases.append((key, value, proof.replace(path=proof.path[:position] + proof.path[position + 1 :])))
    for changed_key, changed_value, changed_proof in cases:
        with pytest.raises(IntegrityError):
            verify_inclusion(signed.root, changed_key, changed_value, changed_proof)


@given(LOGS)
def test_log_roots_inclusion_and_frontier_agree_with_the_rfc(leaves: list[bytes]) -> None:
    hashes = [leaf_hash(leaf) for leaf in leaves]
    frontier = Frontier()
    for leaf in hashes:
        for level, index, node in frontier.append(leaf):
            assert node == _root(leaves[index << level : index + 1 << level])
    assert tree_root(hashes) == frontier.root == _root(leaves)
    for index in {0, len(leaves) // 2, len(leaves) - 1}:
        path = inclusion_path(index, hashes)
        assert path == _audit_path(index, leaves)
        verify_leaf_inclusion(hashes[index], index, len(hashes), path, frontier.root)


@given(LOGS, st.data())
def test_consistency_holds_for_real_prefixes_and_for_no_other_tree(leaves: list[bytes], draw: st.DataObject) -> None:
    hashes = [leaf_hash(leaf) for leaf in leaves]
    old_size = draw.draw(st.integers(1, len(leaves)))
    path = consistency_path(old_size, hashes)
    old_root, new_root = _root(leaves[:old_size]), _root(leaves)
    verify_consistency(old_size, old_root, len(leaves), new_root, path)

    rewritten = draw.draw(st.integers(0, old_size - 1))
    forged = [*hashes[:rewritten], leaf_hash(leaves[rewritten] + b"x"), *hashes[rewritten + 1 :]]
    with pytest.raises(IntegrityError):
        verify_consistency(old_size, old_root, len(leaves), tree_root(forged), consistency_path(old_size, forged))
    with pytest.raises(IntegrityError):
        verify_consistency(old_size, old_root, len(leaves), new_root, (*path, draw.draw(HASHES)))
    if path:
        position = draw.draw(st.integers(0, len(path) - 1))
        with pytest.raises(IntegrityError):
            verify_consistency(old_size, old_root, len(leaves), new_root, path[:position] + path[position + 1 :])


@given(st.integers(2, 2**60), st.integers(2, 2**60), st.lists(HASHES, max_size=70), HASHES, HASHES)
def test_made_up_proofs_end_with_the_integrity_error(
    one: int, two: int, path: list[bytes], left: bytes, right: bytes
) -> None:
    assume(left != right)
    with pytest.raises(IntegrityError):
        verify_leaf_inclusion(left, one, two, path, right)
    with pytest.raises(IntegrityError):
        verify_consistency(one, left, two, right, path)


@given(TOKENS | KITS)
def test_token_round_trip(token: AgentToken | OperatorKit) -> None:
    assert parse_token(token.text) == token


@given(TOKENS | KITS, st.data())
def test_a_damaged_token_is_refused(token: AgentToken | OperatorKit, draw: st.DataObject) -> None:
    text = token.text
    position = draw.draw(st.integers(0, len(text) - 1))
    other = draw.draw(st.characters().filter(lambda character: character != text[position]))
    digit = draw.draw(st.sampled_from([digit for digit in DIGITS if digit != text[position]]))
    for damaged in (
        text[:position] + other + text[position + 1 :],
        text[:position] + digit + text[position + 1 :],
        text[:position],
        text[position + 1 :],
        text[:position] + text[position + 1 :],
        text[:position] + text[position] + text[position:],
        text[:position] + text,
        text + text[position:],
    ):
        if damaged != text:
            with pytest.raises(TokenMalformed):
                parse_token(damaged)


@given(st.text(max_size=40) | st.text(alphabet=DIGITS, max_size=300).map("shat_".__add__))
def test_token_parsing_raises_its_own_error_only(text: str) -> None:
    with pytest.raises(TokenMalformed):
        parse_token(text)


@given(
    method=st.sampled_from(["GET", "POST"]),
    target=st.from_regex(r'/[!"$->@-~]{0,30}(\?[!"$-~]{1,30})?', fullmatch=True),
    body=st.binary(max_size=40),
    created=st.integers(0, 10**15 - 1),
    nonce=st.binary(min_size=16, max_size=16),
    key_id=st.builds(KeyId, kind=st.sampled_from("toli"), raw=st.binary(min_size=16, max_size=16)),
)
def test_request_round_trip(*, method: str, target: str, body: bytes, created: int, nonce: bytes, key_id: KeyId) -> None:
    headers, base = sign_request(
        KEY, key_id, method=method, authority="h:1", target=target, body=body, created=created, nonce=nonce
    )
    found = parse_request(
        method=method,
        authority="h:1",
        target=target,
        content_digest=[headers.content_digest],
        signature_input=[headers.signature_input],
        signature=[headers.signature],
        body=body,
    )
    found.verify(VerifyKey(KEY.public))
    assert (found.key_id, found.created, found.nonce, found.base) == (key_id, created, nonce, base)
    kept = parse_signature_base(base)
    assert kept.path + (f"?{kept.query}" if kept.query else "") == target
    assert (kept.method, kept.key_id, kept.created, kept.nonce) == (method, key_id, created, nonce)


@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=80), st.text(max_size=20))
def test_request_parsing_raises_its_own_error_only(digest_line: str, input_line: str, signature: str, target: str) -> None:
    with pytest.raises(StrongholdError) as caught:
        parse_request(
            method="GET",
            authority="h",
            target=target,
            content_digest=[digest_line],
            signature_input=[input_line],
            signature=[signature],
            body=b"",
        )
    assert type(caught.value) is MalformedError
