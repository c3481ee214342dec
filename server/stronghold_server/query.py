"""Strict reading of a query string: known parameters, each once, each of its one form."""

from __future__ import annotations

from functools import lru_cache
from typing import Final
from urllib.parse import parse_qsl

from stronghold_cli.protocol.encoding import decode_hex, decode_integer
from stronghold_cli.protocol.errors import MalformedError

_MAX_PARAMETERS: Final = 8


@lru_cache(maxsize=1024)
def _pairs(query: str) -> tuple[tuple[str, str], ...]:
    """The pairs of a query in its order; pipelines send the same text again and again."""
    try:
        return tuple(
            parse_qsl(query, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=_MAX_PARAMETERS)
        )
    except ValueError as error:
        raise MalformedError("the query of a request cannot be read") from error


class Query:
    """The parameters of one request; raises ``MalformedError`` for an unknown one, or one that stands twice."""

    def __init__(self, query: str, known: tuple[str, ...]) -> None:
        pairs = _pairs(query)
        self._values = dict(pairs)
        if len(self._values) != len(pairs):
            raise MalformedError("a query parameter stands twice")
        if not self._values.keys() <= set(known):
            raise MalformedError(f"a query parameter is none of {', '.join(known) or 'none'}")

    def text(self, name: str) -> str | None:
        """A text, or None where it is not given."""
        return self._values.get(name)

    def hexadecimal(self, name: str, length: int) -> bytes | None:
        """``length`` bytes in lower-case hex, or None where they are not given."""
        text = self._values.get(name)
        return None if text is None else decode_hex(text, length)

    def count(self, name: str, default: int, high: int) -> int:
        """An integer from 0 to ``high``."""
        text = self._values.get(name)
        if text is None:
            return default
        try:
            value = decode_integer(text)
        except MalformedError:
            value = -1
        if not 0 <= value <= high:
            raise MalformedError(f"the query parameter {name} is not an integer from 0 to {high}")
        return value
