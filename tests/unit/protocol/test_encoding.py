"""The encodings: one text for one value, everything else refused."""

from __future__ import annotations

import pytest

from stronghold_cli.protocol.encoding import (
    MAX_VALUES,
    JsonValue,
    decode_base62,
    decode_base64,
    decode_hex,
    decode_integer,
    decode_json,
    decode_text,
    decode_u64,
    digest,
    encode_base62,
    encode_base64,
    encode_json,
    split_tlv,
    tlv,
)
from stronghold_cli.protocol.errors import MalformedError


def test_digest_is_sha256() -> None:
    # FIPS 180-2, appendix B.1.
    assert digest(b"abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_tlv_writes_lengths_integers_and_text() -> None:
    assert tlv() == b""
    assert (
        tlv(b"ab", "é", 258, b"")
        == b"\0\0\0\x02ab" + b"\0\0\0\x02\xc3\xa9" + b"\0\0\0\x08\0\0\0\0\0\0\x01\x02" + b"\0\0\0\0"
    )


def test_tlv_is_read_back() -> None:
    assert split_tlv(tlv(b"ab", b"", 7), 3) == (b"ab", b"", b"\0" * 7 + b"\x07")
    assert split_tlv(b"", 0) == ()


@pytest.mark.parametrize(
    ("record", "count"),
    [
        (b"", 1),
        (b"\0\0\0", 1),
        (b"\0\0\0\x01", 1),
        (b"\0\0\0\x02a", 1),
        (b"\0\0\0\x01ab", 1),
        (b"\xff\xff\xff\xffa", 1),
        (tlv(b"a"), 2),
        (tlv(b"a", b"b"), 1),
        (tlv(b"a") + b"\0", 1),
        (b"\0", 0),
    ],
)
def test_tlv_cut_or_with_trailing_bytes_is_refused(record: bytes, count: int) -> None:
    with pytest.raises(MalformedError):
        split_tlv(record, count)


def test_integers_of_a_tlv_are_eight_bytes_up_to_2_53() -> None:
    assert decode_u64((2**53 - 1).to_bytes(8, "big")) == 2**53 - 1
    for wrong in (b"", bytes(7), bytes(9), (2**53).to_bytes(8, "big"), b"\xff" * 8):
        with pytest.raises(MalformedError):
            decode_u64(wrong)


def test_text_of_a_tlv_is_utf8() -> None:
    assert decode_text("é☃".encode()) == "é☃"
    for wrong in (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80"):
        with pytest.raises(MalformedError):
            decode_text(wrong)


def test_base62_has_the_digits_in_the_order_of_the_protocol() -> None:
    assert [encode_base62(bytes([n])) for n in (0, 9, 10, 35, 36, 61, 62)] == ["0", "9", "A", "Z", "a", "z", "10"]
    assert encode_base62(b"\x01\x00") == "48"
    assert decode_base62("48") == b"\x01\x00"


@pytest.mark.parametrize("text", ["", "00", "048", "4 8", "48\n", " 48", "4-8", "4_8", "٤", "é", "4\0"])
def test_base62_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        decode_base62(text)


def test_base64_is_padded_and_standard() -> None:
    # RFC 4648, section 10.
    pairs = [(b"", ""), (b"f", "Zg=="), (b"fo", "Zm8="), (b"foo", "Zm9v"), (b"foob", "Zm9vYg=="), (b"\xfb\xff", "+/8=")]
    for raw, text in pairs:
        assert (encode_base64(raw), decode_base64(text)) == (text, raw)
        assert decode_base64(text, length=len(raw)) == raw


@pytest.mark.parametrize(
    "text",
    ["Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "Z g==", "Zg==\n", "\nZg==", "Zg==Zg==", "-_8=", "Zg==x", "=", "é", "Zm9v="],
)
def test_base64_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        decode_base64(text)


def test_base64_of_another_length_is_refused() -> None:
    for length in (0, 2, 4):
        with pytest.raises(MalformedError, match=f"instead of {length}"):
            decode_base64("Zm9v", length=length)


def test_hex_is_lower_case_and_of_its_length() -> None:
    assert decode_hex("00ff", 2) == b"\0\xff"
    for wrong in ("", "00f", "00fff", "00FF", "00fg", " 0ff", "00f\n", "0x0f", "٠٠٠٠", "00ff00"):
        with pytest.raises(MalformedError):
            decode_hex(wrong, 2)


def test_json_is_compact_utf8_in_the_order_given() -> None:
    value: JsonValue = {"b": [1, True, None, "é\n"], "a": {}}
    encoded = '{"b":[1,true,null,"é\\n"],"a":{}}'.encode()
    assert encode_json(value) == encoded
    assert decode_json(encoded, len(encoded)) == value
    assert list(decode_json(encoded, len(encoded))) == ["b", "a"]


def test_json_numbers_that_are_none_are_not_written() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode_json([float("nan")])  # type: ignore[list-item]


def test_json_has_a_size_limit() -> None:
    assert decode_json(b"[1]", 3) == [1]
    with pytest.raises(MalformedError, match="more than the 2 allowed"):
        decode_json(b"[1]", 2)


def test_json_has_a_limit_of_values() -> None:
    for encoded in (b"[1,1,1]", b'{"a":1,"b":{}}', b"[[[]]]"):
        assert decode_json(encoded, 99, 3)
        with pytest.raises(MalformedError, match="too many values"):
            decode_json(encoded, 99, 2)


@pytest.mark.parametrize("sign", [b",", b"[", b"{"])
def test_values_are_counted_before_any_of_them_is_made(sign: bytes) -> None:
    # Neither of the two is JSON: only what is few enough gets as far as being told so.
    with pytest.raises(MalformedError, match="not strict JSON"):
        decode_json(sign * 3, 99, 3)
    with pytest.raises(MalformedError, match="too many values"):
        decode_json(sign * 4, 99, 3)
    with pytest.raises(MalformedError, match="too many values"):
        decode_json(sign * (MAX_VALUES + 1), 2 * MAX_VALUES)


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b" ",
        b"{",
        b'{"a":1}x',
        b'{"a":1}{"a":1}',
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"b":2}}',
        b'{"a":1,"\\u0061":2}',
        b"{'a':1}",
        b"[1,]",
        b"1.0",
        b"1e2",
        b"1E2",
        b"-0",
        b"01",
        b"+1",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"9007199254740992",
        b"-9007199254740992",
        b"1" * 5000,
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"\\ud800"',
        b'{"\\ud800":1}',
        b'["\\udc00\\ud800"]',
        b'"a\nb"',
        b'"\\x41"',
        b"\xef\xbb\xbf[]",
        '"a"'.encode("utf-16"),
        b"[" * 9 + b"]" * 9,
        b'{"a":' * 9 + b"1" + b"}" * 9,
        b"[" * 100_000,
    ],
    ids=lambda encoded: ascii(encoded[:20]),
)
def test_json_of_another_form_is_refused(encoded: bytes) -> None:
    with pytest.raises(MalformedError):
        decode_json(encoded, 1 << 20)


def test_json_may_be_eight_deep_with_integers_up_to_2_53() -> None:
    assert decode_json(b"[" * 8 + b"]" * 8, 99) == [[[[[[[[]]]]]]]]
    assert decode_json(b"[9007199254740991,-9007199254740991]", 99) == [2**53 - 1, 1 - 2**53]
    assert decode_json(b'"\\ud83d\\ude00"', 99) == "\U0001f600"


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("7", 7), ("1764000000", 1764000000), (str(2**53 - 1), 2**53 - 1)])
def test_integer_is_read_from_its_shortest_digits(text: str, value: int) -> None:
    assert decode_integer(text) == value


@pytest.mark.parametrize("text", ["", "00", "01", "-1", "+1", "1 ", "1_0", "1.0", "\u0661", "\u00b2", str(2**53), "9" * 17])
def test_any_other_text_is_no_integer(text: str) -> None:
    with pytest.raises(MalformedError):
        decode_integer(text)
