"""``--format csv``: the header ``name,value`` and one row for each secret, as RFC 4180 has it but for LF line ends.

Every value stands in double quotes, its own doubled. Carries every text, NUL included; refuses what is not UTF-8. What a
spreadsheet would take for a formula stays as it is, since programs read this, and is told. The reference reader reads such
rows and no others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from stronghold_cli.formats.options import PLAIN, Options
from stronghold_cli.formats.text import text_refusal

_HEADER = "name,value\n"
_FORMULA = (b"=", b"+", b"-", b"@", b"\t", b"\r")  # OWASP, "CSV Injection"
_ROW = re.compile(r'([A-Za-z_][A-Za-z0-9_]*),"((?:[^"]|"")*+)"\n')


def refusal(name: str, value: bytes, options: Options = PLAIN) -> str:  # noqa: ARG001 - every format has this signature
    """Why CSV cannot carry this secret, empty if it can."""
    return text_refusal(value, nul=True)


def write(
    values: Mapping[str, bytes],
    random: Callable[[int], bytes],  # noqa: ARG001
    options: Options = PLAIN,  # noqa: ARG001
) -> tuple[bytes, tuple[str, ...]]:
    """The header and the rows, and a note on the values that a spreadsheet would compute."""
    rows = [f'{name},"{value.decode().replace(chr(34), chr(34) * 2)}"\n' for name, value in values.items()]
    formulas = [name for name, value in values.items() if value.startswith(_FORMULA)]
    notes = (f"{', '.join(formulas)}: a spreadsheet would take the value for a formula; open the file with none.",)
    return "".join([_HEADER, *rows]).encode(), notes if formulas else ()


def read(content: bytes, options: Options = PLAIN) -> dict[str, bytes]:  # noqa: ARG001
    """The values of the rows; ``ValueError`` for anything but rows of that form."""
    text = content.decode("utf-8")
    if not text.startswith(_HEADER):
        raise ValueError("not our header")
    values: dict[str, bytes] = {}
    position = len(_HEADER)
    while position < len(text):
        row = _ROW.match(text, position)
        if row is None or row[1] in values:
            raise ValueError("not a row of ours")
        values[row[1]] = row[2].replace('""', '"').encode()
        position = row.end()
    return values
