"""``--format yaml``: one flat map of strings, each value in double quotes on one line.

Carries every text, NUL included; refuses what is not UTF-8. The reference reader reads such maps and no other YAML.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from stronghold_cli.formats.options import PLAIN, Options
from stronghold_cli.formats.text import text_refusal
from stronghold_cli.formats.yaml_text import key, quote, unquote

_LINE = re.compile(r'("?)([A-Za-z_][A-Za-z0-9_]*)\1: "((?:[^"\\\n]|\\.)*+)"\n')


def refusal(name: str, value: bytes, options: Options = PLAIN) -> str:  # noqa: ARG001 - every format has this signature
    """Why YAML cannot carry this secret, empty if it can."""
    return text_refusal(value, nul=True)


def write(
    values: Mapping[str, bytes],
    random: Callable[[int], bytes],  # noqa: ARG001
    options: Options = PLAIN,  # noqa: ARG001
) -> tuple[bytes, tuple[str, ...]]:
    """The map; never a note. No values are an empty map, since an empty file would be no map."""
    lines = [f"{key(name)}: {quote(value.decode('utf-8'))}\n" for name, value in values.items()]
    return ("".join(lines) or "{}\n").encode(), ()


def read(content: bytes, options: Options = PLAIN) -> dict[str, bytes]:  # noqa: ARG001
    """The values of the map; ``ValueError`` if it is not one that is written here."""
    text = content.decode("utf-8")
    if text == "{}\n":
        return {}
    values: dict[str, bytes] = {}
    position = 0
    while position < len(text):
        line = _LINE.match(text, position)
        if line is None or line[2] in values:
            raise ValueError("not a flat map of ours")
        values[line[2]] = unquote(line[3]).encode()
        position = line.end()
    return values
