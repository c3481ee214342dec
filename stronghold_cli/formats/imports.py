"""Reading the file of ``env push``: a ``.env`` as python-dotenv means it, or a flat JSON object.

Expansion is off: what stands in the file is the value. Unlike python-dotenv, which skips what it cannot parse, everything
that is doubtful is refused with the file's name and the line, so that nothing is pushed that the file's author did not
mean: names twice or not legal, keys without ``=``, open quotes, byte order marks, UTF-16, NUL. Values are taken as they
are, never normalised; line ends are LF, as python-dotenv reads files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from stronghold_cli.protocol.errors import UsageError
from stronghold_cli.protocol.names import MAX_SECRET_NAME, MAX_SECRETS, MAX_VALUE, is_secret_name

_BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "a byte order mark", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_SAVE_AS_UTF8 = "Save the file as UTF-8 without a byte order mark."
_OPENS_QUOTE = re.compile(r"[^=\n]*=[^\S\n]*['\"]")


def parse_env(content: bytes, source: str) -> dict[str, bytes]:
    """The secrets of a file, in its order. ``source`` is its name: ``.json`` at the end means JSON, all else ``.env``.

    Raises ``UsageError`` naming ``source`` and, where there is one, the line; never a value.
    """
    text = _decode(content, source)
    entries = _json_entries(text, source) if source.lower().endswith(".json") else _dotenv_entries(text, source)
    secrets: dict[str, bytes] = {}
    lines: dict[str, int] = {}
    for line, name, value in entries:
        place = f"{source}, line {line}" if line else source
        if not is_secret_name(name):
            raise UsageError(
                f"{place}: {name[:40]!r} is not a legal secret name.",
                hint=f"Use letters, digits and underscores, not beginning with a digit, at most {MAX_SECRET_NAME}.",
            )
        if name in secrets:
            first = f", first in line {lines[name]}" if line else ""
            raise UsageError(f"{place}: {name} stands there twice{first}.", hint="Leave one of them.")
        secrets[name] = _check_value(value, name, place)
        lines[name] = line
        if len(secrets) > MAX_SECRETS:
            raise UsageError(
                f"{place}: a profile holds at most {MAX_SECRETS} secrets.", hint="Split the file into profiles."
            )
    return secrets


def _decode(content: bytes, source: str) -> str:
    for mark, meaning in _BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            raise UsageError(f"{source}, line 1: the file begins with {meaning}.", hint=_SAVE_AS_UTF8)
    if b"\0" in content:
        raise UsageError(f"{source}, line {_line_at(content, content.index(0))}: there is a NUL byte.", hint=_SAVE_AS_UTF8)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = _line_at(content, error.start)
        raise UsageError(f"{source}, line {line}: the text is not UTF-8.", hint=_SAVE_AS_UTF8) from None


def _line_at(content: bytes, position: int) -> int:
    before = content[:position].replace(b"\r\n", b"\n")
    return before.count(b"\n") + before.count(b"\r") + 1


def _check_value(value: str, name: str, place: str) -> bytes:
    try:
        encoded = value.encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError(f"{place}: the value of {name} holds half of a surrogate pair.") from None
    if b"\0" in encoded:
        raise UsageError(f"{place}: the value of {name} holds a NUL, which no environment variable can carry.")
    if len(encoded) > MAX_VALUE:
        raise UsageError(f"{place}: the value of {name} has {len(encoded)} bytes; at most {MAX_VALUE} are allowed.")
    return encoded


# --- .env ------------------------------------------------------------------------------------------------------------


def _dotenv_entries(text: str, source: str) -> Iterator[tuple[int, str, str]]:
    """Line, name and value of each entry, by the parser of python-dotenv."""
    from io import StringIO

    from dotenv.parser import parse_stream

    # Python-dotenv opens files in text mode: every line end, in quotes too, becomes LF.
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    for binding in parse_stream(StringIO(lines)):
        entry = binding.original.string.lstrip()
        # The parser counts from the blank lines before an entry.
        skipped = binding.original.string[: len(binding.original.string) - len(entry)]
        line = binding.original.line + skipped.count("\n")
        if binding.error:
            raise UsageError(
                f"{source}, line {line}: {_parse_fault(entry)}.", hint="Write KEY=value, KEY='value' or KEY=\"value\"."
            )
        if binding.key is None:
            continue
        if binding.value is None:
            raise UsageError(f"{source}, line {line}: {binding.key[:40]!r} has no = after it.", hint="Write KEY=value.")
        yield line, binding.key, binding.value


def _parse_fault(entry: str) -> str:
    if _OPENS_QUOTE.match(entry):
        return "a quote is not closed, or text follows the closing one"
    return "this is not a KEY=value line"


# --- JSON ------------------------------------------------------------------------------------------------------------


def _json_entries(text: str, source: str) -> list[tuple[int, str, str]]:
    """Names and values of one flat object of strings; JSON has no lines to tell (0), but for its syntax errors."""
    import json

    try:
        members = json.loads(text, object_pairs_hook=tuple)
    except json.JSONDecodeError as error:
        raise UsageError(f"{source}, line {error.lineno}: this is not JSON: {error.msg}.") from None
    except (RecursionError, ValueError):
        raise UsageError(f"{source}: this is not JSON that can be read.") from None
    hint = 'Write {"KEY": "value", …}.'
    # The hook makes every object a tuple, which nothing else becomes.
    if not isinstance(members, tuple):
        raise UsageError(f"{source}: the file is not a JSON object.", hint=hint)
    for name, value in members:
        if not isinstance(value, str):
            raise UsageError(f"{source}: the value of {name[:40]!r} is not a string.", hint=hint)
    return [(0, name, value) for name, value in members]
