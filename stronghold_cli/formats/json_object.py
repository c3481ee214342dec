"""``--format json``: one flat object of strings, two blanks of indent, members in the order of the keys.

Carries every text, NUL included; refuses what is not UTF-8, since JSON has no bytes. The reference reader is strict: a
member twice, or a value that is not a string, is no file of ours.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from stronghold_cli.formats.options import PLAIN, Options
from stronghold_cli.formats.text import text_refusal


def refusal(name: str, value: bytes, options: Options = PLAIN) -> str:  # noqa: ARG001 - every format has this signature
    """Why JSON cannot carry this secret, empty if it can."""
    return text_refusal(value, nul=True)


def write(
    values: Mapping[str, bytes],
    random: Callable[[int], bytes],  # noqa: ARG001
    options: Options = PLAIN,  # noqa: ARG001
) -> tuple[bytes, tuple[str, ...]]:
    """The object as UTF-8 JSON with a final line end; never a note."""
    members = {name: value.decode("utf-8") for name, value in values.items()}
    return json.dumps(members, ensure_ascii=False, indent=2).encode() + b"\n", ()


def read(content: bytes, options: Options = PLAIN) -> dict[str, bytes]:  # noqa: ARG001
    """The members of the object; ``ValueError`` if it is not one flat object of strings."""
    members = json.loads(content.decode("utf-8"), object_pairs_hook=_unique)
    return {name: value.encode() for name, value in members.items()}


def _unique(pairs: list[tuple[str, str]]) -> dict[str, str]:
    members = dict(pairs)
    if len(members) != len(pairs) or not all(isinstance(value, str) for value in members.values()):
        raise ValueError("not a flat object of strings with each name once")
    return members
