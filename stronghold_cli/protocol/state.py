"""The whole verified state of one org, and how changes are laid over it (protocol section 5).

The server advances it by each commit, an operator's client by each sync. ``advance`` checks everything that the hashes and
signatures say: the org chain, the chain of heads, every map's root against its leaves, every payload against its leaf, and
that each current signature counts. ``rules.check_state`` and ``steps.check_step`` say which states and steps are legal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from typing import Generic, TypeAlias, TypeVar

from stronghold_cli.protocol.documents.agent import Agent
from stronghold_cli.protocol.documents.base import Document
from stronghold_cli.protocol.documents.contents import Contents
from stronghold_cli.protocol.documents.group import Group
from stronghold_cli.protocol.documents.head import Head
from stronghold_cli.protocol.documents.invite import Invite
from stronghold_cli.protocol.documents.leaves import (
    DOCUMENT_KINDS,
    EntryLeaf,
    MemberLeaf,
    OldKeyLeaf,
    decode_entry_leaf,
    decode_member_leaf,
    decode_old_key_leaf,
    split_document_key,
)
from stronghold_cli.protocol.documents.org import Org
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.documents.structure import Structure
from stronghold_cli.protocol.encoding import decode_u64
from stronghold_cli.protocol.envelope import Envelope
from stronghold_cli.protocol.errors import ClientTooOld, IntegrityError, MalformedError
from stronghold_cli.protocol.laid_documents import OTHER_ORG, LaidDocuments, OrgDocument
from stronghold_cli.protocol.org_chain import verify_chain
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.signed_map import MapRoot, map_root
from stronghold_cli.protocol.signers import (
    decode_as_signed,
    require_author,
    verify_contents_signer,
    verify_head_signer,
    verify_structure_signer,
)

D = TypeVar("D", bound=Document)

MapId: TypeAlias = tuple[str, bytes]
Leaves: TypeAlias = Mapping[bytes, bytes]
DOCUMENTS: MapId = ("documents", b"")
CONTENTS: MapId = ("contents", b"")
INNER_MAPS: dict[str, tuple[str, ...]] = {"group": ("members",), "profile": ("old_keys", "entries")}


class Signed(Record, Generic[D]):
    """A document together with the newest envelope that carries it."""

    document: D
    envelope: Envelope


class Changes(Record):
    """What turns one state into a later one: the body of a commit, and of a sync.

    ``org``: links after the state's org document; ``heads``: after its head, the current one last; ``structure`` and
    ``contents``: where new or signed anew; ``payloads``: new agents, groups, profiles, invites; ``maps``: changed leaves,
    ``None`` for one that is gone.
    """

    org: tuple[Envelope, ...]
    heads: tuple[Envelope, ...]
    structure: Envelope | None
    contents: tuple[Envelope, ...]
    payloads: tuple[bytes, ...]
    maps: Mapping[MapId, Mapping[bytes, bytes | None]]


class OrgState(Record):
    """One state of an org; every part is proven by ``head``, whose signer counts under ``org``.

    ``maps`` holds the raw leaves of all signed maps: ``("documents", b"")``, ``("contents", b"")``, and by the id of their
    group or profile ``("members", id)``, ``("old_keys", id)``, ``("entries", id)``.
    """

    org: Signed[Org]
    head: Signed[Head]
    structure: Signed[Structure]
    contents: Mapping[bytes, Signed[Contents]]
    maps: Mapping[MapId, Leaves]
    agents: Mapping[bytes, Agent]
    groups: Mapping[bytes, Group]
    profiles: Mapping[bytes, Profile]
    invites: Mapping[bytes, Invite]

    @property
    def org_id(self) -> bytes:
        """The org's 32-byte id."""
        return self.org.document.org_id

    @property
    def seq(self) -> int:
        """The head's seq."""
        return self.head.document.seq

    def leaves(self, kind: str, id_: bytes = b"") -> Leaves:
        """The raw leaves of a map; empty where there is none."""
        return self.maps.get((kind, id_), {})

    def group_members(self, group_id: bytes) -> dict[bytes, MemberLeaf]:
        """The member leaves of a group by member id."""
        return {key: decode_member_leaf(value) for key, value in self.leaves("members", group_id).items()}

    def entries(self, profile_id: bytes) -> dict[bytes, EntryLeaf]:
        """The entry leaves of a profile by secret id, deleted ones included."""
        return {key: decode_entry_leaf(value) for key, value in self.leaves("entries", profile_id).items()}

    def old_keys(self, profile_id: bytes) -> dict[int, OldKeyLeaf]:
        """The old-key leaves of a profile by epoch."""
        return {decode_u64(key): decode_old_key_leaf(value) for key, value in self.leaves("old_keys", profile_id).items()}

    def documents(self, kind: str) -> Mapping[bytes, OrgDocument]:
        """The documents of a kind by id."""
        by_kind: dict[str, Mapping[bytes, OrgDocument]] = {
            "agent": self.agents,
            "group": self.groups,
            "profile": self.profiles,
            "invite": self.invites,
        }
        return by_kind[kind]


def advance(before: OrgState | None, changes: Changes, *, anchor: bytes | None = None, is_known: bool = False) -> OrgState:
    """Lay ``changes`` over ``before`` and return the state that they prove; raises ``IntegrityError``.

    Without ``before``, the first org document must have the hash ``anchor`` (a pin), or, without that too, be a genesis; the
    changes then hold everything that is current and one head. ``is_known``: the same was verified by this version before, so
    agents are decoded when they are first looked at.
    """
    state = lay_over(before, changes, anchor=anchor, is_known=is_known)
    verify_signers(state, known=before)
    return state


def lay_over(before: OrgState | None, changes: Changes, *, anchor: bytes | None = None, is_known: bool = False) -> OrgState:
    """``advance`` for a state that another one follows: it is believed by the hashes that lead to that one.

    The signers of its structure, contents and head need not count any more, and are not looked at.
    """
    org = _advance_org(before, changes.org, anchor)
    head = _advance_head(before, changes.heads, org.document)
    structure = _current_structure(before, changes.structure, head.document, org.document)
    maps = _advance_maps(before, changes.maps)
    try:
        documents = _advance_documents(before, maps, structure.document, changes, is_known=is_known)
    except ClientTooOld:
        # Head and structure lead to these payloads by hashes; who signed them was not looked at yet.
        require_author("head", head.envelope, org.document)
        require_author("structure", structure.envelope, org.document)
        raise
    contents = _advance_contents(before, maps, (head.document, org.document), changes.contents, documents["profile"])
    _check_inner_maps(before, maps, documents, contents)
    _check_entries_not_falling(before, maps, changes.maps)
    state = OrgState(
        org=org,
        head=head,
        structure=structure,
        contents=contents,
        maps=maps,
        agents=documents["agent"],
        groups=documents["group"],
        profiles=documents["profile"],
        invites=documents["invite"],
    )
    _check_org_ids(before, state)
    return state


def changed_documents(before: OrgState, after: OrgState) -> dict[str, set[bytes]]:
    """By kind the ids of the documents that came, went or changed between two states; none is decoded for that."""
    old, new = before.leaves(*DOCUMENTS), after.leaves(*DOCUMENTS)
    changed: dict[str, set[bytes]] = {kind: set() for kind in DOCUMENT_KINDS}
    if old is not new:
        keys = [key for key, value in new.items() if old.get(key) != value]
        for kind, id_ in map(split_document_key, (*keys, *(old.keys() - new.keys()))):
            changed[kind].add(id_)
    return changed


def verify_signers(state: OrgState, *, known: OrgState | None = None) -> None:
    """Check that each current structure, contents and head is signed by somebody whose signature counts *now*.

    Signatures that ``known`` already holds, under the same org document, are not verified a second time; the rights of
    their signers always are.
    """
    org = state.org.document
    same_org = known is not None and known.org.document.sha256 == org.sha256
    seen: set[Envelope] = set()
    if known is not None and same_org:
        seen = {known.structure.envelope, known.head.envelope, *(item.envelope for item in known.contents.values())}
    structure, head = state.structure.envelope, state.head.envelope
    verify_structure_signer(structure, org, verify=structure not in seen)
    verify_head_signer(head, org, verify=head not in seen)
    for profile_id, item in state.contents.items():
        verify_contents_signer(item.envelope, org, state.profiles[profile_id], verify=item.envelope not in seen)


def _advance_org(before: OrgState | None, links: tuple[Envelope, ...], anchor: bytes | None) -> Signed[Org]:
    if before is not None:
        if not links:
            return before.org
        document = verify_chain(before.org.document, links)
    else:
        if not links:
            raise IntegrityError("the org document is missing")
        document = verify_chain(None, links, anchor=anchor)
    return Signed(document=document, envelope=links[-1])


def _advance_head(before: OrgState | None, heads: tuple[Envelope, ...], org: Org) -> Signed[Head]:
    """Follow the chain of heads by ``prev``; the same head under another signature may stand first."""
    if before is None and len(heads) != 1:
        raise IntegrityError("there is not exactly one head")
    current = None if before is None else before.head
    for envelope in heads:
        head = decode_as_signed(Head, envelope, org)
        if current is not None and envelope.sha256 != current.document.sha256:
            check_head_follows(current.document.seq, current.document.sha256, head, org)
        current = Signed(document=head, envelope=envelope)
    if current is None:
        raise IntegrityError("the head is missing")
    if current.document.org_sha256 != org.sha256:
        raise IntegrityError("the head names another org document")
    return current


def check_head_follows(seq: int, sha256: bytes, head: Head, org: Org) -> None:
    """Return if ``head`` names the head (``seq``, ``sha256``) as the one before it, and counts one on or resumes."""
    resume = org.resume
    resumed = resume is not None and resume.head_sha256 == head.prev and head.seq > max(seq, resume.seq)
    if head.prev != sha256 or (head.seq != seq + 1 and not resumed):
        raise IntegrityError("a head does not follow the one before it", evidence={"known": seq, "offered": head.seq})


def _current_structure(before: OrgState | None, envelope: Envelope | None, head: Head, org: Org) -> Signed[Structure]:
    if envelope is not None:
        current = Signed(document=decode_as_signed(Structure, envelope, org), envelope=envelope)
    elif before is not None:
        current = before.structure
    else:
        raise IntegrityError("the structure is missing")
    if current.document.sha256 != head.structure_sha256 or current.document.seq > head.seq:
        raise IntegrityError("the head names another structure")
    known = None if before is None else before.structure.document
    if known is not None and current.document.sha256 != known.sha256 and current.document.seq <= known.seq:
        raise IntegrityError(
            "a structure is older than the one before it, or has its number",
            evidence={"known": known.seq, "offered": current.document.seq},
        )
    return current


def _advance_maps(before: OrgState | None, changes: Mapping[MapId, Mapping[bytes, bytes | None]]) -> dict[MapId, Leaves]:
    maps = {} if before is None else dict(before.maps)
    for map_id, changed in changes.items():
        leaves = dict(maps.get(map_id, {}))
        for key, value in changed.items():
            if value is None:
                leaves.pop(key, None)
            else:
                leaves[key] = value
        maps[map_id] = leaves
    return maps


def _advance_documents(
    before: OrgState | None, maps: dict[MapId, Leaves], structure: Structure, changes: Changes, *, is_known: bool
) -> dict[str, MutableMapping]:  # type: ignore[type-arg]
    """Decode the payload of each changed documents leaf, and drop what belonged to documents that are gone."""
    leaves = maps.get(DOCUMENTS, {})
    known = None if before is None else before.structure.document.documents
    if before is None or before.maps.get(DOCUMENTS) is not maps.get(DOCUMENTS) or known != structure.documents:
        _require_root(structure.documents, leaves, "documents")
    changed = changes.maps.get(DOCUMENTS, {})
    for kind, id_ in (split_document_key(key) for key, value in changed.items() if value is None):
        for inner in INNER_MAPS.get(kind, ()):
            maps.pop((inner, id_), None)
    documents = LaidDocuments(None if before is None else before.documents, structure.org_id)
    documents.lay(changed, changes.payloads, defer_agents=is_known)
    return documents.by_kind


def _advance_contents(
    before: OrgState | None,
    maps: dict[MapId, Leaves],
    under: tuple[Head, Org],
    envelopes: Iterable[Envelope],
    profiles: Mapping[bytes, Profile],
) -> dict[bytes, Signed[Contents]]:
    head, org = under
    named = maps.get(CONTENTS, {})
    _require_root(head.contents, named, "contents")
    known = {} if before is None else dict(before.contents)
    for envelope in envelopes:
        document = decode_as_signed(Contents, envelope, org)
        previous = known.get(document.profile_id)
        if previous is not None and document.version < previous.document.version:
            raise IntegrityError("the version of a contents falls", evidence={"profile": document.profile_id.hex()})
        if previous is not None and document.version == previous.document.version:
            _require_equal(document.sha256, previous.document.sha256, "a contents version stands for two documents")
        known[document.profile_id] = Signed(document=document, envelope=envelope)
    if named.keys() != profiles.keys() or not named.keys() <= known.keys():
        raise IntegrityError("the contents named by the head are not those of the profiles")
    for profile_id, sha256 in named.items():
        document = known[profile_id].document
        _require_equal(document.sha256, sha256, "the head names other contents of a profile")
        if document.profile_id != profile_id or document.seq > head.seq:
            raise IntegrityError("a contents stands under the wrong profile or number")
    return {profile_id: known[profile_id] for profile_id in named}


def _check_inner_maps(
    before: OrgState | None,
    maps: Mapping[MapId, Leaves],
    documents: Mapping[str, Mapping[bytes, Group | Profile]],
    contents: Mapping[bytes, Signed[Contents]],
) -> None:
    """Compare every map that changed, or whose root changed, with the root in its document."""
    expected: dict[MapId, MapRoot] = {}
    for group_id, group in documents["group"].items():
        if isinstance(group, Group):
            expected["members", group_id] = group.member_map
    for profile_id, profile in documents["profile"].items():
        if isinstance(profile, Profile):
            expected["old_keys", profile_id] = profile.old_keys
            expected["entries", profile_id] = contents[profile_id].document.entries
    for map_id, root in expected.items():
        leaves = maps.get(map_id, {})
        if before is None or before.maps.get(map_id) is not leaves or _known_root(before, map_id) != root:
            _require_root(root, leaves, map_id[0])
    orphans = [map_id for map_id, leaves in maps.items() if leaves and map_id not in expected]
    if not set(orphans) <= {DOCUMENTS, CONTENTS}:
        raise MalformedError("a map belongs to no group and no profile")


def _check_entries_not_falling(
    before: OrgState | None, maps: Mapping[MapId, Leaves], changes: Mapping[MapId, Mapping[bytes, bytes | None]]
) -> None:
    """Nothing of an entry falls, and none goes while its profile stands (section 5: "any version that falls")."""
    if before is None:
        return
    for map_id in (map_id for map_id in changes if map_id[0] == "entries" and map_id in maps):
        known = before.maps.get(map_id, {})
        for secret_id in known.keys() & changes[map_id].keys():
            value = maps[map_id].get(secret_id)
            old = decode_entry_leaf(known[secret_id])
            new = None if value is None else decode_entry_leaf(value)
            if new is None or (new.version, new.epoch) < (old.version, old.epoch) or new.oldest < old.oldest:
                raise IntegrityError("an entry falls, or is gone", evidence={"profile": map_id[1].hex()})
            if (new.version, new.epoch) == (old.version, old.epoch):
                _require_equal(new.ciphertext_sha256, old.ciphertext_sha256, "an entry's version stands for two ciphertexts")


def _known_root(before: OrgState, map_id: MapId) -> MapRoot | None:
    kind, id_ = map_id
    if kind == "members":
        return before.groups[id_].member_map if id_ in before.groups else None
    if id_ not in before.profiles:
        return None
    return before.profiles[id_].old_keys if kind == "old_keys" else before.contents[id_].document.entries


def _check_org_ids(before: OrgState | None, state: OrgState) -> None:
    """Every signed document is the org's; those that the structure holds were looked at when they were decoded."""
    org_id = state.org_id
    documents: list[Head | Structure | Contents] = [
        state.head.document,
        state.structure.document,
        *(item.document for item in state.contents.values()),
    ]
    if any(document.org_id != org_id for document in documents) or (before is not None and before.org_id != org_id):
        raise IntegrityError(OTHER_ORG)


def _require_root(root: MapRoot, leaves: Leaves, what: str) -> None:
    if map_root(leaves) != root:
        raise IntegrityError(f"the leaves of the {what} map do not give its root", evidence={"size": len(leaves)})


def _require_equal(one: bytes, other: bytes, message: str) -> None:
    if one != other:
        raise IntegrityError(message, evidence={"one": one.hex(), "other": other.hex()})
