"""Which blobs a state names, and what a commit adds to them and takes away (protocol section 5, "One write verb").

A commit carries no list of deletions: they are derived here. A seal or wrap goes when no current document names it; a
ciphertext when its version is below ``oldest``, when it is the same version under an older epoch, or when its profile is
gone; an old-key box when no kept version needs it. Public sealing keys, of which documents hold the hash alone, are counted
like seals.

Older versions of a secret stay until they are purged, but stand in no current leaf. The server remembers them in a map of
its own, ``kept/`` ‖ profile id: secret id ‖ version as u64be → TLV(epoch, ciphertext sha256, bytes).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TypeAlias

from stronghold_cli.protocol.documents.leaves import (
    EntryLeaf,
    decode_entry_leaf,
    decode_member_leaf,
    decode_old_key_leaf,
)
from stronghold_cli.protocol.encoding import decode_u64, split_tlv, tlv
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.state import OrgState
from stronghold_server.states import map_key


class KeptVersion(Record):
    """A ciphertext that is kept: its epoch, its hash, and its length in bytes."""

    epoch: int
    sha256: bytes
    length: int

    def encode(self) -> bytes:
        """The value in the ``kept`` map."""
        return tlv(self.epoch, self.sha256, self.length)


Kept: TypeAlias = Mapping[bytes, KeptVersion]
KeptOf: TypeAlias = "Callable[[bytes], dict[bytes, KeptVersion]]"


class BlobChanges(Record):
    """``added`` and ``dropped``: names that come and go, counted by hash.

    Of each profile whose entries or old keys change, ``kept`` holds the changed leaves of its ``kept`` map, and ``epochs``
    those of the versions that are kept then. ``boxes`` are the old-key boxes that changed leaves name, needed or not.
    """

    added: Counter[bytes]
    dropped: Counter[bytes]
    kept: Mapping[bytes, Mapping[bytes, bytes | None]]
    epochs: Mapping[bytes, frozenset[int]]
    boxes: frozenset[bytes]


def kept_map_key(profile_id: bytes) -> bytes:
    """The store's name of the ``kept`` map of a profile."""
    return map_key("kept", profile_id)


def decode_kept(leaves: Mapping[bytes, bytes]) -> dict[bytes, KeptVersion]:
    """The ``kept`` map of a profile."""
    kept = {}
    for key, value in leaves.items():
        epoch, sha256, length = split_tlv(value, 3)
        kept[key] = KeptVersion(epoch=decode_u64(epoch), sha256=sha256, length=decode_u64(length))
    return kept


def changed_entries(before: OrgState | None, after: OrgState, profile_id: bytes) -> dict[bytes, EntryLeaf]:
    """The entries of a profile that are new or other ones."""
    old = {} if before is None else before.leaves("entries", profile_id)
    new = after.leaves("entries", profile_id)
    return {key: decode_entry_leaf(value) for key, value in new.items() if old.get(key) != value}


def new_ciphertexts(before: OrgState | None, after: OrgState) -> set[bytes]:
    """The hashes of the ciphertexts that changed entries name and their former leaves did not; a purge keeps its own."""
    found = set()
    for profile_id in after.profiles:
        old = {} if before is None else before.leaves("entries", profile_id)
        for key, entry in changed_entries(before, after, profile_id).items():
            is_kept = key in old and decode_entry_leaf(old[key]).ciphertext_sha256 == entry.ciphertext_sha256
            if entry.is_live and not is_kept:
                found.add(entry.ciphertext_sha256)
    return found


def derive(before: OrgState | None, after: OrgState, kept_of: KeptOf, lengths: Mapping[bytes, int]) -> BlobChanges:
    """Compare two states. ``kept_of`` reads a profile's ``kept`` map, ``lengths`` tells the size of new ciphertexts."""
    old = _seals_and_wraps(before, after) + _sealing_keys(before, after)
    new = _seals_and_wraps(after, before) + _sealing_keys(after, before)
    kept_changes: dict[bytes, Mapping[bytes, bytes | None]] = {}
    epochs: dict[bytes, frozenset[int]] = {}
    boxes: set[bytes] = set()
    known = {} if before is None else before.profiles
    for profile_id in known.keys() | after.profiles.keys():
        if not _has_changed(before, after, profile_id):
            continue
        kept = kept_of(profile_id)
        kept_then = _keep(before, after, profile_id, kept, lengths)
        old += Counter(version.sha256 for version in kept.values())
        new += Counter(version.sha256 for version in kept_then.values())
        old += _boxes(before, profile_id, kept)
        new += _boxes(after, profile_id, kept_then)
        kept_changes[profile_id] = _leaf_changes(kept, kept_then)
        old_boxes = {} if before is None else before.leaves("old_keys", profile_id)
        new_boxes = after.leaves("old_keys", profile_id)
        boxes |= {decode_old_key_leaf(value).box_sha256 for key, value in new_boxes.items() if old_boxes.get(key) != value}
        epochs[profile_id] = frozenset(version.epoch for version in kept_then.values())
    return BlobChanges(added=new - old, dropped=old - new, kept=kept_changes, epochs=epochs, boxes=frozenset(boxes))


def live_bytes(after: OrgState, profile_id: bytes, kept: Kept) -> int:
    """How many bytes of ciphertext the live entries of a profile have."""
    return sum(
        kept[kept_key(secret_id, entry.version)].length
        for secret_id, entry in after.entries(profile_id).items()
        if entry.is_live
    )


def kept_key(secret_id: bytes, version: int) -> bytes:
    """secret id ‖ version as u64be."""
    return secret_id + version.to_bytes(8, "big")


def sealing_keys(state: OrgState) -> set[bytes]:
    """The hashes of all public sealing keys that the state's documents name."""
    return set(_sealing_keys(state, None))


def _has_changed(before: OrgState | None, after: OrgState, profile_id: bytes) -> bool:
    if before is None or profile_id not in before.profiles or profile_id not in after.profiles:
        return True
    return any(
        before.maps.get((kind, profile_id)) is not after.maps.get((kind, profile_id)) for kind in ("entries", "old_keys")
    )


def _keep(
    before: OrgState | None, after: OrgState, profile_id: bytes, kept: Kept, lengths: Mapping[bytes, int]
) -> dict[bytes, KeptVersion]:
    """The ``kept`` map after the commit."""
    if profile_id not in after.profiles:
        return {}
    kept_then = dict(kept)
    for secret_id, entry in changed_entries(before, after, profile_id).items():
        key = kept_key(secret_id, entry.version)
        known = kept.get(key)
        if entry.is_live and (known is None or (known.epoch, known.sha256) != (entry.epoch, entry.ciphertext_sha256)):
            length = lengths[entry.ciphertext_sha256]
            kept_then[key] = KeptVersion(epoch=entry.epoch, sha256=entry.ciphertext_sha256, length=length)
    oldest = {secret_id: entry.oldest for secret_id, entry in after.entries(profile_id).items()}
    return {key: version for key, version in kept_then.items() if decode_u64(key[16:]) >= oldest[key[:16]]}


def _boxes(state: OrgState | None, profile_id: bytes, kept: Kept) -> Counter[bytes]:
    """The old-key boxes of epochs that a kept version needs."""
    if state is None or profile_id not in state.profiles:
        return Counter()
    needed = {version.epoch for version in kept.values()}
    return Counter(leaf.box_sha256 for epoch, leaf in state.old_keys(profile_id).items() if epoch in needed)


def _seals_and_wraps(state: OrgState | None, other: OrgState | None) -> Counter[bytes]:
    """The seals and wraps that ``state`` names, without those of groups and profiles that ``other`` has just the same."""
    names: Counter[bytes] = Counter()
    if state is None:
        return names
    for group_id in state.groups:
        leaves = state.maps.get(("members", group_id), {})
        if other is None or other.maps.get(("members", group_id)) is not leaves:
            names.update(decode_member_leaf(value).sealed_sha256 for value in leaves.values())
    for profile_id, profile in state.profiles.items():
        if other is None or other.profiles.get(profile_id) is not profile:
            names.update(grant.wrap_sha256 for grant in profile.grants.values())
    return names


def _sealing_keys(state: OrgState | None, other: OrgState | None) -> Counter[bytes]:
    """The public sealing keys that ``state`` names, without those of documents that ``other`` has just the same."""
    names: Counter[bytes] = Counter()
    if state is None:
        return names
    org = state.org.document
    if other is None or other.org.document is not org:
        names[org.root.seal_sha256] += 1
        names.update(operator.seal_sha256 for operator in org.operators.values())
    for agent_id, agent in state.agents.items():
        if other is None or other.agents.get(agent_id) is not agent:
            names.update(token.seal_sha256 for token in agent.tokens.values())
    return names


def _leaf_changes(old: Kept, new: Kept) -> dict[bytes, bytes | None]:
    changes: dict[bytes, bytes | None] = {key: None for key in old if key not in new}
    changes.update({key: version.encode() for key, version in new.items() if old.get(key) != version})
    return changes
