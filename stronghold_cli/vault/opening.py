"""Opening the live secrets of a profile, and telling those that can be read from those that their writers spoilt.

Protocol section 5, steps 10 and 11: an agent takes a profile only where every live entry opens and has a legal name that no
other one has. An editor with a client of their own can write entries for which that does not hold. They are told by their
ids here, with whoever signed them, so that they can be deleted.
"""

from __future__ import annotations

from collections.abc import Mapping

from stronghold_cli.crypto.keys import ProfileKey
from stronghold_cli.crypto.secrets import Secret
from stronghold_cli.protocol.documents.leaves import decode_entry_leaf
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.errors import IntegrityError
from stronghold_cli.protocol.names import is_secret_name
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.state import OrgState
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.lookup import shown_id, shown_secret
from stronghold_cli.vault.operator import Operator

_SHOWN = 5


class StoredSecret(Record):
    """A secret as it stands: its id and version beside what was opened."""

    id: bytes
    version: int
    secret: Secret


class Opened(Record):
    """The live secrets of a profile: by name those that can be read, and the ids of those that cannot.

    Whoever wrote these put no secret there, or none with a legal name, or one of a name that another secret has; of such a
    name none is in ``secrets``, and ``doubles`` has the ids of all.
    """

    secrets: Mapping[str, StoredSecret]
    unreadable: tuple[bytes, ...]
    doubles: Mapping[str, tuple[StoredSecret, ...]]

    def __repr__(self) -> str:
        return f"Opened({len(self.secrets)} secrets, {len(self.unreadable)} unreadable, {len(self.doubles)} doubles)"


def open_secrets(key: ProfileKey, ciphertexts: Mapping[bytes, tuple[int, bytes]]) -> Opened:
    """Open what the verified contents name: version and ciphertext by id."""
    found: dict[str, list[StoredSecret]] = {}
    unreadable = []
    for secret_id, (version, ciphertext) in ciphertexts.items():
        secret = open_if_legal(key, secret_id, version, ciphertext)
        if secret is None:
            unreadable.append(secret_id)
        else:
            found.setdefault(secret.name, []).append(StoredSecret(id=secret_id, version=version, secret=secret))
    return Opened(
        secrets={name: stored[0] for name, stored in found.items() if len(stored) == 1},
        unreadable=tuple(unreadable),
        doubles={name: tuple(stored) for name, stored in found.items() if len(stored) > 1},
    )


def open_if_legal(key: ProfileKey, secret_id: bytes, version: int, ciphertext: bytes) -> Secret | None:
    """The secret in a ciphertext that the signed contents name; ``None`` where its writer put none there with a legal name.

    Only for a ciphertext whose hash was compared: any other one that does not open is somebody's forgery.
    """
    try:
        secret = key.open_secret(secret_id, version, ciphertext)
    except IntegrityError:
        return None
    return secret if is_secret_name(secret.name) else None


def first_written(
    draft: Draft, profile: Profile, doubles: Mapping[str, tuple[StoredSecret, ...]]
) -> dict[str, StoredSecret]:
    """Of several secrets of one name the one whose current version stood first, by the commits and not by what it says."""
    wanted = {each.id: each.version for stored in doubles.values() for each in stored}
    written = written_in(draft.keys.operator, draft.state, profile.id, wanted)
    return {name: min(stored, key=lambda each: (written[each.id][0], each.id)) for name, stored in doubles.items()}


def written_in(
    operator: Operator, state: OrgState, profile_id: bytes, versions: Mapping[bytes, int]
) -> dict[bytes, tuple[int, bytes | None]]:
    """The commit that wrote each of these current versions of secrets: its seq and who signed it, as the history proves."""
    from stronghold_cli.vault.past import Past

    found: dict[bytes, tuple[int, bytes | None]] = {}
    steps = Past(operator, state).steps() if versions else iter(())
    for step in steps:
        for secret_id, version in versions.items():
            if secret_id not in found and (step.before is None or _version(step.before, profile_id, secret_id) != version):
                found[secret_id] = (step.after.seq, step.author)
        if found.keys() == versions.keys():
            break
    return found


def unreadable_error(vault: Vault, profile: Profile, opened: Opened) -> IntegrityError:
    """What to raise where a profile holds what no agent takes: it names the ids, and whoever signed them."""
    ids = [*opened.unreadable, *(each.id for stored in opened.doubles.values() for each in stored)]
    written = written_in(
        vault.operator, vault.state, profile.id, {id_: _version(vault.state, profile.id, id_) for id_ in ids}
    )
    told = [f"{shown_secret(id_)} (by {_author(vault.state, written[id_][1])})" for id_ in ids]
    more = f" and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
    bad = ", ".join(told[:_SHOWN]) + more
    return IntegrityError(
        f"The profile {profile.name!r} holds what nobody can use, as it does not open or has no name of its own: {bad}.",
        hint=f"Delete it by its id: stronghold secret delete se_… --profile {profile.name}",
        evidence={"secrets": [id_.hex() for id_ in ids]},
    )


def _author(state: OrgState, operator_id: bytes | None) -> str:
    operators = state.org.document.operators
    if operator_id is None:
        return "somebody who has left"
    return operators[operator_id].name if operator_id in operators else shown_id("operator", operator_id)


def _version(state: OrgState, profile_id: bytes, secret_id: bytes) -> int:
    raw = state.leaves("entries", profile_id).get(secret_id) if profile_id in state.profiles else None
    return 0 if raw is None else decode_entry_leaf(raw).version
