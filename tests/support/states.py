"""States put together by hand for tests of the rules, whose maps fit their documents as ``state.advance`` proves it."""

from __future__ import annotations

from typing import Any

from stronghold_cli.protocol.documents.leaves import DocumentLeaf, document_key
from stronghold_cli.protocol.signed_map import map_root
from stronghold_cli.protocol.state import DOCUMENTS, OrgState


def fitting(state: OrgState) -> OrgState:
    """The state with every root, and every leaf of the documents map, made anew from what it holds."""
    groups = {id_: item.replace(member_map=map_root(state.leaves("members", id_))) for id_, item in state.groups.items()}
    profiles = {id_: item.replace(old_keys=map_root(state.leaves("old_keys", id_))) for id_, item in state.profiles.items()}
    documents: list[Any] = [*state.agents.values(), *groups.values(), *profiles.values(), *state.invites.values()]
    leaves = {
        document_key(item.KIND, item.id): DocumentLeaf(name=item.name, sha256=item.sha256).encode() for item in documents
    }
    contents = {
        id_: item.replace(document=item.document.replace(entries=map_root(state.leaves("entries", id_))))
        for id_, item in state.contents.items()
    }
    return state.replace(groups=groups, profiles=profiles, contents=contents, maps={**state.maps, DOCUMENTS: leaves})
