"""Boxes: their bytes, and everything that must keep one from opening (attacks 1 to 3, 11, 34 and 50)."""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stronghold_cli.crypto.box import MAX_SECRET, Context, make_box, open_box
from stronghold_cli.protocol.errors import IntegrityError, MalformedError

KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))
PLAINTEXT = bytes(range(64, 96))
CTX: Context = (b"o" * 32, b"p" * 16, 3, b"g" * 16, 5)
KINDS = ("profile-key", "profile-key-old", "secret", "keyset")


def part(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value


@pytest.fixture
def blob() -> bytes:
    return make_box(KEY, "profile-key", CTX, PLAINTEXT, os.urandom)


def test_the_bytes_are_those_of_the_protocol(counting_random: Callable[[int], bytes]) -> None:
    blob = make_box(KEY, "profile-key", CTX, PLAINTEXT, lambda size: b"n" * size)
    ctx = part(b"o" * 32) + part(b"p" * 16) + part(bytes(7) + b"\x03") + part(b"g" * 16) + part(bytes(7) + b"\x05")
    label = part(b"stronghold/v1/box/profile-key") + ctx
    key = hmac.digest(KEY, label + b"\x01", "sha256")
    assert blob == b"\x01\x01" + b"n" * 12 + AESGCM(key).encrypt(b"n" * 12, PLAINTEXT, b"\x01\x01" + label)


def test_a_box_opens_with_its_own_key_kind_and_ctx(blob: bytes) -> None:
    assert open_box(KEY, "profile-key", CTX, blob) == PLAINTEXT


def test_another_key_does_not_open(blob: bytes) -> None:
    with pytest.raises(IntegrityError):
        open_box(OTHER_KEY, "profile-key", CTX, blob)


@pytest.mark.parametrize("position", range(5))
def test_another_ctx_part_does_not_open(blob: bytes, position: int) -> None:
    part = CTX[position]
    other = part + 1 if isinstance(part, int) else b"x" * len(str(part))
    with pytest.raises(IntegrityError):
        open_box(KEY, "profile-key", (*CTX[:position], other, *CTX[position + 1 :]), blob)


@pytest.mark.parametrize("ctx", [(), CTX[:-1], (*CTX, b""), CTX[::-1], (CTX[0], CTX[3], 3, CTX[1], 5)])
def test_a_missing_further_or_exchanged_ctx_part_does_not_open(blob: bytes, ctx: Context) -> None:
    with pytest.raises(IntegrityError):
        open_box(KEY, "profile-key", ctx, blob)


@pytest.mark.parametrize("made", KINDS)
@pytest.mark.parametrize("asked", KINDS)
def test_a_box_of_one_kind_opens_as_no_other(made: str, asked: str) -> None:
    blob = make_box(KEY, made, CTX, bytes(64 if made == "secret" else 32), os.urandom)
    if made == asked:
        open_box(KEY, asked, CTX, blob)
    else:
        with pytest.raises(IntegrityError):
            open_box(KEY, asked, CTX, blob)


def test_a_kind_that_does_not_exist_is_a_bug() -> None:
    with pytest.raises(KeyError):
        make_box(KEY, "profil-key", CTX, PLAINTEXT, os.urandom)


def test_a_changed_byte_at_any_position_does_not_open(blob: bytes) -> None:
    for position in range(len(blob)):
        for change in (0x01, 0x80):
            changed = bytearray(blob)
            changed[position] ^= change
            with pytest.raises(IntegrityError):
                open_box(KEY, "profile-key", CTX, bytes(changed))


@pytest.mark.parametrize("position", [0, 1])
def test_every_other_version_and_suite_byte_is_told_before_decrypting(blob: bytes, position: int) -> None:
    for value in set(range(256)) - {1}:
        changed = bytearray(blob)
        changed[position] = value
        with pytest.raises(MalformedError, match="version 1 and suite 1"):
            open_box(KEY, "profile-key", CTX, bytes(changed))


def test_every_truncation_and_every_extension_is_refused(blob: bytes) -> None:
    for length in range(len(blob)):
        with pytest.raises(MalformedError):
            open_box(KEY, "profile-key", CTX, blob[:length])
    with pytest.raises(MalformedError):
        open_box(KEY, "profile-key", CTX, blob + b"\0")


def test_a_secret_box_over_its_limit_is_refused_by_its_size() -> None:
    for length in (0, 63, MAX_SECRET + 1):
        with pytest.raises(MalformedError, match="size"):
            open_box(KEY, "secret", CTX, b"\x01\x01" + bytes(12 + length + 16))


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_key_box_is_not_made_for_anything_but_32_bytes(length: int) -> None:
    with pytest.raises(IntegrityError):
        make_box(KEY, "keyset", CTX, bytes(length), os.urandom)


def test_a_nonce_of_another_length_is_refused() -> None:
    with pytest.raises(IntegrityError):
        make_box(KEY, "keyset", CTX, PLAINTEXT, lambda size: bytes(size + 4))


def test_two_boxes_of_one_plaintext_differ() -> None:
    assert make_box(KEY, "keyset", CTX, PLAINTEXT, os.urandom) != make_box(KEY, "keyset", CTX, PLAINTEXT, os.urandom)


def test_the_error_names_the_kind_and_no_secret(blob: bytes) -> None:
    with pytest.raises(IntegrityError) as caught:
        open_box(OTHER_KEY, "profile-key", CTX, blob)
    assert caught.value.evidence == {"kind": "profile-key"}
    assert OTHER_KEY.hex() not in repr(caught.value)
