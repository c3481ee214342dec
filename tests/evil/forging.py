"""Answers forged by a server to which key holders of the org gave their keys: parts changed, hashed and signed anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stronghold_cli.protocol.documents.agent import Agent
from stronghold_cli.protocol.documents.contents import Contents
from stronghold_cli.protocol.documents.group import Group
from stronghold_cli.protocol.documents.head import Head
from stronghold_cli.protocol.documents.leaves import DocumentLeaf, document_key
from stronghold_cli.protocol.documents.org import Org
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.documents.structure import Structure
from stronghold_cli.protocol.messages_pull import Entry, Proven, PullAnswer
from stronghold_cli.protocol.signed_map import SignedMap, map_root
from stronghold_cli.protocol.state import OrgState
from tests.server.support import Person


def forged_pull(
    answer: PullAnswer,
    state: OrgState,
    token_id: bytes,
    signers: tuple[Person, Person, Person],
    *,
    agent: Agent | None = None,
    profile: Profile | None = None,
    group: Group | None = None,
    members: Mapping[bytes, bytes] | None = None,
    contents: Contents | None = None,
    entries: tuple[Entry, ...] | None = None,
    structure: Mapping[str, Any] | None = None,
    head: Mapping[str, Any] | None = None,
    org: Org | None = None,
) -> PullAnswer:
    """``answer``, given at ``state``, with these parts instead, under a new structure, contents and head.

    ``signers`` sign structure, contents, and head (and a new ``org``), which have the next numbers unless told otherwise.
    All hashes, roots and proofs are made to fit.
    """
    agent = agent or Agent.decode(answer.agent.payload)
    profile = profile or Profile.decode(answer.profile.payload)
    group = group or Group.decode(answer.group.payload)
    leaves = dict(state.leaves("members", group.id)) if members is None else dict(members)
    if members is not None:
        group = group.replace(member_map=map_root(leaves))
    delivered = answer.entries if entries is None else entries
    known_head, known = Head.decode(answer.head.payload), Contents.decode(answer.contents.payload)
    known_structure = Structure.decode(answer.structure.payload)
    contents = contents or known.replace(
        version=known.version + 1,
        prev=known.sha256,
        seq=known_head.seq + 1,
        profile_epoch=profile.epoch,
        entries=map_root({entry.secret_id: entry.leaf for entry in delivered}),
    )
    documents = dict(state.leaves("documents"))
    for document in (agent, profile, group):
        leaf = DocumentLeaf(name=document.name, sha256=document.sha256).encode()
        documents[document_key(document.KIND, document.id)] = leaf
    tree, contents_tree = SignedMap(documents), SignedMap({**state.leaves("contents"), profile.id: contents.sha256})
    numbers = {"seq": known_head.seq + 1, "prev": known_structure.sha256, "documents": tree.root}
    new_structure = known_structure.replace(**{**numbers, **(structure or {})})
    parts = {
        "seq": known_head.seq + 1,
        "prev": known_head.sha256,
        "org_sha256": known_head.org_sha256 if org is None else org.sha256,
        "structure_sha256": new_structure.sha256,
        "contents": contents_tree.root,
    }
    new_head = known_head.replace(**{**parts, **(head or {})})
    own_leaves = SignedMap(leaves)
    return answer.replace(
        org=answer.org if org is None else (*answer.org, signers[2].sign("org", org.payload)),
        head=signers[2].sign("head", new_head.payload),
        structure=signers[0].sign("structure", new_structure.payload),
        agent=_proven(tree, agent),
        profile=_proven(tree, profile),
        group=_proven(tree, group),
        member=leaves.get(token_id, answer.member),
        member_proof=own_leaves.prove(token_id) if token_id in leaves else answer.member_proof,
        contents=signers[1].sign("contents", contents.payload),
        contents_proof=contents_tree.prove(profile.id),
        entries=delivered,
    )


def _proven(tree: SignedMap, document: Agent | Profile | Group) -> Proven:
    return Proven(payload=document.payload, proof=tree.prove(document_key(document.KIND, document.id)))
