r"""``--format dotenv --reader python``: exactly what python-dotenv reads.

In single quotes with ``\\`` and ``\'``; a value with a carriage return in double quotes, since python-dotenv opens files
with universal line ends. Refused is ``${NAME}``, which it expands whatever the quotes. The reference reader is
python-dotenv 1.2 as it reads a file, expansion on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping

from stronghold_cli.formats.dialects import double_escaped, is_portable_bare, single_escaped
from stronghold_cli.formats.options import PLAIN, Options
from stronghold_cli.formats.text import text_refusal

EXPANDED = "its value holds ${…}, which python-dotenv expands whatever the quotes"

# Patterns, compiled when they are first used (``re`` keeps them): writing needs none of them.
_BLANK = r"\s*(?:#[^\n]*\s*)*+"
_KEY = r"(?:export[^\S\n]+)?(?:'([^']+)'|([^=#\s]+))[^\S\n]*=([^\S\n]*)"
_SINGLE = r"(?s)'([^'\\]*(?:\\.[^'\\]*)*)'"
_DOUBLE = r'(?s)"([^"\\]*(?:\\.[^"\\]*)*)"'
_UNQUOTED = r"[^\n]*"
_END = r"[^\S\n]*(?:#[^\n]*)?(?:\n|\Z)"
_SINGLE_ESCAPE = r"\\([\\'])"
_DOUBLE_ESCAPE = r"\\([\\'\"abfnrtv])"
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_VARIABLE = r"\$\{([^}:]*)(?::-([^}]*))?\}"


def refusal(name: str, value: bytes, options: Options = PLAIN) -> str:  # noqa: ARG001 - every format has this signature
    """Why python-dotenv cannot be given this secret, empty if it can."""
    return text_refusal(value) or (EXPANDED if is_expanded(value) else "")


def is_expanded(value: bytes) -> bool:
    """Whether python-dotenv would replace a part of this text: ``${NAME}`` or ``${NAME:-…}``, and no other ``${``."""
    return b"${" in value and re.search(_VARIABLE, value.decode("utf-8")) is not None


def write(
    values: Mapping[str, bytes],
    random: Callable[[int], bytes],  # noqa: ARG001
    options: Options = PLAIN,  # noqa: ARG001
) -> tuple[bytes, tuple[str, ...]]:
    """One entry for each value; never a note."""
    return "".join(f"{name}={_write_value(value.decode('utf-8'))}\n" for name, value in values.items()).encode(), ()


def _write_value(text: str) -> str:
    if is_portable_bare(text):
        return text
    return double_escaped(text) if "\r" in text else single_escaped(text)


def read(content: bytes, options: Options = PLAIN) -> dict[str, bytes]:
    """The values that python-dotenv takes from the file in an empty environment; ``ValueError`` where it skips a line.

    What stands in ``options.allowed`` is read as with expansion off.
    """
    return read_file(content, options.allowed)


def read_file(content: bytes, unexpanded: Collection[str]) -> dict[str, bytes]:
    """The values of a file; those of the names in ``unexpanded`` as they stand there."""
    text = content.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    values: dict[str, str] = {}
    position = _skip(_BLANK, text, 0)
    while position < len(text):
        key = re.compile(_KEY).match(text, position)
        if key is None:
            raise ValueError("not an entry that python-dotenv reads")
        name = key[1] or key[2]
        value, position = _read_value(text, key.end(), after_blank=bool(key[3]))
        if name not in unexpanded:
            value = re.sub(_VARIABLE, lambda match: values.get(match[1], match[2] or ""), value)
        values[name] = value
        position = _skip(_BLANK, text, _skip(_END, text, position))
    return {name: value.encode() for name, value in values.items()}


def _skip(pattern: str, text: str, position: int) -> int:
    match = re.compile(pattern).match(text, position)
    if match is None:
        raise ValueError("text after a closing quote")
    return match.end()


def _read_value(text: str, start: int, *, after_blank: bool) -> tuple[str, int]:
    """The value that begins at ``start`` and where it ends."""
    quote = text[start : start + 1]
    if quote == "#" and after_blank:
        return "", start
    pattern = {"'": _SINGLE, '"': _DOUBLE}.get(quote, _UNQUOTED)
    match = re.compile(pattern).match(text, start)
    if match is None:
        raise ValueError("a quote is not closed")
    if quote == "'":
        return re.sub(_SINGLE_ESCAPE, r"\1", match[1]), match.end()
    if quote == '"':
        return re.sub(_DOUBLE_ESCAPE, lambda escape: _ESCAPED.get(escape[1], escape[1]), match[1]), match.end()
    return re.sub(r"\s+#.*", "", match[0]).rstrip(), match.end()
