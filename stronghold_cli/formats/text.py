"""What the formats share that carry text: values as UTF-8."""

from __future__ import annotations

import re

NUL_REASON = "its value holds a NUL, which no environment variable can carry"
UTF8_REASON = "its value is not valid UTF-8 text"


def text_refusal(value: bytes, *, nul: bool = False) -> str:
    """Why ``value`` is not text that an environment can carry, empty if it is; ``nul`` allows NUL."""
    if not nul and b"\0" in value:
        return NUL_REASON
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return UTF8_REASON
    return ""


def holds_no_character(text: str) -> bool:
    """Whether ``text`` holds what Unicode keeps for no character: U+FDD0 to U+FDEF, and the last two of each plane."""
    return not text.isascii() and re.search(_NO_CHARACTERS, text) is not None


_NO_CHARACTERS = "[\ufdd0-\ufdef" + "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF)) + "]"
