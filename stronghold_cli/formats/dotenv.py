"""``--format dotenv``, the default: ``KEY=value`` lines as the readers of ``.env`` files take them.

The readers disagree on quotes, escapes and ``$`` (docs/dotenv.md). A value is written in the *portable form* if it has one:
all of them read it alike, but for ``docker --env-file``, which knows no quotes. Any other value is written so that
python-dotenv reads it exactly, in the one of its forms that the fewest other readers take differently, and a note names
the key and those readers. Refused is what python-dotenv cannot carry (``${``: it expands that in quotes too); ``$(``, which
one widespread reader runs as a command whatever the quotes; and what has no form but double quotes, where a shell that
sources the file would compute a part of it, and run a command that stands in any other value (``it's $[A]``). A key that is
allowed by name is written all the same, as python-dotenv reads it with expansion off. With ``strict`` only the portable form
is written.

The reference reader is python-dotenv 1.2 as it reads a file: universal line ends, expansion on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from stronghold_cli.formats.dialects import double_escaped, is_portable_bare, single_escaped
from stronghold_cli.formats.dotenv_python import EXPANDED, is_expanded, read_file
from stronghold_cli.formats.options import PLAIN, Options
from stronghold_cli.formats.text import holds_no_character, text_refusal

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
# What shells compute in double quotes: $[A] and ${B:A} in bash, a subscript of any parameter ($A[B], $#[B]) in zsh. Names in
# it stand for their values, which are computed in turn; a subscript in one of those is expanded, commands included.
_COMPUTED = r"\$(?:\{|[\w#+^=~*@?$!-]*\[)"


def refusal(name: str, value: bytes, options: Options = PLAIN) -> str:
    """Why no ``.env`` should carry this secret, empty if one can."""
    reason = text_refusal(value)
    if reason or name in options.allowed:
        return reason
    if is_expanded(value):
        return EXPANDED
    if b"$(" in value:
        return "its value holds $(, which some readers run as a command whatever the quotes"
    if _is_computed(value.decode("utf-8")):
        return "its value holds $[ or ${ and needs double quotes, where a shell that sources the file may run commands by it"
    if options.strict and _portable(value.decode("utf-8")) is None:
        return "its value has no form that all readers of such files take alike"
    return ""


def write(
    values: Mapping[str, bytes],
    random: Callable[[int], bytes],  # noqa: ARG001 - every format has this signature
    options: Options = PLAIN,  # noqa: ARG001
) -> tuple[bytes, tuple[str, ...]]:
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


def read(content: bytes, options: Options = PLAIN) -> dict[str, bytes]:
    """The values that python-dotenv takes from the file, those of allowed names with expansion off."""
    return read_file(content, options.allowed)


def _portable(text: str) -> str | None:
    """The form that all readers take alike, ``None`` if there is none (docs/dotenv.md, "The portable form")."""
    if is_portable_bare(text):
        return text
    if "$" in text or "\r" in text or holds_no_character(text):
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


def _is_computed(text: str) -> bool:
    """Whether a shell that sources the file would compute a part of ``text``, in whatever form python-dotenv reads it."""
    return "$" in text and re.search(_COMPUTED, text) is not None and "runs" in _form(text)[1]


def _for_python(text: str) -> tuple[str, str]:
    """A form that python-dotenv reads as ``text``, and the note on those who do not."""
    written, misreaders = _form(text)
    named = ", ".join(title for reader, title in _READERS.items() if reader in misreaders)
    note = f"written as python-dotenv reads it; others may read it differently: {named}."
    if "runs" in misreaders:
        note += " A shell that sources the file would run a part of the value as a command: give shells --format shell."
    if is_expanded(text.encode()):
        note += " python-dotenv expands ${ unless its interpolation is off."
    if "$(" in text:
        note += " dotenv-expand 1000 runs $( as a command."
    return written, note


def _form(text: str) -> tuple[str, frozenset[str]]:
    """A form that python-dotenv reads as ``text``, and who reads it differently; ``runs``: a shell runs a part of it.

    Chosen is first what no shell runs a part of as a command, then what serves the most of shells, node and compose, then
    the most of the others.
    """
    candidates = [(double_escaped(text), _misreaders_of_double(text)), (single_escaped(text), _misreaders_of_single(text))]
    if _fits_single_quotes(text):
        candidates.insert(0, (f"'{text}'", _misreaders_of_plain(text)))
    elif "\r" in text:
        candidates.pop()  # python-dotenv reads files with universal line ends: a carriage return needs its escape
    return min(candidates, key=lambda one: ("runs" in one[1], len(one[1] & _FOREMOST), len(one[1])))


def _misreaders_of_plain(text: str) -> frozenset[str]:
    """Who takes ``'text'`` for something else, where every reader knows where it ends."""
    misreaders = {"docker"} | ({"expand"} if "$" in text else set())
    return frozenset(misreaders | ({"systemd"} if holds_no_character(text) else set()))


def _misreaders_of_double(text: str) -> frozenset[str]:
    """Who takes ``double_escaped(text)`` for something else; ``runs``: a shell runs a part of it."""
    misreaders = {"docker"} | ({"systemd"} if holds_no_character(text) else set())
    if "$" in text:
        misreaders |= {"shell", "compose", "expand", "go", "ruby", "rust"}
    if "`" in text or "$(" in text or ("$" in text and re.search(_COMPUTED, text)):
        misreaders |= {"shell", "runs"}
    if "\\" in text or '"' in text:
        misreaders |= {"node", "expand", "go"}
    if text.endswith("\\"):
        misreaders |= {"ruby"}
    if "\r" in text:
        misreaders |= {"shell", "node", "expand", "go", "ruby", "rust", "systemd"}
    return frozenset(misreaders)


def _misreaders_of_single(text: str) -> frozenset[str]:
    """Who takes ``single_escaped(text)`` for something else, where it is not plainly ``'text'``."""
    misreaders = {"shell", "node", "expand", "go", "ruby", "rust", "systemd", "docker"}
    if "\\" in text:
        misreaders |= {"compose"}
    if "'" in text:
        misreaders |= {"runs"}
    return frozenset(misreaders)
