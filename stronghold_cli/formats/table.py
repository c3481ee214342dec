"""The table of formats, and the one function that writes one.

A format is one module of this package and one row of ``FORMATS``. Its module has three functions (``Format`` below): which
values it refuses, its writer, and its reference reader, which decodes as the format's foremost reader does. ``render``
hands nothing on that the reference reader did not give back exactly as it was. Pure: no file is touched here, and the
randomness is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, cast

from stronghold_cli.formats.options import PLAIN, Options
from stronghold_cli.protocol.errors import Unwritable, UsageError
from stronghold_cli.protocol.names import is_secret_name
from stronghold_cli.protocol.record import Record

# Name as given to --format, and the module that has it. The order is that in which other formats are proposed.
FORMATS: Mapping[str, str] = {
    "dotenv": "stronghold_cli.formats.dotenv",
    "docker": "stronghold_cli.formats.docker",
    "compose": "stronghold_cli.formats.compose",
    "shell": "stronghold_cli.formats.shell",
    "systemd": "stronghold_cli.formats.systemd",
    "github": "stronghold_cli.formats.github",
    "json": "stronghold_cli.formats.json_object",
    "yaml": "stronghold_cli.formats.yaml_map",
    "toml": "stronghold_cli.formats.toml_table",
    "k8s": "stronghold_cli.formats.kubernetes",
    "powershell": "stronghold_cli.formats.powershell",
    "tfvars": "stronghold_cli.formats.terraform",
    "csv": "stronghold_cli.formats.csv_rows",
}
# The exact sub-dialects of dotenv: name as given to --reader, and the module.
READERS: Mapping[str, str] = {
    "python": "stronghold_cli.formats.dotenv_python",
    "node": "stronghold_cli.formats.dotenv_node",
    "compose": "stronghold_cli.formats.compose",
    "go": "stronghold_cli.formats.dotenv_go",
    "ruby": "stronghold_cli.formats.dotenv_ruby",
}
DEFAULT_FORMAT = "dotenv"

_MAX_NAMED = 5
_MAX_PROPOSED = 3


class Format(Protocol):
    """What the module of a format has. Names are legal secret names and values any bytes, in the order of the file."""

    def refusal(self, name: str, value: bytes, options: Options = PLAIN) -> str:
        """Why the format cannot carry this secret, as the end of a sentence; empty if it can."""

    def write(
        self, values: Mapping[str, bytes], random: Callable[[int], bytes], options: Options = PLAIN
    ) -> tuple[bytes, tuple[str, ...]]:
        """The file, and what a person should be told about it. Only called with values that are not refused."""

    def read(self, content: bytes, options: Options = PLAIN) -> dict[str, bytes]:
        """The values that the format's foremost reader takes from a file that ``write`` made."""


class Rendered(Record):
    """A file that was read back to the values it was made from, and notes for stderr; ``repr`` shows no value."""

    content: bytes
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Rendered({len(self.content)} bytes, {len(self.notes)} notes)"


def render(
    format_name: str,
    values: Mapping[str, bytes],
    *,
    random: Callable[[int], bytes],
    reader: str | None = None,
    options: Options = PLAIN,
) -> Rendered:
    """Write ``values`` in a format of ``FORMATS``: keys sorted, UTF-8, LF, ending in a line end.

    ``reader`` is one of ``READERS``, for dotenv. ``random(n)`` gives n random bytes. Raises ``UsageError`` for a format
    that does not exist, ``Unwritable`` for what the format cannot carry, with the key, the reason and the ways out.
    """
    chosen = load(format_name, reader)
    title = format_name if reader is None else f"{format_name} for {reader}"
    ordered = dict(sorted(values.items()))
    refused = [(name, reason) for name, value in ordered.items() if (reason := _refusal(chosen, name, value, options))]
    if refused:
        hint = _remedies(format_name if reader is None else "", chosen, ordered, refused, options)
        raise Unwritable(f"{_sentence(title, refused)}", hint=hint)
    content, notes = chosen.write(ordered, random, options)
    if not _reads_back(chosen, content, ordered, options):
        raise Unwritable(
            f"What was written as {title} did not read back to the same values, so nothing was written.",
            hint="This is a fault of this program: please report it, and use another --format meanwhile.",
        )
    return Rendered(content=content, notes=notes)


def load(format_name: str, reader: str | None = None) -> Format:
    """The module of a format, or of a sub-dialect of dotenv; ``UsageError`` for what does not exist."""
    if format_name not in FORMATS:
        raise UsageError(f"There is no format {format_name[:40]!r}.", hint=f"Use one of {', '.join(FORMATS)}.")
    if reader is not None and format_name != "dotenv":
        raise UsageError(f"--reader chooses a dialect of dotenv, not of {format_name}.", hint="Leave --reader out.")
    if reader is not None and reader not in READERS:
        raise UsageError(f"There is no reader {reader[:40]!r}.", hint=f"Use one of {', '.join(READERS)}.")
    # With a list of names __import__ gives the module itself; importlib would be one more module to load.
    return cast("Format", __import__(READERS[reader] if reader else FORMATS[format_name], fromlist=["write"]))


def _refusal(chosen: Format, name: str, value: bytes, options: Options) -> str:
    if not is_secret_name(name):
        return "its name is not made of letters, digits and underscores"
    return chosen.refusal(name, value, options)


def _sentence(title: str, refused: Sequence[tuple[str, str]]) -> str:
    name, reason = refused[0]
    more = ""
    if len(refused) > 1:
        named = ", ".join(other for other, _ in refused[1 : 1 + _MAX_NAMED])
        more = f" Neither can {named}{', …' if len(refused) > 1 + _MAX_NAMED else ''}."
    shown = name if is_secret_name(name) else repr(name[:40])
    return f"{shown} cannot be written as {title}: {reason}.{more}"


def _remedies(
    format_name: str,
    chosen: Format,
    values: Mapping[str, bytes],
    refused: Sequence[tuple[str, str]],
    options: Options,
) -> str:
    """What the person can do: base64 where the format takes that, and the formats that carry all of the values."""
    from base64 import b64encode

    helped = [name for name, _ in refused if not _refusal(chosen, name, b64encode(values[name]), options)]
    carriers = [other for other in FORMATS if other != format_name and _carries(other, values)]
    ways = []
    if carriers:
        ways.append(f"write all of the values with --format {' or '.join(carriers[:_MAX_PROPOSED])}")
    if len(helped) == len(refused):
        words = " ".join(f"--base64 {name}" for name in helped[:_MAX_NAMED])
        ways.append(f"write it in base64 with {words}{' …' if len(helped) > _MAX_NAMED else ''}")
    else:
        stuck = next(name for name, _ in refused if name not in helped)
        ways.append(f"leave {stuck if is_secret_name(stuck) else 'it'} out with --exclude")
    sentence = ", or ".join(ways)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _reads_back(chosen: Format, content: bytes, values: Mapping[str, bytes], options: Options) -> bool:
    try:
        return chosen.read(content, options) == values
    except ValueError:
        return False


def _carries(format_name: str, values: Mapping[str, bytes]) -> bool:
    chosen = load(format_name)
    return not any(_refusal(chosen, name, value, PLAIN) for name, value in values.items())
