"""Acts on profiles and their secrets: create, read, write, delete (protocol sections 3 and 5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stronghold_cli.crypto.box import OVERHEAD
from stronghold_cli.crypto.keys import ProfileKey
from stronghold_cli.crypto.secrets import Secret, encoded_length
from stronghold_cli.protocol.documents.base import NO_EXTENSIONS
from stronghold_cli.protocol.documents.group import Group
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.errors import Conflict, NotFound, Refused, UsageError
from stronghold_cli.protocol.names import (
    MAX_CIPHERTEXT,
    MAX_SECRETS,
    caseless,
    require_description,
    require_name,
    require_secret_name,
)
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.signed_map import map_root
from stronghold_cli.vault.ahead import Progress, silent
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.groups import create_group, grant
from stronghold_cli.vault.keyring import Overtaken, is_overtaken, require_granted
from stronghold_cli.vault.lookup import require_free, still_there
from stronghold_cli.vault.opening import Opened, StoredSecret, open_secrets, unreadable_error

_KEY = 32
_ATTEMPTS = 8
_PROGRESS_STEP = 100


class Difference(Record):
    """What writing a set of values would change in a profile, by names."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    unchanged: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self.added or self.changed or self.removed)


def create_profile(draft: Draft, name: str, description: str = "", *, with_group: bool = True) -> Profile:
    """Make an empty profile and, unless asked not to, a group of the same name that may read it."""
    name = require_name("profile", name)
    description = require_description(description)
    require_free("profile", draft.profiles(), name)
    profile_id = draft.new_id()
    key = ProfileKey(draft.random(_KEY), draft.org_id, profile_id, 1)
    profile = Profile(
        org_id=draft.org_id,
        id=profile_id,
        version=1,
        name=name,
        description=description,
        epoch=1,
        kcv=key.kcv,
        old_keys=map_root({}),
        editors=(),
        grants={},
        **NO_EXTENSIONS,
    )
    draft.keys.learn_profile(key)
    draft.put(profile)
    if with_group:
        _require_free_group(draft, name)
        grant(draft, create_group(draft, name), profile)
    return draft.profiles()[profile_id]


def rename_profile(draft: Draft, profile: Profile, name: str) -> Profile:
    """Give a profile another name; whoever asks for the old one is told that there is none."""
    name = require_name("profile", name)
    require_free("profile", draft.profiles(), name, but=profile.id)
    if name != profile.name:
        draft.put(profile.replace(name=name))
    return draft.profiles()[profile.id]


def describe_profile(draft: Draft, profile: Profile, description: str) -> None:
    """Change what a profile says that it is for."""
    description = require_description(description)
    if description != profile.description:
        draft.put(profile.replace(description=description))


def copy_profile(
    draft: Draft, source: Profile, known: Mapping[str, StoredSecret], name: str, *, group: Group | None = None
) -> Profile:
    """Make a profile with the current values and notes of another one (``known``); its history and readers stay behind.

    ``group`` may read it; without one, a new group of the same name.
    """
    made = create_profile(draft, name, source.description, with_group=group is None)
    if group is not None:
        grant(draft, group, made)
        made = draft.profiles()[made.id]
    values = {key: stored.secret.value for key, stored in known.items()}
    notes = {key: stored.secret.note for key, stored in known.items()}
    write_secrets(draft, made, {}, values, notes=notes, progress=draft.progress)
    return made


def read_secrets(vault: Vault, profile: Profile) -> dict[str, StoredSecret]:
    """Fetch, verify and open all live secrets of a profile, by name; raises ``IntegrityError``.

    The values are fetched after the state was verified, so others may have changed them in between: what does not fit is
    held against the newest state before it is called a fault of the server.
    """
    opened = read_opened(vault, profile)
    if opened.unreadable or opened.doubles:
        raise unreadable_error(vault, profile, opened)
    return dict(sorted(opened.secrets.items()))


def read_opened(vault: Vault, profile: Profile) -> Opened:
    """As ``read_secrets``, but what its writer made unreadable is told, and raises nothing."""
    for _ in range(_ATTEMPTS):
        try:
            return _read_as_of(vault, profile.id)
        except (Overtaken, Refused) as error:
            if not is_overtaken(error) or not vault.refresh():
                raise
            still_there(vault.state, profile)
    raise Conflict(f"Others changed the profile {profile.name!r} whenever it was read.", hint="Run the command again.")


def _read_as_of(vault: Vault, profile_id: bytes) -> Opened:
    if not any(entry.is_live for entry in vault.state.entries(profile_id).values()):
        return Opened(secrets={}, unreadable=(), doubles={})
    return open_secrets(vault.keys.profile(profile_id), vault.keys.ciphertexts(profile_id))


def compare(known: Mapping[str, StoredSecret], values: Mapping[str, bytes], *, prune: bool = False) -> Difference:
    """What ``write_secrets`` would do."""
    return Difference(
        added=tuple(sorted(values.keys() - known.keys())),
        changed=tuple(sorted(name for name in values.keys() & known.keys() if known[name].secret.value != values[name])),
        unchanged=tuple(sorted(name for name in values.keys() & known.keys() if known[name].secret.value == values[name])),
        removed=tuple(sorted(known.keys() - values.keys())) if prune else (),
    )


def write_secrets(
    draft: Draft,
    profile: Profile,
    known: Mapping[str, StoredSecret],
    values: Mapping[str, bytes],
    *,
    notes: Mapping[str, bytes] | None = None,
    prune: bool = False,
    progress: Progress = silent,
) -> Difference:
    """Set the values that differ (and, with ``prune``, delete what is not among them); unchanged ones keep their version."""
    require_granted(profile)
    difference = compare(known, values, prune=prune)
    notes = notes or {}
    renewed = [name for name in difference.unchanged if name in notes and known[name].secret.note != notes[name]]
    _check_limits(profile, known, difference, values, notes)
    key = draft.keys.profile(profile.id)
    written = (*difference.added, *difference.changed, *renewed)
    for number, name in enumerate(written):
        if number % _PROGRESS_STEP == 0:
            progress("Encrypting", number, len(written))
        stored = known.get(name)
        secret = Secret(
            name=require_secret_name(name),
            value=values[name],
            note=notes.get(name, b"" if stored is None else stored.secret.note),
            author=draft.keyset.operator_id,
            time=draft.now,
        )
        secret_id = draft.new_id() if stored is None else stored.id
        version = draft.next_version(profile.id, secret_id)
        ciphertext = key.seal_secret(secret_id, version, secret, draft.random)
        draft.write_entry(profile.id, secret_id, ciphertext, epoch=profile.epoch)
    for name in difference.removed:
        draft.write_entry(profile.id, known[name].id, None, epoch=profile.epoch)
    return difference


def delete_by_id(draft: Draft, profile: Profile, secret_ids: Iterable[bytes]) -> None:
    """Delete live secrets without reading the profile: also such as nobody can read. Others are left as they are."""
    entries = draft.state.entries(profile.id)
    for secret_id in secret_ids:
        if secret_id in entries and entries[secret_id].is_live:
            draft.write_entry(profile.id, secret_id, None, epoch=profile.epoch)


def delete_secrets(draft: Draft, profile: Profile, known: Mapping[str, StoredSecret], names: Iterable[str]) -> None:
    """Delete secrets by name; ``NotFound`` where one does not exist, and then none is deleted."""
    names = list(dict.fromkeys(names))
    for name in names:
        if name not in known:
            raise NotFound(
                f"There is no secret {name[:60]!r} in the profile {profile.name!r}.",
                hint=f"List them with: stronghold secret list --profile {profile.name}",
            )
    for name in names:
        draft.write_entry(profile.id, known[name].id, None, epoch=profile.epoch)


def put_secret(draft: Draft, profile: Profile, known: Mapping[str, StoredSecret], secret_id: bytes, secret: Secret) -> None:
    """Write a deleted secret again under its own id, as the next version; ``known`` are the live ones beside it."""
    difference = Difference(added=(secret.name,), changed=(), unchanged=(), removed=())
    _check_limits(profile, known, difference, {secret.name: secret.value}, {secret.name: secret.note})
    again = secret.replace(author=draft.keyset.operator_id, time=draft.now)
    version = draft.next_version(profile.id, secret_id)
    ciphertext = draft.keys.profile(profile.id).seal_secret(secret_id, version, again, draft.random)
    draft.write_entry(profile.id, secret_id, ciphertext, epoch=profile.epoch)


def _require_free_group(draft: Draft, name: str) -> None:
    """A group of the profile's name that is there already may hold agents who were never meant to read this profile."""
    if any(caseless(group.name) == caseless(name) for group in draft.groups().values()):
        raise Conflict(
            f"There is already a group named {name!r}, which a new profile would share its secrets with.",
            hint=f"Make the profile alone with: stronghold profile create {name} --no-group, "
            f"then: stronghold group grant GROUP {name}; or copy one for a group with: stronghold profile copy --group",
        )


def _check_limits(
    profile: Profile,
    known: Mapping[str, StoredSecret],
    difference: Difference,
    values: Mapping[str, bytes],
    notes: Mapping[str, bytes],
) -> None:
    """Refuse here what the server would refuse: too many secrets, or too many bytes of ciphertext."""
    after = len(known) + len(difference.added) - len(difference.removed)
    if after > MAX_SECRETS:
        raise UsageError(f"The profile {profile.name!r} would hold {after} secrets; {MAX_SECRETS} is the limit.")
    standing = {name: (stored.secret.value, stored.secret.note) for name, stored in known.items()}
    then = {
        name: (values[name] if name in values else standing[name][0], notes.get(name, standing.get(name, (b"", b""))[1]))
        for name in (standing.keys() | values.keys()) - set(difference.removed)
    }
    size = sum(OVERHEAD + encoded_length(name, value, note) for name, (value, note) in then.items())
    if size > MAX_CIPHERTEXT:
        raise UsageError(
            f"The profile {profile.name!r} would hold {size} bytes when encrypted; {MAX_CIPHERTEXT} is the limit.",
            hint="Keep large files elsewhere and their key here.",
        )
