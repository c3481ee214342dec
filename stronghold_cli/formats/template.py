"""Templates of ``env render``: text in which ``{{ stronghold://PROFILE/NAME }}`` stands for a secret, and nothing else does.

``{{ stronghold://NAME }}`` is one of the current profile. Blanks inside of the braces may be left out. What begins as a
reference and does not end in its line is refused, for it would stay unfilled in silence. Everything around stays as it is,
to the byte; a value is put in as it is, and what it holds is not looked at again. Pure: no file is touched here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from stronghold_cli.protocol.errors import LocalFileError, NotFound, UsageError
from stronghold_cli.protocol.names import is_secret_name
from stronghold_cli.protocol.record import Record

_OPENING = re.compile(rb"\{\{[ \t]*stronghold://")
_REFERENCE = re.compile(rb"\{\{[ \t]*stronghold://((?:[^\r\n{}]++|\{(?!\{))*+)\}\}")
_MAX_SHOWN = 120


class Reference(Record):
    """One place of a template, from byte ``start`` to ``end``; ``profile`` is ``None`` for the current one."""

    profile: str | None
    name: str
    line: int
    start: int
    end: int


def references(template: bytes, source: str) -> tuple[Reference, ...]:
    """Every reference in a template, in its order.

    Raises ``LocalFileError`` for a template that is not text, ``UsageError`` with line and reference for one that names
    nothing.
    """
    if b"\0" in template:
        raise LocalFileError(f"{source} is binary, and no template.", hint="Give a text file.")
    try:
        template.decode("utf-8")
    except UnicodeDecodeError:
        raise LocalFileError(f"{source} is not UTF-8 text, and no template.", hint="Save it as UTF-8.") from None
    found: list[Reference] = []
    line, counted = 1, 0
    for opening in _OPENING.finditer(template):
        start = opening.start()
        line += template.count(b"\n", counted, start)
        counted = start
        match = _REFERENCE.match(template, start)
        if match is None:
            shown = template[start : start + _MAX_SHOWN].decode(errors="ignore").splitlines()[0]
            raise UsageError(
                f"{source}, line {line}: {shown} is not ended by }}}} in its line.",
                hint="Write {{ stronghold://PROFILE/NAME }}.",
            )
        profile, slash, name = match[1].decode().strip(" \t").rpartition("/")
        if not is_secret_name(name) or (slash and not profile):
            raise UsageError(
                f"{source}, line {line}: {match[0].decode()[:_MAX_SHOWN]} names no secret.",
                hint="Write {{ stronghold://PROFILE/NAME }}, or {{ stronghold://NAME }} for the current profile.",
            )
        found.append(Reference(profile=profile or None, name=name, line=line, start=start, end=match.end()))
    return tuple(found)


def render(
    template: bytes, found: tuple[Reference, ...], values: Mapping[str | None, Mapping[str, bytes]], source: str
) -> bytes:
    """The template with every reference replaced. ``values``: those of each profile that is referred to.

    Raises ``NotFound`` with line and reference for a name that its profile does not have.
    """
    missing = [each for each in found if each.name not in values[each.profile]]
    if missing:
        first = missing[0]
        shown = template[first.start : first.end].decode()[:_MAX_SHOWN]
        more = f" {len(missing) - 1} more lack as well." if len(missing) > 1 else ""
        raise NotFound(f"{source}, line {first.line}: there is no secret for {shown}.{more}", hint="Nothing was written.")
    pieces: list[bytes] = []
    position = 0
    for each in found:
        pieces += [template[position : each.start], values[each.profile][each.name]]
        position = each.end
    return b"".join([*pieces, template[position:]])
