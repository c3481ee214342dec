"""Seals: everything that must keep one from opening (attacks 25, 33, 34, 50), and a library without ML-KEM."""

from __future__ import annotations

import pytest
from cryptography.hazmat.backends.openssl.backend import backend

from stronghold_cli.crypto.box import Context
from stronghold_cli.crypto.seal import SealingKey, require_suite, seal
from stronghold_cli.protocol.errors import IntegrityError, MalformedError, StrongholdError

RECEIVER = SealingKey(bytes(range(32)))
STRANGER = SealingKey(bytes(range(1, 33)))
PLAINTEXT = bytes(range(64, 96))
CTX: Context = (b"o" * 32, b"g" * 16, 2, "token", b"m" * 16)


@pytest.fixture(scope="module")
def blob() -> bytes:
    return seal(RECEIVER.public, "group-key", CTX, PLAINTEXT)


def test_a_seal_opens_for_its_receiver(blob: bytes) -> None:
    assert RECEIVER.open("group-key", CTX, blob) == PLAINTEXT
    assert blob[:2] == b"\x01\x01"
    assert len(blob) == 2 + 1120 + 32 + 16


def test_a_stranger_does_not_open(blob: bytes) -> None:
    with pytest.raises(IntegrityError):
        STRANGER.open("group-key", CTX, blob)


@pytest.mark.parametrize(
    ("position", "other"), [(0, b"x" * 32), (1, b"x" * 16), (2, 3), (3, "operator"), (4, b"x" * 16)], ids=str
)
def test_another_ctx_part_does_not_open(blob: bytes, position: int, other: bytes | str | int) -> None:
    with pytest.raises(IntegrityError):
        RECEIVER.open("group-key", (*CTX[:position], other, *CTX[position + 1 :]), blob)


@pytest.mark.parametrize("ctx", [(), CTX[:-1], (*CTX, b""), CTX[::-1]])
def test_a_missing_further_or_exchanged_ctx_part_does_not_open(blob: bytes, ctx: Context) -> None:
    with pytest.raises(IntegrityError):
        RECEIVER.open("group-key", ctx, blob)


def test_a_kind_that_does_not_exist_is_a_bug(blob: bytes) -> None:
    with pytest.raises(KeyError):
        RECEIVER.open("profile-key", CTX, blob)
    with pytest.raises(KeyError):
        seal(RECEIVER.public, "profile-key", CTX, PLAINTEXT)


def test_a_changed_byte_at_any_position_does_not_open(blob: bytes) -> None:
    for position in range(len(blob)):
        changed = bytearray(blob)
        changed[position] ^= 0x01
        with pytest.raises(IntegrityError):
            RECEIVER.open("group-key", CTX, bytes(changed))


@pytest.mark.parametrize("position", [0, 1])
def test_every_other_version_and_suite_byte_is_told_before_decrypting(blob: bytes, position: int) -> None:
    for value in set(range(256)) - {1}:
        changed = bytearray(blob)
        changed[position] = value
        with pytest.raises(MalformedError, match="version 1 and suite 1"):
            RECEIVER.open("group-key", CTX, bytes(changed))


def test_every_truncation_and_every_extension_is_refused(blob: bytes) -> None:
    for length in range(len(blob)):
        with pytest.raises(MalformedError):
            RECEIVER.open("group-key", CTX, blob[:length])
    with pytest.raises(MalformedError):
        RECEIVER.open("group-key", CTX, blob + b"\0")


def test_a_low_order_ephemeral_key_does_not_open(blob: bytes) -> None:
    for point in (bytes(32), b"\x01" + bytes(31)):
        with pytest.raises(IntegrityError):
            RECEIVER.open("group-key", CTX, blob[: 2 + 1088] + point + blob[2 + 1120 :])


@pytest.mark.parametrize("length", [0, 31, 33])
def test_only_32_byte_keys_are_sealed(length: int) -> None:
    with pytest.raises(IntegrityError):
        seal(RECEIVER.public, "group-key", CTX, bytes(length))


@pytest.mark.parametrize(
    ("public", "fault"),
    [
        (b"", "not 1216 bytes"),
        (RECEIVER.public[:-1], "not 1216 bytes"),
        (RECEIVER.public + b"\0", "not 1216 bytes"),
        (RECEIVER.public[:1184] + bytes(32), "low order"),
        (RECEIVER.public[:1184] + b"\x01" + bytes(31), "low order"),
        (b"\xff" * 1184 + RECEIVER.public[1184:], "canonical ML-KEM"),
    ],
    ids=["empty", "short", "long", "zero point", "point of order 4", "ML-KEM not reduced"],
)
def test_nothing_is_sealed_to_a_bad_key(public: bytes, fault: str) -> None:
    with pytest.raises(MalformedError, match=fault):
        seal(public, "group-key", CTX, PLAINTEXT)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_seed_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(IntegrityError):
        SealingKey(bytes(length))


def test_two_seals_of_one_plaintext_differ(blob: bytes) -> None:
    assert seal(RECEIVER.public, "group-key", CTX, PLAINTEXT)[2:1122] != blob[2:1122]


def test_repr_shows_the_public_hash_only() -> None:
    assert repr(RECEIVER) == f"SealingKey(public sha256 {RECEIVER.public_sha256.hex()[:16]}…)"


def test_a_library_without_ml_kem_stops_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    require_suite()
    monkeypatch.setattr(type(backend), "mlkem_supported", lambda self: False)
    for use in (require_suite, lambda: SealingKey(bytes(32)), lambda: seal(RECEIVER.public, "group-key", CTX, PLAINTEXT)):
        with pytest.raises(StrongholdError) as caught:
            use()
        assert caught.value.code == "SUITE_MISSING"
        assert caught.value.hint
