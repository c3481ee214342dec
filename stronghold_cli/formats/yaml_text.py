r"""YAML text in double quotes, and the keys that may stand bare: what ``yaml`` and ``k8s`` share.

A JSON string is not YAML for every text: a reader of YAML takes ``\ud83d\ude80`` for two characters, and DEL or NEL as they
are for none. So the escapes are YAML's own (YAML 1.2.2, section 5.7), and what is not plainly printable is escaped.
"""

from __future__ import annotations

import re

_SPECIAL = re.compile(
    r'[\x00-\x1f"\\\x7f-\xa0\u00ad\u2000-\u200f\u2028-\u202f\u2060-\u206f\ud800-\uf8ff\ufeff\ufff0-\uffff\U00010000-\U0010ffff]'
)
_SHORT = {
    "\0": "\\0",
    "\a": "\\a",
    "\b": "\\b",
    "\t": "\\t",
    "\n": "\\n",
    "\v": "\\v",
    "\f": "\\f",
    "\r": "\\r",
    "\x1b": "\\e",
    '"': '\\"',
    "\\": "\\\\",
}
_UNSHORT = {written[1]: character for character, written in _SHORT.items()}
_ESCAPE = re.compile(r"(?s)\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|.)")
# What YAML 1.1 takes for a truth or for nothing.
_RESERVED = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def quote(text: str) -> str:
    """``text`` as a double-quoted scalar on one line."""
    return f'"{_SPECIAL.sub(_escape, text)}"'


def unquote(quoted: str) -> str:
    """The text of what ``quote`` made, without its quotes; ``ValueError`` for an escape that it does not write."""
    return _ESCAPE.sub(_unescape, quoted)


def key(name: str) -> str:
    """A secret's name as a key: bare, unless YAML would take it for something else than text."""
    return f'"{name}"' if name.lower() in _RESERVED else name


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    if short := _SHORT.get(character):
        return short
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _unescape(match: re.Match[str]) -> str:
    written = match[1]
    if len(written) > 1:
        return chr(int(written[1:], 16))
    if written not in _UNSHORT:
        raise ValueError("an escape that YAML does not have")
    return _UNSHORT[written]
