r"""``--format compose``: an ``env_file`` of docker compose v2, also ``--format dotenv --reader compose``.

Always ``"…"``, with ``\\``, ``\"``, ``\$``, ``\n`` and ``\r``, which carries all text. The reference reader follows
``dotenv/parser.go`` of github.com/compose-spec/compose-go; a variable that it would replace is no value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from stronghold_cli.formats.dialects import double_lines, read_entries, write_entries
from stronghold_cli.formats.options import PLAIN, Options
from stronghold_cli.formats.text import text_refusal

_QUOTED = re.compile(r"""(?s)(?P<quote>["'])((?:[^"'\\]|\\.|(?!(?P=quote)).)*+)(?P=quote)""")
_SPACES = " \t\v\f\r\x85\xa0"
_ESCAPE = re.compile(r'\\([abcfnrtv$"\\]|0\d{0,3})')
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"', "$": "$$"}
_DOLLAR = re.compile(r"\$(\$|[A-Za-z_]|\{)?")


def refusal(name: str, value: bytes, options: Options = PLAIN) -> str:  # noqa: ARG001 - every format has this signature
    """Why docker compose cannot be given this secret, empty if it can."""
    return text_refusal(value)


def write(
    values: Mapping[str, bytes],
    random: Callable[[int], bytes],  # noqa: ARG001
    options: Options = PLAIN,  # noqa: ARG001
) -> tuple[bytes, tuple[str, ...]]:
    """One line for each value; never a note."""
    return write_entries(values.items(), double_lines), ()


def read(content: bytes, options: Options = PLAIN) -> dict[str, bytes]:  # noqa: ARG001
    """The values that compose takes from the file in an empty environment."""
    return read_entries(content, _read_value)


def _read_value(text: str, start: int) -> tuple[str, int]:
    match = _QUOTED.match(text, start)
    if match is None:
        if text[start : start + 1] in {"'", '"'}:
            raise ValueError("a quote is not closed")
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        return _expanded(text[start:end].lstrip(_SPACES).partition(" #")[0].rstrip()), end
    # A backslash before the quote is taken away first, then the escapes of Go are read, then $$ and variables.
    quote = match["quote"]
    inside = re.sub(r"(?s)\\(.)", lambda escape: quote if escape[1] == quote else escape[0], match[2])
    return (_expanded(_ESCAPE.sub(_unescape, inside)) if quote == '"' else inside), match.end()


def _expanded(text: str) -> str:
    return _DOLLAR.sub(_literal_dollar, text)


def _unescape(match: re.Match[str]) -> str:
    return _ESCAPED.get(match[1], match[0])


def _literal_dollar(match: re.Match[str]) -> str:
    if match[1] in {None, "$"}:
        return "$"
    raise ValueError("a variable that compose would replace")
