"""``--format docker``: a file for ``docker run --env-file``, which knows no quotes and no escapes.

``KEY=value``, the value as it is. Refused are line breaks, a carriage return at the end (the client drops it with the line
end), text that is not UTF-8, and lines over 65,535 bytes, the most that the client takes. The reference reader follows
``pkg/kvfile`` of github.com/docker/cli.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stronghold_cli.formats.options import PLAIN, Options
from stronghold_cli.formats.text import text_refusal

# bufio.MaxScanTokenSize of Go, which has to hold the line end as well.
_MAX_LINE = (64 << 10) - 1


def refusal(name: str, value: bytes, options: Options = PLAIN) -> str:  # noqa: ARG001 - every format has this signature
    """Why docker's file cannot carry this secret, empty if it can."""
    if reason := text_refusal(value):
        return reason
    if b"\n" in value:
        return "its value holds a line break, and docker's file knows no quotes"
    if value.endswith(b"\r"):
        return "its value ends in a carriage return, which docker drops"
    if len(name) + 1 + len(value) > _MAX_LINE:
        return f"its line would be longer than the {_MAX_LINE:,} bytes that docker takes"
    return ""


def write(
    values: Mapping[str, bytes],
    random: Callable[[int], bytes],  # noqa: ARG001
    options: Options = PLAIN,  # noqa: ARG001
) -> tuple[bytes, tuple[str, ...]]:
    """One line for each value; never a note."""
    return b"".join(b"%s=%s\n" % (name.encode(), value) for name, value in values.items()), ()


def read(content: bytes, options: Options = PLAIN) -> dict[str, bytes]:  # noqa: ARG001
    """The variables that docker's client takes from the file; ``ValueError`` where it refuses it."""
    values: dict[str, bytes] = {}
    for line in content.decode("utf-8").split("\n"):
        line = line.removesuffix("\r").lstrip()
        if len(line.encode()) > _MAX_LINE:
            raise ValueError("a line that is too long")
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not name or not equals or any(blank in name for blank in " \t\n\v\f\r\x85\xa0"):
            raise ValueError("not a variable of an --env-file")
        values[name] = value.encode()
    return values
