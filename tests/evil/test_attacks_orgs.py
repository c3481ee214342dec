"""Attacks 22, 23 and 40: from one org, or one agent, into another (protocol section 10, "Rights" and "Requests")."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import product
from typing import TypeVar

import pytest

from stronghold_cli.crypto.keys import GroupKey, MasterKey, ProfileKey, TokenSecret, open_group_key
from stronghold_cli.crypto.tokens import unlock_master_key
from stronghold_cli.protocol.documents.agent import Token
from stronghold_cli.protocol.documents.leaves import MemberLeaf, decode_entry_leaf
from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.errors import IntegrityError, Refused
from stronghold_cli.protocol.messages import Commit, encode_blobs
from stronghold_cli.protocol.messages_pull import decode_pull_answer
from stronghold_cli.protocol.requests import KeyId
from stronghold_cli.protocol.token import AgentToken, parse_agent_token
from stronghold_server import commits
from tests.e2e.support import Machine
from tests.evil.evil_server import PULL, EvilServer
from tests.evil.scene import PRODUCTION, STAGING, TWO, Agent, Scene, files_below
from tests.server.support import Draft, Reply, TestOrg

T = TypeVar("T")
OTHERS = {"PAYROLL": b"value-of-the-other-profile"}


@pytest.fixture
def mallory(scene: Scene) -> TestOrg:
    """Another org on the same server, whose admin plays foul; it has a group and a profile of its own."""
    org = TestOrg(scene.server, "Mallory").create()
    draft = org.draft()
    group = org.add_group(draft, "own")
    org.put(draft, org.add_profile(draft, "own", group), "OWN", b"own value")
    org.add_agent(draft, "own", group)
    org.apply(draft)
    return org


def rows_of(server: EvilServer, org_id: bytes) -> dict[str, object]:
    """Everything of an org that a commit could change."""
    tables = ("orgs", "signed_documents", "payloads", "leaves", "blobs", "shares", "tokens", "operators", "sent_ahead")
    return {table: sorted(server.query(f"SELECT * FROM {table} WHERE org_id = ?", org_id), key=repr) for table in tables}


def is_refused(reply: Reply, sentence: str) -> None:
    assert (reply.status, reply.code) == (422, "COMMIT_REFUSED"), reply
    assert sentence in reply.body.decode()


# Attack 22, another org.


def own_group_and_profile(mallory: TestOrg) -> tuple[bytes, bytes, bytes]:
    (group,), (profile,), (agent,) = mallory.state.groups, mallory.state.profiles, mallory.state.agents
    return group, profile, agent


@pytest.mark.parametrize("copies", [False, True])
@pytest.mark.parametrize("what", ["ciphertext", "wrap", "seal"])
def test_attack_22_a_commit_that_names_blobs_of_another_org(
    scene: Scene, agent: Agent, mallory: TestOrg, what: str, copies: bool
) -> None:
    """The server gives nothing away by a hash, and what Mallory has as a copy is theirs alone: its end ends no other."""
    group, profile, agent_id = own_group_and_profile(mallory)
    state = scene.org.state
    foreign = {
        "ciphertext": state.entries(scene.production)[scene.ids["API_KEY"]].ciphertext_sha256,
        "wrap": state.profiles[scene.production].grants[scene.group].wrap_sha256,
        "seal": state.group_members(scene.group)[scene.token_id].sealed_sha256,
    }[what]
    ((content,),) = scene.server.query("SELECT content FROM blobs WHERE sha256 = ?", foreign)
    before = rows_of(scene.server, scene.org.org_id)
    draft = mallory.draft()
    if what == "ciphertext":
        secret_id = mallory.put(draft, profile, "STOLEN", b"x")
        leaf = decode_entry_leaf(draft.leaves("entries", profile)[secret_id])
        draft.leaves("entries", profile)[secret_id] = leaf.replace(ciphertext_sha256=foreign).encode()
        draft.blobs.pop()
    elif what == "wrap":
        other = mallory.add_profile(draft, "other", group)
        grants = {group: draft.profiles[other].grants[group].replace(wrap_sha256=foreign)}
        draft.profiles[other] = draft.profiles[other].replace(grants=grants)
        draft.blobs.pop()
    else:
        token_id = mallory.mint(draft, agent_id)
        leaves = draft.leaves("members", group)
        line = draft.agents[agent_id].tokens[token_id]
        leaf_of_token = MemberLeaf(kind="token", owner=agent_id, seal_sha256=line.seal_sha256, sealed_sha256=foreign)
        leaves[token_id] = leaf_of_token.encode()
        draft.blobs.pop()
    if not copies:
        is_refused(mallory.send(draft.finish()), "not in the commit" if what == "ciphertext" else "does not carry")
    else:
        draft.blobs.append(bytes(content))
        mallory.apply(draft)
        # The control: Mallory's copy is there, under Mallory's org. Then it goes, and nothing else does.
        count = "SELECT org_id FROM blobs WHERE sha256 = ?"
        assert {row[0] for row in scene.server.query(count, foreign)} == {scene.org.org_id, mallory.org_id}
        draft = mallory.draft()
        if what == "ciphertext":
            draft.profiles.pop(profile)
            draft.maps.pop(("entries", profile))
        elif what == "wrap":
            draft.profiles.pop(other)
        else:
            mallory.revoke(draft, agent_id, token_id)
        mallory.apply(draft)
        assert {row[0] for row in scene.server.query(count, foreign)} == {scene.org.org_id}
    assert rows_of(scene.server, scene.org.org_id) == before
    agent.gets(PRODUCTION)


def test_attack_22_blobs_that_another_org_sent_ahead_are_not_there_for_anybody_else(scene: Scene, mallory: TestOrg) -> None:
    _, profile, _ = own_group_and_profile(mallory)
    draft = mallory.draft()
    mallory.put(draft, profile, "AHEAD", b"x")
    (blob,) = draft.blobs
    draft.blobs.clear()
    assert scene.org.post(scene.org.admin, "/blobs", encode_blobs([blob])).status == 200
    is_refused(mallory.send(draft.finish()), "an entry names a ciphertext that is not in the commit")
    # The control: what Mallory sent ahead is.
    assert mallory.post(mallory.admin, "/blobs", encode_blobs([blob])).status == 200
    mallory.apply(draft)


@pytest.mark.parametrize("what", ["share", "head", "documents", "commit", "route"])
def test_attack_22_a_commit_that_touches_shares_or_documents_of_another_org(
    scene: Scene, agent: Agent, mallory: TestOrg, what: str
) -> None:
    before = rows_of(scene.server, scene.org.org_id), rows_of(scene.server, mallory.org_id)
    draft = mallory.draft()
    mallory.add_group(draft, "more")
    if what == "share":
        draft.shares[scene.token_id] = b"s" * 32
        is_refused(mallory.send(draft.finish()), "not exactly one share")
    elif what == "head":
        draft.edit_head = lambda head: head.replace(org_id=scene.org.org_id)
        is_refused(mallory.send(draft.finish()), "another org")
    elif what == "documents":
        draft.agents[scene.agent_id] = scene.org.state.agents[scene.agent_id].replace(groups=(), tokens={})
        is_refused(mallory.send(draft.finish()), "another org")
    else:
        # A genuine commit of the other org's admin, or one of one's own, by the request key of the wrong org.
        theirs = scene.draft()
        scene.org.add_group(theirs, "more")
        commit: Commit = theirs.finish() if what == "commit" else draft.finish()
        org = mallory if what == "commit" else scene.org
        person = mallory.admin
        key_id = KeyId(kind="o", raw=person.operator_id)
        reply = scene.server.send(
            person.keyset.request, key_id, "POST", f"{org.path}/commits", commit.encode(), created=int(time.time())
        )
        assert reply.code == ("CONFLICT" if what == "commit" else "OPERATOR_UNKNOWN")
    assert (rows_of(scene.server, scene.org.org_id), rows_of(scene.server, mallory.org_id)) == before
    agent.gets(PRODUCTION)
    # The control: without what is foreign in it, the commit stands.
    draft = mallory.draft()
    mallory.add_group(draft, "more")
    mallory.apply(draft)


# Attack 22, an invariant.


def ghost(scene: Scene, draft: Draft) -> None:
    seal = b"the group's key, for whoever is not listed"
    draft.blobs.append(seal)
    leaf = MemberLeaf(kind="token", owner=scene.agent_id, seal_sha256=b"s" * 32, sealed_sha256=digest(seal))
    draft.leaves("members", scene.group)[b"g" * 16] = leaf.encode()


def removal_without_keys(scene: Scene, draft: Draft) -> None:
    draft.agents[scene.agent_id] = draft.agents[scene.agent_id].replace(groups=())
    draft.leaves("members", scene.group).pop(scene.token_id)


def ungrant_without_keys(scene: Scene, draft: Draft) -> None:
    draft.profiles[scene.staging] = draft.profiles[scene.staging].replace(grants={})


def grant_of_another_epoch(scene: Scene, draft: Draft) -> None:
    profile = draft.profiles[scene.staging]
    grants = {id_: grant.replace(epoch=grant.epoch + 1) for id_, grant in profile.grants.items()}
    draft.profiles[scene.staging] = profile.replace(grants=grants)


def key_without_epoch(scene: Scene, draft: Draft) -> None:
    draft.groups[scene.group] = draft.groups[scene.group].replace(kcv=b"k" * 32)


def epoch_without_profiles(scene: Scene, draft: Draft) -> None:
    group = draft.groups[scene.group]
    draft.groups[scene.group] = group.replace(epoch=group.epoch + 1, kcv=b"k" * 32)


def version_jump(scene: Scene, draft: Draft) -> None:
    scene.org.put(draft, scene.production, "API_KEY", TWO, scene.ids["API_KEY"])
    leaves = draft.leaves("entries", scene.production)
    leaf = decode_entry_leaf(leaves[scene.ids["API_KEY"]])
    leaves[scene.ids["API_KEY"]] = leaf.replace(version=leaf.version + 1).encode()


def chain_broken(scene: Scene, draft: Draft) -> None:
    scene.org.put(draft, scene.production, "API_KEY", TWO, scene.ids["API_KEY"])
    leaves = draft.leaves("entries", scene.production)
    leaves[scene.ids["API_KEY"]] = decode_entry_leaf(leaves[scene.ids["API_KEY"]]).replace(prev=b"p" * 32).encode()


def same_name(scene: Scene, draft: Draft) -> None:
    scene.org.add_agent(draft, "DEPLOY")


def admin_as_editor(scene: Scene, draft: Draft) -> None:
    editors = tuple(sorted((scene.org.admin.operator_id, scene.editor.operator_id)))
    draft.profiles[scene.staging] = draft.profiles[scene.staging].replace(editors=editors)


def token_moves(scene: Scene, draft: Draft) -> None:
    line = draft.agents[scene.agent_id].tokens[scene.token_id]
    draft.agents[scene.agent_id] = draft.agents[scene.agent_id].replace(tokens={})
    other = scene.org.add_agent(draft, "thief", scene.group)
    draft.agents[other] = draft.agents[other].replace(tokens={scene.token_id: line})
    leaves = draft.leaves("members", scene.group)
    leaves[scene.token_id] = scene.org.state.group_members(scene.group)[scene.token_id].replace(owner=other).encode()


INVARIANTS: dict[Callable[[Scene, Draft], None], str] = {
    ghost: "members are not exactly those that it must have",
    removal_without_keys: "a member goes without a new epoch of the group",
    ungrant_without_keys: "a reader goes without a new epoch of the profile",
    grant_of_another_epoch: "a grant names no group, or not its current epoch",
    key_without_epoch: "a group's key changes without a new epoch",
    epoch_without_profiles: "a grant names no group, or not its current epoch",
    version_jump: "an entry's version does not rise by one",
    chain_broken: "an entry does not follow the one before",
    same_name: "two agents have the same name",
    admin_as_editor: "a profile's editors are not all editors of the org",
    token_moves: "a token moves to another agent",
}


@pytest.mark.parametrize("bend", INVARIANTS, ids=lambda bend: bend.__name__)
def test_attack_22_an_admin_s_commit_that_breaks_an_invariant(
    scene: Scene,
    agent: Agent,
    new_machine: Callable[[], Machine],
    monkeypatch: pytest.MonkeyPatch,
    bend: Callable[[Scene, Draft], None],
) -> None:
    machine = new_machine()
    scene.vault(machine, scene.org.admin)
    agent.gets(PRODUCTION)
    kept = files_below(machine.data)
    before = rows_of(scene.server, scene.org.org_id)
    draft = scene.draft()
    bend(scene, draft)
    commit = draft.finish()
    is_refused(scene.org.send(commit), INVARIANTS[bend])
    assert rows_of(scene.server, scene.org.org_id) == before
    agent.gets(PRODUCTION)
    # The control: these checks alone stand in the way at the server; and behind it, every operator's.
    monkeypatch.setattr(commits, "check_state", lambda *_, **__: None)
    monkeypatch.setattr(commits, "check_step", lambda *_: None)
    monkeypatch.setattr(commits, "_check_blobs_new", lambda *_: None)
    assert scene.org.send(commit).status == 200
    with pytest.raises(IntegrityError) as caught:
        scene.vault(machine, scene.org.admin)
    assert INVARIANTS[bend] in caught.value.message
    assert files_below(machine.data) == kept


# Attack 23.


def squat(mallory: TestOrg, line: Token, token_id: bytes, seal_public: bytes) -> Commit:
    """A commit by which a token of this id stands in Mallory's org, with a share of Mallory's."""
    draft = mallory.draft()
    agent_id = mallory.add_agent(draft, "squatter")
    token = line.replace(created_by=mallory.admin.operator_id)
    draft.agents[agent_id] = draft.agents[agent_id].replace(tokens={token_id: token})
    draft.shares[token_id] = b"s" * 32
    draft.blobs.append(seal_public)
    return draft.finish()


@pytest.mark.parametrize("when", ["while it is live", "after it was revoked"])
def test_attack_23_token_id_squatted_in_another_org(scene: Scene, agent: Agent, mallory: TestOrg, when: str) -> None:
    """Whose requests a token signs is looked up by its id alone: it must never lead into another org."""
    line = scene.org.state.agents[scene.agent_id].tokens[scene.token_id]
    seal_public = scene.org.tokens[scene.token_id].seal_public
    agent.gets(PRODUCTION)
    if when == "after it was revoked":
        scene.mint()
        draft = scene.draft()
        scene.org.revoke(draft, scene.agent_id, scene.token_id)
        scene.org.apply(draft)
    before = rows_of(scene.server, scene.org.org_id), rows_of(scene.server, mallory.org_id)
    is_refused(mallory.send(squat(mallory, line, scene.token_id, seal_public)), "the id of a new token is taken")
    # Another key under that id, with which Mallory would answer for the token.
    own = line.replace(auth_public_key=os.urandom(32))
    with_own_key = mallory.send(squat(mallory, own, scene.token_id, seal_public))
    assert (with_own_key.status, with_own_key.code) == (422, "COMMIT_REFUSED")
    mine = line.replace(auth_public_key=TokenSecret(b"m" * 32).auth.public)
    is_refused(mallory.send(squat(mallory, mine, scene.token_id, seal_public)), "is not made from its key")
    assert (rows_of(scene.server, scene.org.org_id), rows_of(scene.server, mallory.org_id)) == before
    if when == "while it is live":
        agent.gets(PRODUCTION, everywhere=True)
    else:
        agent.is_refused(error=Refused, code=3, error_code="TOKEN_REVOKED")
    # The control: the same commit stands with an id of Mallory's own.
    secret = TokenSecret(b"m" * 32)
    assert mallory.send(squat(mallory, mine, secret.token_id, seal_public)).status == 200


def test_attack_23_would_cut_the_agent_off(
    scene: Scene, agent: Agent, mallory: TestOrg, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a server that does not check would put the token into Mallory's org; its store does not let it."""
    line = scene.org.state.agents[scene.agent_id].tokens[scene.token_id]
    commit = squat(mallory, line, scene.token_id, scene.org.tokens[scene.token_id].seal_public)
    before = rows_of(scene.server, scene.org.org_id), rows_of(scene.server, mallory.org_id)
    monkeypatch.setattr(commits, "_check_new_token", lambda *_: None)
    assert mallory.send(commit).status >= 400
    assert (rows_of(scene.server, scene.org.org_id), rows_of(scene.server, mallory.org_id)) == before
    agent.gets(PRODUCTION)
    scene.server.query("UPDATE tokens SET org_id = ? WHERE token_id = ?", mallory.org_id, scene.token_id)
    scene.server.restart()
    with pytest.raises((IntegrityError, Refused)):
        agent.pull()


# Attack 40.


class Thief:
    """One token, and every value of every row: what keys come out, and which ciphertexts open?

    What each blob is said to be stands in documents that the dump holds too (``scene.org.state``); every key is tried under
    the words of every blob.
    """

    def __init__(self, scene: Scene, text: str) -> None:
        self.org_id, self.state = scene.org.org_id, scene.org.state
        self.token: AgentToken = parse_agent_token(text)
        self.secret = TokenSecret(self.token.secret)
        rows = scene.server.query("SELECT sha256, content FROM blobs WHERE org_id = ?", self.org_id)
        self.blobs = {bytes(sha256): bytes(content) for sha256, content in rows}
        self.shares = [bytes(share) for (share,) in scene.server.query("SELECT share FROM shares")]
        self.values = set(values_of_all_rows(scene.server))

    def masters(self) -> list[MasterKey]:
        """What opens the master key in the token: any share, whoever's."""
        return list(self._opened(unlock_master_key, [self.token], [self.secret], self.shares))

    def group_keys(self) -> set[bytes]:
        """Every seal, in the name of every member, by the token's sealing key."""
        found = set()
        for group_id, group in self.state.groups.items():
            for member_id, leaf in self.state.group_members(group_id).items():
                for master, blob in product(self.masters(), self.blobs.values()):
                    arguments = (self.org_id, group_id, group.epoch, leaf.kind, member_id, group.kcv, blob)
                    found |= {
                        key.raw for key in self._opened(open_group_key, [master.seal], *([each] for each in arguments))
                    }
        return found

    def profile_keys(self) -> set[bytes]:
        """Every blob as every grant's box, by every group key, and by every value of 32 bytes in the dump."""
        found = set()
        for raw in self.group_keys() | self.values:
            for profile_id, profile in self.state.profiles.items():
                for group_id, grant in profile.grants.items():
                    key = GroupKey(raw, self.org_id, group_id, grant.epoch)
                    blob = self.blobs[grant.wrap_sha256]
                    opened = self._opened(key.unwrap, [profile_id], [profile.epoch], [profile.kcv], [blob])
                    found |= {each.raw for each in opened}
        return found

    def reads(self) -> dict[bytes, set[bytes]]:
        """The values that come out, by profile."""
        found: dict[bytes, set[bytes]] = {}
        for raw in self.profile_keys() | self.values:
            for profile_id, profile in self.state.profiles.items():
                for secret_id, entry in self.state.entries(profile_id).items():
                    key = ProfileKey(raw, self.org_id, profile_id, profile.epoch)
                    blob = self.blobs[entry.ciphertext_sha256]
                    opened = self._opened(key.open_secret, [secret_id], [entry.version], [blob])
                    found.setdefault(profile_id, set()).update(each.value for each in opened)
        return found

    def _opened(self, attempt: Callable[..., T], *choices: Iterable[object]) -> Iterator[T]:
        for arguments in product(*choices):
            with suppress(IntegrityError):
                yield attempt(*arguments)


def values_of_all_rows(server: EvilServer) -> Iterator[bytes]:
    """Every value of 32 bytes in the whole database, and every one in hex."""
    for (table,) in server.query("SELECT name FROM sqlite_schema WHERE type = 'table'"):
        for row in server.query(f"SELECT * FROM {table}"):
            yield from (value for value in row if isinstance(value, bytes) and len(value) == 32)
            for value in row:
                if isinstance(value, str) and len(value) == 64:
                    with suppress(ValueError):
                        yield bytes.fromhex(value)


@pytest.fixture
def other(scene: Scene) -> tuple[bytes, bytes]:
    """A profile, and the token of an agent, that have nothing in common with the scene's."""
    draft = scene.draft()
    group = scene.org.add_group(draft, "payroll")
    profile = scene.org.add_profile(draft, "payroll", group)
    for name, value in OTHERS.items():
        scene.org.put(draft, profile, name, value)
    agent_id = scene.org.add_agent(draft, "payroll", group)
    token_id = scene.org.mint(draft, agent_id)
    scene.org.apply(draft)
    return profile, token_id


def test_attack_40_token_of_one_agent_and_the_whole_database(scene: Scene, agent: Agent, other: tuple[bytes, bytes]) -> None:
    profile_id, token_id = other
    agent.gets(PRODUCTION)
    found = Thief(scene, scene.token()).reads()
    # The control: what the token's own agent may read comes out, so that the attack is one.
    assert found[scene.production] == set(PRODUCTION.values())
    assert found[scene.staging] == set(STAGING.values())
    assert found[profile_id] == set()
    # And the other way round.
    found = Thief(scene, scene.token(token_id)).reads()
    assert found == {profile_id: set(OTHERS.values()), scene.production: set(), scene.staging: set()}


def test_attack_40_without_the_share_nothing_comes_out(scene: Scene, agent: Agent, other: tuple[bytes, bytes]) -> None:
    """The dump of a server that has revoked the token, with everybody else's shares."""
    agent.gets(PRODUCTION)
    draft = scene.draft()
    scene.org.revoke(draft, scene.agent_id, scene.token_id)
    scene.org.apply(draft)
    assert set().union(*Thief(scene, scene.token()).reads().values()) == set()


def test_attack_40_answer_for_another_agent(
    scene: Scene, agent: Agent, other: tuple[bytes, bytes], new_machine: Callable[[], Machine]
) -> None:
    """The server helps: it gives the thief what it holds for the other agent, or lets the thief's token ask for it."""
    _, token_id = other
    agent.gets(PRODUCTION)
    Agent(new_machine(), scene.server, scene.token(token_id)).gets(OTHERS, "payroll")
    theirs = scene.server.last_answer(PULL)
    with pytest.raises(Refused) as caught:
        agent.pull("payroll")
    assert caught.value.code == "PROFILE_FORBIDDEN"
    assert "payroll" not in caught.value.hint
    with scene.server.plays_back(PULL, theirs):
        agent.is_refused(profile="payroll")
    agent.gets(PRODUCTION)
    own = decode_pull_answer(scene.server.last_answer(PULL))
    whole = decode_pull_answer(theirs)
    mixtures = [
        whole.replace(agent=own.agent, share=own.share),
        whole.replace(agent=own.agent, share=own.share, seal=own.seal),
        whole.replace(
            agent=own.agent,
            share=own.share,
            seal=own.seal,
            group=own.group,
            member=own.member,
            member_proof=own.member_proof,
        ),
    ]
    for mixture in mixtures:
        with scene.server.plays_back(PULL, mixture.encode()):
            agent.is_refused(profile="payroll", everywhere=False)
