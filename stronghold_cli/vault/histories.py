"""The history of secrets: kept versions read, an old one set again, a deleted one restored, old ones purged.

Protocol section 5: the chain of an entry's leaves (each names the one before) verifies its history, down to ``oldest``. An
old version is boxed under the profile key of its epoch, that key under the newest one; both are compared with hashes and
commitments in verified documents before they are used.

A version that the history names but that does not open, or holds no legal secret, is the doing of whoever wrote it, and no
lie of the server: it is shown as unreadable, and does not stand in the way of the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stronghold_cli.crypto.keys import ProfileKey
from stronghold_cli.crypto.secrets import Secret
from stronghold_cli.protocol.documents.base import ZERO_HASH
from stronghold_cli.protocol.documents.leaves import EntryLeaf, decode_entry_leaf, leaf_link
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.errors import Conflict, IntegrityError, NotFound, Refused
from stronghold_cli.protocol.messages_past import KeptSecret, KeptSecrets, decode_kept_secrets
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.state import OrgState
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.lookup import nearest, secret_of_id, shown_secret, still_there
from stronghold_cli.vault.opening import StoredSecret, open_if_legal
from stronghold_cli.vault.past import Past
from stronghold_cli.vault.profiles import put_secret, read_secrets, write_secrets

_ATTEMPTS = 8


class Version(Record):
    """One kept version of a secret; ``secret`` is ``None`` where it says that the secret was deleted, or is unreadable."""

    number: int
    epoch: int
    secret: Secret | None
    is_unreadable: bool = False


class SecretHistory(Record):
    """A secret's kept versions, the newest first; those below ``oldest`` were purged. ``is_live``: it was not deleted.

    ``name`` is that of the newest version that is readable; the id as it is shown where none is.
    """

    id: bytes
    name: str
    is_live: bool
    oldest: int
    versions: tuple[Version, ...]

    def last_value(self) -> Version | None:
        """The newest version that has a value, and can be read."""
        return next((version for version in self.versions if version.secret is not None), None)


class Purged(Record):
    """What a purge removes of one secret: the versions from ``first`` to ``last``."""

    name: str
    first: int
    last: int


def read_histories(vault: Vault, profile: Profile, name: str) -> list[SecretHistory]:
    """The histories of all secrets that have, or had, that name or id: the live one first; ``NotFound`` without any."""
    return [read_history(vault, profile, secret_id) for secret_id in find_histories(vault, profile, name)]


def find_histories(vault: Vault, profile: Profile, name: str) -> list[bytes]:
    """The ids of all secrets that have, or had, that name, the live one first; of an id (``se_…``) itself, and then nothing
    is opened. ``NotFound`` where there is none."""
    secret_id = secret_of_id(vault.state, profile, name)
    if secret_id is not None:
        return [secret_id]
    known = read_secrets(vault, profile)
    gone = read_deleted(vault, profile)
    found = [item.id for item in gone if item.name == name]
    if name in known:
        found.insert(0, known[name].id)
    if not found:
        near = nearest({*known, *(item.name for item in gone)}, name)
        raise NotFound(
            f"There is no secret {name[:60]!r} in the profile {profile.name!r}, and no history of one.",
            hint=f"Did you mean {near!r}?" if near else f"List them with: stronghold secret list --profile {profile.name}",
        )
    return found


def read_history(vault: Vault, profile: Profile, secret_id: bytes) -> SecretHistory:
    """Fetch, verify and open every kept version of one secret; raises ``IntegrityError``."""
    (history,) = _read(vault, profile, secret_id)
    return history


def read_deleted(vault: Vault, profile: Profile) -> list[SecretHistory]:
    """The deleted secrets of a profile of which a value is kept, each with its last value alone; by name, then by time."""
    found = _read(vault, profile, None)
    return sorted(found, key=lambda item: (item.name, -_time_of(item), item.id))


def signers_of(vault: Vault, profile: Profile, history: SecretHistory) -> dict[int, tuple[bytes | None, int]]:
    """Who signed each version that deletes the secret or is unreadable, and when: told by the commits, on the way back."""
    missing = {version.number for version in history.versions if version.secret is None}
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
    draft: Draft, profile: Profile, known: Mapping[str, StoredSecret], history: SecretHistory, number: int | None
) -> Version:
    """Write an older version's value and note as the newest one: version ``number``, or the one before the current."""
    version = _version(history, number)
    secret = _value_of(history, version, "Choose another version; the list of them is in: stronghold secret history")
    write_secrets(draft, profile, known, {secret.name: secret.value}, notes={secret.name: secret.note})
    return version


def restore(
    draft: Draft, profile: Profile, known: Mapping[str, StoredSecret], history: SecretHistory, number: int | None
) -> Version:
    """Write a deleted secret again, with its last value or that of version ``number``; its history goes on."""
    if history.name in known:
        raise Conflict(
            f"There is a secret {history.name} in the profile {profile.name!r} again.",
            hint=f"To set an older value, use: stronghold secret rollback {history.name}",
        )
    version = history.last_value() if number is None else _version(history, number)
    if version is None:
        raise NotFound(f"No version of {history.name} that is kept can be read.")
    put_secret(draft, profile, known, history.id, _value_of(history, version, "Leave out --to to take the last value."))
    return version


def purgeable(draft: Draft, profile: Profile, secret_id: bytes, name: str, keep: int) -> Purged | None:
    """What a purge that keeps the newest ``keep`` versions removes; ``None`` where there is nothing to remove.

    It goes by the entry alone and opens nothing. ``name`` is what people call the secret.
    """
    entry = draft.state.entries(profile.id)[secret_id]
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


class _Differs(IntegrityError):
    """What was delivered does not belong to the state that is known."""


def _read(vault: Vault, profile: Profile, secret_id: bytes | None) -> list[SecretHistory]:
    """Others may have changed the profile since the state was verified: then it is held against the newest state."""
    for _ in range(_ATTEMPTS):
        try:
            return _read_as_of(vault, profile.id, secret_id)
        except _Differs:
            if not vault.refresh():
                raise
            still_there(vault.state, profile)
    raise Conflict(f"Others changed the profile {profile.name!r} whenever it was read.", hint="Run the command again.")


def _read_as_of(vault: Vault, profile_id: bytes, secret_id: bytes | None) -> list[SecretHistory]:
    entries = vault.state.entries(profile_id)
    wanted = {secret_id} if secret_id is not None else {id_ for id_, entry in entries.items() if not entry.is_live}
    if not wanted:
        return []
    query = "" if secret_id is None else f"?secret={secret_id.hex()}"
    delivered = decode_kept_secrets(vault.operator.get(f"/profiles/{profile_id.hex()}/history{query}"))
    # A deleted secret of which every value was purged has nothing to deliver.
    if secret_id is None:
        wanted = {id_ for id_ in wanted if entries[id_].oldest < entries[id_].version}
    if delivered.secrets.keys() != wanted:
        raise _Differs("The histories received are not those of the profile's secrets.")
    keys = _Keys(vault, profile_id, delivered)
    return [_open(vault, profile_id, id_, kept, keys, secret_id is not None) for id_, kept in delivered.secrets.items()]


def _open(vault: Vault, profile_id: bytes, secret_id: bytes, kept: KeptSecret, keys: _Keys, whole: bool) -> SecretHistory:
    """Verify the chain of leaves, then open its ciphertexts: all of them, or the one delivered."""
    entry = vault.state.entries(profile_id)[secret_id]
    leaves = _newest_leaves(secret_id, kept.leaves, vault.state.leaves("entries", profile_id)[secret_id], entry.oldest)
    with_value = [number for number, leaf in leaves.items() if leaf.is_live]
    expected = with_value if whole else with_value[:1]
    if kept.ciphertexts.keys() != set(expected):
        raise IntegrityError("The kept versions of a secret are not those that its history names.")
    versions = []
    name: str | None = None
    for number, leaf in leaves.items():
        if number not in kept.ciphertexts:
            # Of a list of deleted secrets, only the last value is delivered.
            if not leaf.is_live:
                versions.append(Version(number=number, epoch=leaf.epoch, secret=None))
            continue
        if digest(kept.ciphertexts[number]) != leaf.ciphertext_sha256:
            raise IntegrityError("An older version received is not the one in the secret's history.")
        secret = open_if_legal(keys.of(leaf.epoch), secret_id, number, kept.ciphertexts[number])
        if secret is not None:
            name = secret.name if name is None else name
            # A version must not come up under another name than the secret has.
            secret = secret if secret.name == name else None
        versions.append(Version(number=number, epoch=leaf.epoch, secret=secret, is_unreadable=secret is None))
    return SecretHistory(
        id=secret_id,
        name=shown_secret(secret_id) if name is None else name,
        is_live=entry.is_live,
        oldest=entry.oldest,
        versions=tuple(versions),
    )


def _newest_leaves(secret_id: bytes, chain: Sequence[bytes], current: bytes, oldest: int) -> dict[int, EntryLeaf]:
    """The last leaf of each version from the current one down to ``oldest``, in that order, with every link verified."""
    if not chain or chain[-1] != current:
        raise _Differs("The history of a secret does not end at its current version.")
    found: dict[int, EntryLeaf] = {}
    for position in range(len(chain) - 1, -1, -1):
        leaf = decode_entry_leaf(chain[position])
        if leaf.version < oldest:
            break
        found.setdefault(leaf.version, leaf)
        if leaf.prev != (leaf_link(secret_id, chain[position - 1]) if position else ZERO_HASH):
            raise IntegrityError("The history of a secret does not hang together.", evidence={"secret": secret_id.hex()})
    if list(found) != list(range(max(found), oldest - 1, -1)):
        raise IntegrityError("A version is missing in the history of a secret.", evidence={"secret": secret_id.hex()})
    return found


class _Keys:
    """The keys of a profile by epoch: the current one, and older ones out of the boxes delivered."""

    def __init__(self, vault: Vault, profile_id: bytes, delivered: KeptSecrets) -> None:
        self._current = vault.keys.profile(profile_id)
        self._leaves = vault.state.old_keys(profile_id)
        self._boxes = {digest(box): box for box in delivered.boxes}
        self._keys: dict[int, ProfileKey] = {self._current.epoch: self._current}

    def of(self, epoch: int) -> ProfileKey:
        """The key of an epoch."""
        if epoch not in self._keys:
            leaf = self._leaves.get(epoch)
            if leaf is None or leaf.box_sha256 not in self._boxes:
                raise IntegrityError("An older key of the profile was not delivered.", evidence={"epoch": epoch})
            self._keys[epoch] = self._current.unwrap_old(epoch, leaf.kcv, self._boxes[leaf.box_sha256])
        return self._keys[epoch]


def _version(history: SecretHistory, number: int | None) -> Version:
    """The version of that number; without one, the newest before the current that has a value."""
    older = [version for version in history.versions[1:] if version.secret is not None]
    if number is None and older:
        return older[0]
    found = [version for version in history.versions if version.number == number]
    if not found:
        kept = ", ".join(str(version.number) for version in reversed(history.versions))
        what = f"no older version of {history.name}" if number is None else f"no version {number} of {history.name}"
        raise NotFound(
            f"There is {what} that is kept.", hint=f"Kept are: {kept}." if number is not None else "It has one value only."
        )
    return found[0]


def _value_of(history: SecretHistory, version: Version, hint: str) -> Secret:
    if version.is_unreadable:
        raise NotFound(f"Version {version.number} of {history.name} cannot be read by anybody.", hint=hint)
    if version.secret is None:
        raise NotFound(f"Version {version.number} of {history.name} says that it was deleted: it has no value.", hint=hint)
    return version.secret


def _version_in(state: OrgState, profile: Profile, secret_id: bytes) -> int:
    raw = state.leaves("entries", profile.id).get(secret_id)
    return 0 if raw is None else decode_entry_leaf(raw).version


def _time_of(history: SecretHistory) -> int:
    last = history.last_value()
    return 0 if last is None or last.secret is None else last.secret.time
