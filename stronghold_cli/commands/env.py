"""``env``: pull, push and run with all secrets of a profile. ``run`` stands at the top level too."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from stronghold_cli.commands import comparing, rendering
from stronghold_cli.commands.acting import open_vault, profile_choice
from stronghold_cli.commands.declared import ENV_RUN, PULL, RUN
from stronghold_cli.commands.typed import ProfileOption, YesOption, add_hot_command, typed
from stronghold_cli.output import emit_json, settings, table
from stronghold_cli.protocol.errors import LocalFileError, UsageError

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)

_MAX_PUSH = 128 << 20
add_hot_command(app, PULL)


@app.command()
def push(
    file: Annotated[str, typer.Argument(help="A .env, .json or .yaml file; - reads a .env from stdin.")],
    profile: ProfileOption = None,
    shape: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="TOOL", help="What wrote the file: bws, doppler, infisical, 1password, vault or sops."
        ),
    ] = None,
    prune: Annotated[bool, typer.Option("--prune", help="Delete the profile's secrets that are not in the file.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    yes: YesOption = False,
) -> None:
    """Put the values of a file into a profile; makes the profile where it does not exist. Shows the difference first.

    Example: stronghold env push .env --profile production
    """
    from stronghold_cli.commands.pushing import push_values
    from stronghold_cli.formats.exports import SHAPES
    from stronghold_cli.formats.imports import parse_env

    if shape is not None and shape not in SHAPES:
        raise UsageError(f"Nothing is known of exports of {shape[:40]!r}.", hint=f"Use one of {', '.join(SHAPES)}.")
    values = parse_env(_read_input(file), "stdin" if file == "-" else file, shape)
    wanted = profile_choice(profile).name
    if wanted is None:
        raise UsageError("No profile was named.", hint="Give one with --profile; it is made if it does not exist.")
    push_values(open_vault(), wanted, values, prune=prune, dry_run=dry_run, yes=yes)


@app.command()
def formats() -> None:
    """Show the formats of env pull: what each is for, what it carries and what it refuses.

    Example: stronghold env formats
    """
    from stronghold_cli.formats.carried import carried

    rows = carried()
    if settings().json:
        emit_json(
            [
                {
                    "format": row.format,
                    "reader": row.reader or None,
                    "for": row.purpose,
                    "carries": row.carries,
                    "refuses": list(row.refuses),
                }
                for row in rows
            ]
        )
        return
    cells = [("" if row.reader else row.format, row.purpose, row.carries, ", ".join(row.refuses) or "-") for row in rows]
    table(cells, ("format", "for", "carries", "refuses"))


app.command()(comparing.diff)
app.command()(comparing.validate)
app.command()(rendering.render)
add_hot_command(app, ENV_RUN)
run = typed(RUN)


def _read_input(path: str) -> bytes:
    try:
        if path == "-":
            content = sys.stdin.buffer.read(_MAX_PUSH + 1)
        else:
            with open(path, "rb") as stream:
                content = stream.read(_MAX_PUSH + 1)
    except OSError as error:
        raise LocalFileError(
            f"{path} cannot be read: {error.strerror}.", hint="Check the path and its permissions."
        ) from error
    if len(content) > _MAX_PUSH:
        raise UsageError(f"{path} has more than {_MAX_PUSH} bytes.", hint="Push smaller files.")
    return content
