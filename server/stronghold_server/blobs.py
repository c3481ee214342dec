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
from struct import Struct
from typing import Final, TypeAlias

from stronghold_cli.protocol.documents.leaves import (
    EntryLeaf,
    decode_entry_leaf,
    decode_member_leaf,
    decode_old_key_leaf,
)
from stronghold_cli.protocol.encoding import tlv
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.state import OrgState
from stronghold_server.states import map_key

# A kept version as TLV: three lengths, and between them epoch, hash and length of the ciphertext.
_KEPT: Final = Struct(">IQI32sIQ")


class KeptVersion(Record):
    """A ciphertext that is kept: its epoch, its hash, and its length in bytes."""

    epoch: int
    sha256: bytes
    length: int

    def encode(self) -> bytes:
        """The value in the ``kept`` map."""
        return tlv(self.epoch, self.sha256, self.length)


# The leaves of a profile's ``kept`` map. There may be very many of them, so a commit unpacks only what it looks at.
Kept: TypeAlias = Mapping[bytes, bytes]
KeptOf: TypeAlias = Callable[[bytes], Kept]


class KeptSize(Record):
    """How much a profile keeps: versions, the bytes of their ciphertexts, and those of live entries among them."""

    versions: int
    length: int
    live: int


class BlobChanges(Record):
    """``added`` and ``dropped``: names that come and go, counted by hash.

    Of each profile whose entries or old keys change, ``kept`` holds the changed leaves of its ``kept`` map, ``epochs``
    those of the versions that are kept then, and ``sizes`` how much it kept before and keeps then. ``boxes`` are the old-key
    boxes that changed leaves name, needed or not.
    """

    added: Counter[bytes]
    dropped: Counter[bytes]
    kept: Mapping[bytes, Mapping[bytes, bytes | None]]
    epochs: Mapping[bytes, frozenset[int]]
    sizes: Mapping[bytes, tuple[KeptSize, KeptSize]]
    boxes: frozenset[bytes]


def kept_map_key(profile_id: bytes) -> bytes:
    """The store's name of the ``kept`` map of a profile."""
    return map_key("kept", profile_id)


def decode_kept_version(value: bytes) -> KeptVersion:
    """A value of the ``kept`` map."""
    _, epoch, _, sha256, _, length = _KEPT.unpack(value)
    return KeptVersion(epoch=epoch, sha256=sha256, length=length)


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
    sizes: dict[bytes, tuple[KeptSize, KeptSize]] = {}
    boxes: set[bytes] = set()
    known = {} if before is None else before.profiles
    for profile_id in known.keys() | after.profiles.keys():
        if not _has_changed(before, after, profile_id):
            continue
        kept = kept_of(profile_id)
        changes = _kept_changes(before, after, profile_id, kept, lengths)
        kept_then = {key: value for key, value in {**kept, **changes}.items() if value is not None}
        # What stays would stand on both sides.
        old += Counter(decode_kept_version(kept[key]).sha256 for key in changes if key in kept)
        new += Counter(decode_kept_version(value).sha256 for value in changes.values() if value is not None)
        epochs_before, epochs[profile_id] = _epochs(kept), _epochs(kept_then)
        old += _boxes(before, profile_id, epochs_before)
        new += _boxes(after, profile_id, epochs[profile_id])
        kept_changes[profile_id] = changes
        old_boxes = {} if before is None else before.leaves("old_keys", profile_id)
        new_boxes = after.leaves("old_keys", profile_id)
        boxes |= {decode_old_key_leaf(value).box_sha256 for key, value in new_boxes.items() if old_boxes.get(key) != value}
        sizes[profile_id] = (_size(before, profile_id, kept), _size(after, profile_id, kept_then))
    return BlobChanges(
        added=new - old, dropped=old - new, kept=kept_changes, epochs=epochs, sizes=sizes, boxes=frozenset(boxes)
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


def _kept_changes(
    before: OrgState | None, after: OrgState, profile_id: bytes, kept: Kept, lengths: Mapping[bytes, int]
) -> dict[bytes, bytes | None]:
    """What a commit changes of the ``kept`` map: versions written, encrypted anew, or below ``oldest`` now."""
    if profile_id not in after.profiles:
        return dict.fromkeys(kept)
    changes: dict[bytes, bytes | None] = {}
    former = {} if before is None else before.leaves("entries", profile_id)
    for secret_id, entry in changed_entries(before, after, profile_id).items():
        if entry.is_live:
            key = kept_key(secret_id, entry.version)
            # A purge names the ciphertext that is there.
            known = decode_kept_version(kept[key]) if key in kept else None
            if known is None or (known.epoch, known.sha256) != (entry.epoch, entry.ciphertext_sha256):
                changes[key] = KeptVersion(
                    epoch=entry.epoch, sha256=entry.ciphertext_sha256, length=lengths[entry.ciphertext_sha256]
                ).encode()
        first = decode_entry_leaf(former[secret_id]).oldest if secret_id in former else 1
        purged = (kept_key(secret_id, version) for version in range(first, entry.oldest))
        changes.update((key, None) for key in purged if key in kept)
    return changes


def _epochs(kept: Kept) -> frozenset[int]:
    return frozenset(int.from_bytes(epoch, "big") for epoch in {value[4:12] for value in kept.values()})


def _size(state: OrgState | None, profile_id: bytes, kept: Kept) -> KeptSize:
    entries = {} if state is None or profile_id not in state.profiles else state.entries(profile_id)
    live = (kept_key(secret_id, entry.version) for secret_id, entry in entries.items() if entry.is_live)
    return KeptSize(
        versions=len(kept),
        length=sum(int.from_bytes(value[-8:], "big") for value in kept.values()),
        live=sum(int.from_bytes(kept[key][-8:], "big") for key in live),
    )


def _boxes(state: OrgState | None, profile_id: bytes, epochs: frozenset[int]) -> Counter[bytes]:
    """The old-key boxes of epochs that a kept version needs."""
    if state is None or profile_id not in state.profiles:
        return Counter()
    return Counter(leaf.box_sha256 for epoch, leaf in state.old_keys(profile_id).items() if epoch in epochs)


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
