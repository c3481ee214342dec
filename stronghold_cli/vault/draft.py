"""A commit in the making: changes laid over one verified state, then numbered, hashed and signed (protocol section 5).

Acts call ``put_…``, ``set_member`` and ``write_entry``; ``finish`` computes versions, map roots, org document, structure,
contents and head, signs anew what the commit takes the signer from, and runs the server's own checks before anything is
sent. A draft is made for one attempt and never used again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from stronghold_cli.crypto.keys import Keyset
from stronghold_cli.protocol.documents.agent import Agent
from stronghold_cli.protocol.documents.base import NO_EXTENSIONS, ZERO_HASH, Document
from stronghold_cli.protocol.documents.contents import Contents
from stronghold_cli.protocol.documents.group import Group
from stronghold_cli.protocol.documents.head import Head
from stronghold_cli.protocol.documents.leaves import (
    DocumentLeaf,
    EntryLeaf,
    MemberLeaf,
    OldKeyLeaf,
    decode_entry_leaf,
    decode_member_leaf,
    document_key,
    leaf_link,
)
from stronghold_cli.protocol.documents.org import Org
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.documents.structure import Structure
from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.envelope import Envelope, sign_envelope
from stronghold_cli.protocol.errors import Refused
from stronghold_cli.protocol.laid_documents import copy_documents
from stronghold_cli.protocol.messages import Commit
from stronghold_cli.protocol.rules import check_state
from stronghold_cli.protocol.signed_map import map_root
from stronghold_cli.protocol.signers import may_sign_contents, may_sign_structure
from stronghold_cli.protocol.state import CONTENTS, DOCUMENTS, INNER_MAPS, Changes, MapId, OrgState, advance
from stronghold_cli.protocol.steps import check_step
from stronghold_cli.vault.ahead import Progress, silent
from stronghold_cli.vault.keyring import Keyring
from stronghold_cli.vault.work import Work

D = TypeVar("D", Agent, Group, Profile)


class Draft:
    """Changes over ``state`` by one operator. ``seq`` is the number of the head that it will make.

    ``progress`` is told how far a long act is; ``work`` is what earlier attempts at the same act made.
    """

    def __init__(
        self,
        state: OrgState,
        keyset: Keyset,
        keys: Keyring,
        now: int,
        random: Callable[[int], bytes],
        progress: Progress = silent,
        work: Work | None = None,
    ) -> None:
        self.state = state
        self.keyset = keyset
        self.keys = keys
        self.now = now
        self.random = random
        self.progress = progress
        self.work = Work() if work is None else work
        self.seq = state.seq + 1
        self.lockdowns = state.structure.document.lockdowns
        self._org: Org | None = None
        self._renews_head = False
        self._documents: dict[tuple[str, bytes], Agent | Group | Profile | None] = {}
        self._maps: dict[MapId, dict[bytes, bytes | None]] = {}
        self._written: set[bytes] = set()
        self._blobs: dict[bytes, bytes] = {}
        self._shares: dict[bytes, bytes] = {}

    @property
    def org_id(self) -> bytes:
        """The org's id."""
        return self.state.org_id

    @property
    def org(self) -> Org:
        """The org document as this draft leaves it, under which it is signed."""
        return self._org or self.state.org.document

    @property
    def is_empty(self) -> bool:
        """Whether nothing was changed."""
        known = self.state.structure.document.lockdowns
        changes = (self._org, self._renews_head, self._documents, self._maps, self._written)
        return not any(changes) and self.lockdowns == known

    def new_id(self) -> bytes:
        """A fresh 16-byte id."""
        return self.random(16)

    def agents(self) -> Mapping[bytes, Agent]:
        """All agents as this draft leaves them."""
        return self._current(Agent, self.state.agents)

    def groups(self) -> Mapping[bytes, Group]:
        """All groups as this draft leaves them."""
        return self._current(Group, self.state.groups)

    def profiles(self) -> Mapping[bytes, Profile]:
        """All profiles as this draft leaves them."""
        return self._current(Profile, self.state.profiles)

    def put_org(self, org: Org) -> None:
        """Replace the org document; its number, link and date are set by ``finish``."""
        self._org = None if org == self.state.org.document else org

    def renew_head(self) -> None:
        """Make a new head even where nothing changes: a fresh date."""
        self._renews_head = True

    def put(self, document: Agent | Group | Profile) -> None:
        """Add or replace a document; its version and map roots are set by ``finish``."""
        self._documents[document.KIND, document.id] = document
        if isinstance(document, Profile) and document.id not in self.state.profiles:
            self._written.add(document.id)

    def delete(self, document: Agent | Group | Profile) -> None:
        """Take a document away, with the maps and contents that are its own."""
        kind = document.KIND
        self._documents[kind, document.id] = None
        for inner in INNER_MAPS.get(kind, ()):
            self._maps.pop((inner, document.id), None)
        if kind == "profile":
            self._written.discard(document.id)
            self._maps.setdefault(CONTENTS, {})[document.id] = None

    def set_member(self, group_id: bytes, member_id: bytes, leaf: MemberLeaf | None) -> None:
        """Set or drop a member leaf of a group."""
        self._maps.setdefault(("members", group_id), {})[member_id] = None if leaf is None else leaf.encode()
        self._documents.setdefault(("group", group_id), self.state.groups.get(group_id))

    def write_entry(self, profile_id: bytes, secret_id: bytes, ciphertext: bytes | None, *, epoch: int) -> None:
        """Set the next version of a secret, or delete it (``None``)."""
        raw = self.state.leaves("entries", profile_id).get(secret_id)
        previous = None if raw is None else decode_entry_leaf(raw)
        leaf = EntryLeaf(
            version=self.next_version(profile_id, secret_id),
            epoch=epoch,
            ciphertext_sha256=ZERO_HASH if ciphertext is None else self.add_blob(ciphertext),
            prev=ZERO_HASH if raw is None else leaf_link(secret_id, raw),
            oldest=1 if previous is None else previous.oldest,
        )
        self._maps.setdefault(("entries", profile_id), {})[secret_id] = leaf.encode()
        self._written.add(profile_id)

    def raise_oldest(self, profile_id: bytes, secret_id: bytes, oldest: int) -> None:
        """Purge: give up the versions of a secret below ``oldest``, which is at most its current one."""
        raw = self.state.leaves("entries", profile_id)[secret_id]
        leaf = decode_entry_leaf(raw).replace(oldest=oldest, prev=leaf_link(secret_id, raw))
        self._maps.setdefault(("entries", profile_id), {})[secret_id] = leaf.encode()
        self._written.add(profile_id)

    def rekey_entry(self, profile_id: bytes, secret_id: bytes, ciphertext: bytes, *, epoch: int) -> None:
        """Give a live entry the same version under a new epoch."""
        raw = self.state.leaves("entries", profile_id)[secret_id]
        leaf = decode_entry_leaf(raw).replace(
            epoch=epoch, ciphertext_sha256=self.add_blob(ciphertext), prev=leaf_link(secret_id, raw)
        )
        self._maps.setdefault(("entries", profile_id), {})[secret_id] = leaf.encode()
        self._written.add(profile_id)

    def set_old_key(self, profile_id: bytes, epoch: int, leaf: OldKeyLeaf | None) -> None:
        """Set or drop the leaf of an older key of a profile."""
        self._maps.setdefault(("old_keys", profile_id), {})[epoch.to_bytes(8, "big")] = (
            None if leaf is None else leaf.encode()
        )

    def members(self, group_id: bytes) -> dict[bytes, bytes]:
        """The raw member leaves of a group as this draft leaves them."""
        return self._leaves_after(("members", group_id))

    def agents_with_tokens(self, group_id: bytes) -> list[Agent]:
        """The agents with tokens that list a group: those whose tokens are members of it, found without the others."""
        agents = self.agents()
        owners = {leaf.owner for leaf in map(decode_member_leaf, self.members(group_id).values()) if leaf.kind == "token"}
        found = (agents.get(owner) for owner in sorted(owners))
        return [agent for agent in found if agent is not None and group_id in agent.groups]

    def touch_contents(self, profile_id: bytes) -> None:
        """Make a new contents document of a profile even where no entry changes: at a new epoch."""
        self._written.add(profile_id)

    def next_version(self, profile_id: bytes, secret_id: bytes) -> int:
        """The version that ``write_entry`` will give."""
        raw = self.state.leaves("entries", profile_id).get(secret_id)
        return 1 if raw is None else decode_entry_leaf(raw).version + 1

    def add_blob(self, blob: bytes) -> bytes:
        """Add a blob to the commit; returns its hash."""
        sha256 = digest(blob)
        self._blobs[sha256] = blob
        return sha256

    def add_share(self, token_id: bytes, share: bytes) -> None:
        """Add the share of a new token."""
        self._shares[token_id] = share

    def require_allowed(self) -> None:
        """Raise ``Refused`` where the author's role does not allow these changes (the table of accepted signers).

        ``finish`` and the server check the same as rules of the protocol; here a person is told what it means.
        """
        author = self.keyset.operator_id
        role = self.state.org.document.role_of(author)
        if role == "admin":
            return
        if role != "editor" or self._org or self._documents or self.lockdowns != self.state.structure.document.lockdowns:
            may = "secrets of its profiles" if role == "editor" else "nothing"
            raise Refused(
                "FORBIDDEN", f"Your role ({role or 'none'}) may change {may}; this is for admins.", hint="Ask an admin."
            )
        for profile_id in self._written:
            profile = self.state.profiles[profile_id]
            if author not in profile.editors:
                raise Refused(
                    "FORBIDDEN",
                    f"You are not listed as an editor of the profile {profile.name!r}.",
                    hint="Ask an admin.",
                )

    def finish(self) -> tuple[Commit, OrgState]:
        """Sign everything, check it as the server will, and return the commit with the state that it makes."""
        org = self._finish_org()
        payloads = [document.payload for document in self._finish_documents()]
        structure = self._finish_structure()
        contents = [self._sign("contents", document) for document in (*self._finish_contents(), *self._losing_signer())]
        head = self._finish_head(structure)
        changes = Changes(
            org=() if org is None else (org,),
            heads=(head,),
            structure=structure,
            contents=tuple(contents),
            payloads=tuple(payloads),
            maps=self._maps,
        )
        after = advance(self.state, changes)
        check_state(after, known=self.state)
        check_step(self.state, after, changes, self.keyset.operator_id)
        return Commit(changes=changes, blobs=tuple(self._blobs.values()), shares=self._shares), after

    def _current(self, kind: type[D], known: Mapping[bytes, D]) -> Mapping[bytes, D]:
        documents = copy_documents(known)
        for (changed, id_), document in self._documents.items():
            if isinstance(document, kind):
                documents[id_] = document
            elif changed == kind.KIND:
                documents.pop(id_, None)
        return documents

    def _leaves_after(self, map_id: MapId) -> dict[bytes, bytes]:
        leaves = dict(self.state.maps.get(map_id, {}))
        for key, value in self._maps.get(map_id, {}).items():
            if value is None:
                leaves.pop(key, None)
            else:
                leaves[key] = value
        return leaves

    def _finish_org(self) -> Envelope | None:
        if self._org is None:
            return None
        known = self.state.org.document
        self._org = self._org.replace(seq=known.seq + 1, prev=known.sha256, created=self.now)
        return self._sign("org", self._org)

    def _finish_documents(self) -> Iterable[Document]:
        finished: list[Document] = []
        for (kind, id_), document in self._documents.items():
            if document is None:
                self._maps.setdefault(DOCUMENTS, {})[document_key(kind, id_)] = None
                continue
            previous = self.state.documents(kind).get(id_)
            version = 1 if previous is None else int(getattr(previous, "version", 0)) + 1
            if isinstance(document, Group):
                document = document.replace(member_map=map_root(self._leaves_after(("members", id_))))
            elif isinstance(document, Profile):
                document = document.replace(old_keys=map_root(self._leaves_after(("old_keys", id_))))
            document = document.replace(version=version)
            leaf = DocumentLeaf(name=document.name, sha256=document.sha256)
            self._maps.setdefault(DOCUMENTS, {})[document_key(kind, id_)] = leaf.encode()
            self._documents[kind, id_] = document
            finished.append(document)
        return finished

    def _finish_structure(self) -> Envelope | None:
        known = self.state.structure.document
        if DOCUMENTS not in self._maps and self.lockdowns == known.lockdowns:
            # Section 5, "Currency": what would lose its signer by this commit is signed anew, the same payload.
            counts = may_sign_structure(self.state.structure.envelope.operator_id, self.org)
            return None if counts else self._sign("structure", known)
        structure = Structure(
            org_id=self.org_id,
            seq=self.seq,
            prev=known.sha256,
            documents=map_root(self._leaves_after(DOCUMENTS)) if DOCUMENTS in self._maps else known.documents,
            lockdowns=self.lockdowns,
            created=self.now,
            **NO_EXTENSIONS,
        )
        return self._sign("structure", structure)

    def _finish_contents(self) -> list[Contents]:
        finished = []
        for profile_id in sorted(self._written):
            known = self.state.contents.get(profile_id)
            contents = Contents(
                org_id=self.org_id,
                profile_id=profile_id,
                seq=self.seq,
                version=1 if known is None else known.document.version + 1,
                prev=ZERO_HASH if known is None else known.document.sha256,
                profile_epoch=self.profiles()[profile_id].epoch,
                entries=map_root(self._leaves_after(("entries", profile_id))),
                created=self.now,
                **NO_EXTENSIONS,
            )
            self._maps.setdefault(CONTENTS, {})[profile_id] = contents.sha256
            finished.append(contents)
        return finished

    def _losing_signer(self) -> list[Contents]:
        """Contents that stay as they are and lose their signer by this commit: they are signed anew."""
        if self._org is None and not self._documents:
            return []
        profiles = self.profiles()
        return [
            item.document
            for profile_id, item in self.state.contents.items()
            if profile_id in profiles
            and profile_id not in self._written
            and not may_sign_contents(item.envelope.operator_id, self.org, profiles[profile_id])
        ]

    def _finish_head(self, structure: Envelope | None) -> Envelope:
        known = self.state.head.document
        head = Head(
            org_id=self.org_id,
            seq=self.seq,
            prev=known.sha256,
            org_sha256=self.org.sha256,
            structure_sha256=known.structure_sha256 if structure is None else structure.sha256,
            contents=map_root(self._leaves_after(CONTENTS)) if CONTENTS in self._maps else known.contents,
            created=self.now,
            **NO_EXTENSIONS,
        )
        return self._sign("head", head)

    def _sign(self, kind: str, document: Document) -> Envelope:
        return sign_envelope(kind, document.payload, self.keyset.operator_id.hex(), self.keyset.sign)
