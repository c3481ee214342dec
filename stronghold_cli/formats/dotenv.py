"""``--format dotenv``, the default: ``KEY=value`` lines as the readers of ``.env`` files take them.

The readers disagree on quotes, escapes and ``$`` (docs/dotenv.md). A value is written in the *portable form* if it has one:
all of them read it alike, but for ``docker --env-file``, which knows no quotes. Any other value is written so that
python-dotenv reads it exactly, in the one of its forms that the fewest other readers take differently, and a note names
the key and those readers. Refused is what python-dotenv cannot carry (``${``: it expands that in quotes too), and ``$(``,
which one widespread reader runs as a command whatever the quotes.

The reference reader is python-dotenv 1.2 as it reads a file: universal line ends, expansion on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from stronghold_cli.formats.text import text_refusal

_BARE = re.compile(r"[A-Za-z0-9_./+@%,^-][A-Za-z0-9_./+@%,:=^-]*")
# docker --env-file takes lines of up to 64 KiB; longer values gain nothing from the form that it reads.
_MAX_BARE = 60_000

# The readers that notes speak of, in the order in which a form should serve them.
_READERS = {
    "shell": "shells that source it",
    "node": "node (dotenv, --env-file)",
    "compose": "docker compose",
    "expand": "dotenv-expand (Next.js, Vite)",
    "go": "godotenv",
    "ruby": "ruby dotenv",
    "rust": "dotenvy",
    "systemd": "systemd",
    "docker": "docker --env-file",
}
_FOREMOST = frozenset({"shell", "node", "compose"})


def refusal(name: str, value: bytes) -> str:  # noqa: ARG001 - every format has this signature
    """Why no ``.env`` that python-dotenv reads can carry this secret, empty if one can."""
    if b"${" in value:
        return "its value holds ${, which python-dotenv and others expand whatever the quotes"
    if b"$(" in value:
        return "its value holds $(, which some readers run as a command whatever the quotes"
    return text_refusal(value)


def write(values: Mapping[str, bytes], random: Callable[[int], bytes]) -> tuple[bytes, tuple[str, ...]]:  # noqa: ARG001
    """One entry for each value, and one note for all keys that the same readers take differently."""
    entries = []
    keys_by_note: dict[str, list[str]] = {}
    for name, value in values.items():
        text = value.decode("utf-8")
        written = _portable(text)
        if written is None:
            written, note = _for_python(text)
            keys_by_note.setdefault(note, []).append(name)
        entries.append(f"{name}={written}\n")
    notes = tuple(f"{', '.join(keys)}: {note}" for note, keys in keys_by_note.items())
    return "".join(entries).encode(), notes


def _portable(text: str) -> str | None:
    """The form that all readers take alike, ``None`` if there is none (docs/dotenv.md, "The portable form")."""
    if not text or (_BARE.fullmatch(text) and len(text) < _MAX_BARE):
        return text
    if "$" in text or "\r" in text:
        return None
    if _fits_single_quotes(text):
        return f"'{text}'"
    if not any(character in text for character in '"\\`'):
        return f'"{text}"'
    return None


def _fits_single_quotes(text: str) -> bool:
    """Whether every reader that knows quotes takes ``'text'`` for ``text``, but for what it expands."""
    return "'" not in text and "\\\\" not in text and not text.endswith("\\") and "\r" not in text


# --- what only python-dotenv is sure to read ------------------------------------------------------------------------


def _for_python(text: str) -> tuple[str, str]:
    """A form that python-dotenv reads as ``text``, and the note on those who do not.

    Chosen is first what no shell runs a part of as a command, then what serves the most of shells, node and compose, then
    the most of the others.
    """
    candidates = [(_double_quoted(text), _misreaders_of_double(text)), (_single_quoted(text), _misreaders_of_single(text))]
    if _fits_single_quotes(text):
        candidates.insert(0, (f"'{text}'", frozenset({"docker", "expand"})))
    elif "\r" in text:
        candidates.pop()  # python-dotenv reads files with universal line ends: a carriage return needs its escape
    written, misreaders = min(candidates, key=lambda one: ("runs" in one[1], len(one[1] & _FOREMOST), len(one[1])))
    named = ", ".join(title for reader, title in _READERS.items() if reader in misreaders)
    note = f"written as python-dotenv reads it; others may read it differently: {named}."
    if "runs" in misreaders:
        note += " A shell that sources the file would run a part of the value as a command: give shells --format shell."
    return written, note


def _double_quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "\\r")
    return f'"{escaped}"'


def _single_quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _misreaders_of_double(text: str) -> frozenset[str]:
    """Who takes ``_double_quoted(text)`` for something else; ``runs``: a shell runs a part of it."""
    misreaders = {"docker"}
    if "$" in text:
        misreaders |= {"shell", "compose", "expand", "go", "ruby", "rust"}
    if "`" in text:
        misreaders |= {"shell", "runs"}
    if "\\" in text or '"' in text:
        misreaders |= {"node", "expand", "go"}
    if text.endswith("\\"):
        misreaders |= {"ruby"}
    if "\r" in text:
        misreaders |= {"shell", "node", "expand", "go", "ruby", "rust", "systemd"}
    return frozenset(misreaders)


def _misreaders_of_single(text: str) -> frozenset[str]:
    """Who takes ``_single_quoted(text)`` for something else, where it is not plainly ``'text'``."""
    misreaders = {"shell", "node", "expand", "go", "ruby", "rust", "systemd", "docker"}
    if "\\" in text:
        misreaders |= {"compose"}
    if "'" in text:
        misreaders |= {"runs"}
    return frozenset(misreaders)


# --- the reference reader: python-dotenv ----------------------------------------------------------------------------

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


def read(content: bytes) -> dict[str, bytes]:
    """The values that python-dotenv takes from the file in an empty environment; ``ValueError`` where it skips a line."""
    text = content.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    values: dict[str, str] = {}
    position = _skip(_BLANK, text, 0)
    while position < len(text):
        key = re.compile(_KEY).match(text, position)
        if key is None:
            raise ValueError("not an entry that python-dotenv reads")
        value, position = _read_value(text, key.end(), after_blank=bool(key[3]))
        values[key[1] or key[2]] = re.sub(_VARIABLE, lambda match: values.get(match[1], match[2] or ""), value)
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
