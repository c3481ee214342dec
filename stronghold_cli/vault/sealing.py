"""Sealing a group's key to its members (protocol section 3; rule R5: only to keys that signed documents name)."""

from __future__ import annotations

from collections.abc import Mapping

from stronghold_cli.crypto.keys import GroupKey
from stronghold_cli.protocol.documents.leaves import ROOT_MEMBER, MemberLeaf
from stronghold_cli.vault.draft import Draft


def seal_to_root(draft: Draft, key: GroupKey) -> None:
    """Every group key is sealed to root, for recovery."""
    leaf = MemberLeaf(kind="root", owner=b"", seal_sha256=draft.org.root.seal_sha256, sealed_sha256=b"")
    seal_to_member(draft, key, ROOT_MEMBER, leaf, draft.keys.people())


def seal_to_operator(draft: Draft, key: GroupKey, operator_id: bytes) -> None:
    """Give an operator of the org the key of a group."""
    seal_sha256 = draft.org.operators[operator_id].seal_sha256
    leaf = MemberLeaf(kind="operator", owner=b"", seal_sha256=seal_sha256, sealed_sha256=b"")
    seal_to_member(draft, key, operator_id, leaf, draft.keys.people())


def seal_to_member(
    draft: Draft, key: GroupKey, member_id: bytes, leaf: MemberLeaf, public_keys: Mapping[bytes, bytes]
) -> None:
    """Seal to the public key whose hash stands in ``leaf``, and set that leaf with the hash of the seal."""
    public = public_keys[leaf.seal_sha256]
    sealed = draft.work.once(
        lambda: key.seal_to(public, leaf.kind, member_id), "seal", key.kcv, leaf.kind, member_id, leaf.seal_sha256
    )
    draft.set_member(key.group_id, member_id, leaf.replace(sealed_sha256=draft.add_blob(sealed)))
