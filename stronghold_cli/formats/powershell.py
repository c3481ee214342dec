"""``--format powershell``: ``$env:KEY = '…'`` lines for PowerShell to dot-source (``. ./env.ps1``).

In single quotes all stands for itself but the quotes, which are doubled (about_Quoting_Rules). The file is ASCII: Windows
PowerShell 5.1 reads a script without a byte order mark in the machine's ANSI code page, where bytes of UTF-8 become others
of the five quotes that it knows (``IsSingleQuote`` of its tokenizer; 0x91, 0x92 and 0x82 in Windows-1252), and end the text.
So a value beyond ASCII stands there as the base64 of its UTF-8. Refused are NUL and what is not UTF-8. The reference reader
reads such lines and no others.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping

from stronghold_cli.formats.options import PLAIN, Options
from stronghold_cli.formats.text import text_refusal

_DECODE = "[Text.Encoding]::UTF8.GetString([Convert]::FromBase64String("
_LINE = re.compile(rf"\$env:([A-Za-z_][A-Za-z0-9_]*) = ({re.escape(_DECODE)})?'((?:[^']|'')*+)'(?(2)\)\))\n")


def refusal(name: str, value: bytes, options: Options = PLAIN) -> str:  # noqa: ARG001 - every format has this signature
    """Why PowerShell cannot be given this secret, empty if it can."""
    return text_refusal(value)


def write(
    values: Mapping[str, bytes],
    random: Callable[[int], bytes],  # noqa: ARG001
    options: Options = PLAIN,  # noqa: ARG001
) -> tuple[bytes, tuple[str, ...]]:
    """One assignment for each value, and a note on those that are empty."""
    lines = [b"$env:%s = %s\n" % (name.encode(), _expression(value)) for name, value in values.items()]
    empty = [name for name, value in values.items() if not value]
    notes = (f"{', '.join(empty)}: PowerShell before 7.5 takes an empty variable away instead of setting it.",)
    return b"".join(lines), notes if empty else ()


def read(content: bytes, options: Options = PLAIN) -> dict[str, bytes]:  # noqa: ARG001
    """The variables that the lines set; ``ValueError`` for anything but lines of that form."""
    text = content.decode("ascii")
    values: dict[str, bytes] = {}
    position = 0
    while position < len(text):
        line = _LINE.match(text, position)
        if line is None:
            raise ValueError("not an assignment of ours")
        held = line[3].replace("''", "'")
        values[line[1]] = b64decode(held, validate=True) if line[2] else held.encode()
        position = line.end()
    return values


def _expression(value: bytes) -> bytes:
    if value.isascii():
        return b"'%s'" % value.replace(b"'", b"''")
    return b"%s'%s'))" % (_DECODE.encode(), b64encode(value))
