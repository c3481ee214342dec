"""The encodings of protocol section 2: TLV, base62, base64, hex, strict JSON.

Everything here is exact in both directions: a decoder accepts one text for one value and raises ``MalformedError`` for
all else. It is the only place of the protocol where ``json.loads``, ``b64decode`` and ``int(text)`` stand.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, TypeAlias

from stronghold_cli.protocol.errors import MalformedError

JsonValue: TypeAlias = "None | bool | int | str | Sequence[JsonValue] | Mapping[str, JsonValue]"

MAX_INTEGER = 2**53 - 1
MAX_DEPTH = 8
MAX_VALUES = 2_000_000
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BASE62_VALUES = {digit: value for value, digit in enumerate(_BASE62)}
# ``json.dumps`` would make such an encoder for each document.
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def digest(data: bytes) -> bytes:
    """SHA-256 of ``data``, 32 bytes: the one hash of suite 0x01."""
    return sha256(data).digest()


def tlv(*parts: bytes | str | int) -> bytes:
    """``TLV(a, b, …)``: for each part ``u32be(length) ‖ bytes``; integers as u64be, text as UTF-8 (section 2)."""
    out = bytearray()
    for part in parts:
        if isinstance(part, str):
            part = part.encode()
        elif isinstance(part, int):
            part = part.to_bytes(8, "big")
        out += len(part).to_bytes(4, "big")
        out += part
    return bytes(out)


def split_tlv(data: bytes, count: int) -> tuple[bytes, ...]:
    """Return exactly ``count`` parts of a TLV; anything missing or left over raises ``MalformedError``."""
    parts = []
    size, end = len(data), 0
    for _ in range(count):
        start = end + 4
        end = start + int.from_bytes(data[end:start], "big")
        if end > size:  # a length that is itself cut off ends beyond as well
            raise MalformedError("a length-prefixed record is cut off")
        parts.append(data[start:end])
    if end != size:
        raise MalformedError("a length-prefixed record has trailing bytes")
    return tuple(parts)


def decode_u64(data: bytes) -> int:
    """An integer part of a TLV: exactly 8 bytes, at most 2^53-1."""
    value = int.from_bytes(data, "big")
    if len(data) != 8 or value > MAX_INTEGER:
        raise MalformedError("an integer is not 8 bytes or is out of range")
    return value


def decode_text(data: bytes) -> str:
    """A text part of a TLV: valid UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedError("a text is not valid UTF-8") from error


def encode_base62(data: bytes) -> str:
    """The bytes as one big-endian integer in the digits ``0-9A-Za-z`` (section 4)."""
    value = int.from_bytes(data, "big")
    digits = []
    while value:
        value, rest = divmod(value, 62)
        digits.append(_BASE62[rest])
    return "".join(reversed(digits)) or "0"


def decode_base62(text: str) -> bytes:
    """The shortest bytes whose base62 is ``text``; refuses text that does not re-encode to itself.

    The first byte of a token is never zero, so no leading zero byte is lost.
    """
    value = 0
    for digit in text:
        if digit not in _BASE62_VALUES:
            raise MalformedError("a character is not a base62 digit")
        value = value * 62 + _BASE62_VALUES[digit]
    data = value.to_bytes((value.bit_length() + 7) // 8, "big")
    if encode_base62(data) != text:
        raise MalformedError("the base62 text is not in its shortest form")
    return data


def encode_base64(data: bytes) -> str:
    """Standard base64 with padding."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def decode_base64(text: str, *, length: int | None = None) -> bytes:
    """The bytes of a standard, padded base64 text; ``length`` is the exact number of bytes, where one is fixed."""
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except (ValueError, binascii.Error) as error:
        raise MalformedError("a base64 text is not valid") from error
    if encode_base64(data) != text:
        raise MalformedError("a base64 text is not in its one form")
    if length is not None and len(data) != length:
        raise MalformedError(f"a base64 text holds {len(data)} bytes instead of {length}")
    return data


def decode_hex(text: str, length: int) -> bytes:
    """The ``length`` bytes of a lower-case hex text."""
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    # `fromhex` takes capital letters and blanks as well.
    if len(data) != length or data.hex() != text:
        raise MalformedError(f"a text is not {2 * length} lower-case hex digits")
    return data


def decode_integer(digits: str) -> int:
    """An integer from 0 to 2^53-1 of at most 16 decimal digits, without leading zeros."""
    if not (0 < len(digits) <= 16 and digits.isascii() and digits.isdigit()) or (digits[0] == "0" and digits != "0"):
        raise MalformedError("a text is not an integer")
    value = int(digits)
    if value > MAX_INTEGER:
        raise MalformedError("an integer is out of range")
    return value


def encode_json(value: JsonValue) -> bytes:
    """Compact UTF-8 JSON with members in the order given."""
    return _ENCODER.encode(value).encode()


def decode_json(data: bytes, limit: int, max_values: int = MAX_VALUES) -> Any:
    """Strict JSON (section 2) of at most ``limit`` bytes and about ``max_values`` values.

    Refused with ``MalformedError``: duplicate members, trailing data, floats, integers beyond 2^53-1, depth over 8, invalid
    UTF-8, lone surrogates, a byte order mark.
    """
    if len(data) > limit:
        raise MalformedError(f"a document has {len(data)} bytes, more than the {limit} allowed")
    # A few megabytes of brackets would cost seconds and gigabytes before anything could be verified. Commas inside texts
    # count as well: base64 and hex, of which large bodies consist, have none.
    if data.count(b",") + data.count(b"[") + data.count(b"{") > max_values:
        raise MalformedError("a document holds too many values")
    try:
        value = _DECODER.decode(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise MalformedError("a document is not strict JSON") from error
    escapes = b"\\u" in data
    if escapes or _may_be_deep(data):
        _check_tree(value, 1, escapes)
    return value


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedError("a document has a member twice")
    return members


def _refuse_number(_: str) -> Any:
    raise MalformedError("a document holds a number that is not an integer")


def _bounded_integer(text: str) -> int:
    if len(text) > 17 or text == "-0" or abs(value := int(text)) > MAX_INTEGER:
        raise MalformedError("a document holds an integer that is out of range")
    return value


def _may_be_deep(data: bytes) -> bool:
    """Whether as many brackets open as a depth over ``MAX_DEPTH`` takes; most small documents have fewer.

    An empty list or object adds one level at most, wherever it stands, so all of them count as one.
    """
    return data.count(b"{") + data.count(b"[") - data.count(b"{}") - data.count(b"[]") >= MAX_DEPTH


def _check_tree(value: Any, depth: int, escapes: bool) -> None:
    """Refuse depth over 8 and, where the text held escapes, lone surrogates (plain UTF-8 cannot hold them)."""
    if isinstance(value, (dict, list)):
        if depth > MAX_DEPTH:
            raise MalformedError("a document is nested too deeply")
        if escapes and isinstance(value, dict):
            for name in value:
                _check_tree(name, depth, escapes)
        # Most values are texts without escapes: of these there is nothing to look at.
        for item in value.values() if isinstance(value, dict) else value:
            if escapes or isinstance(item, (dict, list)):
                _check_tree(item, depth + 1, escapes)
    elif escapes and isinstance(value, str) and not _is_encodable(value):
        raise MalformedError("a text holds half of a surrogate pair")


# One for all: making one for each text costs as much as reading a small one.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique_members,
    parse_float=_refuse_number,
    parse_constant=_refuse_number,
    parse_int=_bounded_integer,
)


def _is_encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
