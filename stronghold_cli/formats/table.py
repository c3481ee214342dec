"""The table of formats, and the one function that writes one.

A format is one module of this package and one row of ``FORMATS``. Its module has three functions (``Format`` below): which
values it refuses, its writer, and its reference reader, which decodes as the format's foremost reader does. ``render``
hands nothing on that the reference reader did not give back exactly as it was. Pure: no file is touched here, and the
randomness is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, cast

from stronghold_cli.protocol.errors import Unwritable, UsageError
from stronghold_cli.protocol.names import is_secret_name
from stronghold_cli.protocol.record import Record

# Name as given to --format, and the module that has it. The order is that in which other formats are proposed.
FORMATS: Mapping[str, str] = {
    "dotenv": "stronghold_cli.formats.dotenv",
    "json": "stronghold_cli.formats.json_object",
    "shell": "stronghold_cli.formats.shell",
    "github": "stronghold_cli.formats.github",
}
DEFAULT_FORMAT = "dotenv"

_MAX_NAMED = 5


class Format(Protocol):
    """What the module of a format has. Names are legal secret names and values any bytes, in the order of the file."""

    def refusal(self, name: str, value: bytes) -> str:
        """Why the format cannot carry this secret, as the end of a sentence; empty if it can."""

    def write(self, values: Mapping[str, bytes], random: Callable[[int], bytes]) -> tuple[bytes, tuple[str, ...]]:
        """The file, and what a person should be told about it. Only called with values that are not refused."""

    def read(self, content: bytes) -> dict[str, bytes]:
        """The values that the format's foremost reader takes from a file that ``write`` made."""


class Rendered(Record):
    """A file that was read back to the values it was made from, and notes for stderr; ``repr`` shows no value."""

    content: bytes
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Rendered({len(self.content)} bytes, {len(self.notes)} notes)"


def render(format_name: str, values: Mapping[str, bytes], *, random: Callable[[int], bytes]) -> Rendered:
    """Write ``values`` in a format of ``FORMATS``: keys sorted, UTF-8, LF, ending in a line end.

    ``random(n)`` gives n random bytes. Raises ``UsageError`` for a format that does not exist, ``Unwritable`` for what the
    format cannot carry, with the key, the reason and the formats that carry all of the values.
    """
    chosen = _load(format_name)
    ordered = dict(sorted(values.items()))
    refused = [(name, reason) for name, value in ordered.items() if (reason := _refusal(chosen, name, value))]
    if refused:
        raise _unwritable(format_name, ordered, refused)
    content, notes = chosen.write(ordered, random)
    if not _reads_back(chosen, content, ordered):
        raise Unwritable(
            f"What was written as {format_name} did not read back to the same values, so nothing was written.",
            hint="This is a fault of this program: please report it, and use another --format meanwhile.",
        )
    return Rendered(content=content, notes=notes)


def _load(format_name: str) -> Format:
    if format_name not in FORMATS:
        raise UsageError(f"There is no format {format_name[:40]!r}.", hint=f"Use one of {', '.join(FORMATS)}.")
    # With a list of names __import__ gives the module itself; importlib would be one more module to load.
    return cast("Format", __import__(FORMATS[format_name], fromlist=["write"]))


def _refusal(chosen: Format, name: str, value: bytes) -> str:
    if not is_secret_name(name):
        return "its name is not made of letters, digits and underscores"
    return chosen.refusal(name, value)


def _unwritable(format_name: str, values: Mapping[str, bytes], refused: Sequence[tuple[str, str]]) -> Unwritable:
    name, reason = refused[0]
    more = ""
    if len(refused) > 1:
        named = ", ".join(other for other, _ in refused[1 : 1 + _MAX_NAMED])
        more = f" Neither can {named}{', …' if len(refused) > 1 + _MAX_NAMED else ''}."
    carriers = [other for other in FORMATS if other != format_name and _carries(other, values)]
    if carriers:
        hint = f"All of the values can be written with --format {' or '.join(carriers)}."
    else:
        hint = f"No other format carries all of the values: leave {name} out, or store it in base64."
    shown = name if is_secret_name(name) else repr(name[:40])
    return Unwritable(f"{shown} cannot be written as {format_name}: {reason}.{more}", hint=hint)


def _reads_back(chosen: Format, content: bytes, values: Mapping[str, bytes]) -> bool:
    try:
        return chosen.read(content) == values
    except ValueError:
        return False


def _carries(format_name: str, values: Mapping[str, bytes]) -> bool:
    chosen = _load(format_name)
    return not any(_refusal(chosen, name, value) for name, value in values.items())
