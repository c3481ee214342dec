"""Attacks 22 and 23: from one org into another, and commits that break an invariant (protocol section 10, "Rights")."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import cast

import pytest

from stronghold_cli.commands.acting import open_vault
from stronghold_cli.crypto.keys import TokenSecret
from stronghold_cli.protocol.documents.agent import Token
from stronghold_cli.protocol.documents.leaves import MemberLeaf, decode_entry_leaf
from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.errors import IntegrityError, Refused
from stronghold_cli.protocol.messages import Commit, encode_blobs
from stronghold_cli.protocol.requests import KeyId
from stronghold_cli.transport import Server
from stronghold_cli.vault import draft as client
from stronghold_cli.vault.draft import Draft as ClientDraft
from stronghold_server import commits
from tests.e2e.support import Machine
from tests.evil.evil_server import EvilServer
from tests.evil.scene import OLD_FILE, PRODUCTION, TWO, Agent, Scene, files_below, init_on
from tests.evil.test_attacks_removals import second_device
from tests.server.support import Draft, Reply, TestOrg

VALUE = "value-of-production-one"


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


def ghost_of_agents(draft: ClientDraft) -> None:
    """A member that no agent has, sealed to nobody's key."""
    (group,) = draft.groups().values()
    leaf = MemberLeaf(kind="token", owner=os.urandom(16), seal_sha256=b"s" * 32, sealed_sha256=draft.add_blob(b"a seal"))
    draft.set_member(group.id, os.urandom(16), leaf)


def other_key_of_the_group(draft: ClientDraft) -> None:
    (group,) = draft.groups().values()
    draft.put(group.replace(kcv=b"k" * 32))


@pytest.mark.parametrize(
    ("bend", "rule"),
    [
        (ghost_of_agents, "members are not exactly those that it must have"),
        (other_key_of_the_group, "a group's key changes without a new epoch"),
    ],
)
def test_attack_22_by_the_real_program(
    evil: EvilServer, new_machine: Callable[[], Machine], bend: Callable[[ClientDraft], None], rule: str
) -> None:
    """An admin and the server let it stand; to every other device it ends everything, and nothing is believed of it."""
    org = init_on(evil, new_machine())
    org.make_agent("deploy", {"production": {"API_KEY": VALUE}})
    other = second_device(org, new_machine)
    with other.here() as patch:
        for each in (client, commits):
            patch.setattr(each, "check_state", lambda *_, **__: None)
            patch.setattr(each, "check_step", lambda *_: None)
        patch.setattr(commits, "_check_blobs_new", lambda *_: None)
        vault = open_vault()
        with cast("Server", vault.operator.server):
            vault.commit(bend)
    kept, target = files_below(org.machine.data), org.machine.file(".env", OLD_FILE.decode())
    for words in (
        ("secret", "get", "API_KEY", "-p", "production"),
        ("secret", "set", "API_KEY", "-p", "production"),
        ("env", "pull", "-p", "production", "-o", ".env"),
        ("agent", "list"),
        ("group", "remove", "production", "--agent", "deploy", "--yes"),
    ):
        result = org.run(*words, stdin="value-of-production-two").failed(8)
        assert result.out_bytes == b""
        assert rule in result.err
        assert "value-of-production" not in result.err
    assert files_below(org.machine.data) == kept
    assert target.read_bytes() == OLD_FILE


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
