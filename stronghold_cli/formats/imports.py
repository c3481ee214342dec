"""Reading the file of ``env push``: a ``.env`` as python-dotenv means it, a flat map in JSON or YAML, or a tool's export.

Expansion is off: what stands in the file is the value. Unlike python-dotenv, which skips what it cannot parse, everything
that is doubtful is refused with the file's name and the line, so that nothing is pushed that the file's author did not
mean: names twice or not legal, keys without ``=``, open quotes, byte order marks, UTF-16, NUL, files that sops encrypted.
What stands where a name should be is not shown, unless it is one: it may be a line of a secret. Values are taken as they
are, never normalised; line ends are LF, as python-dotenv reads files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from stronghold_cli.protocol.errors import UsageError
from stronghold_cli.protocol.names import MAX_SECRET_NAME, MAX_SECRETS, MAX_VALUE, is_secret_name

_BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "a byte order mark", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_SAVE_AS_UTF8 = "Save the file as UTF-8 without a byte order mark."
_LEGAL_NAME = f"Use letters, digits and underscores, not beginning with a digit, at most {MAX_SECRET_NAME}."
_OPENS_QUOTE = re.compile(r"[^=\n]*=[^\S\n]*['\"]")


def parse_env(content: bytes, source: str, shape: str | None = None) -> dict[str, bytes]:
    """The secrets of a file, in its order. ``source`` is its name; ``shape`` one of ``exports.SHAPES``.

    A name that ends in ``.json``, ``.yaml`` or ``.yml`` says what it is; all else is a ``.env``, but for an export that
    begins as JSON. Raises ``UsageError`` naming ``source`` and the line; never a value.
    """
    text = _decode(content, source)
    secrets: dict[str, bytes] = {}
    lines: dict[str, int] = {}
    for line, name, value in _entries(text, source, shape):
        place = f"{source}, line {line}"
        if not is_secret_name(name):
            raise UsageError(f"{place}: the name is not legal for a secret.", hint=_LEGAL_NAME)
        if name in secrets:
            raise UsageError(f"{place}: {name} stands there twice, first in line {lines[name]}.", hint="Leave one of them.")
        secrets[name] = _check_value(value, name, place)
        lines[name] = line
        if len(secrets) > MAX_SECRETS:
            raise UsageError(
                f"{place}: a profile holds at most {MAX_SECRETS} secrets.", hint="Split the file into profiles."
            )
    return secrets


def names_in(content: bytes, source: str) -> tuple[str, ...]:
    """The names that a ``.env.example`` lists, in its order: with or without a value, each once or more often.

    ``UsageError`` with the line for what is no legal name or no entry.
    """
    names: dict[str, None] = {}
    for line, name, _ in _bindings(_decode(content, source), source):
        if not is_secret_name(name):
            raise UsageError(f"{source}, line {line}: the name is not legal for a secret.", hint=_LEGAL_NAME)
        names[name] = None
    return tuple(names)


def _entries(text: str, source: str, shape: str | None) -> Iterator[tuple[int, str, str]]:
    """Line, name and value of each secret."""
    name = source.lower()
    is_yaml = name.endswith((".yaml", ".yml"))
    if is_yaml or name.endswith(".json") or (shape is not None and text.lstrip()[:1] in {"{", "["}):
        from stronghold_cli.formats.exports import SHAPES, flat
        from stronghold_cli.formats.trees import parse_json, parse_yaml

        tree = parse_yaml(text, source) if is_yaml else parse_json(text, source)
        return (SHAPES[shape] if shape is not None else flat)(tree, source)
    if shape in {"bws", "1password", "vault"}:
        raise UsageError(f"{source}: this is not the JSON that {shape} writes.", hint="See: stronghold env push --help")
    entries = list(_dotenv_entries(text, source))
    # sops leaves the names as they are: what it encrypted would pass for secrets. It always writes this one beside them.
    if shape == "sops" or any(name == "sops_mac" for _, name, _ in entries):
        from stronghold_cli.formats.exports import refuse_encrypted

        refuse_encrypted(((line, name) for line, name, _ in entries), source)
    if shape == "doppler":
        from stronghold_cli.formats.exports import DOPPLER_OWN

        entries = [entry for entry in entries if entry[1] not in DOPPLER_OWN]
    return iter(entries)


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
    """Line, name and value of each entry."""
    for line, name, value in _bindings(text, source):
        if value is None:
            # Not shown, legal or not: a line of a key in base64 has no = either.
            raise UsageError(f"{source}, line {line}: there is no = after the name.", hint="Write KEY=value.")
        yield line, name, value


def _bindings(text: str, source: str) -> Iterator[tuple[int, str, str | None]]:
    """Line, name and value (``None`` where there is no ``=``) of each entry, by the parser of python-dotenv."""
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
        if binding.key is not None:
            yield line, binding.key, binding.value


def _parse_fault(entry: str) -> str:
    if _OPENS_QUOTE.match(entry):
        return "a quote is not closed, or text follows the closing one"
    return "this is not a KEY=value line"
