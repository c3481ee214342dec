"""Properties of padding, secrets, boxes and derivations."""

from __future__ import annotations

import os

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stronghold_cli.crypto.box import make_box, open_box
from stronghold_cli.crypto.kdf import kdf
from stronghold_cli.crypto.secrets import Secret, decode_secret, pad, padded_length, unpad
from stronghold_cli.protocol.encoding import MAX_INTEGER
from stronghold_cli.protocol.errors import IntegrityError, MalformedError

lengths = st.integers(0, 1 << 21)
keys = st.binary(min_size=32, max_size=32)
ctx_parts = st.one_of(st.binary(max_size=40), st.text(max_size=20), st.integers(0, MAX_INTEGER))
contexts = st.lists(ctx_parts, max_size=5).map(tuple)
secrets = st.builds(
    Secret,
    name=st.text(max_size=60),
    value=st.binary(max_size=1200),
    note=st.binary(max_size=300),
    author=st.binary(min_size=16, max_size=16),
    time=st.integers(0, MAX_INTEGER),
)


@given(lengths)
def test_padding_is_enough_stable_and_small(length: int) -> None:
    padded = padded_length(length)
    assert padded >= max(length, 64)
    assert padded_length(padded) == padded
    if length > 1024:
        assert padded <= length * 1.12


@given(lengths, lengths)
def test_a_longer_plaintext_never_has_a_smaller_padding(one: int, other: int) -> None:
    assert (padded_length(one) <= padded_length(other)) or one > other


@given(st.integers(11, 21))
def test_the_sizes_within_a_power_of_two_are_few(exponent: int) -> None:
    sizes = {padded_length(length) for length in range((1 << exponent) + 1, (2 << exponent) + 1, 1 + (1 << exponent) // 997)}
    assert len(sizes) <= 1 << exponent.bit_length()


@given(st.binary(max_size=5000))
def test_padding_comes_off_again(plaintext: bytes) -> None:
    assert unpad(pad(plaintext)) == plaintext


@given(st.binary(max_size=300), st.integers(0, 4096), st.integers(1, 255))
def test_a_change_to_the_padding_or_to_the_length_is_refused(plaintext: bytes, position: int, change: int) -> None:
    padded = bytearray(pad(plaintext))
    places = [*range(4), *range(4 + len(plaintext), len(padded))]
    padded[places[position % len(places)]] ^= change
    try:
        found = unpad(bytes(padded))
    except MalformedError:
        return
    # A changed length may fit, since a shorter plaintext can end in zeros; it is another one then, in its own one form.
    assert found != plaintext
    assert pad(found) == bytes(padded)


@given(st.binary(max_size=200))
def test_whatever_is_unpadded_was_padded_in_the_one_way(candidate: bytes) -> None:
    try:
        plaintext = unpad(candidate)
    except MalformedError:
        return
    assert pad(plaintext) == candidate


@given(secrets)
def test_secrets_come_back_as_they_were(secret: Secret) -> None:
    assert decode_secret(secret.encode()) == secret


@given(st.binary(max_size=200))
def test_garbage_is_never_a_secret_with_another_encoding(plaintext: bytes) -> None:
    try:
        secret = decode_secret(pad(plaintext))
    except IntegrityError:
        return
    assert secret.encode() == pad(plaintext)


@given(keys, contexts, st.binary(min_size=64, max_size=600))
def test_a_box_opens_to_what_was_put_in(key: bytes, ctx: tuple[bytes | str | int, ...], plaintext: bytes) -> None:
    assert open_box(key, "secret", ctx, make_box(key, "secret", ctx, plaintext, os.urandom)) == plaintext


@given(keys, contexts, contexts)
def test_a_box_opens_under_no_other_ctx(
    key: bytes, ctx: tuple[bytes | str | int, ...], other: tuple[bytes | str | int, ...]
) -> None:
    assume(as_parts(ctx) != as_parts(other))
    blob = make_box(key, "keyset", ctx, bytes(32), os.urandom)
    with pytest.raises(IntegrityError):
        open_box(key, "keyset", other, blob)


@given(keys, contexts, contexts)
def test_no_two_contexts_share_a_key(
    key: bytes, ctx: tuple[bytes | str | int, ...], other: tuple[bytes | str | int, ...]
) -> None:
    assume(as_parts(ctx) != as_parts(other))
    assert kdf(key, "op/sign", *ctx) != kdf(key, "op/sign", *other)


@given(st.binary(max_size=200))
def test_no_bytes_of_anybody_open(blob: bytes) -> None:
    with pytest.raises(IntegrityError):
        open_box(bytes(32), "keyset", (), blob)


def as_parts(ctx: tuple[bytes | str | int, ...]) -> list[bytes]:
    """What a ctx is to the TLV: a text is its UTF-8 and an integer its 8 bytes, so those two are no other ctx."""
    return [
        part.encode() if isinstance(part, str) else part.to_bytes(8, "big") if isinstance(part, int) else part
        for part in ctx
    ]
