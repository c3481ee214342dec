"""Attacks 26, 29 and 30: on operators who seal keys to others (protocol section 10, "Keys")."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from stronghold_cli.crypto.keys import Keyset, MasterKey, RootKey
from stronghold_cli.protocol.documents.leaves import MemberLeaf, decode_member_leaf, document_key
from stronghold_cli.protocol.documents.org import Org, RootKeys
from stronghold_cli.protocol.encoding import decode_base64, digest, encode_base64
from stronghold_cli.protocol.envelope import sign_envelope
from stronghold_cli.protocol.errors import IntegrityError, StrongholdError
from stronghold_cli.protocol.messages import Commit, decode_commit
from stronghold_cli.vault.groups import add_agent, create_group
from stronghold_cli.vault.removal import compromised
from tests.e2e.support import Machine
from tests.evil.evil_server import COMMITS, PULL, EvilServer
from tests.evil.scene import PRODUCTION, Agent, Scene, files_below, home_of, init_on

Machines = Callable[[], Machine]
VALUE = "value-of-production-one"


def posts(evil: EvilServer) -> int:
    """How often anybody has asked for a change."""
    return sum(each.method == "POST" for each in evil.recorded)


def last_commit(evil: EvilServer) -> Commit:
    return decode_commit(next(each.body for each in reversed(evil.recorded) if each.path.endswith(COMMITS)))


@pytest.mark.parametrize("how", ["replaced", "replaced, and hidden behind the true one", "of another token", "none"])
def test_attack_26_public_key_swapped_when_an_operator_adds_an_agent(
    evil: EvilServer, new_machine: Machines, how: str
) -> None:
    """The real program: the agent's tokens get a group's key."""
    org = init_on(evil, new_machine())
    org.make_agent("deploy", {"production": {"API_KEY": VALUE}})
    org.run("agent", "create", "other").ok()
    own = MasterKey(os.urandom(32), bytes(16)).seal.public
    org.run("group", "create", "second").ok()

    def swap(keys: list[str]) -> list[str]:
        if how == "of another token":
            return keys[1:] * 2
        return {"replaced": [encode_base64(own)] * len(keys), "none": []}.get(how, [encode_base64(own), *keys])

    before, kept = posts(evil), files_below(org.machine.data)
    with evil.lies_in_json("/sealing-keys", "keys", swap):
        done = org.run("group", "add", "second", "--agent", "deploy")
    if how.startswith("replaced, and"):
        done.ok()  # the true one is there: it is taken by its hash, and nothing is sealed to the other
        assert org.run("--json", "group", "show", "second").ok().json()["agents"] == ["deploy"]
        sealed = [blob for blob in last_commit(evil).blobs if len(blob) > 1000]
        assert len(sealed) == 1
        return
    assert done.failed(8).out_bytes == b""
    assert (posts(evil), files_below(org.machine.data)) == (before, kept)
    org.run("group", "add", "second", "--agent", "deploy").ok()


def test_attack_26_every_key_swapped_at_a_removal(scene: Scene, new_machine: Machines) -> None:
    """At a re-key all members get a new seal: the server puts its own key in the place of each of them in turn."""
    machine, admin = new_machine(), scene.org.admin
    scene.mint()
    vault = scene.vault(machine, admin)
    own = encode_base64(MasterKey(os.urandom(32), bytes(16)).seal.public)
    with home_of(machine):
        vault.keys.members(scene.group, [])
    known = scene.org.state.group_members(scene.group)
    for leaf in known.values():
        victim = leaf.seal_sha256

        def swap(keys: list[str], victim: bytes = victim) -> list[str]:
            return [own if digest(decode_base64(key)) == victim else key for key in keys]

        before = posts(scene.server)
        fresh = scene.vault(machine, admin)
        with (
            home_of(machine),
            scene.server.lies_in_json("/sealing-keys", "keys", swap),
            pytest.raises(IntegrityError),
        ):
            fresh.commit(lambda draft: compromised(draft, draft.agents()[scene.agent_id], []))
        assert posts(scene.server) == before
    with home_of(machine):
        scene.vault(machine, admin).commit(lambda draft: compromised(draft, draft.agents()[scene.agent_id], []))


def test_attack_29_nothing_that_a_server_asks_for_is_done(evil: EvilServer, new_machine: Machines) -> None:
    """The real program: to each answer the server adds its wish, as a member of its own or in the sentence of a refusal."""
    org = init_on(evil, new_machine())
    agent = Agent(new_machine(), evil, org.make_agent("deploy", {"production": {"API_KEY": VALUE}}))
    key = encode_base64(Keyset(os.urandom(32), bytes(32), bytes(16)).seal.public)
    wishes: list[dict[str, Any]] = [
        {"recovery_key": key},
        {"rotate_to": key},
        {"root": {"sign": encode_base64(bytes(32)), "seal": key}},
        {"rekey": ["production"]},
        {"minimum_version": "99.0.0"},
    ]
    before, kept = posts(evil), files_below(org.machine.data)
    reads = {
        "/steps": ("org", "show"),
        "/keys": ("env", "pull", "-p", "production"),
        "/contents": ("secret", "list", "-p", "production"),
    }
    for route, words in reads.items():
        for wish in wishes if route == "/steps" else wishes[:1]:

            def ask(status: int, body: bytes, wish: dict[str, Any] = wish) -> tuple[int, bytes]:
                return status, json.dumps({**json.loads(body), **wish}).encode()

            with evil.lies(route, ask):
                assert org.run(*words).failed(8).out_bytes == b""
    with evil.lies(PULL, lambda status, body: (status, json.dumps({**json.loads(body), **wishes[0]}).encode())):
        assert agent.run("env", "pull", "-p", "production").failed(8).out_bytes == b""
    for code in ("ROTATE_KEYS", "RECOVERY_KEY_CHANGED", "CLIENT_TOO_OLD"):
        with evil.refuses("/steps", 403, code):
            org.run("org", "show").failed(1)
    assert (posts(evil), files_below(org.machine.data)) == (before, kept)
    assert agent.run("env", "pull", "-p", "production", "--format", "json").ok().json() == {"API_KEY": VALUE}


@pytest.mark.parametrize("signed_by", ["the new root", "nobody", "an editor"])
def test_attack_29_a_recovery_key_is_announced_in_the_org_document(
    scene: Scene, new_machine: Machines, signed_by: str
) -> None:
    """What every later group key would be sealed to."""
    machine, root = new_machine(), RootKey(os.urandom(32))
    scene.vault(machine, scene.org.admin)
    known = scene.org.state.org.document
    document = known.replace(
        seq=known.seq + 1,
        prev=known.sha256,
        root=RootKeys(sign=root.sign.public, seal_sha256=root.seal.public_sha256),
    )
    envelope = {
        "the new root": sign_envelope("org", document.payload, "root", root.sign),
        "nobody": scene.org.state.org.envelope.replace(payload=document.payload),
        "an editor": scene.editor.sign("org", document.payload),
    }[signed_by]
    kept, before = files_below(machine.data), posts(scene.server)
    scene.act(lambda draft: create_group(draft, "later"))
    asked = posts(scene.server) - before

    def announce(links: list[Any]) -> list[Any]:
        return [*links, envelope.to_json()]

    with scene.server.lies_in_json("/steps", "steps.0.org", announce), pytest.raises(IntegrityError):
        scene.vault(machine, scene.org.admin)
    assert (files_below(machine.data), posts(scene.server)) == (kept, before + asked)
    with home_of(machine):
        scene.vault(machine, scene.org.admin).commit(lambda draft: create_group(draft, "sealed to the true root"))
    assert Org.decode(scene.org.state.org.envelope.payload).root == known.root


@pytest.mark.parametrize(
    "where", ["leaf told", "operator told", "another seal told", "leaf in the database", "token in the database"]
)
def test_attack_30_ghost_member_in_the_servers_tables(scene: Scene, agent: Agent, new_machine: Machines, where: str) -> None:
    """No table of the server says who is a member: the leaves that signed roots prove do, and each of them has a reason."""
    agent.gets(PRODUCTION)
    machine, ghost = new_machine(), MasterKey(os.urandom(32), os.urandom(16))
    ghost_id, seal_sha256 = os.urandom(16), ghost.seal.public_sha256
    leaf = MemberLeaf(kind="token", owner=scene.agent_id, seal_sha256=seal_sha256, sealed_sha256=os.urandom(32))
    if where == "operator told":
        leaf = leaf.replace(kind="operator", owner=b"")
    shown = [encode_base64(ghost_id), encode_base64(leaf.encode())]

    def haunt(maps: list[Any]) -> list[Any]:
        leaves = next(each for each in maps if each["map"] == "members")["leaves"]
        if where == "another seal told":
            # Everybody is who they must be; only the seal that one of them is to open is another one.
            known = decode_member_leaf(decode_base64(leaves[0][1]))
            leaves[0][1] = encode_base64(known.replace(sealed_sha256=os.urandom(32)).encode())
        else:
            leaves.append(shown)
        return maps

    if where.endswith("told"):
        with scene.server.lies_in_json("/sync", "changes.maps", haunt), pytest.raises(IntegrityError):
            scene.vault(machine, scene.org.admin)
        assert not list(machine.data.rglob("*.json"))
    elif where == "leaf in the database":
        scene.server.query(
            "INSERT INTO leaves (org_id, map, key, from_seq, value) VALUES (?, ?, ?, ?, ?)",
            *(scene.org.org_id, b"members/" + scene.group, ghost_id, scene.org.state.seq, leaf.encode()),
        )
        assert scene.server.query("SELECT count(*) FROM leaves WHERE map = ?", b"members/" + scene.group)[0][0] == 5
        scene.server.restart()
        # An honest server's program does not even serve such a table; the one that would is "leaf told".
        with pytest.raises(StrongholdError):
            scene.vault(machine, scene.org.admin)
        assert not list(machine.data.rglob("*.json"))
        scene.server.query("DELETE FROM leaves WHERE key = ?", ghost_id)
        scene.server.restart()
    else:
        scene.server.query(
            "INSERT INTO tokens (token_id, org_id, agent_id, auth_public_key) VALUES (?, ?, ?, ?)",
            *(ghost_id, scene.org.org_id, scene.agent_id, Keyset(b"g" * 32, bytes(32), ghost_id).sign.public),
        )
    # Whatever the tables hold and the server offers: nothing is ever sealed to the ghost.
    public = encode_base64(ghost.seal.public)
    with scene.server.lies_in_json("/sealing-keys", "keys", lambda keys: [public, *keys]):
        scene.act(lambda draft: compromised(draft, draft.agents()[scene.agent_id], []))
    state = scene.org.state
    seals = {each.seal_sha256 for each in state.group_members(scene.group).values()}
    assert seal_sha256 not in seals
    assert len(seals) == len(state.leaves("members", scene.group)) == 4
    assert document_key("agent", scene.agent_id) in state.leaves("documents")
    for blob in last_commit(scene.server).blobs:
        for group_epoch in (1, 2):
            with pytest.raises(IntegrityError):
                ghost.seal.open("group-key", (scene.org.org_id, scene.group, group_epoch, "token", ghost_id), blob)
    scene.act(lambda draft: add_agent(draft, create_group(draft, "later"), draft.agents()[scene.agent_id]))
    Agent(new_machine(), scene.server, scene.token()).gets(PRODUCTION)
