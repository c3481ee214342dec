r"""``--format tfvars``: Terraform's variables as JSON, or as HCL where the target ends in ``.tfvars``.

Terraform tells the two by the file's name. In the JSON of such a file nothing is a template; in HCL ``${`` and ``%{`` are
escaped (``$${``, ``%%{``). Refused are NUL, what is not UTF-8, and text that is not in Unicode's normalisation form C,
since Terraform normalises every string. The reference reader reads either form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from stronghold_cli.formats import json_object
from stronghold_cli.formats.options import PLAIN, Options
from stronghold_cli.formats.text import text_refusal

_SPECIAL = re.compile(r'[\x00-\x1f"\\\x7f-\x9f\u2028\u2029\ufeff]|[$%]+\{')
_SHORT = {"\t": "\\t", "\n": "\\n", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
_LINE = re.compile(r'([A-Za-z_][A-Za-z0-9_]*) = "((?:[^"\\\n]|\\.)*+)"\n')
_ESCAPE = re.compile(r"\\(u[0-9a-f]{4}|.)|\$\$\{|%%\{|[$%]\{")


def refusal(name: str, value: bytes, options: Options = PLAIN) -> str:  # noqa: ARG001 - every format has this signature
    """Why Terraform cannot be given this secret, empty if it can."""
    if reason := text_refusal(value):
        return reason
    return "" if _is_normal(value.decode("utf-8")) else "Terraform would change its text to Unicode's normalisation form C"


def write(
    values: Mapping[str, bytes], random: Callable[[int], bytes], options: Options = PLAIN
) -> tuple[bytes, tuple[str, ...]]:
    """The values in the form that the target's name calls for; never a note."""
    if not options.path.endswith(".tfvars"):
        return json_object.write(values, random)
    lines = (f'{name} = "{_SPECIAL.sub(_escape, value.decode())}"\n' for name, value in values.items())
    return "".join(lines).encode(), ()


def read(content: bytes, options: Options = PLAIN) -> dict[str, bytes]:
    """The values of a file of either form; ``ValueError`` for a template, or anything that is not written here."""
    if not options.path.endswith(".tfvars"):
        return json_object.read(content)
    text = content.decode("utf-8")
    values: dict[str, bytes] = {}
    position = 0
    while position < len(text):
        line = _LINE.match(text, position)
        if line is None or line[1] in values:
            raise ValueError("not an attribute of ours")
        values[line[1]] = _ESCAPE.sub(_unescape, line[2]).encode()
        position = line.end()
    return values


def _is_normal(text: str) -> bool:
    if text.isascii():
        return True
    import unicodedata

    return unicodedata.is_normalized("NFC", text)


def _escape(match: re.Match[str]) -> str:
    written = match[0]
    if len(written) == 2:
        return f"{written[0]}{written}"
    if len(written) > 2:  # HCL reads a longer run of $ or % as it is, and with it the {
        return f"{written[:-2]}\\u{ord(written[-2]):04x}{{"
    return _SHORT.get(written) or f"\\u{ord(written):04x}"


def _unescape(match: re.Match[str]) -> str:
    if match[0] in {"$${", "%%{"}:
        return match[0][1:]
    if not match[1]:
        raise ValueError("a template")
    if len(match[1]) > 1:
        return chr(int(match[1][1:], 16))
    return {"t": "\t", "n": "\n", "r": "\r", '"': '"', "\\": "\\"}[match[1]]
