r"""``--format dotenv --reader ruby``: what the gem dotenv 3 reads.

``'…'`` as it is, else ``"…"`` with ``\\``, ``\"`` and ``\$``, else bare. Refused are a carriage return, which becomes a
line end, and what no form holds, as ``$(`` without its ``)`` together with a ``'``. The reference reader follows
``Dotenv::Parser`` 3.2; nothing is run or looked up: what the gem would run or replace is no value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from stronghold_cli.formats.dialects import (
    bare,
    bare_dollars,
    double,
    double_dollars,
    first_exact,
    read_entries,
    single,
    write_entries,
)
from stronghold_cli.formats.options import PLAIN, Options
from stronghold_cli.formats.text import text_refusal

_SPACES = " \t\n\v\f"
# The gem's pattern of a line, from the value on; a quoted text by runs of characters that are not given back, for speed.
_VALUE = re.compile(
    r"([ \t\n\v\f]*'(?:[^'\\]++|\\'|\\)*'|[ \t\n\v\f]*\"(?:[^\"\\]++|\\\"|\\)*\"|[^#\n]+)?"
    r"[ \t\n\v\f]*(?:#[^\n]*)?(?=\n|\Z)"
)
_SURROUNDED = re.compile(r"(?s)(['\"])(.*)\1")
_VARIABLE = re.compile(r"(\\)?\$(?!\()\{?([A-Za-z0-9_]+)?\}?")
_MAX_NESTING = 32


def refusal(name: str, value: bytes, options: Options = PLAIN) -> str:  # noqa: ARG001 - every format has this signature
    """Why ruby's dotenv cannot be given this secret, empty if it can."""
    if reason := text_refusal(value):
        return reason
    if b"\r" in value:
        return "its value holds a carriage return, which ruby's dotenv reads as a line end"
    if _write_value(value.decode("utf-8")) is None:
        return "its value mixes quotes, backslashes, $( and line breaks so that no form of ruby's dotenv holds it"
    return ""


def write(
    values: Mapping[str, bytes],
    random: Callable[[int], bytes],  # noqa: ARG001
    options: Options = PLAIN,  # noqa: ARG001
) -> tuple[bytes, tuple[str, ...]]:
    """One entry for each value; never a note."""
    return write_entries(values.items(), _write_value), ()


def _write_value(text: str) -> str | None:
    quoted = (double, double_dollars, single) if "'" in text else (single, double, double_dollars)
    return first_exact(text, (*quoted, bare, bare_dollars), (_read_value,))


def read(content: bytes, options: Options = PLAIN) -> dict[str, bytes]:  # noqa: ARG001
    """The values that the gem takes from the file in an empty environment."""
    return read_entries(content.replace(b"\r\n", b"\n").replace(b"\r", b"\n"), _read_value)


def _read_value(text: str, start: int) -> tuple[str, int]:
    match = _VALUE.match(text, start)
    if match is None:
        raise ValueError("not an entry that ruby's dotenv reads")
    value = (match[1] or "").lstrip(_SPACES).rstrip(_SPACES + "\0")
    surrounded = _SURROUNDED.fullmatch(value)
    quote = surrounded[1] if surrounded else ""
    if surrounded:
        value = surrounded[2]
    if quote == '"':
        # Its gsub gives two backslashes and the letter, of which unescaping leaves one.
        value = value.replace("\\n", "\\\\n").replace("\\r", "\\\\r")
    if quote != "'":
        value = _substituted(re.sub(r"(?s)\\([^$])", r"\1", value))
    return value, match.end(1) if match[1] is not None else start


def _substituted(value: str) -> str:
    """Commands and variables, each of which a backslash protects; ``ValueError`` where the gem would run a command."""
    kept: list[str] = []
    position = 0
    while (place := value.find("$(", position)) >= 0:
        end = _command_end(value, place + 1)
        if end is None:
            kept.append(value[position : place + 2])
            position = place + 2
            continue
        if value[place - 1 : place] != "\\" or place - 1 < position:
            raise ValueError("a command that would be run")
        kept += [value[position : place - 1], value[place:end]]
        position = end
    text = "".join([*kept, value[position:]])

    def expanded(match: re.Match[str]) -> str:
        if match[1]:
            return match[0][1:]
        return "" if match[2] else match[0]

    return _VARIABLE.sub(expanded, text)


def _command_end(value: str, start: int) -> int | None:
    """Where the balanced, not empty parentheses end that open at ``start``; ``None`` if they do not."""
    depth, opened = 0, [0] * _MAX_NESTING
    for place in range(start, len(value)):
        if value[place] == "(":
            depth += 1
            if depth >= _MAX_NESTING:
                raise ValueError("parentheses too deep")
            opened[depth] = place
        elif value[place] == ")":
            if opened[depth] == place - 1:
                return None
            depth -= 1
            if depth == 0:
                return place + 1
    return None
