"""``secret history``, ``rollback``, ``restore`` and ``purge``: the older versions of secrets."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from stronghold_cli.commands.acting import open_vault, profile_choice
from stronghold_cli.commands.listing import LimitOption, rows_wanted
from stronghold_cli.commands.progress import ProgressBar
from stronghold_cli.commands.reading import mask, operator_profile
from stronghold_cli.commands.typed import ProfileOption, YesOption
from stronghold_cli.output import ago, confirm, emit_json, say, settings, table, when
from stronghold_cli.protocol.encoding import JsonValue
from stronghold_cli.protocol.errors import NotFound, UsageError
from stronghold_cli.protocol.names import SECRET_PREFIX
from stronghold_cli.protocol.record import Record

if TYPE_CHECKING:
    from stronghold_cli.protocol.documents.profile import Profile
    from stronghold_cli.vault.committing import Vault
    from stronghold_cli.vault.draft import Draft
    from stronghold_cli.vault.histories import OldValue, Purged, SecretHistory

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
    limit: LimitOption = None,
    before: Annotated[
        int | None,
        typer.Option("--before", metavar="VERSION", min=1, help="Only versions before this one: older pages."),
    ] = None,
) -> None:
    """List the versions of a secret that are kept, the newest first: who wrote them and when. Of deleted ones too.

    Example: stronghold secret history DATABASE_URL --profile production
    """
    from stronghold_cli.vault.histories import find_histories, read_history

    vault = open_vault()
    found = operator_profile(vault, profile_choice(profile).name)
    ids = find_histories(vault, found, [name])
    with ProgressBar() as bar:
        vault.progress = bar
        most = rows_wanted(limit)
        histories = [read_history(vault, found, id_, before=before, most=most, with_values=show_values) for id_ in ids]
        rows = [row for item in histories for row in _rows(vault, found, item)]
    if show_values:
        mask(row.value for row in rows if row.value is not None)
    if settings().json:
        emit_json([_json(row, show_values) for row in rows])
        _tell_older(histories, found)
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
    _tell_older(histories, found)


def _tell_older(histories: list[SecretHistory], profile: Profile) -> None:
    for item in histories:
        if item.versions and item.versions[-1].number > item.oldest:
            kept = item.current - item.oldest + 1
            say(
                f"{len(item.versions)} of the {kept} versions of {item.name} are shown. For older ones: "
                f"stronghold secret history {SECRET_PREFIX}{item.id.hex()} --before {item.versions[-1].number} "
                f"--profile {profile.name}"
            )


def rollback(name: NameArgument, profile: ProfileOption = None, to: VersionOption = None, yes: YesOption = False) -> None:
    """Set a secret to an older value (without --to, the one before), as a new version: its history goes on.

    Example: stronghold secret rollback DATABASE_URL --to 3 --profile production
    """
    from stronghold_cli.vault.histories import roll_back
    from stronghold_cli.vault.lookup import still_there
    from stronghold_cli.vault.profiles import read_secrets

    vault = open_vault()
    found = operator_profile(vault, profile_choice(profile).name)

    def act(draft: Draft) -> tuple[OldValue, bool]:
        current = still_there(draft.state, found)
        known = read_secrets(vault, current)
        if name not in known:
            raise _missing(vault, current, name)
        old = roll_back(vault, draft, current, known, name, to)
        return old, draft.is_empty

    old, unchanged = act(vault.draft())
    if unchanged:
        say(f"{name} has the value of version {old.number} already in {found.name!r}; nothing was changed.")
        return
    if not confirm(f"Set {name} in {found.name!r} to the value of version {old.number} ({_origin(vault, old)})?", yes):
        say("Nothing was changed.")
        return
    old, _ = vault.commit(act)
    say(f"Set {name} in {found.name!r} to the value of version {old.number}.")


def restore(name: NameArgument, profile: ProfileOption = None, to: VersionOption = None, yes: YesOption = False) -> None:
    """Bring a deleted secret back, with its last value (or that of --to), as a new version.

    Example: stronghold secret restore OLD_KEY --profile production
    """
    from stronghold_cli.vault.histories import read_deleted, require_not_there
    from stronghold_cli.vault.histories import restore as restore_secret
    from stronghold_cli.vault.lookup import still_there
    from stronghold_cli.vault.profiles import read_secrets

    vault = open_vault()
    found = operator_profile(vault, profile_choice(profile).name)

    def act(draft: Draft) -> OldValue:
        current = still_there(draft.state, found)
        known = read_secrets(vault, current)
        gone = [item for item in read_deleted(vault, current) if name in {item.name, f"{SECRET_PREFIX}{item.id.hex()}"}]
        if not gone:
            require_not_there(current, known, name)
            raise _missing(vault, current, name)
        return restore_secret(vault, draft, current, known, gone[0], to)

    old = act(vault.draft())
    question = f"Bring {name} back in {found.name!r} with the value of version {old.number} ({_origin(vault, old)})?"
    if not confirm(question, yes):
        say("Nothing was changed.")
        return
    old = vault.commit(act)
    say(f"{name} is back in {found.name!r}, with the value of version {old.number}.")


def purge(
    names: Annotated[list[str] | None, typer.Argument(help="The secrets' names, or ids (se_…).")] = None,
    profile: ProfileOption = None,
    every: Annotated[bool, typer.Option("--all", help="All secrets of the profile, deleted ones too.")] = False,
    keep: Annotated[int, typer.Option("--keep", min=1, metavar="N", help="Keep this many of the newest versions.")] = 1,
    yes: YesOption = False,
) -> None:
    """Remove old versions of secrets for good. Of a deleted secret its deletion is the newest version.

    Only an admin can do this. What was removed comes back from a backup of the server alone.

    Example: stronghold secret purge DATABASE_URL --keep 3 --profile production
    """
    from stronghold_cli.vault.histories import find_histories, require_admin
    from stronghold_cli.vault.histories import purge as purge_secret
    from stronghold_cli.vault.lookup import shown_secret, still_there

    if every == bool(names):
        raise UsageError("Which secrets are meant is not clear.", hint="Give their names, or --all.")
    vault = open_vault()
    found = operator_profile(vault, profile_choice(profile).name)
    known: dict[bytes, dict[bytes, str]] = {}  # what names mean, by contents: told once, not again for the commit

    def act(draft: Draft) -> list[Purged]:
        require_admin(draft)
        current = still_there(draft.state, found)
        contents = draft.state.contents[current.id].document.sha256
        if every:
            chosen = {id_: shown_secret(id_) for id_ in draft.state.leaves("entries", current.id)}
        else:
            if contents not in known:
                known[contents] = find_histories(vault, current, names or ())
            chosen = known[contents]
        purged = (purge_secret(draft, current, id_, each, keep) for id_, each in chosen.items())
        return [item for item in purged if item is not None]

    planned = act(vault.draft())
    if not planned:
        say(f"There are no versions to remove beside the newest {keep}; nothing was changed.")
        return
    if not every:
        for item in planned:
            say(f"  {item.name}: {_range(item)}")
    question = f"Remove {_many(planned) if every else 'these versions'} from {found.name!r} for good?"
    if not confirm(f"{question} Only a backup of the server brings them back.", yes):
        say("Nothing was removed.")
        return
    removed = vault.commit(act)
    listed = _many(removed) if every else ", ".join(f"{item.name} {_range(item)}" for item in removed)
    say(f"Removed from {found.name!r} for good: {listed}.")


def _rows(vault: Vault, profile: Profile, past: SecretHistory) -> list[_Row]:
    from stronghold_cli.vault.histories import signers_of

    signers = signers_of(vault, profile, past)
    rows = []
    for version in past.versions:
        state = "current" if version.number == past.current else ""
        if version.is_deletion or version.is_unreadable:
            state = "deleted" if version.is_deletion else "unreadable"
        author, written = signers.get(version.number, (version.author, version.time))
        rows.append(
            _Row(
                secret=f"{SECRET_PREFIX}{past.id.hex()}",
                version=version.number,
                state=state,
                written=written,
                by=_name(vault, author),
                note=version.note.decode("utf-8", "replace"),
                value=version.value,
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


def _origin(vault: Vault, old: OldValue) -> str:
    return f"{ago(old.secret.time, int(time.time()))}, by {_name(vault, old.secret.author)}"


def _name(vault: Vault, operator_id: bytes | None) -> str:
    from stronghold_cli.vault.lookup import shown_id

    operators = vault.state.org.document.operators
    if operator_id is None:
        return "-"
    return operators[operator_id].name if operator_id in operators else shown_id("operator", operator_id)


def _range(purged: Purged) -> str:
    return f"version {purged.first}" if purged.first == purged.last else f"versions {purged.first} to {purged.last}"


def _many(purged: list[Purged]) -> str:
    versions = sum(item.last - item.first + 1 for item in purged)
    return f"{versions} version{'s' * (versions > 1)} of {len(purged)} secret{'s' * (len(purged) > 1)}"


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
