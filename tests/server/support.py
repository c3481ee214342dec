"""Genuine orgs on a server in this process: made with the client's cryptography, so that tests can forge.

``World`` (in_process) is the server; ``TestOrg`` keeps an org's keys and its newest verified state, and changes it by
``Draft`` (drafts): what a client does, but with every document open to be bent before it is signed.
"""

from __future__ import annotations

import os
from typing import Any

from stronghold_cli.crypto.keys import GroupKey, ProfileKey, RootKey, TokenSecret
from stronghold_cli.crypto.secrets import Secret
from stronghold_cli.crypto.tokens import MintedToken, mint_token
from stronghold_cli.protocol.documents.agent import NO_LIMITS, Agent, Token
from stronghold_cli.protocol.documents.base import NO_EXTENSIONS, ZERO_HASH
from stronghold_cli.protocol.documents.group import Group
from stronghold_cli.protocol.documents.head import Head
from stronghold_cli.protocol.documents.leaves import (
    ROOT_MEMBER,
    EntryLeaf,
    MemberLeaf,
    OldKeyLeaf,
    decode_entry_leaf,
    leaf_link,
)
from stronghold_cli.protocol.documents.login import Login
from stronghold_cli.protocol.documents.org import LogKey as DocumentLogKey
from stronghold_cli.protocol.documents.org import Org, Policy, RootKeys, genesis_org_id
from stronghold_cli.protocol.documents.profile import Grant, Profile
from stronghold_cli.protocol.documents.structure import Structure
from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.envelope import Envelope, sign_envelope
from stronghold_cli.protocol.messages import Commit, Genesis
from stronghold_cli.protocol.requests import KeyId
from stronghold_cli.protocol.state import Changes, OrgState, advance
from tests.server.drafts import EMPTY_MAP, Draft, Person
from tests.server.in_process import AUTHORITY, BEHIND_PROXY, NOW, Reply, World

__all__ = ["AUTHORITY", "BEHIND_PROXY", "NOW", "Draft", "Person", "Reply", "TestOrg", "World"]


class TestOrg:
    """An org on a server: its keys, its people, and its newest state as a client knows it."""

    __test__ = False

    def __init__(self, world: World, name: str = "Acme") -> None:
        self.world = world
        self.name = name
        self.root = RootKey(os.urandom(32))
        self.org_id = genesis_org_id(self.root.sign.public)
        self.admin = Person(self.org_id, "Ada", "admin")
        self.people: dict[bytes, Person] = {self.admin.operator_id: self.admin}
        self.group_keys: dict[bytes, GroupKey] = {}
        self.profile_keys: dict[bytes, ProfileKey] = {}
        self.tokens: dict[bytes, MintedToken] = {}
        self.state: OrgState

    @property
    def path(self) -> str:
        """Where the org's routes begin."""
        return f"/v1/orgs/{self.org_id.hex()}"

    # Genesis.

    def genesis(self, code: str) -> Genesis:
        """The body that creates the org."""
        org = Org(
            org_id=self.org_id,
            name=self.name,
            seq=1,
            prev=ZERO_HASH,
            root=RootKeys(sign=self.root.sign.public, seal_sha256=self.root.seal.public_sha256),
            operators={self.admin.operator_id: self.admin.as_operator()},
            policy=Policy(client_min="0.1.0", max_head_age=0),
            log_keys=(DocumentLogKey(id=self.world.log_key.id, public_key=self.world.log_key.sign.public),),
            resume=None,
            created=self.world.now,
            **NO_EXTENSIONS,
        )
        structure = Structure(
            org_id=self.org_id,
            seq=1,
            prev=ZERO_HASH,
            documents=EMPTY_MAP,
            lockdowns=(),
            created=self.world.now,
            **NO_EXTENSIONS,
        )
        head = Head(
            org_id=self.org_id,
            seq=1,
            prev=ZERO_HASH,
            org_sha256=org.sha256,
            structure_sha256=structure.sha256,
            contents=EMPTY_MAP,
            created=self.world.now,
            **NO_EXTENSIONS,
        )
        changes = Changes(
            org=(sign_envelope("org", org.payload, "root", self.root.sign),),
            heads=(self.admin.sign("head", head.payload),),
            structure=self.admin.sign("structure", structure.payload),
            contents=(),
            payloads=(),
            maps={},
        )
        keyset = self.admin.login.wrap_keyset(self.admin.keyset, os.urandom)
        return Genesis(
            setup_code=code,
            commit=Commit(changes=changes, blobs=(self.root.seal.public, self.admin.keyset.seal.public), shares={}),
            login=self.login_record(self.admin, keyset),
            keyset=keyset,
        )

    def login_record(self, person: Person, keyset: bytes) -> Envelope:
        """The signed record of who may fetch the box."""
        login = Login(
            org_id=self.org_id,
            operator_id=person.operator_id,
            version=1,
            login=person.login.login.public,
            box_sha256=digest(keyset),
            **NO_EXTENSIONS,
        )
        return person.sign("login", login.payload)

    def create(self) -> TestOrg:
        """Create the org on the server."""
        genesis = self.genesis(self.world.setup_code())
        reply = self.post(self.admin, "", genesis.encode())
        assert reply.status == 200, reply.body
        self.state = advance(None, genesis.commit.changes)
        return self

    # Requests.

    def get(self, person: Person, rest: str) -> Reply:
        """A GET below the org, as an operator."""
        return self.world.send(person.keyset.request, KeyId(kind="o", raw=person.operator_id), "GET", self.path + rest)

    def post(self, person: Person, rest: str, body: bytes) -> Reply:
        """A POST below the org, as an operator."""
        return self.world.send(
            person.keyset.request, KeyId(kind="o", raw=person.operator_id), "POST", self.path + rest, body
        )

    def get_as_token(self, token_id: bytes, rest: str, *, address: str = "192.0.2.7") -> Reply:
        """A GET as an agent; ``rest`` without the org's pin."""
        path, _, query = rest.partition("?")
        target = f"{path}?org={self.pin.hex()}" + (f"&{query}" if query else "")
        return self.send_as_token(token_id, "GET", target, address=address)

    def send_as_token(
        self, token_id: bytes, method: str, target: str, body: bytes = b"", *, address: str = "192.0.2.7"
    ) -> Reply:
        """Any request as an agent."""
        secret = TokenSecret(self.tokens[token_id].token.secret)
        return self.world.send(secret.auth, KeyId(kind="t", raw=token_id), method, target, body, address=address)

    @property
    def pin(self) -> bytes:
        """The hash of the newest org document."""
        return self.state.org.document.sha256

    # Commits.

    def draft(self, author: Person | None = None) -> Draft:
        """A commit on top of the newest state."""
        return Draft(self.state, author or self.admin, self.world.now)

    def send(self, commit: Commit, author: Person | None = None) -> Reply:
        """Send a commit without any check."""
        return self.post(author or self.admin, "/commits", commit.encode())

    def apply(self, draft: Draft, author: Person | None = None) -> Commit:
        """Send a commit that must be accepted, and follow it."""
        commit = draft.finish()
        reply = self.send(commit, author or draft.author)
        assert reply.status == 200, reply.body
        self.state = advance(self.state, commit.changes)
        return commit

    # Acts on drafts.

    def add_person(self, draft: Draft, name: str, role: str) -> Person:
        """A further operator; an admin gets a seal of every group."""
        person = Person(self.org_id, name, role)
        self.people[person.operator_id] = person
        draft.blobs.append(person.keyset.seal.public)
        draft.org = draft.org.replace(operators={**draft.org.operators, person.operator_id: person.as_operator()})
        if role == "admin":
            for group_id in draft.groups:
                self._seal_operator(draft, group_id, person)
        return person

    def add_group(self, draft: Draft, name: str, *operators: Person) -> bytes:
        """A group with its key sealed to root, admins and these operators."""
        group_id = os.urandom(16)
        key = self.group_keys[group_id] = GroupKey(os.urandom(32), self.org_id, group_id, 1)
        draft.groups[group_id] = Group(
            org_id=self.org_id,
            id=group_id,
            version=1,
            name=name,
            epoch=1,
            kcv=key.kcv,
            operators=tuple(sorted(person.operator_id for person in operators)),
            member_map=EMPTY_MAP,
            **NO_EXTENSIONS,
        )
        self._seal_to_people(draft, group_id)
        return group_id

    def add_profile(self, draft: Draft, name: str, *groups: bytes, editors: tuple[Person, ...] = ()) -> bytes:
        """A profile that is granted to these groups."""
        profile_id = os.urandom(16)
        key = self.profile_keys[profile_id] = ProfileKey(os.urandom(32), self.org_id, profile_id, 1)
        draft.profiles[profile_id] = Profile(
            org_id=self.org_id,
            id=profile_id,
            version=1,
            name=name,
            description="",
            epoch=1,
            kcv=key.kcv,
            old_keys=EMPTY_MAP,
            editors=tuple(sorted(person.operator_id for person in editors)),
            grants={},
            **NO_EXTENSIONS,
        )
        for group_id in groups:
            self.grant(draft, profile_id, group_id)
        return profile_id

    def grant(self, draft: Draft, profile_id: bytes, group_id: bytes) -> None:
        """Box the profile's key for a group."""
        wrap = self.group_keys[group_id].wrap(self.profile_keys[profile_id], os.urandom)
        draft.blobs.append(wrap)
        profile = draft.profiles[profile_id]
        grant = Grant(epoch=self.group_keys[group_id].epoch, wrap_sha256=digest(wrap))
        draft.profiles[profile_id] = profile.replace(grants={**profile.grants, group_id: grant})

    def add_agent(self, draft: Draft, name: str, *groups: bytes) -> bytes:
        """An agent in these groups."""
        agent_id = os.urandom(16)
        draft.agents[agent_id] = Agent(
            org_id=self.org_id,
            id=agent_id,
            version=1,
            name=name,
            description="",
            labels={},
            state="active",
            not_after=None,
            groups=tuple(sorted(groups)),
            tokens={},
            **NO_EXTENSIONS,
        )
        return agent_id

    def mint(self, draft: Draft, agent_id: bytes, **changes: Any) -> bytes:
        """A token of an agent, sealed into each of its groups; ``changes`` are members of its line."""
        minted = mint_token(draft.org.sha256, self.state.seq + 1, AUTHORITY, False, os.urandom)
        self.tokens[minted.token_id] = minted
        agent = draft.agents[agent_id]
        token = Token(
            name=f"token {len(agent.tokens) + 1}",
            last4=minted.token.last4,
            auth_public_key=minted.auth_public,
            seal_sha256=digest(minted.seal_public),
            state="active",
            created=draft.created,
            created_by=draft.author.operator_id,
            not_after=None,
            limits=NO_LIMITS,
        ).replace(**changes)
        draft.agents[agent_id] = agent.replace(tokens={**agent.tokens, minted.token_id: token})
        draft.shares[minted.token_id] = minted.share
        draft.blobs.append(minted.seal_public)
        for group_id in agent.groups:
            self._seal_token(draft, group_id, agent_id, minted)
        return minted.token_id

    def change_token(self, draft: Draft, agent_id: bytes, token_id: bytes, **changes: Any) -> None:
        """Change a token's line."""
        agent = draft.agents[agent_id]
        token = agent.tokens[token_id].replace(**changes)
        draft.agents[agent_id] = agent.replace(tokens={**agent.tokens, token_id: token})

    def revoke(self, draft: Draft, agent_id: bytes, token_id: bytes) -> None:
        """Take a token out of its agent, and its seals out of the groups."""
        agent = draft.agents[agent_id]
        draft.agents[agent_id] = agent.replace(tokens={id_: token for id_, token in agent.tokens.items() if id_ != token_id})
        for group_id in agent.groups:
            draft.leaves("members", group_id).pop(token_id)

    def put(self, draft: Draft, profile_id: bytes, name: str, value: bytes, secret_id: bytes | None = None) -> bytes:
        """A new secret, or a new version of one."""
        secret_id = secret_id or os.urandom(16)
        leaves = draft.leaves("entries", profile_id)
        old = leaves.get(secret_id)
        known = None if old is None else decode_entry_leaf(old)
        version = 1 if known is None else known.version + 1
        key = self.profile_keys[profile_id]
        secret = Secret(name=name, value=value, note=b"", author=draft.author.operator_id, time=draft.created)
        blob = key.seal_secret(secret_id, version, secret, os.urandom)
        draft.blobs.append(blob)
        leaves[secret_id] = EntryLeaf(
            version=version,
            epoch=key.epoch,
            ciphertext_sha256=digest(blob),
            prev=ZERO_HASH if old is None else leaf_link(secret_id, old),
            oldest=1 if known is None else known.oldest,
        ).encode()
        return secret_id

    def change_entry(self, draft: Draft, profile_id: bytes, secret_id: bytes, **changes: Any) -> None:
        """A leaf that follows the one before, with these members."""
        leaves = draft.leaves("entries", profile_id)
        old = leaves[secret_id]
        leaves[secret_id] = decode_entry_leaf(old).replace(prev=leaf_link(secret_id, old), **changes).encode()

    def rekey_group(self, draft: Draft, group_id: bytes) -> None:
        """A new epoch of a group for the members that stand in the draft, and new grants under it."""
        group = draft.groups[group_id]
        key = self.group_keys[group_id] = GroupKey(os.urandom(32), self.org_id, group_id, group.epoch + 1)
        draft.groups[group_id] = group.replace(epoch=key.epoch, kcv=key.kcv)
        draft.leaves("members", group_id).clear()
        self._seal_to_people(draft, group_id)
        for agent in draft.agents.values():
            if group_id in agent.groups:
                for token_id in agent.tokens:
                    self._seal_token(draft, group_id, agent.id, self.tokens[token_id])
        for profile in list(draft.profiles.values()):
            if group_id in profile.grants:
                self.rekey_profile(draft, profile.id)

    def rekey_profile(self, draft: Draft, profile_id: bytes) -> None:
        """A new epoch of a profile: grants, live entries and old keys made anew."""
        profile = draft.profiles[profile_id]
        old = self.profile_keys[profile_id]
        key = self.profile_keys[profile_id] = ProfileKey(os.urandom(32), self.org_id, profile_id, old.epoch + 1)
        draft.profiles[profile_id] = profile.replace(epoch=key.epoch, kcv=key.kcv, grants={})
        for group_id in profile.grants:
            if group_id in draft.groups:
                self.grant(draft, profile_id, group_id)
        box = key.wrap_old(old, os.urandom)
        draft.blobs.append(box)
        draft.maps["old_keys", profile_id] = {
            old.epoch.to_bytes(8, "big"): OldKeyLeaf(kcv=old.kcv, box_sha256=digest(box)).encode()
        }
        for secret_id, leaf in list(draft.leaves("entries", profile_id).items()):
            entry = decode_entry_leaf(leaf)
            if entry.is_live:
                secret = Secret(name="X", value=b"again", note=b"", author=draft.author.operator_id, time=draft.created)
                blob = key.seal_secret(secret_id, entry.version, secret, os.urandom)
                draft.blobs.append(blob)
                self.change_entry(draft, profile_id, secret_id, epoch=key.epoch, ciphertext_sha256=digest(blob))

    def _seal_to_people(self, draft: Draft, group_id: bytes) -> None:
        key = self.group_keys[group_id]
        seal = key.seal_to(self.root.seal.public, "root", ROOT_MEMBER)
        draft.blobs.append(seal)
        draft.leaves("members", group_id)[ROOT_MEMBER] = MemberLeaf(
            kind="root", owner=b"", seal_sha256=self.root.seal.public_sha256, sealed_sha256=digest(seal)
        ).encode()
        for operator_id in {*draft.org.admins(), *draft.groups[group_id].operators}:
            self._seal_operator(draft, group_id, self.people[operator_id])

    def _seal_operator(self, draft: Draft, group_id: bytes, person: Person) -> None:
        seal = self.group_keys[group_id].seal_to(person.keyset.seal.public, "operator", person.operator_id)
        draft.blobs.append(seal)
        draft.leaves("members", group_id)[person.operator_id] = MemberLeaf(
            kind="operator", owner=b"", seal_sha256=person.keyset.seal.public_sha256, sealed_sha256=digest(seal)
        ).encode()

    def _seal_token(self, draft: Draft, group_id: bytes, agent_id: bytes, minted: MintedToken) -> None:
        seal = self.group_keys[group_id].seal_to(minted.seal_public, "token", minted.token_id)
        draft.blobs.append(seal)
        draft.leaves("members", group_id)[minted.token_id] = MemberLeaf(
            kind="token", owner=agent_id, seal_sha256=digest(minted.seal_public), sealed_sha256=digest(seal)
        ).encode()
