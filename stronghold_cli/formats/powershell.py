"""``--format powershell``: ``$env:KEY = '…'`` lines for PowerShell to dot-source (``. ./env.ps1``).

In single quotes all stands for itself but the quotes, of which PowerShell knows five: each is doubled (about_Quoting_Rules;
``IsSingleQuote`` of its tokenizer). Refused are NUL and what is not UTF-8. The reference reader reads such lines and no
others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from stronghold_cli.formats.options import PLAIN, Options
from stronghold_cli.formats.text import text_refusal

_QUOTES = "'\u2018\u2019\u201a\u201b"
_QUOTE = re.compile(f"([{_QUOTES}])")
_LINE = re.compile(rf"\$env:([A-Za-z_][A-Za-z0-9_]*) = '((?:[^{_QUOTES}]|[{_QUOTES}]{{2}})*+)'\n")
_DOUBLED = re.compile(f"([{_QUOTES}])[{_QUOTES}]")


def refusal(name: str, value: bytes, options: Options = PLAIN) -> str:  # noqa: ARG001 - every format has this signature
    """Why PowerShell cannot be given this secret, empty if it can."""
    return text_refusal(value)


def write(
    values: Mapping[str, bytes],
    random: Callable[[int], bytes],  # noqa: ARG001
    options: Options = PLAIN,  # noqa: ARG001
) -> tuple[bytes, tuple[str, ...]]:
    """One assignment for each value, and a note on those that are empty."""
    lines = [f"$env:{name} = '{_doubled(value.decode('utf-8'))}'\n" for name, value in values.items()]
    empty = [name for name, value in values.items() if not value]
    notes = (f"{', '.join(empty)}: PowerShell before 7.5 takes an empty variable away instead of setting it.",)
    return "".join(lines).encode(), notes if empty else ()


def read(content: bytes, options: Options = PLAIN) -> dict[str, bytes]:  # noqa: ARG001
    """The variables that the lines set; ``ValueError`` for anything but lines of that form."""
    text = content.decode("utf-8")
    values: dict[str, bytes] = {}
    position = 0
    while position < len(text):
        line = _LINE.match(text, position)
        if line is None:
            raise ValueError("not an assignment of ours")
        # Of two quotes in a row, whichever they are, PowerShell keeps the first.
        values[line[1]] = _DOUBLED.sub(r"\1", line[2]).encode()
        position = line.end()
    return values


def _doubled(text: str) -> str:
    return _QUOTE.sub(r"\1\1", text)
