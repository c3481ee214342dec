r"""``--format dotenv --reader go``: what godotenv 1.5 reads.

``'…'`` as it is, else ``"…"`` with escapes, else bare with ``$`` as ``\$``. Refused is what none of them holds: a backslash
or a ``"`` at the end together with a ``'`` and a line break, and the like. The reference reader follows ``extractVarValue``
of github.com/joho/godotenv, its trimming of quotes at both ends of a value too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from stronghold_cli.formats.dialects import (
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

_SPACES = "\t\v\f\r \x85\xa0"
_ESCAPE = re.compile(r"\\.")
_UNESCAPE = re.compile(r"(?s)\\([^$])")
_VARIABLE = re.compile(r"(\\)?(\$)(\()?\{?([A-Z0-9_]+)?\}?")


def refusal(name: str, value: bytes, options: Options = PLAIN) -> str:  # noqa: ARG001 - every format has this signature
    """Why godotenv cannot be given this secret, empty if it can."""
    if reason := text_refusal(value):
        return reason
    if _write_value(value.decode("utf-8")) is None:
        return "its value mixes quotes, backslashes and line breaks so that no form of godotenv's holds it"
    return ""


def write(
    values: Mapping[str, bytes],
    random: Callable[[int], bytes],  # noqa: ARG001
    options: Options = PLAIN,  # noqa: ARG001
) -> tuple[bytes, tuple[str, ...]]:
    """One entry for each value; never a note."""
    return write_entries(values.items(), _write_value), ()


def _write_value(text: str) -> str | None:
    return first_exact(text, (single, double, double_dollars, bare_dollars), (_read_value,))


def read(content: bytes, options: Options = PLAIN) -> dict[str, bytes]:  # noqa: ARG001
    """The values that godotenv takes from the file in an empty environment."""
    return read_entries(content, _read_value)


def _read_value(text: str, start: int) -> tuple[str, int]:
    quote = text[start : start + 1]
    if quote not in {"'", '"'}:
        return _read_bare(text, start)
    end = start + 1
    while True:
        end = text.find(quote, end)
        if end < 0:
            raise ValueError("a quote is not closed")
        if text[end - 1] != "\\":
            break
        end += 1
    if "\r\n" in text[start:end]:
        raise ValueError("CR LF becomes LF")
    value = text[start:end].strip(quote)
    return (_expand(_unescape(value)) if quote == '"' else value), end + 1


def _read_bare(text: str, start: int) -> tuple[str, int]:
    end = next((place for place in range(start, len(text)) if text[place] in "\r\n"), len(text))
    line = text[start:end]
    comments = [place for place in range(1, len(line)) if line[place] == "#" and line[place - 1] in _SPACES]
    kept = line[: comments[-1]] if comments else line
    return _expand(kept.strip(_SPACES)), end


def _unescape(value: str) -> str:
    lines = _ESCAPE.sub(lambda match: {"\\n": "\n", "\\r": "\r"}.get(match[0], match[0]), value)
    return _UNESCAPE.sub(r"\1", lines)


def _expand(value: str) -> str:
    def expanded(match: re.Match[str]) -> str:
        if match[1]:
            return match[0][1:]
        return "" if match[4] else match[0]

    return _VARIABLE.sub(expanded, value)
