"""``env render``: a text file with the secrets that it refers to."""

from __future__ import annotations

import os
import stat
import sys
from typing import Annotated

import typer

from stronghold_cli.commands.pulling import is_command_file, leave_to_replace
from stronghold_cli.commands.reading import mask, read_profile
from stronghold_cli.commands.typed import ProfileOption, TokenFileOption, TokenOption
from stronghold_cli.output import emit_bytes, say, warn
from stronghold_cli.protocol.errors import LocalFileError, UsageError

_MAX_TEMPLATE = 64 << 20


def render(
    file: Annotated[str, typer.Argument(help="A text file with {{ stronghold://PROFILE/NAME }}; - is stdin.")],
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Write to FILE, which keeps its mode; - is stdout.")
    ] = None,
    profile: ProfileOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a file that stronghold did not write, without asking.")
    ] = False,
    token: TokenOption = None,
    token_file: TokenFileOption = None,
) -> None:
    """Fill secrets into a text file: {{ stronghold://PROFILE/NAME }}, or {{ stronghold://NAME }} of the current profile.

    Nothing else in the file is interpreted. A name that does not exist is an error, and nothing is written.

    Example: stronghold env render nginx.conf.tmpl -o nginx.conf
    """
    from stronghold_cli.formats import template

    source = "stdin" if file == "-" else file
    text = _read(file)
    found = template.references(text, source)
    path = None if output in (None, "-") else output
    if path is not None and is_command_file(path):
        raise UsageError(
            f"{path} is read by GitHub's runner, and no text of one's own.", hint="Use env pull, or give another file."
        )
    told = "" if path is None else leave_to_replace(path, force=force)
    if told is None:
        return
    values = {
        wanted: read_profile(token, token_file, wanted or profile).values()
        for wanted in dict.fromkeys(each.profile for each in found)
    }
    rendered = template.render(text, found, values, source)
    mask(values[each.profile][each.name] for each in found)
    if path is None:
        emit_bytes(rendered)
        return
    from stronghold_cli.formats.target import write_target

    mode = _mode(path, file)
    write_target(path, rendered, mode=mode)
    if mode & 0o077 and found and os.name == "posix":
        warn(f"{path} keeps its mode {mode:04o}, which lets other users at its secrets; to end that: chmod go= '{path}'")
    if told:
        say(told)
    say(f"Wrote {path} with {_count(len(found))} filled in.")


def _read(file: str) -> bytes:
    if file != "-":
        from stronghold_cli.keystore.files import read_given

        return read_given(file, _MAX_TEMPLATE)
    content = sys.stdin.buffer.read(_MAX_TEMPLATE + 1)
    if len(content) > _MAX_TEMPLATE:
        raise LocalFileError(f"stdin has more than {_MAX_TEMPLATE} bytes.", hint="Split the template.")
    return content


def _mode(path: str, file: str) -> int:
    """The target's own permissions, where it is there; else what the template allows its owner, and nothing to others."""
    if os.path.exists(path):
        return stat.S_IMODE(os.stat(path).st_mode) & 0o777  # no set-user-id on what a profile's values went into
    return 0o600 | (0 if file == "-" else stat.S_IMODE(os.stat(file).st_mode) & 0o100)


def _count(number: int) -> str:
    return "1 secret" if number == 1 else f"{number} secrets"
