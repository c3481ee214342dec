"""Carrying the keys of older epochs on when a profile gets a new one (protocol sections 3 and 5).

A kept version that was never encrypted anew opens under the key of its epoch alone. The server lets a box of an older key go
once no kept version needs it, and the next new epoch drops that key's leaf for ever. So a server that only said that it let
go of a box could have an admin's client make old versions unreadable: what is missing is held against the history first,
which tells by hashes alone which epochs the kept versions are of.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from functools import partial

from stronghold_cli.crypto.keys import ProfileKey
from stronghold_cli.protocol.documents.leaves import OldKeyLeaf, decode_entry_leaf
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.keyring import Overtaken
from stronghold_cli.vault.past import Past


def carry_older_keys(draft: Draft, profile_id: bytes, old: ProfileKey, key: ProfileKey) -> None:
    """Box ``old``, and the keys of older epochs, under the new one; drop those whose boxes went as nothing needs them.

    Raises ``Overtaken``, which is an ``IntegrityError`` where nobody changed the org meanwhile, for a box that is missing
    though a kept version needs it.
    """
    if not draft.state.leaves("entries", profile_id):
        return
    older = draft.keys.older_profile_keys(profile_id)
    missing = draft.state.old_keys(profile_id).keys() - older.keys()
    if missing:
        _require_unneeded(draft, profile_id, missing)
    for epoch in missing:
        draft.set_old_key(profile_id, epoch, None)
    for former in (*older.values(), old):
        box = draft.add_blob(draft.work.once(partial(key.wrap_old, former, draft.random), "old key", key.kcv, former.kcv))
        draft.set_old_key(profile_id, former.epoch, OldKeyLeaf(kcv=former.kcv, box_sha256=box))


def _require_unneeded(draft: Draft, profile_id: bytes, epochs: AbstractSet[int]) -> None:
    """A version needs its epoch's key if it was replaced by the next one in that epoch, and was not purged since."""
    oldest = {id_: entry.oldest for id_, entry in draft.state.entries(profile_id).items() if entry.oldest < entry.version}
    if not oldest:
        return
    for step in Past(draft.keys.operator, draft.state, draft.progress).steps():
        if step.before is None or step.replaced is None or profile_id not in step.before.profiles:
            return
        later = step.after.leaves("entries", profile_id)
        for secret_id, value in step.replaced.maps.get(("entries", profile_id), {}).items():
            replaced = None if value is None else decode_entry_leaf(value)
            if replaced is None or not replaced.is_live or replaced.version == decode_entry_leaf(later[secret_id]).version:
                continue
            if replaced.epoch in epochs and replaced.version >= oldest.get(secret_id, replaced.version + 1):
                name = draft.profiles()[profile_id].name
                raise Overtaken(
                    f"The server withholds an older key of the profile {name!r}, without which version {replaced.version} "
                    "of a secret could never be read again.",
                    hint="Nothing was changed. Ask whoever runs the server, or purge the older versions first.",
                    evidence={"secret": secret_id.hex(), "epoch": replaced.epoch},
                )
        if step.before.profiles[profile_id].epoch < min(epochs):
            return
