"""The plaintext of a secret: one padding for one length, strict parts, nothing normalised."""

from __future__ import annotations

import pytest

from stronghold_cli.crypto.box import MAX_SECRET, MIN_SECRET
from stronghold_cli.crypto.secrets import Secret, decode_secret, pad, padded_length, unpad
from stronghold_cli.protocol.encoding import tlv
from stronghold_cli.protocol.errors import MalformedError, UsageError
from stronghold_cli.protocol.names import MAX_NOTE, MAX_SECRET_NAME, MAX_VALUE

AUTHOR = b"u" * 16
TIME = (1_700_000_000).to_bytes(8, "big")


def secret(value: bytes = b"v", note: bytes = b"", name: str = "NAME") -> Secret:
    return Secret(name=name, value=value, note=note, author=AUTHOR, time=1_700_000_000)


@pytest.mark.parametrize(
    ("length", "padded"),
    [
        (0, 64), (64, 64), (65, 128), (128, 128), (129, 256), (256, 256), (257, 512), (512, 512), (513, 1024), (1024, 1024),
        (1025, 1088), (1088, 1088), (1089, 1152), (2047, 2048), (2048, 2048), (2049, 2176), (65_537, 67_584),
        (1_000_000, 1_015_808),
    ],
)  # fmt: skip
def test_padded_lengths(length: int, padded: int) -> None:
    assert padded_length(length) == padded


def test_the_bytes_are_length_plaintext_zeros() -> None:
    assert pad(b"abc") == b"\0\0\0\3abc" + bytes(57)
    assert unpad(b"\0\0\0\3abc" + bytes(57)) == b"abc"


@pytest.mark.parametrize(
    "padded",
    [
        b"",
        b"\0\0\0",
        bytes(4),
        bytes(63),
        bytes(65),
        bytes(128),
        b"\0\0\0\3abc" + bytes(121),
        b"\0\0\0\3abc" + bytes(56),
        b"\0\0\0\3abc" + bytes(56) + b"\1",
        b"\0\0\0\3abc\1" + bytes(56),
        b"\0\0\0\x3d" + bytes(60),
        b"\xff\xff\xff\xff" + bytes(60),
    ],
    ids=[
        "empty", "no length", "no padding", "short", "long", "one step too many", "larger step", "cut", "last byte set",
        "first byte set", "length beyond", "length far beyond",
    ],
)  # fmt: skip
def test_any_other_padding_is_refused(padded: bytes) -> None:
    with pytest.raises(MalformedError):
        unpad(padded)


@pytest.mark.parametrize("length", [60, 61, 124, 1020, 1021, 5000])
def test_every_byte_of_the_padding_is_checked(length: int) -> None:
    padded = pad(b"x" * length)
    for position in range(4 + length, len(padded)):
        changed = bytearray(padded)
        changed[position] = 1
        with pytest.raises(MalformedError):
            unpad(bytes(changed))


@pytest.mark.parametrize("value", [b"", b"e\xcc\x81", b"\xff\xfe\x00", b" blank ", "😀".encode()])
def test_values_and_notes_come_back_as_they_were(value: bytes) -> None:
    assert decode_secret(secret(value, value).encode()) == secret(value, value)


def test_the_bytes_of_a_secret() -> None:
    plaintext = b"\0\0\0\4NAME\0\0\0\1v\0\0\0\4note\0\0\0\x10" + AUTHOR + b"\0\0\0\x08" + TIME
    assert secret(b"v", b"note").encode() == (len(plaintext).to_bytes(4, "big") + plaintext).ljust(64, b"\0")


@pytest.mark.parametrize(
    "plaintext",
    [
        b"",
        tlv("N", b"v", b"", AUTHOR),
        tlv("N", b"v", b"", AUTHOR, TIME, b""),
        tlv("N", b"v", b"", AUTHOR, TIME) + b"\0",
        tlv("N", b"v", b"", AUTHOR[:-1], TIME),
        tlv("N", b"v", b"", AUTHOR + b"u", TIME),
        tlv("N", b"v", b"", AUTHOR, TIME[:-1]),
        tlv("N", b"v", b"", AUTHOR, b"\xff" * 8),
        tlv(b"\xff", b"v", b"", AUTHOR, TIME),
        tlv("N", bytes(MAX_VALUE + 1), b"", AUTHOR, TIME),
        tlv("N", b"v", bytes(MAX_NOTE + 1), AUTHOR, TIME),
    ],
    ids=[
        "empty", "four parts", "six parts", "trailing byte", "short author", "long author", "short time", "time too large",
        "name not UTF-8", "value too large", "note too large",
    ],
)  # fmt: skip
def test_any_other_plaintext_is_refused(plaintext: bytes) -> None:
    with pytest.raises(MalformedError):
        decode_secret(pad(plaintext))


def test_sizes_up_to_the_limit_are_written_and_beyond_it_refused() -> None:
    assert len(secret(bytes(MAX_VALUE), bytes(MAX_NOTE), "N" * MAX_SECRET_NAME).encode()) == MAX_SECRET
    for too_large in (secret(bytes(MAX_VALUE + 1)), secret(note=bytes(MAX_NOTE + 1))):
        with pytest.raises(UsageError, match="more than"):
            too_large.encode()


def test_the_smallest_secret_has_the_least_size_of_a_box() -> None:
    assert len(secret(b"", b"", "N").encode()) == MIN_SECRET


def test_repr_hides_name_value_and_note() -> None:
    shown = repr(secret(b"value", b"remark", "VISIBLE"))
    assert not any(part in shown for part in ("value", "remark", "VISIBLE"))
    assert AUTHOR.hex() in shown
