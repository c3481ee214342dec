"""``--format dotenv --reader node``: what node's own ``--env-file`` and the package dotenv (16 to 18) both read.

A value stands in the first of ``'``, backtick and ``"`` that they read it in, else bare. They know no escape that both
take, so a carriage return is refused, and what mixes all three quotes with a line break or a ``#``. The reference reader is
the two of them, which must agree.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from stronghold_cli.formats.dialects import backtick, bare, double, first_exact, read_entries, single, write_entries
from stronghold_cli.formats.options import PLAIN, Options
from stronghold_cli.formats.text import text_refusal

_QUOTES = "'`\""
# What JavaScript takes for blank, and where its $ matches in a pattern of many lines.
_SPACES = "\t\n\v\f\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
_TRIMMED = "\t\n\v\f\r \u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff" + "".join(map(chr, range(0x2000, 0x200B)))
_LINE_END = "(?=[\n\r\u2028\u2029]|\\Z)"
# The package's pattern of a line, from the value on. It takes a quoted text character by character; runs that are not given
# back end at the same places and take less time.
_VALUE = re.compile(
    rf"([{_SPACES}]*'(?:[^'\\]++|\\'|\\)*'|[{_SPACES}]*\"(?:[^\"\\]++|\\\"|\\)*\"|[{_SPACES}]*`(?:[^`\\]++|\\`|\\)*`|[^#\r\n]+)?"
    rf"[{_SPACES}]*(?:#[^\n\r\u2028\u2029]*)?{_LINE_END}"
)
_SURROUNDED = re.compile(r"(?s)(?:\A|(?<=[\n\r\u2028\u2029]))(['\"`])(.*)\1(?=[\n\r\u2028\u2029]|\Z)")


def refusal(name: str, value: bytes, options: Options = PLAIN) -> str:  # noqa: ARG001 - every format has this signature
    """Why node cannot be given this secret, empty if it can."""
    if reason := text_refusal(value):
        return reason
    if b"\r" in value:
        return "its value holds a carriage return, which node's --env-file cannot carry"
    if _write_value(value.decode("utf-8")) is None:
        return "its value mixes quotes, backslashes and line breaks so that no form of node's readers holds it"
    return ""


def write(
    values: Mapping[str, bytes],
    random: Callable[[int], bytes],  # noqa: ARG001
    options: Options = PLAIN,  # noqa: ARG001
) -> tuple[bytes, tuple[str, ...]]:
    """One entry for each value; never a note."""
    return write_entries(values.items(), _write_value), ()


def _write_value(text: str) -> str | None:
    return first_exact(text, (single, backtick, double, bare), (_read_package, _read_env_file))


def read(content: bytes, options: Options = PLAIN) -> dict[str, bytes]:  # noqa: ARG001
    """The values that both readers take from the file; ``ValueError`` where they differ."""
    values = read_entries(content, _read_package)
    if read_entries(content, _read_env_file) != values:
        raise ValueError("node and its package read it differently")
    return values


def _read_package(text: str, start: int) -> tuple[str, int]:
    """One value as the package reads it; where it ends is the line end behind it."""
    match = _VALUE.match(text, start)
    if match is None:
        raise ValueError("not an entry that the package reads")
    value = (match[1] or "").strip(_TRIMMED)
    quote = value[:1]
    value = _SURROUNDED.sub(r"\2", value)
    if quote == '"':
        value = value.replace("\\n", "\n").replace("\\r", "\r")
    # The pattern takes the blank lines behind a value with it; an entry of ours ends at its own line end.
    end = match.end(1) if match[1] is not None else start
    return value, end


def _read_env_file(text: str, start: int) -> tuple[str, int]:
    """One value as ``--env-file`` reads it: up to the next of the quote that it begins with, else to ``#`` or line end."""
    quote = text[start : start + 1]
    if quote and quote in _QUOTES and (end := text.find(quote, start + 1)) >= 0:
        value = text[start + 1 : end]
        return (value.replace("\\n", "\n") if quote == '"' else value), end + 1
    line_end = text.find("\n", start)
    line_end = len(text) if line_end < 0 else line_end
    line = text[start:line_end]
    value = line.partition("#")[0].strip(" \t\v\f\r")
    if value[:1] in tuple(_QUOTES) or "\r" in value:
        raise ValueError("what follows depends on the version")
    return value, line_end
