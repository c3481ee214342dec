r"""``--format toml``: one table of strings, each a basic string on one line.

Carries every text, NUL included; refuses what is not UTF-8. Control characters are escaped (TOML 1.0, "String"). The
reference reader is the interpreter's own ``tomllib``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from stronghold_cli.formats.options import PLAIN, Options
from stronghold_cli.formats.text import text_refusal

_SPECIAL = re.compile(r'[\x00-\x1f"\\\x7f-\x9f\u2028\u2029\ufeff]')
_SHORT = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


def refusal(name: str, value: bytes, options: Options = PLAIN) -> str:  # noqa: ARG001 - every format has this signature
    """Why TOML cannot carry this secret, empty if it can."""
    return text_refusal(value, nul=True)


def write(
    values: Mapping[str, bytes],
    random: Callable[[int], bytes],  # noqa: ARG001
    options: Options = PLAIN,  # noqa: ARG001
) -> tuple[bytes, tuple[str, ...]]:
    """One line for each value; never a note."""
    return "".join(f'{name} = "{_SPECIAL.sub(_escape, value.decode())}"\n' for name, value in values.items()).encode(), ()


def read(content: bytes, options: Options = PLAIN) -> dict[str, bytes]:  # noqa: ARG001
    """The strings of the table; ``ValueError`` if it holds anything else."""
    import tomllib

    table = tomllib.loads(content.decode("utf-8"))
    if not all(isinstance(value, str) for value in table.values()):
        raise ValueError("not a flat table of strings")
    return {name: value.encode() for name, value in table.items()}


def _escape(match: re.Match[str]) -> str:
    return _SHORT.get(match[0]) or f"\\u{ord(match[0]):04x}"
