"""``secret``: set, get, list and delete single secrets of a profile; their older versions are in ``secret_past``."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from stronghold_cli.commands import generating, secret_past
from stronghold_cli.commands.acting import open_vault, profile_choice
from stronghold_cli.commands.listing import AfterOption, LimitOption, page_of, place_after
from stronghold_cli.commands.reading import mask, operator_profile, read_profile
from stronghold_cli.commands.typed import ProfileOption, TokenFileOption, TokenOption, YesOption
from stronghold_cli.output import (
    ago,
    ask_passphrase,
    confirm,
    emit_bytes,
    emit_json,
    interactive,
    say,
    settings,
    table,
    warn,
    when,
)
from stronghold_cli.protocol.encoding import JsonValue
from stronghold_cli.protocol.errors import LocalFileError, NotFound, Unwritable, UsageError

if TYPE_CHECKING:
    from stronghold_cli.vault.draft import Draft

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)

_MAX_INPUT = 2 << 20


@app.command("set")
def set_secret(
    name: Annotated[str, typer.Argument(help="The secret's name, e.g. DATABASE_URL.")],
    value: Annotated[str | None, typer.Argument(help="The value; better: typed when asked, --file or stdin.")] = None,
    profile: ProfileOption = None,
    file: Annotated[str | None, typer.Option("--file", metavar="FILE", help="Take the value from a file, exactly.")] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Keep a line end at the end of stdin.")] = False,
    note: Annotated[str | None, typer.Option(help="A note that is kept, encrypted, beside the value.")] = None,
) -> None:
    """Set one secret: asked for on a terminal, else read from stdin.

    Example: stronghold secret set DATABASE_URL --profile production
    """
    from stronghold_cli.protocol.names import require_secret_name
    from stronghold_cli.vault.lookup import still_there
    from stronghold_cli.vault.profiles import read_secrets, write_secrets

    require_secret_name(name)
    content = _value(name, value, file, exact)
    vault = open_vault()
    found = operator_profile(vault, profile_choice(profile).name)
    notes = {} if note is None else {name: note.encode()}
    difference = vault.commit(
        lambda draft: write_secrets(
            draft,
            still_there(draft.state, found),
            read_secrets(vault, still_there(draft.state, found)),
            {name: content},
            notes=notes,
        )
    )
    if difference.unchanged and note is None:
        say(f"{name} has this value already in {found.name!r}; nothing was changed.")
    else:
        say(f"Set {name} in {found.name!r}.")


@app.command()
def get(
    name: Annotated[str, typer.Argument(help="The secret's name.")],
    profile: ProfileOption = None,
    token: TokenOption = None,
    token_file: TokenFileOption = None,
) -> None:
    """Print one secret's value, exactly (on a terminal with a line end).

    Example: stronghold secret get DATABASE_URL --profile production
    """
    read = read_profile(token, token_file, profile)
    secret = read.secrets.get(name)
    if secret is None:
        raise NotFound(f"There is no secret {name[:60]!r} in the profile {read.profile_name!r}.", hint=read.names_hint())
    mask((secret.value,))
    if settings().json:
        emit_json({"name": name, "value": _as_text(name, secret.value), "changed": when(secret.time)})
        return
    emit_bytes(secret.value + (b"\n" if sys.stdout.isatty() else b""))


@app.command("list")
def list_secrets(profile: ProfileOption = None, limit: LimitOption = None, after: AfterOption = None) -> None:
    """List the names of a profile's secrets, with versions and dates; no values.

    Example: stronghold secret list --profile production
    """
    from stronghold_cli.vault.profiles import read_secrets

    vault = open_vault()
    found = operator_profile(vault, profile_choice(profile).name)
    stored = sorted(read_secrets(vault, found).items())
    start = place_after([(name, "") for name, _ in stored], after, "secrets", "")
    page = page_of(stored, "secrets", limit=limit, start=start, cursor=lambda each: each[0])
    now = int(time.time())
    operators = vault.state.org.document.operators
    rows: list[tuple[object, ...]] = []
    values: list[JsonValue] = []
    for name, item in page.items:
        author = operators.get(item.secret.author)
        who = author.name if author is not None else f"op_{item.secret.author.hex()}"
        rows.append((name, item.version, ago(item.secret.time, now), who, item.secret.note.decode("utf-8", "replace")))
        values.append(
            {
                "name": name,
                "version": item.version,
                "changed": when(item.secret.time),
                "author": who,
                "note": item.secret.note.decode("utf-8", "replace"),
            }
        )
    if settings().json:
        emit_json(values)
    else:
        table(rows, ("name", "version", "changed", "by", "note"))
    page.tell()


@app.command()
def delete(
    names: Annotated[list[str], typer.Argument(help="The secrets' names, or ids (se_…).")],
    profile: ProfileOption = None,
    yes: YesOption = False,
) -> None:
    """Delete secrets; their history stays with the operators who may read the profile.

    Example: stronghold secret delete OLD_KEY --profile production
    """
    from stronghold_cli.vault.lookup import secret_of_id, still_there
    from stronghold_cli.vault.profiles import delete_by_id, delete_secrets, read_secrets

    vault = open_vault()
    found = operator_profile(vault, profile_choice(profile).name)
    ids = {name: id_ for name in names if (id_ := secret_of_id(vault.state, found, name)) is not None}
    named = [name for name in names if name not in ids]
    # By ids alone nothing is read: so what nobody can read is deleted too.
    known = read_secrets(vault, found) if named else {}
    entries = vault.state.entries(found.id)
    for name in names:
        if not (entries[ids[name]].is_live if name in ids else name in known):
            raise NotFound(
                f"There is no secret {name[:60]!r} in the profile {found.name!r}.",
                hint=f"List them with: stronghold secret list --profile {found.name}",
            )
    if not confirm(f"Delete {', '.join(names)} from the profile {found.name!r}?", yes):
        say("Nothing was deleted.")
        return

    def act(draft: Draft) -> None:
        current = still_there(draft.state, found)
        delete_by_id(draft, current, ids.values())
        if named:
            delete_secrets(draft, current, read_secrets(vault, current), named)

    vault.commit(act)
    say(f"Deleted {', '.join(names)} from {found.name!r}.")


app.command()(generating.generate)
app.command()(secret_past.history)
app.command()(secret_past.rollback)
app.command()(secret_past.restore)
app.command()(secret_past.purge)


def _value(name: str, value: str | None, file: str | None, exact: bool) -> bytes:
    """The value from the one place where it was given."""
    if value is not None and file is not None:
        raise UsageError("A value and --file were both given.", hint="Give one of them.")
    if value is not None:
        warn("a value on the command line is seen by other users (ps) and kept by shells; leave it out to be asked")
        return value.encode("utf-8", "surrogateescape")
    if file is not None:
        return _read_file(file)
    if interactive():
        return ask_passphrase(f"Value of {name}", option="--file").encode("utf-8", "surrogateescape")
    content = sys.stdin.buffer.read(_MAX_INPUT)
    if content.endswith(b"\n") and not exact:
        say("The line end at the end of stdin was left out (--exact keeps it).")
        content = content[:-1].removesuffix(b"\r")
    return content


def _read_file(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read(_MAX_INPUT)
    except OSError as error:
        raise LocalFileError(
            f"{path} cannot be read: {error.strerror}.", hint="Check the path and its permissions."
        ) from error


def _as_text(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise Unwritable(f"The value of {name} is not text, so JSON cannot hold it.", hint="Leave out --json.") from error
