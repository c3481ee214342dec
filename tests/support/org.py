"""Genuine orgs in memory: every key, document and signature is real, only the server is a few dictionaries.

``found`` makes an org with one admin; ``workshop`` one with people, two profiles with secrets, and an agent with a token.
``MemoryServer`` answers the operators' and agents' routes from what was committed, after the server's own checks; a test
forges an answer with ``forge``. Everything follows from fixed randomness, except seals (HPKE draws its own).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from hashlib import shake_256
from typing import Any, TypeVar
from urllib.parse import parse_qs

from stronghold_cli.crypto.keys import GroupKey, Keyset, ProfileKey, RootKey, TokenSecret
from stronghold_cli.crypto.secrets import Secret
from stronghold_cli.protocol.documents.base import Document
from stronghold_cli.protocol.documents.group import Group
from stronghold_cli.protocol.documents.head import Head
from stronghold_cli.protocol.documents.leaves import (
    OldKeyLeaf,
    decode_document_leaf,
    decode_entry_leaf,
    decode_member_leaf,
    document_key,
    leaf_link,
)
from stronghold_cli.protocol.documents.org import LogKey, Operator, Org, genesis_org_id
from stronghold_cli.protocol.documents.profile import Grant, Profile
from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.envelope import ROOT, Envelope, sign_envelope
from stronghold_cli.protocol.errors import Refused
from stronghold_cli.protocol.keys import SigningKey, sealing_key_hash
from stronghold_cli.protocol.messages import (
    Ciphertexts,
    Commit,
    Committed,
    Keys,
    Steps,
    decode_ahead,
    decode_blobs,
    decode_commit,
    encode_ahead,
    encode_old_keys,
    encode_sealing_keys,
    encode_sync,
)
from stronghold_cli.protocol.messages_past import KeptSecret, KeptSecrets, encode_past
from stronghold_cli.protocol.messages_pull import Entry, OwnContents, Proven, PullAnswer, SelfAnswer
from stronghold_cli.protocol.requests import KeyId
from stronghold_cli.protocol.rules import check_state
from stronghold_cli.protocol.signed_map import SignedMap
from stronghold_cli.protocol.state import DOCUMENTS, Changes, OrgState, advance
from stronghold_cli.protocol.steps import check_step
from stronghold_cli.vault import creation
from stronghold_cli.vault import operator as vault_operator
from stronghold_cli.vault.agents import Address, NewToken, create_agent, mint
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.groups import add_operator
from stronghold_cli.vault.keyring import Keyring
from stronghold_cli.vault.profiles import create_profile, write_secrets

T = TypeVar("T")

NOW = 1_800_000_000
ADDRESS = Address(address="vault.example.com", plain_http=False)
LOG_KEYS = (LogKey(id=bytes(15) + b"\x01", public_key=SigningKey(b"l" * 32).public),)
VALUES = {"API_KEY": b"first value", "DATABASE_URL": b"second value"}


def fixed(name: str, size: int) -> bytes:
    """``size`` bytes that belong to ``name`` for ever."""
    return shake_256(b"stronghold test org: " + name.encode()).digest(size)


class Randomness:
    """Fixed randomness that never gives the same bytes twice; ``drawn`` keeps all of them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.drawn: list[bytes] = []

    def __call__(self, size: int) -> bytes:
        self.drawn.append(fixed(f"{self.name} {len(self.drawn)}", size))
        return self.drawn[-1]


class MemoryServer:
    """The server's answers over a list of states. ``forge`` may change any answer; ``targets`` are the requests met."""

    def __init__(self, genesis: OrgState, changes: Changes, blobs: tuple[bytes, ...]) -> None:
        self.states = [genesis]
        self.links: list[Envelope] = list(changes.org)
        self.heads: list[Envelope] = list(changes.heads)
        self.blobs = {digest(blob): blob for blob in blobs}
        self.ahead: dict[bytes, bytes] = {}
        self.shares: dict[bytes, bytes] = {}
        self.targets: list[str] = []
        self.forge: Callable[[str, bytes], bytes] = lambda _, body: body
        self.page = 1000  # leaves, or deleted secrets, in a page of the history

    def copy(self) -> MemoryServer:
        """A server that goes on by itself from here."""
        other = copy(self)
        other.states, other.links, other.heads = list(self.states), list(self.links), list(self.heads)
        other.blobs, other.shares, other.targets = dict(self.blobs), dict(self.shares), []
        other.ahead = dict(self.ahead)
        return other

    @property
    def state(self) -> OrgState:
        return self.states[-1]

    def request(self, method: str, target: str, body: bytes, key: SigningKey, key_id: KeyId, limit: int) -> bytes:
        self.targets.append(f"{method} {target}")
        path, _, query = target.partition("?")
        answer = self._answer(path, {name: values[0] for name, values in parse_qs(query).items()}, body, key_id)
        return self.forge(target, answer)

    def take(self, commit: Commit, author: bytes) -> int:
        """Check and keep a commit; ``CONFLICT`` where it does not stand on the newest head."""
        changes = commit.changes
        if Head.decode(changes.heads[0].payload).prev != self.state.head.document.sha256:
            raise Refused("CONFLICT", "the state changed meanwhile")
        after = advance(self.state, changes)
        check_state(after)
        check_step(self.state, after, changes, author)
        self.states.append(after)
        self.links += changes.org
        self.heads += changes.heads
        self.blobs.update((digest(blob), blob) for blob in commit.blobs)
        self.blobs.update(self.ahead)
        self.ahead.clear()
        self.shares.update(commit.shares)
        return after.seq

    def sync(self, since: int, org_seq: int) -> Changes:
        """All changes since a seq; from 0, everything that is current."""
        before = next((state for state in self.states if state.seq == since), None)
        heads = [envelope for envelope in self.heads if Head.decode(envelope.payload).seq > since]
        return difference(before, self.state).replace(
            org=tuple(envelope for envelope in self.links if Org.decode(envelope.payload).seq > org_seq),
            heads=tuple(heads) if since else (self.state.head.envelope,),
        )

    def steps(self, since: int) -> Steps:
        """The commits after a seq, one by one."""
        pairs = [(one, two) for one, two in zip(self.states, self.states[1:], strict=False) if two.seq > since]
        return Steps(
            seq=self.state.seq,
            steps=tuple(
                difference(before, after).replace(
                    org=() if after.org.envelope == before.org.envelope else (after.org.envelope,),
                    heads=(after.head.envelope,),
                )
                for before, after in pairs
            ),
        )

    def _answer(self, path: str, query: Mapping[str, str], body: bytes, key_id: KeyId) -> bytes:
        state, name = self.state, path.rsplit("/", 1)[-1]
        if name == "commits":
            return Committed(seq=self.take(decode_commit(body), key_id.raw), already=False).encode()
        if name in ("blobs", "blobs-forget", "turn"):
            return self._before_a_commit(name, body)
        if name in ("sync", "steps"):
            since = int(query["since"])
            return self.steps(since).encode() if name == "steps" else encode_sync(self.sync(since, int(query["org_seq"])))
        if name in ("keys", "sealing-keys"):
            public = (blob for blob in self.blobs.values() if len(blob) == 1216)
            return self._keys(key_id.raw).encode() if name == "keys" else encode_sealing_keys(public)
        if name in ("history", "past"):
            return self._past_answer(name, path, query)
        if name in ("contents", "old-keys"):
            return self._of_profile(name, bytes.fromhex(path.split("/")[-2]))
        if name == "pull":
            wanted = query.get("profile"), query.get("profile_id")
            profile = next(p for p in state.profiles.values() if None in {*wanted} and wanted in {
                (None, None), (p.name, None), (None, p.id.hex())})  # fmt: skip
            return self.pull_answer(key_id.raw, profile, bytes.fromhex(query["org"])).encode()
        return self.self_answer(key_id.raw, bytes.fromhex(query["org"])).encode()

    def _before_a_commit(self, name: str, body: bytes) -> bytes:
        if name == "turn":
            return b'{"seconds":60}'
        sent = {digest(blob): blob for blob in decode_blobs(body)} if name == "blobs" and body else {}
        self.ahead.update(sent)
        for sha256 in decode_ahead(body) if name == "blobs-forget" else ():
            del self.ahead[sha256]
        return encode_ahead(sent or self.ahead)

    def _past_answer(self, name: str, path: str, query: Mapping[str, str]) -> bytes:
        if name == "past":
            return encode_past(self.way_back(int(query["before"]), int(query["limit"])))
        return self._history(bytes.fromhex(path.split("/")[-2]), query).encode()

    def way_back(self, seq: int, limit: int) -> list[Changes]:
        """What commits replaced, from head ``seq`` back."""
        states = {state.seq: state for state in self.states}
        return [replaced(states[each - 1], states[each]) for each in range(seq, max(seq - limit, 1), -1)]

    def _history(self, profile_id: bytes, query: Mapping[str, str]) -> KeptSecrets:
        entries = self.state.entries(profile_id)
        if "secret" in query:
            runs = {(key := bytes.fromhex(query["secret"])): self._run(profile_id, key, int(query.get("before", 0)))}
        else:
            after = bytes.fromhex(query.get("after", ""))
            gone = [key for key, entry in sorted(entries.items()) if not entry.is_live and entry.oldest < entry.version]
            wanted = [key for key in gone if key > after or not after][: self.page]
            runs = {key: self._run(profile_id, key, 0, to_last_value=True) for key in wanted}
        epochs = {leaf.epoch for run in runs.values() for leaf in map(decode_entry_leaf, run.leaves)}
        boxes = {epoch: self.blobs[leaf.box_sha256] for epoch, leaf in self.state.old_keys(profile_id).items()}
        return KeptSecrets(secrets=runs, boxes=tuple(box for epoch, box in boxes.items() if epoch in epochs))

    def _run(self, profile_id: bytes, key: bytes, before: int, *, to_last_value: bool = False) -> KeptSecret:
        """A page of a secret's leaves: seq by seq, from ``before`` back."""
        raw = self.state.leaves("entries", profile_id)[key]
        stood = {
            value: state.seq for state in reversed(self.states) if (value := state.leaves("entries", profile_id).get(key))
        }
        newest = {decode_entry_leaf(value).version: value for value in reversed(stood)}
        oldest, found = decode_entry_leaf(raw).oldest, dict[int, bytes]()
        leaves: list[bytes] = []
        for value, seq in stood.items():
            leaf = decode_entry_leaf(value)
            if before and seq >= before:
                continue
            if leaf.version < oldest:
                return KeptSecret(leaves=tuple(leaves), ciphertexts=found, before=None)
            leaves.append(value)
            if leaf.is_live and newest[leaf.version] == value:
                found[leaf.version] = self.blobs[leaf.ciphertext_sha256]
            if leaf.version == oldest:
                return KeptSecret(leaves=tuple(leaves), ciphertexts=found, before=None)
            if len(leaves) == self.page or (to_last_value and leaf.is_live):
                break
        return KeptSecret(leaves=tuple(leaves), ciphertexts=found, before=seq)

    def _of_profile(self, name: str, profile_id: bytes) -> bytes:
        if name == "old-keys":
            boxes = (leaf.box_sha256 for leaf in self.state.old_keys(profile_id).values())
            return encode_old_keys(self.blobs[sha256] for sha256 in boxes if sha256 in self.blobs)
        entries = self.state.entries(profile_id).items()
        return Ciphertexts(ciphertexts={k: self.blobs[e.ciphertext_sha256] for k, e in entries if e.is_live}).encode()

    def _keys(self, operator_id: bytes) -> Keys:
        state = self.state
        members = {id_: state.group_members(id_).get(operator_id) for id_ in state.groups}
        return Keys(
            seals={id_: self.blobs[leaf.sealed_sha256] for id_, leaf in members.items() if leaf is not None},
            wraps={
                (profile.id, group_id): self.blobs[grant.wrap_sha256]
                for profile in state.profiles.values()
                for group_id, grant in profile.grants.items()
                if members[group_id] is not None
            },
        )

    def pull_answer(self, token_id: bytes, profile: Profile, anchor: bytes) -> PullAnswer:
        """The honest answer to a pull."""
        state = self.state
        agent = next(agent for agent in state.agents.values() if token_id in agent.tokens)
        group = state.groups[min(set(agent.groups) & profile.grants.keys())]
        members, entries = SignedMap(state.leaves("members", group.id)), state.entries(profile.id)
        return PullAnswer(
            org=self._links_from(anchor),
            head=state.head.envelope,
            structure=state.structure.envelope,
            agent=prove(state, agent),
            profile=prove(state, profile),
            group=prove(state, group),
            member=members[token_id],
            member_proof=members.prove(token_id),
            share=self.shares[token_id],
            seal=self.blobs[decode_member_leaf(members[token_id]).sealed_sha256],
            wrap=self.blobs[profile.grants[group.id].wrap_sha256],
            contents=state.contents[profile.id].envelope,
            contents_proof=SignedMap(state.leaves("contents")).prove(profile.id),
            entries=tuple(
                Entry(
                    secret_id=key,
                    leaf=state.leaves("entries", profile.id)[key],
                    ciphertext=self.blobs[entry.ciphertext_sha256] if entry.is_live else None,
                )
                for key, entry in sorted(entries.items())
            ),
        )

    def self_answer(self, token_id: bytes, anchor: bytes) -> SelfAnswer:
        """The honest answer to an agent that asks who it is."""
        state = self.state
        agent = next(agent for agent in state.agents.values() if token_id in agent.tokens)
        profiles = [profile for profile in state.profiles.values() if set(agent.groups) & profile.grants.keys()]
        return SelfAnswer(
            org=self._links_from(anchor),
            head=state.head.envelope,
            structure=state.structure.envelope,
            agent=prove(state, agent),
            groups=tuple(prove(state, state.groups[group_id]) for group_id in agent.groups),
            profiles=tuple(prove(state, profile) for profile in profiles),
            contents=tuple(own_contents(state, profile) for profile in profiles),
        )

    def _links_from(self, anchor: bytes) -> tuple[Envelope, ...]:
        hashes = [envelope.sha256 for envelope in self.links]
        return tuple(self.links[hashes.index(anchor) :])


class TestOrg:
    """An org with its keys: ``keysets`` by the operators' names, ``server`` with the state."""

    __test__ = False

    def __init__(self, root: RootKey, keysets: dict[str, Keyset], server: MemoryServer) -> None:
        self.root = root
        self.keysets = keysets
        self.server = server
        self.tokens: dict[str, NewToken] = {}
        self.random = Randomness("org")
        self.now = NOW

    def copy(self) -> TestOrg:
        """An org that goes on by itself from here."""
        other = copy(self)
        other.keysets, other.tokens, other.server = dict(self.keysets), dict(self.tokens), self.server.copy()
        other.random = Randomness(f"{self.random.name} copy")
        return other

    @property
    def state(self) -> OrgState:
        return self.server.state

    def operator(self, name: str = "ada") -> vault_operator.Operator:
        """An unlocked operator, with the genesis as the kit's pin."""
        return vault_operator.Operator(
            server=self.server,
            keyset=self.keysets[name],
            anchor=self.server.links[0].sha256,
            floor=1,
            clock=lambda: self.now,
            random=self.random,
        )

    def draft(self, name: str = "ada") -> Draft:
        operator = self.operator(name)
        return Draft(self.state, operator.keyset, Keyring(operator, self.state), self.now, self.random)

    def commit(self, act: Callable[[Draft], T], name: str = "ada") -> T:
        """Carry out an act, without anything kept on disk."""
        draft = self.draft(name)
        result = act(draft)
        commit, _ = draft.finish()
        self.server.take(commit, draft.keyset.operator_id)
        return result

    def sign(self, document: Document, name: str = "ada") -> Envelope:
        """Sign a document as an operator, or as ``root``."""
        if name == ROOT:
            return sign_envelope(document.KIND, document.payload, ROOT, self.root.sign)
        keyset = self.keysets[name]
        return sign_envelope(document.KIND, document.payload, keyset.operator_id.hex(), keyset.sign)

    def org_changes(self, signer: str = "ada", author: str = "ada", **members: Any) -> Changes:
        """The changes of a commit that makes a new org document and a head, and nothing else."""
        state, seq = self.state, self.state.seq + 1
        before = state.org.document
        org = before.replace(**{"seq": before.seq + 1, "prev": before.sha256, **members})
        head = state.head.document.replace(seq=seq, prev=state.head.document.sha256, org_sha256=org.sha256, created=self.now)
        return NOTHING.replace(org=(self.sign(org, signer),), heads=(self.sign(head, author),))

    def change_org(self, signer: str = "ada", **members: Any) -> None:
        """Commit a new org document."""
        self.server.take(Commit(changes=self.org_changes(signer, **members), blobs=(), shares={}), self.id("ada"))

    def id(self, name: str) -> bytes:
        return self.keysets[name].operator_id

    def add_person(self, name: str, role: str) -> Keyset:
        """Add an operator who is no admin."""
        org_id = self.state.org_id
        keyset = Keyset(fixed(f"keyset of {name}", 32), org_id, fixed(f"operator {name}", 16))
        self.keysets[name] = keyset
        self.server.blobs[sealing_key_hash(keyset.seal.public)] = keyset.seal.public
        operators = {**self.state.org.document.operators, keyset.operator_id: as_operator(name, keyset, role)}
        self.change_org(operators=operators)
        return keyset

    def profile(self, name: str) -> Profile:
        return next(profile for profile in self.state.profiles.values() if profile.name == name)

    def group(self, name: str) -> Group:
        return next(group for group in self.state.groups.values() if group.name == name)


NOTHING = Changes(org=(), heads=(), structure=None, contents=(), payloads=(), maps={})


def as_operator(name: str, keyset: Keyset, role: str) -> Operator:
    """The keyset as it stands in an org document."""
    return Operator(
        name=name,
        sign=keyset.sign.public,
        request=keyset.request.public,
        seal_sha256=sealing_key_hash(keyset.seal.public),
        role=role,
    )


def found(name: str = "example") -> TestOrg:
    """An org that was just created, with the admin ``ada``."""
    root = RootKey(fixed(f"root of {name}", 32))
    org_id = genesis_org_id(root.sign.public)
    keyset = Keyset(fixed(f"keyset of ada in {name}", 32), org_id, fixed(f"operator ada in {name}", 16))
    people = creation._People(root=root, keyset=keyset, org_id=org_id)
    place = creation.Place(address=ADDRESS.address, plain_http=ADDRESS.plain_http, log_keys=LOG_KEYS)
    changes = creation._genesis(people, place, name, "ada", NOW)
    server = MemoryServer(advance(None, changes), changes, (root.seal.public, keyset.seal.public))
    return TestOrg(root, {"ada": keyset}, server)


_WORKSHOPS: list[TestOrg] = []


def workshop() -> TestOrg:
    """A fresh copy of an org in use.

    Admin ``ada``, editor ``eve`` (of production), reader ``rob``, auditor ``una``; profiles ``production`` (with secrets)
    and ``staging``, each with a group of its name; the agent ``bot`` in production, with the token ``ci``.
    """
    if not _WORKSHOPS:
        _WORKSHOPS.append(_workshop())
    return _WORKSHOPS[0].copy()


def _workshop() -> TestOrg:
    org = found()
    for name, role in (("eve", "editor"), ("rob", "reader"), ("una", "auditor")):
        org.add_person(name, role)
    org.commit(lambda draft: create_profile(draft, "production"))
    org.commit(lambda draft: create_profile(draft, "staging"))
    org.commit(lambda draft: draft.put(org.profile("production").replace(editors=(org.id("eve"),))))
    org.commit(lambda draft: add_operator(draft, org.group("production"), org.id("eve")))
    org.commit(lambda draft: write_secrets(draft, org.profile("production"), {}, VALUES))
    org.commit(lambda draft: write_secrets(draft, org.profile("staging"), {}, {"STAGED": b"third value"}))
    bot = org.commit(lambda draft: create_agent(draft, "bot", [org.group("production")], labels={"env": "ci"}))
    org.tokens["ci"] = org.commit(lambda draft: mint(draft, org.state.agents[bot.id], "ci", ADDRESS))
    return org


def secret_of(token: NewToken) -> TokenSecret:
    """The secret half of a token."""
    return TokenSecret(token.token.secret)


def prove(state: OrgState, document: Any) -> Proven:
    """A payload with the proof of its leaf."""
    proof = SignedMap(state.leaves("documents")).prove(document_key(document.KIND, document.id))
    return Proven(payload=document.payload, proof=proof)


def own_contents(state: OrgState, profile: Profile) -> OwnContents:
    """A profile's contents with their proof, and its entries."""
    return OwnContents(
        contents=state.contents[profile.id].envelope,
        proof=SignedMap(state.leaves("contents")).prove(profile.id),
        entries=dict(state.leaves("entries", profile.id)),
    )


def difference(before: OrgState | None, after: OrgState) -> Changes:
    """What leads from one state to a later one, without org links and heads."""
    maps: dict[tuple[str, bytes], dict[bytes, bytes | None]] = {}
    for map_id, leaves in after.maps.items():
        old = {} if before is None else before.leaves(*map_id)
        changed: dict[bytes, bytes | None] = {key: None for key in old if key not in leaves}
        changed.update((key, value) for key, value in leaves.items() if old.get(key) != value)
        if changed:
            maps[map_id] = changed
    payloads = {
        document.sha256: document.payload
        for kind in ("agent", "group", "profile", "invite")
        for document in after.documents(kind).values()
    }
    named = [decode_document_leaf(value).sha256 for value in maps.get(DOCUMENTS, {}).values() if value is not None]
    structure = after.structure.envelope
    contents = (item.envelope for item in after.contents.values())
    known = set() if before is None else {item.envelope for item in before.contents.values()}
    return NOTHING.replace(
        structure=None if before is not None and before.structure.envelope == structure else structure,
        contents=tuple(envelope for envelope in contents if envelope not in known),
        payloads=tuple(payloads[sha256] for sha256 in named),
        maps=maps,
    )


def replaced(before: OrgState, after: OrgState) -> Changes:
    """What the commit between two states replaced: what leads back from the later to the former."""
    back = difference(after, before)
    gone = {map_id: dict.fromkeys(leaves) for map_id, leaves in after.maps.items() if map_id not in before.maps}
    same = before.structure.document.sha256 == after.structure.document.sha256
    return back.replace(
        org=() if before.org.document.sha256 == after.org.document.sha256 else (before.org.envelope,),
        heads=(before.head.envelope,),
        structure=None if same else before.structure.envelope,
        maps={**gone, **back.maps},
    )


def renew_group(draft: Draft, group: Group, drop: frozenset[bytes] = frozenset()) -> GroupKey:
    """A new epoch of a group and of every profile granted to it; ``drop`` are member ids that go."""
    key = GroupKey(draft.random(32), draft.org_id, group.id, group.epoch + 1)
    draft.put(group.replace(epoch=key.epoch, kcv=key.kcv, operators=tuple(i for i in group.operators if i not in drop)))
    public = {digest(blob): blob for blob in draft.keys._operator.server.blobs.values()}  # type: ignore[attr-defined]
    for member_id, leaf in draft.state.group_members(group.id).items():
        if member_id in drop:
            draft.set_member(group.id, member_id, None)
            continue
        sealed = draft.add_blob(key.seal_to(public[leaf.seal_sha256], leaf.kind, member_id))
        draft.set_member(group.id, member_id, leaf.replace(sealed_sha256=sealed))
    old_keys = {p.id: draft.keys.profile(p.id) for p in draft.state.profiles.values() if group.id in p.grants}
    for profile_id, old in old_keys.items():
        renew_profile(draft, draft.profiles()[profile_id], old, {group.id: key})
    return key


def renew_profile(draft: Draft, profile: Profile, old: ProfileKey, groups: Mapping[bytes, GroupKey]) -> ProfileKey:
    """A new epoch of a profile for the groups given: current versions encrypted anew, the old key kept under the new one."""
    state = draft.state
    key = ProfileKey(draft.random(32), draft.org_id, profile.id, profile.epoch + 1)
    server: Any = draft.keys._operator.server
    grants = {
        group_id: Grant(epoch=group.epoch, wrap_sha256=draft.add_blob(group.wrap(key, draft.random)))
        for group_id, group in groups.items()
    }
    draft.put(profile.replace(epoch=key.epoch, kcv=key.kcv, grants=grants))
    older = {
        epoch: old.unwrap_old(epoch, leaf.kcv, server.blobs[leaf.box_sha256])
        for epoch, leaf in state.old_keys(profile.id).items()
    }
    for epoch, former in {**older, old.epoch: old}.items():
        leaf = OldKeyLeaf(kcv=former.kcv, box_sha256=draft.add_blob(key.wrap_old(former, draft.random)))
        draft._maps.setdefault(("old_keys", profile.id), {})[epoch.to_bytes(8, "big")] = leaf.encode()
    for secret_id, raw in state.leaves("entries", profile.id).items():
        entry = decode_entry_leaf(raw)
        if entry.is_live:
            secret: Secret = old.open_secret(secret_id, entry.version, server.blobs[entry.ciphertext_sha256])
            sealed = draft.add_blob(key.seal_secret(secret_id, entry.version, secret, draft.random))
            link = leaf_link(secret_id, raw)
            new = entry.replace(epoch=key.epoch, ciphertext_sha256=sealed, prev=link)
            draft._maps.setdefault(("entries", profile.id), {})[secret_id] = new.encode()
    draft.touch_contents(profile.id)
    return key
