"""Going back in the history of an org: the state before a verified one (protocol section 5, "Currency").

An older document is believed by its hash alone: a chain of ``prev`` from a current one leads to it. ``retreat`` takes what
a commit replaced (the former documents, and the former values of the leaves that it changed), checks every hash and every
map's root against the former head, and returns the former state. So nothing that a server says about the past is believed.

Who signed an older document is not told by its hash. ``author_of`` verifies that against the org document of that time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stronghold_cli.protocol.documents.agent import Agent
from stronghold_cli.protocol.documents.contents import Contents
from stronghold_cli.protocol.documents.group import Group
from stronghold_cli.protocol.documents.head import Head
from stronghold_cli.protocol.documents.invite import Invite
from stronghold_cli.protocol.documents.leaves import decode_document_leaf, split_document_key
from stronghold_cli.protocol.documents.org import Org
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.documents.structure import Structure
from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.errors import IntegrityError, MalformedError
from stronghold_cli.protocol.keys import VerifyKey
from stronghold_cli.protocol.signed_map import MapRoot, map_root
from stronghold_cli.protocol.state import CONTENTS, DOCUMENTS, Changes, Leaves, MapId, OrgState, Signed

_PAYLOAD_TYPES: dict[str, type[Agent | Group | Profile | Invite]] = {
    "agent": Agent,
    "group": Group,
    "profile": Profile,
    "invite": Invite,
}


def retreat(state: OrgState, former: Changes) -> OrgState:
    """The state before ``state``; raises ``IntegrityError`` where ``former`` is not exactly what the last commit replaced.

    ``former.heads`` holds the head before, ``org``, ``structure`` and ``contents`` the documents that were replaced,
    ``payloads`` the former payloads, and ``maps`` the former values of changed leaves (``None`` where there was none).
    """
    head = _former_head(state, former)
    org, structure = _former_org(state, head.document, former), _former_structure(state, head.document, former)
    maps = _former_maps(state, former.maps)
    for map_id, root in ((DOCUMENTS, structure.document.documents), (CONTENTS, head.document.contents)):
        _require_root(state, maps, map_id, root)
    documents = _former_documents(state, former)
    before = OrgState(
        org=org,
        head=head,
        structure=structure,
        contents=_former_contents(state, maps, former),
        maps=maps,
        agents=documents["agent"],
        groups=documents["group"],
        profiles=documents["profile"],
        invites=documents["invite"],
    )
    _check_inner_maps(state, before)
    return before


def author_of(state: OrgState) -> bytes | None:
    """The id of the operator whose signature on the head of ``state`` verifies under the org document of that time.

    ``None`` where the newest envelope of that head is of somebody whom that document does not name.
    """
    envelope = state.head.envelope
    operator = None if envelope.operator_id is None else state.org.document.operators.get(envelope.operator_id)
    if operator is None:
        return None
    envelope.verify("head", VerifyKey(operator.sign))
    return envelope.operator_id


def _former_head(state: OrgState, former: Changes) -> Signed[Head]:
    current = state.head.document
    if len(former.heads) != 1 or former.heads[0].sha256 != current.prev:
        raise IntegrityError(
            "the former head received is not the one that the later head names", evidence={"seq": state.seq}
        )
    return Signed(document=Head.decode(former.heads[0].payload), envelope=former.heads[0])


def _former_org(state: OrgState, head: Head, former: Changes) -> Signed[Org]:
    if head.org_sha256 == state.org.document.sha256:
        return state.org
    if len(former.org) != 1 or former.org[0].sha256 != head.org_sha256:
        raise IntegrityError("the former org document received is not the one that its head names")
    return Signed(document=Org.decode(former.org[0].payload), envelope=former.org[0])


def _former_structure(state: OrgState, head: Head, former: Changes) -> Signed[Structure]:
    if head.structure_sha256 == state.structure.document.sha256:
        return state.structure
    if former.structure is None or former.structure.sha256 != head.structure_sha256:
        raise IntegrityError("the former structure received is not the one that its head names")
    return Signed(document=Structure.decode(former.structure.payload), envelope=former.structure)


def _former_maps(state: OrgState, changes: Mapping[MapId, Mapping[bytes, bytes | None]]) -> dict[MapId, Leaves]:
    maps = dict(state.maps)
    for map_id, changed in changes.items():
        leaves = dict(maps.get(map_id, {}))
        for key, value in changed.items():
            if value is None:
                leaves.pop(key, None)
            else:
                leaves[key] = value
        if leaves:
            maps[map_id] = leaves
        else:
            maps.pop(map_id, None)
    return maps


def _former_documents(state: OrgState, former: Changes) -> dict[str, dict[bytes, Any]]:
    """The documents of all kinds, those that the commit changed, added or dropped as they stood before it."""
    documents: dict[str, dict[bytes, Any]] = {kind: dict(state.documents(kind)) for kind in _PAYLOAD_TYPES}
    payloads = {digest(payload): payload for payload in former.payloads}
    for key, value in former.maps.get(DOCUMENTS, {}).items():
        kind, id_ = split_document_key(key)
        if value is None:
            documents[kind].pop(id_, None)
            continue
        leaf = decode_document_leaf(value)
        if leaf.sha256 not in payloads:
            raise IntegrityError("the former payload of a document is missing", evidence={"kind": kind, "id": id_.hex()})
        documents[kind][id_] = _PAYLOAD_TYPES[kind].decode(payloads[leaf.sha256])
    return documents


def _former_contents(state: OrgState, maps: Mapping[MapId, Leaves], former: Changes) -> dict[bytes, Signed[Contents]]:
    """The contents of each profile that the former head names, whether or not the commit replaced it."""
    offered = {envelope.sha256: envelope for envelope in former.contents}
    contents = {}
    for profile_id, sha256 in maps.get(CONTENTS, {}).items():
        known = state.contents.get(profile_id)
        if known is not None and known.document.sha256 == sha256:
            contents[profile_id] = known
        elif sha256 in offered:
            contents[profile_id] = Signed(document=Contents.decode(offered[sha256].payload), envelope=offered[sha256])
        else:
            raise IntegrityError("a former contents is missing", evidence={"profile": profile_id.hex()})
    return contents


def _check_inner_maps(state: OrgState, before: OrgState) -> None:
    """Compare with its former root every inner map that is another one now, or whose document is."""
    for group_id, group in before.groups.items():
        known = state.groups.get(group_id)
        _require_inner(state, before, ("members", group_id), group.member_map, None if known is None else known.member_map)
    for profile_id, profile in before.profiles.items():
        later, contents = state.profiles.get(profile_id), state.contents.get(profile_id)
        _require_inner(state, before, ("old_keys", profile_id), profile.old_keys, None if later is None else later.old_keys)
        root = before.contents[profile_id].document.entries if profile_id in before.contents else map_root({})
        _require_inner(state, before, ("entries", profile_id), root, None if contents is None else contents.document.entries)
    owners = {"members": before.groups, "old_keys": before.profiles, "entries": before.profiles}
    if any(map_id not in (DOCUMENTS, CONTENTS) and map_id[1] not in owners.get(map_id[0], ()) for map_id in before.maps):
        raise MalformedError("a former map belongs to no group and no profile")


def _require_inner(state: OrgState, before: OrgState, map_id: MapId, root: MapRoot, later: MapRoot | None) -> None:
    if root != later or before.maps.get(map_id) is not state.maps.get(map_id):
        _require_root(None, before.maps, map_id, root)


def _require_root(state: OrgState | None, maps: Mapping[MapId, Leaves], map_id: MapId, root: MapRoot) -> None:
    """The leaves give the root; those that the verified later state has just the same need no second look at its root."""
    leaves = maps.get(map_id, {})
    if state is not None and state.maps.get(map_id, {}) is leaves:
        later = state.structure.document.documents if map_id == DOCUMENTS else state.head.document.contents
        if later == root:
            return
    if map_root(leaves) != root:
        raise IntegrityError(
            f"the former leaves of the {map_id[0]} map do not give their root", evidence={"size": len(leaves)}
        )
