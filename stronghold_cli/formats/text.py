"""What the formats share that carry text: values as UTF-8."""

from __future__ import annotations

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
