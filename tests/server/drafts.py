"""One commit in the making, with every document open to be bent before it is signed."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from stronghold_cli.crypto.keys import Keyset, LoginKeys
from stronghold_cli.protocol.documents.base import NO_EXTENSIONS, ZERO_HASH
from stronghold_cli.protocol.documents.contents import Contents
from stronghold_cli.protocol.documents.head import Head
from stronghold_cli.protocol.documents.leaves import (
    DocumentLeaf,
    document_key,
)
from stronghold_cli.protocol.documents.org import Operator
from stronghold_cli.protocol.documents.structure import Structure
from stronghold_cli.protocol.envelope import Envelope, sign_envelope
from stronghold_cli.protocol.messages import Commit
from stronghold_cli.protocol.signed_map import EMPTY_ROOT, MapRoot, map_root
from stronghold_cli.protocol.state import CONTENTS, DOCUMENTS, Changes, MapId, OrgState

EMPTY_MAP = MapRoot(size=0, root=EMPTY_ROOT)


class Person:
    """An operator with their keys."""

    def __init__(self, org_id: bytes, name: str, role: str) -> None:
        self.operator_id = os.urandom(16)
        self.name = name
        self.role = role
        self.keyset = Keyset(os.urandom(32), org_id, self.operator_id)
        self.login = LoginKeys(os.urandom(32), org_id, self.operator_id)

    @property
    def keyid(self) -> str:
        """The key id in envelopes."""
        return self.operator_id.hex()

    def as_operator(self) -> Operator:
        """Their line in the org document."""
        return Operator(
            name=self.name,
            sign=self.keyset.sign.public,
            request=self.keyset.request.public,
            seal_sha256=self.keyset.seal.public_sha256,
            role=self.role,
        )

    def sign(self, kind: str, payload: bytes) -> Envelope:
        """An envelope of theirs."""
        return sign_envelope(kind, payload, self.keyid, self.keyset.sign)


class Draft:
    """One commit in the making: change the members, then ``finish``. ``edit_…`` bends a document before it is signed."""

    def __init__(self, before: OrgState, author: Person, now: int) -> None:
        self.before = before
        self.author = author
        self.created = now
        self.org = before.org.document
        self.lockdowns = before.structure.document.lockdowns
        self.agents = dict(before.agents)
        self.groups = dict(before.groups)
        self.profiles = dict(before.profiles)
        self.invites = dict(before.invites)
        self.maps: dict[MapId, dict[bytes, bytes]] = {
            map_id: dict(leaves) for map_id, leaves in before.maps.items() if map_id not in (DOCUMENTS, CONTENTS)
        }
        self.blobs: list[bytes] = []
        self.shares: dict[bytes, bytes] = {}
        self.versions: dict[bytes, int] = {}
        self.sign_anew: set[bytes] = set()
        self.sign_structure_anew = False
        self.sign_org: Callable[[bytes], Envelope] = lambda payload: author.sign("org", payload)
        self.sign: Callable[[str, bytes], Envelope] = author.sign
        self.edit_structure: Callable[[Structure], Structure] = lambda document: document
        self.edit_contents: Callable[[Contents], Contents] = lambda document: document
        self.edit_head: Callable[[Head], Head] = lambda document: document

    def leaves(self, kind: str, id_: bytes) -> dict[bytes, bytes]:
        """The leaves of a map, to be changed."""
        return self.maps.setdefault((kind, id_), {})

    def finish(self) -> Commit:
        """Number, link and sign everything that changed."""
        before = self.before
        org_envelope = self._finish_org()
        documents, payloads = self._finish_documents()
        seq = before.seq + 1
        contents, contents_map = self._finish_contents(seq)
        structure = self._finish_structure(documents, seq)
        head = self.edit_head(
            Head(
                org_id=before.org_id,
                seq=seq,
                prev=before.head.document.sha256,
                org_sha256=org_envelope.sha256 if org_envelope else before.org.document.sha256,
                structure_sha256=structure.sha256 if structure else before.structure.document.sha256,
                contents=map_root(contents_map),
                created=self.created,
                **NO_EXTENSIONS,
            )
        )
        maps: dict[MapId, dict[bytes, bytes]] = {**self.maps, DOCUMENTS: documents, CONTENTS: contents_map}
        changes = Changes(
            org=(org_envelope,) if org_envelope else (),
            heads=(self.sign("head", head.payload),),
            structure=structure,
            contents=tuple(contents),
            payloads=tuple(payloads),
            maps={
                map_id: changed
                for map_id, leaves in maps.items()
                if (changed := _difference(dict(before.maps.get(map_id, {})), leaves)) and self._exists(map_id)
            },
        )
        return Commit(changes=changes, blobs=tuple(dict.fromkeys(self.blobs)), shares=self.shares)

    def _exists(self, map_id: MapId) -> bool:
        kind, id_ = map_id
        return not id_ or id_ in (self.groups if kind == "members" else self.profiles)

    def _finish_org(self) -> Envelope | None:
        if self.org is self.before.org.document:
            return None
        known = self.before.org.document
        self.org = self.org.replace(seq=known.seq + 1, prev=known.sha256, created=self.created)
        return self.sign_org(self.org.payload)

    def _finish_documents(self) -> tuple[dict[bytes, bytes], list[bytes]]:
        leaves: dict[bytes, bytes] = {}
        payloads = []
        for group_id, group in self.groups.items():
            self.groups[group_id] = group.replace(member_map=map_root(self.leaves("members", group_id)))
        for profile_id, profile in self.profiles.items():
            self.profiles[profile_id] = profile.replace(old_keys=map_root(self.leaves("old_keys", profile_id)))
        kinds: dict[str, dict[bytes, Any]] = {
            "agent": self.agents, "group": self.groups, "profile": self.profiles, "invite": self.invites,
        }  # fmt: skip
        for kind, documents in kinds.items():
            for id_, document in documents.items():
                known: Any = self.before.documents(kind).get(id_)
                if known is None or known != document:
                    if kind != "invite":
                        version = 1 if known is None else known.version + 1
                        document = document.replace(version=self.versions.get(id_, version))
                    payloads.append(document.payload)
                    documents[id_] = document
                leaves[document_key(kind, id_)] = DocumentLeaf(name=document.name, sha256=document.sha256).encode()
        return leaves, payloads

    def _finish_contents(self, seq: int) -> tuple[list[Envelope], dict[bytes, bytes]]:
        envelopes, leaves = [], {}
        for profile_id, profile in self.profiles.items():
            known = self.before.contents.get(profile_id)
            entries = map_root(self.leaves("entries", profile_id))
            if known is not None and (known.document.entries, known.document.profile_epoch) == (entries, profile.epoch):
                leaves[profile_id] = known.document.sha256
                if profile_id in self.sign_anew:
                    envelopes.append(self.sign("contents", known.document.payload))
                continue
            document = self.edit_contents(
                Contents(
                    org_id=self.before.org_id,
                    profile_id=profile_id,
                    seq=seq,
                    version=1 if known is None else known.document.version + 1,
                    prev=ZERO_HASH if known is None else known.document.sha256,
                    profile_epoch=profile.epoch,
                    entries=entries,
                    created=self.created,
                    **NO_EXTENSIONS,
                )
            )
            leaves[profile_id] = document.sha256
            envelopes.append(self.sign("contents", document.payload))
        return envelopes, leaves

    def _finish_structure(self, documents: dict[bytes, bytes], seq: int) -> Envelope | None:
        known = self.before.structure.document
        root = map_root(documents)
        if (root, self.lockdowns) == (known.documents, known.lockdowns):
            return self.sign("structure", known.payload) if self.sign_structure_anew else None
        structure = self.edit_structure(
            Structure(
                org_id=self.before.org_id,
                seq=seq,
                prev=known.sha256,
                documents=root,
                lockdowns=self.lockdowns,
                created=self.created,
                **NO_EXTENSIONS,
            )
        )
        return self.sign("structure", structure.payload)


def _difference(old: dict[bytes, bytes], new: dict[bytes, bytes]) -> dict[bytes, bytes | None]:
    changed: dict[bytes, bytes | None] = {key: None for key in old if key not in new}
    changed.update({key: value for key, value in new.items() if old.get(key) != value})
    return changed
