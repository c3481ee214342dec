r"""``--format systemd``: a file for ``EnvironmentFile=`` of a unit (systemd.exec(5)).

``"…"`` with ``\`` before ``\``, ``"``, ``$`` and backtick, line breaks as they are. Refused are NUL, what is not UTF-8, and
the characters that Unicode keeps for no text (U+FFFF and its like), for which systemd drops the variable. The reference
reader follows ``parse_env_file_internal`` of systemd for such lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from stronghold_cli.formats.options import PLAIN, Options
from stronghold_cli.formats.text import holds_no_character, text_refusal

_SPECIAL = re.compile(r'[\\"$`]')
_LINE = re.compile(r'(?s)([A-Za-z_][A-Za-z0-9_]*)="([^"\\]*(?:\\.[^"\\]*)*)"\n')
_ESCAPE = re.compile(r"(?s)\\(.)")


def refusal(name: str, value: bytes, options: Options = PLAIN) -> str:  # noqa: ARG001 - every format has this signature
    """Why systemd cannot be given this secret, empty if it can."""
    if reason := text_refusal(value):
        return reason
    if holds_no_character(value.decode("utf-8")):
        return "its value holds a code point that is no character (such as U+FFFF), which systemd refuses"
    return ""


def write(
    values: Mapping[str, bytes],
    random: Callable[[int], bytes],  # noqa: ARG001
    options: Options = PLAIN,  # noqa: ARG001
) -> tuple[bytes, tuple[str, ...]]:
    """One entry for each value; never a note."""
    entries = (f'{name}="{_SPECIAL.sub(_escape, value.decode())}"\n' for name, value in values.items())
    return "".join(entries).encode(), ()


def read(content: bytes, options: Options = PLAIN) -> dict[str, bytes]:  # noqa: ARG001
    """The variables that systemd takes from a file whose values are all in double quotes."""
    text = content.decode("utf-8")
    values: dict[str, bytes] = {}
    position = 0
    while position < len(text):
        line = _LINE.match(text, position)
        if line is None:
            raise ValueError("not a line of ours")
        values[line[1]] = _ESCAPE.sub(_unescape, line[2]).encode()
        position = line.end()
    return values


def _escape(match: re.Match[str]) -> str:
    return f"\\{match[0]}"


def _unescape(match: re.Match[str]) -> str:
    """A backslash goes before what it protects, and with a line end; else both stay."""
    if match[1] == "\n":
        return ""
    return match[1] if match[1] in '\\"$`' else match[0]
