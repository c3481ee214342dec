"""The matrix: every value, in every format that does not refuse it, read by every reader of that format.

A cell counts the values that came back the same and those that did not. A difference is *told* where a note of the default
dotenv named that key and that reader; one that is not is *silent*, and there must be none, but for the few readers that
``LIMITED`` names, with what they do. For every value that a format refuses, all encodings of ``.env`` files are tried with
the same readers: what one of them carries must not be refused (``needless``).
"""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from stronghold_cli.formats import dialects
from stronghold_cli.formats.options import PLAIN, Options
from stronghold_cli.formats.table import Format, load, render
from tests.conformance.real import DOCKER, NODE, READERS, Answer, Reader

# Readers whose release, or whose nature, does not read the dialect; the column says so and why.
LIMITED: Mapping[tuple[str, str | None, str], str] = {
    ("dotenv", None, "docker --env-file"): "knows no quotes: give it `--format docker`",
    ("dotenv", None, "ruby dotenv 2.4.0"): "reads no line breaks in quotes (3 does)",
    ("dotenv", "ruby", "ruby dotenv 2.4.0"): "reads no line breaks in quotes (3 does)",
    ("dotenv", None, "docker-compose 1.29.2"): "read by an old python-dotenv",
    ("dotenv", "compose", "docker-compose 1.29.2"): "has no `\\$` (2 does)",
    ("compose", None, "docker-compose 1.29.2"): "has no `\\$` (2 does)",
}
# Refused for what a careless reader does, though the format's own reader would be right.
POLICY = ("some readers run as a command", "may run commands by it", "GitHub's runner keeps", "on Windows drops")
_FOLLOWING = "Z9"
_MANY = 200


@dataclass
class Cell:
    """What one reader made of one format's files."""

    reader: Reader
    same: int = 0
    told: int = 0
    limited: int = 0
    not_run: int = 0
    silent: list[bytes] = field(default_factory=list)


@dataclass
class Column:
    """One format, or one dialect of dotenv: what was refused and why, and a cell for each reader that is installed."""

    format: str
    dialect: str | None
    carried: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    needless: list[bytes] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Written:
    values: dict[str, bytes]
    content: bytes
    notes: tuple[str, ...]

    def told(self, name: str, title: str) -> bool:
        return any(name in note.partition(":")[0].split(", ") and title in note for note in self.notes)


def measure(
    format_name: str,
    dialect: str | None,
    values: Sequence[bytes],
    readers: Sequence[Reader] | None = None,
    *,
    encodings: bool = True,
) -> Column:
    """Write ``values`` singly and many to a file, and have them read; ``encodings`` tries what is refused."""
    column = Column(format_name, dialect)
    options = Options(path="x.tfvars") if dialect == "hcl" else PLAIN
    reader_option = None if dialect == "hcl" else dialect
    module = load(format_name, reader_option)
    kept, refused = [], []
    for value in values:
        reason = module.refusal("V", value, options)
        (refused if reason else kept).append(value)
        if reason:
            column.refused[reason] += 1
    column.carried = len(kept)
    write = _writer(format_name, reader_option, options)
    for reader in READERS[format_name, dialect] if readers is None else readers:
        if not reader.version:
            column.missing.append(reader.name)
            continue
        column.cells.append(_cell(column, reader, kept, write))
    if encodings:
        exact = [cell.reader for cell in column.cells if (format_name, dialect, title(cell.reader)) not in LIMITED]
        column.needless = list(_needless(module, refused, exact, options))
    return column


def _writer(format_name: str, reader: str | None, options: Options) -> Callable[[dict[str, bytes]], _Written]:
    def write(named: dict[str, bytes]) -> _Written:
        rendered = render(format_name, named, random=os.urandom, reader=reader, options=options)
        return _Written(named, rendered.content, rendered.notes)

    return write


def _cell(column: Column, reader: Reader, values: Sequence[bytes], write: Callable[[dict[str, bytes]], _Written]) -> Cell:
    """Each value alone with an entry behind; then those that no note keeps from this reader, many to a file."""
    cell = Cell(reader)
    single = [write({"V": value, _FOLLOWING: b"end"}) for value in values]
    plain = [file.values["V"] for file in single if not (reader.note and file.told("V", reader.note))]
    many = [
        write({f"V{number:05}": value for number, value in enumerate(plain[start : start + _MANY])})
        for start in range(0, len(plain), _MANY)
    ]
    given = [file for file in [*single, *many] if len(file.content) <= reader.limit]
    cell.not_run = len(single) + len(many) - len(given)
    limited = (column.format, column.dialect, title(reader)) in LIMITED
    answers = reader.read([file.content for file in given], [tuple(file.values) for file in given])
    for file, answer in zip(given, answers, strict=True):
        _count(cell, file, answer, limited=limited)
    return cell


def _count(cell: Cell, file: _Written, answer: Answer, *, limited: bool) -> None:
    """What came back of one file. A value that is told, or swallows the entry behind it, does not count as the same."""
    names = [name for name in file.values if name != _FOLLOWING or "V" not in file.values]
    if answer == file.values:
        cell.same += len(names)
        return
    for name in names:
        if cell.reader.note and file.told(name, cell.reader.note):
            cell.told += 1
        elif limited:
            cell.limited += 1
        elif len(names) > 1 and answer is not None and answer.get(name) == file.values[name]:
            cell.same += 1
        else:
            cell.silent.append(file.values[name])


def title(reader: Reader) -> str:
    """The name by which ``LIMITED`` means a reader: with its version where another one is a reader too."""
    return f"{reader.name} {reader.version}" if reader.name in {"ruby dotenv", "docker-compose"} else reader.name


# --- what is refused ---------------------------------------------------------------------------------------------------


def _systemd_quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("`", "\\`")
    return f'"{escaped}"'


ENCODINGS = (
    dialects.bare, dialects.bare_dollars, dialects.single, dialects.single_escaped, dialects.backtick, dialects.double,
    dialects.double_escaped, dialects.double_dollars, dialects.double_lines, _systemd_quoted, shlex.quote,
)  # fmt: skip


def _needless(module: Format, refused: Sequence[bytes], readers: Sequence[Reader], options: Options) -> Iterator[bytes]:
    """The refused values that some encoding carries to all of the readers, alone and with quotes in the entries behind."""
    texts = [value for value in refused if _is_text(value) and not _is_policy(module.refusal("V", value, options))]
    if not texts or not readers:
        return
    quotes = "" if DOCKER in readers else "'\"`" if NODE[0] in readers else "'\""
    behind = {f"Z{number}": quote for number, quote in enumerate(quotes)}
    tail = "".join(f"{name}={quote}\nend{quote}\n" for name, quote in behind.items()).encode()
    others = dict.fromkeys(behind, b"\nend")
    # Every encoding of every value, alone and with the entries behind, in one go: readers take long to start.
    tried = [(value, f"V={encode(value.decode())}\n".encode()) for encode in ENCODINGS for value in texts]
    files = [line + following for _, line in tried for following in (b"", tail)]
    expected = [{"V": value, **following} for value, _ in tried for following in ({}, others)]
    right = [True] * len(tried)
    for reader in readers:
        answers = reader.read(files, [tuple(names) for names in expected])
        same = [answer == names for answer, names in zip(answers, expected, strict=True)]
        right = [so_far and same[2 * place] and same[2 * place + 1] for place, so_far in enumerate(right)]
    yield from dict.fromkeys(value for (value, _), good in zip(tried, right, strict=True) if good)


def _is_text(value: bytes) -> bool:
    try:
        return "\0" not in value.decode()
    except UnicodeDecodeError:
        return False


def _is_policy(reason: str) -> bool:
    return any(words in reason for words in POLICY)
