"""``secret history``, ``rollback``, ``restore`` and ``purge``: the older versions of secrets."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from stronghold_cli.commands.acting import open_vault, profile_choice
from stronghold_cli.commands.progress import ProgressBar
from stronghold_cli.commands.reading import mask, operator_profile
from stronghold_cli.commands.typed import ProfileOption, YesOption
from stronghold_cli.output import ago, confirm, emit_json, say, settings, table, when
from stronghold_cli.protocol.encoding import JsonValue
from stronghold_cli.protocol.errors import NotFound
from stronghold_cli.protocol.names import SECRET_PREFIX
from stronghold_cli.protocol.record import Record

if TYPE_CHECKING:
    from stronghold_cli.protocol.documents.profile import Profile
    from stronghold_cli.vault.committing import Vault
    from stronghold_cli.vault.draft import Draft
    from stronghold_cli.vault.histories import Purged, SecretHistory, Version

VersionOption = Annotated[int | None, typer.Option("--to", metavar="VERSION", min=1, help="The number of a version.")]
NameArgument = Annotated[str, typer.Argument(help="The secret's name.")]


class _Row(Record):
    """One version as people see it."""

    secret: str
    version: int
    state: str
    written: int | None
    by: str
    note: str
    value: bytes | None

    def __repr__(self) -> str:
        return f"_Row({self.secret}, version {self.version})"


def history(
    name: NameArgument,
    profile: ProfileOption = None,
    show_values: Annotated[bool, typer.Option("--show-values", help="Print the values as well.")] = False,
) -> None:
    """List the versions of a secret that are kept, the newest first: who wrote them and when. Of deleted ones too.

    Example: stronghold secret history DATABASE_URL --profile production
    """
    from stronghold_cli.vault.histories import read_histories

    vault = open_vault()
    found = operator_profile(vault, profile_choice(profile).name)
    histories = read_histories(vault, found, name)
    with ProgressBar() as bar:
        vault.progress = bar
        rows = [row for item in histories for row in _rows(vault, found, item)]
    if show_values:
        mask(row.value for row in rows if row.value is not None)
    if settings().json:
        emit_json([_json(row, show_values) for row in rows])
        return
    now = int(time.time())
    headers = ("version", "", "written", "time", "by", "note", *(("value",) if show_values else ()), "id")
    table(
        [
            (
                row.version,
                row.state,
                ago(row.written, now),
                when(row.written),
                row.by,
                row.note,
                *((_text(row.value),) if show_values else ()),
                row.secret,
            )
            for row in rows
        ],
        headers,
    )
    for item in histories:
        if item.oldest > 1:
            say(f"The versions of {item.name} before {item.oldest} were removed for good.")


def rollback(name: NameArgument, profile: ProfileOption = None, to: VersionOption = None, yes: YesOption = False) -> None:
    """Set a secret to an older value (without --to, the one before), as a new version: its history goes on.

    Example: stronghold secret rollback DATABASE_URL --to 3 --profile production
    """
    from stronghold_cli.vault.histories import read_history, roll_back
    from stronghold_cli.vault.lookup import still_there
    from stronghold_cli.vault.profiles import read_secrets

    vault = open_vault()
    found = operator_profile(vault, profile_choice(profile).name)

    def act(draft: Draft) -> tuple[Version, bool]:
        current = still_there(draft.state, found)
        known = read_secrets(vault, current)
        if name not in known:
            raise _missing(vault, current, name)
        past = read_history(vault, current, known[name].id)
        version = roll_back(draft, current, known, past, to)
        return version, draft.is_empty

    version, unchanged = act(vault.draft())
    if unchanged:
        say(f"{name} has the value of version {version.number} already in {found.name!r}; nothing was changed.")
        return
    if not confirm(
        f"Set {name} in {found.name!r} to the value of version {version.number} ({_origin(vault, version)})?", yes
    ):
        say("Nothing was changed.")
        return
    version, _ = vault.commit(act)
    say(f"Set {name} in {found.name!r} to the value of version {version.number}.")


def restore(name: NameArgument, profile: ProfileOption = None, to: VersionOption = None, yes: YesOption = False) -> None:
    """Bring a deleted secret back, with its last value (or that of --to), as a new version.

    Example: stronghold secret restore OLD_KEY --profile production
    """
    from stronghold_cli.vault.histories import read_deleted, read_history
    from stronghold_cli.vault.histories import restore as restore_secret
    from stronghold_cli.vault.lookup import still_there
    from stronghold_cli.vault.profiles import read_secrets

    vault = open_vault()
    found = operator_profile(vault, profile_choice(profile).name)

    def act(draft: Draft) -> Version:
        current = still_there(draft.state, found)
        known = read_secrets(vault, current)
        gone = [item for item in read_deleted(vault, current) if name in {item.name, f"{SECRET_PREFIX}{item.id.hex()}"}]
        if not gone and name not in known:
            raise _missing(vault, current, name)
        past = read_history(vault, current, gone[0].id if gone else known[name].id)
        return restore_secret(draft, current, known, past, to)

    version = act(vault.draft())
    question = f"Bring {name} back in {found.name!r} with the value of version {version.number} ({_origin(vault, version)})?"
    if not confirm(question, yes):
        say("Nothing was changed.")
        return
    version = vault.commit(act)
    say(f"{name} is back in {found.name!r}, with the value of version {version.number}.")


def purge(
    names: Annotated[list[str], typer.Argument(help="The secrets' names, or ids (se_…).")],
    profile: ProfileOption = None,
    keep: Annotated[int, typer.Option("--keep", min=1, metavar="N", help="Keep this many of the newest versions.")] = 1,
    yes: YesOption = False,
) -> None:
    """Remove old versions of secrets for good. Of a deleted secret its deletion is the newest version.

    Only an admin can do this. What was removed comes back from a backup of the server alone.

    Example: stronghold secret purge DATABASE_URL --keep 3 --profile production
    """
    from stronghold_cli.vault.histories import find_histories, require_admin
    from stronghold_cli.vault.histories import purge as purge_secret
    from stronghold_cli.vault.lookup import still_there

    vault = open_vault()
    found = operator_profile(vault, profile_choice(profile).name)

    def act(draft: Draft) -> list[Purged]:
        require_admin(draft)
        current = still_there(draft.state, found)
        found_ids = {id_: each for each in names for id_ in find_histories(vault, current, each)}
        purged = (purge_secret(draft, current, id_, each, keep) for id_, each in found_ids.items())
        return [item for item in purged if item is not None]

    planned = act(vault.draft())
    if not planned:
        say(f"There are no versions to remove beside the newest {keep}; nothing was changed.")
        return
    for item in planned:
        say(f"  {item.name}: {_range(item)}")
    question = f"Remove these versions from {found.name!r} for good? Only a backup of the server brings them back."
    if not confirm(question, yes):
        say("Nothing was removed.")
        return
    removed = vault.commit(act)
    say(f"Removed from {found.name!r} for good: {', '.join(f'{item.name} {_range(item)}' for item in removed)}.")


def _rows(vault: Vault, profile: Profile, past: SecretHistory) -> list[_Row]:
    from stronghold_cli.vault.histories import signers_of

    signers = signers_of(vault, profile, past)
    rows = []
    for version in past.versions:
        secret = version.secret
        state = "current" if version is past.versions[0] else ""
        if secret is None:
            state = "unreadable" if version.is_unreadable else "deleted"
        author, written = signers[version.number] if secret is None else (secret.author, secret.time)
        rows.append(
            _Row(
                secret=f"{SECRET_PREFIX}{past.id.hex()}",
                version=version.number,
                state=state,
                written=written,
                by=_name(vault, author),
                note="" if secret is None else secret.note.decode("utf-8", "replace"),
                value=None if secret is None else secret.value,
            )
        )
    return rows


def _json(row: _Row, show_values: bool) -> dict[str, JsonValue]:
    value: dict[str, JsonValue] = {
        "version": row.version,
        "state": row.state or "old",
        "written": when(row.written),
        "author": row.by,
        "note": row.note,
        "id": row.secret,
    }
    return {**value, "value": None if row.value is None else _text(row.value)} if show_values else value


def _text(value: bytes | None) -> str:
    """A value in a listing; of one that is not text, its length."""
    if value is None:
        return ""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return f"({len(value)} bytes that are not text)"


def _origin(vault: Vault, version: Version) -> str:
    secret = version.secret
    if secret is None:
        raise TypeError("a version without a value comes from nobody")
    return f"{ago(secret.time, int(time.time()))}, by {_name(vault, secret.author)}"


def _name(vault: Vault, operator_id: bytes | None) -> str:
    from stronghold_cli.vault.lookup import shown_id

    operators = vault.state.org.document.operators
    if operator_id is None:
        return "-"
    return operators[operator_id].name if operator_id in operators else shown_id("operator", operator_id)


def _range(purged: Purged) -> str:
    return f"version {purged.first}" if purged.first == purged.last else f"versions {purged.first} to {purged.last}"


def _missing(vault: Vault, profile: Profile, name: str) -> NotFound:
    from stronghold_cli.vault.histories import read_deleted
    from stronghold_cli.vault.lookup import nearest
    from stronghold_cli.vault.profiles import read_secrets

    gone = {item.name for item in read_deleted(vault, profile)}
    if name in gone:
        hint = f"It was deleted. Bring it back with: stronghold secret restore {name} --profile {profile.name}"
    else:
        near = nearest({*gone, *read_secrets(vault, profile)}, name)
        hint = f"Did you mean {near!r}?" if near else f"List them with: stronghold secret list --profile {profile.name}"
    return NotFound(f"There is no secret {name[:60]!r} in the profile {profile.name!r}.", hint=hint)
