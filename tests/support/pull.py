"""One agent's pull, and answers forged by a server that colludes with key holders of the org."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stronghold_cli.crypto.secrets import Secret
from stronghold_cli.keystore.marks import Mark
from stronghold_cli.protocol.documents.agent import Agent
from stronghold_cli.protocol.documents.contents import Contents
from stronghold_cli.protocol.documents.group import Group
from stronghold_cli.protocol.documents.leaves import DocumentLeaf, document_key
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.messages_pull import Entry, Proven, PullAnswer
from stronghold_cli.protocol.signed_map import SignedMap, map_root
from stronghold_cli.reader.profile import Asked, VerifiedProfile, open_profile, verify_profile
from stronghold_cli.reader.standing import Standing, verify_standing
from tests.support.org import NOW, TestOrg, secret_of, workshop

PRODUCTION = Asked(name="production", id=None)
UNNAMED = Asked(name=None, id=None)


class Pull:
    """The agent ``bot`` and the honest answer to its pull of ``production``."""

    def __init__(self, org: TestOrg | None = None) -> None:
        self.org = workshop() if org is None else org
        self.token = self.org.tokens["ci"].token
        self.secret = secret_of(self.org.tokens["ci"])
        self.state = self.org.state
        self.profile = self.org.profile("production")
        self.group = self.org.group("production")
        self.agent: Agent = self.state.agents[self.org.tokens["ci"].agent.id]
        self.answer = self.honest()

    @property
    def token_id(self) -> bytes:
        return self.secret.token_id

    def honest(self, anchor: bytes | None = None) -> PullAnswer:
        return self.org.server.pull_answer(self.token_id, self.org.profile("production"), anchor or self.token.pin)

    def stand(self, answer: PullAnswer, mark: Mark | None = None, now: int = NOW) -> Standing:
        return verify_standing(answer, self.token, self.secret, mark, now)

    def verify(
        self, answer: PullAnswer, mark: Mark | None = None, now: int = NOW, asked: Asked = PRODUCTION
    ) -> VerifiedProfile:
        return verify_profile(answer, self.stand(answer, mark, now), asked, self.token, self.secret, mark)

    def open(
        self, answer: PullAnswer, mark: Mark | None = None, now: int = NOW, asked: Asked = PRODUCTION
    ) -> dict[str, Secret]:
        return open_profile(self.verify(answer, mark, now, asked))

    def collude(
        self,
        *,
        agent: Agent | None = None,
        profile: Profile | None = None,
        group: Group | None = None,
        members: Mapping[bytes, bytes] | None = None,
        contents: Contents | None = None,
        entries: tuple[Entry, ...] | None = None,
        structure: Mapping[str, Any] | None = None,
        head: Mapping[str, Any] | None = None,
        signers: tuple[str, str, str] = ("ada", "ada", "ada"),
    ) -> PullAnswer:
        """The honest answer with these parts instead, hashed and signed anew (structure, contents, head) by ``signers``."""
        agent, profile = agent or self.agent, profile or self.profile
        leaves = dict(self.state.leaves("members", self.group.id)) if members is None else dict(members)
        group = group or self.group.replace(member_map=map_root(leaves))
        delivered = self.answer.entries if entries is None else entries
        known = self.state.contents[self.profile.id].document
        contents = contents or known.replace(entries=map_root({entry.secret_id: entry.leaf for entry in delivered}))
        documents = dict(self.state.leaves("documents"))
        for document in (agent, profile, group):
            leaf = DocumentLeaf(name=document.name, sha256=document.sha256).encode()
            documents[document_key(document.KIND, document.id)] = leaf
        tree = SignedMap(documents)
        new_structure = self.state.structure.document.replace(**{"documents": tree.root, **(structure or {})})
        contents_tree = SignedMap({**self.state.leaves("contents"), profile.id: contents.sha256})
        parts = {"structure_sha256": new_structure.sha256, "contents": contents_tree.root, **(head or {})}
        new_head = self.state.head.document.replace(**parts)
        return self.answer.replace(
            head=self.org.sign(new_head, signers[2]),
            structure=self.org.sign(new_structure, signers[0]),
            agent=Proven(payload=agent.payload, proof=tree.prove(document_key("agent", agent.id))),
            profile=Proven(payload=profile.payload, proof=tree.prove(document_key("profile", profile.id))),
            group=Proven(payload=group.payload, proof=tree.prove(document_key("group", group.id))),
            member=leaves[self.token_id],
            member_proof=SignedMap(leaves).prove(self.token_id),
            contents=self.org.sign(contents, signers[1]),
            contents_proof=contents_tree.prove(profile.id),
            entries=delivered,
        )
