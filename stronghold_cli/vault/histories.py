"""The history of secrets: kept versions read, an old one set again, a deleted one restored, old ones purged.

``kept`` proves what the server delivers and opens it, one page at a time. Here it is read for a purpose, and no value that
the purpose does not need is held. A purge goes by the verified entries and opens nothing.

A version that the history names but that does not open, or holds no legal secret, is the doing of whoever wrote it, and no
lie of the server: it is shown as unreadable, and does not stand in the way of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from stronghold_cli.crypto.secrets import Secret
from stronghold_cli.protocol.documents.leaves import decode_entry_leaf
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.errors import Conflict, NotFound, Refused
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.state import OrgState
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.kept import KeptVersions, Opened
from stronghold_cli.vault.keyring import Overtaken, is_overtaken
from stronghold_cli.vault.lookup import nearest, secret_of_id, shown_secret, still_there
from stronghold_cli.vault.opening import StoredSecret
from stronghold_cli.vault.past import Past
from stronghold_cli.vault.profiles import put_secret, read_secrets, write_secrets

T = TypeVar("T")

_ATTEMPTS = 8


class Version(Record):
    """One kept version. A deletion, and what nobody can read, has neither author nor time nor value.

    ``time`` is Unix seconds; ``value`` is ``None`` also where it was not asked for.
    """

    number: int
    epoch: int
    author: bytes | None
    time: int | None
    note: bytes
    value: bytes | None
    is_deletion: bool
    is_unreadable: bool

    def __repr__(self) -> str:
        return f"Version({self.number})"


class SecretHistory(Record):
    """A secret's kept versions, the newest first; those below ``oldest`` were purged. ``is_live``: it was not deleted.

    ``name`` is that of the newest version that is readable; the id as it is shown where none is. ``current`` is the number
    of the newest version; where only the newest ones were asked for, ``versions`` ends before ``oldest``.
    """

    id: bytes
    name: str
    is_live: bool
    oldest: int
    current: int
    versions: tuple[Version, ...]


class Deleted(Record):
    """A deleted secret of which a value is kept: its name (else its id as it is shown), and when that was written."""

    id: bytes
    name: str
    time: int


class OldValue(Record):
    """What a version held."""

    number: int
    secret: Secret


class Purged(Record):
    """What a purge removes of one secret: the versions from ``first`` to ``last``."""

    name: str
    first: int
    last: int


def find_histories(vault: Vault, profile: Profile, names: Iterable[str]) -> dict[bytes, str]:
    """The ids of all secrets that have, or had, one of these names, the live one of a name first, and by which it was found.

    For an id (``se_…``) nothing is opened. ``NotFound`` where a name never was.
    """
    names = list(dict.fromkeys(names))
    by_id = {text: secret_of_id(vault.state, profile, text) for text in names}
    by_name = [text for text in names if by_id[text] is None]
    known = read_secrets(vault, profile) if by_name else {}
    gone = read_deleted(vault, profile) if by_name else []
    found: dict[bytes, str] = {}
    for text in names:
        secret_id = by_id[text]
        ids = [secret_id] if secret_id is not None else [item.id for item in gone if item.name == text]
        if text in known:
            ids.insert(0, known[text].id)
        if not ids:
            near = nearest({*known, *(item.name for item in gone)}, text)
            raise NotFound(
                f"There is no secret {text[:60]!r} in the profile {profile.name!r}, and no history of one.",
                hint=f"Did you mean {near!r}?"
                if near
                else f"List them with: stronghold secret list --profile {profile.name}",
            )
        found.update((id_, text) for id_ in ids if id_ not in found)
    return found


def read_history(
    vault: Vault,
    profile: Profile,
    secret_id: bytes,
    *,
    before: int | None = None,
    most: int | None = None,
    with_values: bool = False,
) -> SecretHistory:
    """Fetch, verify and open the kept versions of one secret, the newest ``most`` of those before version ``before``."""

    def read(kept: KeptVersions) -> SecretHistory:
        entry = decode_entry_leaf(vault.state.leaves("entries", profile.id)[secret_id])
        versions: list[Version] = []
        name = None
        for version, secret in _named(kept.of(secret_id)):
            name = secret.name if name is None and secret is not None else name
            if before is not None and version.number >= before:
                continue
            versions.append(version if with_values else version.replace(value=None))
            if len(versions) == most:
                break
        return SecretHistory(
            id=secret_id,
            name=shown_secret(secret_id) if name is None else name,
            is_live=entry.is_live,
            oldest=entry.oldest,
            current=entry.version,
            versions=tuple(versions),
        )

    return _as_of_now(vault, profile, read)


def read_deleted(vault: Vault, profile: Profile) -> list[Deleted]:
    """The deleted secrets of a profile of which a value is kept; by name, then the newest first."""

    def read(kept: KeptVersions) -> list[Deleted]:
        return [
            Deleted(
                id=id_,
                name=shown_secret(id_) if last.secret is None else last.secret.name,
                time=0 if last.secret is None else last.secret.time,
            )
            for id_, last in kept.last_values()
        ]

    return sorted(_as_of_now(vault, profile, read), key=lambda item: (item.name, -item.time, item.id))


def signers_of(vault: Vault, profile: Profile, history: SecretHistory) -> dict[int, tuple[bytes | None, int]]:
    """Who signed each version that deletes the secret or is unreadable, and when: told by the commits, on the way back."""
    missing = {version.number for version in history.versions if version.is_deletion or version.is_unreadable}
    found: dict[int, tuple[bytes | None, int]] = {}
    steps = Past(vault.operator, vault.state, vault.progress).steps() if missing else iter(())
    for step in steps:
        number = _version_in(step.after, profile, history.id)
        if number in missing and (step.before is None or _version_in(step.before, profile, history.id) != number):
            found[number] = (step.author, step.after.head.document.created)
            if found.keys() == missing:
                break
    return found


def roll_back(
    vault: Vault, draft: Draft, profile: Profile, known: Mapping[str, StoredSecret], name: str, number: int | None
) -> OldValue:
    """Write an older version's value and note as the newest one: version ``number``, or the one before the current."""
    found = old_value(vault, profile, known[name].id, name, number)
    write_secrets(draft, profile, known, {name: found.secret.value}, notes={name: found.secret.note})
    return found


def restore(
    vault: Vault,
    draft: Draft,
    profile: Profile,
    known: Mapping[str, StoredSecret],
    gone: Deleted,
    number: int | None,
) -> OldValue:
    """Write a deleted secret again, with its last value or that of version ``number``; its history goes on."""
    require_not_there(profile, known, gone.name)
    found = old_value(vault, profile, gone.id, gone.name, number)
    require_not_there(profile, known, found.secret.name)
    put_secret(draft, profile, known, gone.id, found.secret)
    return found


def require_not_there(profile: Profile, known: Mapping[str, StoredSecret], name: str) -> None:
    """Raise ``Conflict`` where the profile has a secret of that name."""
    if name in known:
        raise Conflict(
            f"There is a secret {name} in the profile {profile.name!r} again.",
            hint=f"To set an older value, use: stronghold secret rollback {name}",
        )


def old_value(vault: Vault, profile: Profile, secret_id: bytes, name: str, number: int | None) -> OldValue:
    """What version ``number`` holds; without one, the newest before the current that has a value.

    ``name`` is what people call the secret. ``NotFound`` says why there is none.
    """

    def read(kept: KeptVersions) -> OldValue:
        entry = decode_entry_leaf(vault.state.leaves("entries", profile.id)[secret_id])
        if number is not None and not entry.oldest <= number <= entry.version:
            raise NotFound(
                f"There is no version {number} of {name} that is kept.",
                hint=f"Kept are the versions {entry.oldest} to {entry.version}.",
            )
        for version, secret in _named(kept.of(secret_id)):
            if version.number == number:
                return _held(version, secret, name)
            if number is None and version.number < entry.version and secret is not None:
                return OldValue(number=version.number, secret=secret)
        raise NotFound(
            f"There is no older version of {name} that is kept and can be read.",
            hint="It has one value only." if entry.is_live and entry.oldest == entry.version else "",
        )

    return _as_of_now(vault, profile, read)


def purgeable(draft: Draft, profile: Profile, secret_id: bytes, name: str, keep: int) -> Purged | None:
    """What a purge that keeps the newest ``keep`` versions removes; ``None`` where there is nothing to remove.

    It goes by the entry alone and opens nothing. ``name`` is what people call the secret.
    """
    entry = decode_entry_leaf(draft.state.leaves("entries", profile.id)[secret_id])
    oldest = max(entry.version - keep + 1, entry.oldest)
    if oldest == entry.oldest:
        return None
    return Purged(name=name, first=entry.oldest, last=oldest - 1)


def purge(draft: Draft, profile: Profile, secret_id: bytes, name: str, keep: int) -> Purged | None:
    """Raise ``oldest``, so that the server deletes the versions below; an admin's right alone."""
    require_admin(draft)
    purged = purgeable(draft, profile, secret_id, name, keep)
    if purged is not None:
        draft.raise_oldest(profile.id, secret_id, purged.last + 1)
    return purged


def require_admin(draft: Draft) -> None:
    """Raise ``Refused`` where the operator is no admin."""
    if draft.state.org.document.role_of(draft.keyset.operator_id) != "admin":
        raise Refused("FORBIDDEN", "Only an admin can remove old versions for good.", hint="Ask an admin of the org.")


def _held(version: Version, secret: Secret | None, name: str) -> OldValue:
    """What the version that was asked for holds; ``NotFound`` where that is nothing."""
    if secret is not None:
        return OldValue(number=version.number, secret=secret)
    why = "says that it was deleted: it has no value" if version.is_deletion else "cannot be read by anybody"
    raise NotFound(
        f"Version {version.number} of {name} {why}.",
        hint="Choose another version, or leave out --to; the list of them is in: stronghold secret history",
    )


def _as_of_now(vault: Vault, profile: Profile, read: Callable[[KeptVersions], T]) -> T:
    """Others may have changed the profile since the state was verified: then it is held against the newest state."""
    for _ in range(_ATTEMPTS):
        try:
            return read(KeptVersions(vault, profile.id))
        except (Overtaken, Refused) as error:
            if not is_overtaken(error) or not vault.refresh():
                raise
            still_there(vault.state, profile)
    raise Conflict(f"Others changed the profile {profile.name!r} whenever it was read.", hint="Run the command again.")


def _named(opened: Iterator[Opened]) -> Iterator[tuple[Version, Secret | None]]:
    """The versions with what they hold. None comes up under another name than the newest that is readable has."""
    name: str | None = None
    for each in opened:
        secret = each.secret
        if secret is not None:
            name = secret.name if name is None else name
            secret = secret if secret.name == name else None
        version = Version(
            number=each.number,
            epoch=each.epoch,
            author=None if secret is None else secret.author,
            time=None if secret is None else secret.time,
            note=b"" if secret is None else secret.note,
            value=None if secret is None else secret.value,
            is_deletion=each.is_deletion,
            is_unreadable=secret is None and not each.is_deletion,
        )
        yield version, secret


def _version_in(state: OrgState, profile: Profile, secret_id: bytes) -> int:
    raw = state.leaves("entries", profile.id).get(secret_id)
    return 0 if raw is None else decode_entry_leaf(raw).version
