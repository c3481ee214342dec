"""What is not promised, shown to be just so (protocol section 1, the last column), and what refuses it where that is set.

The limits that belong to an attack of the list are asserted beside it: a complete older state without a mark (8), the
profile that a first pull gets (13), older structure and contents under an editor's head (6, 15, 16), a removed operator's
fork (19), two histories (9), and a dump with a token of its time (39).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from stronghold_cli.crypto.keys import ProfileKey, RootKey, TokenSecret, open_group_key
from stronghold_cli.crypto.tokens import unlock_master_key
from stronghold_cli.protocol.documents.org import Policy
from stronghold_cli.protocol.documents.structure import Structure
from stronghold_cli.protocol.errors import IntegrityError
from stronghold_cli.protocol.messages_pull import PullAnswer, decode_pull_answer
from stronghold_cli.protocol.signed_map import SignedMap
from stronghold_cli.protocol.token import parse_agent_token
from stronghold_cli.reader.client import pull
from stronghold_cli.reader.profile import Asked
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.groups import create_group
from stronghold_cli.vault.policy import limit_head_age, refresh_head
from stronghold_cli.vault.profiles import read_secrets, write_secrets
from stronghold_cli.vault.removal import compromised
from tests.e2e.support import Machine
from tests.evil.evil_server import COMMITS, PULL, EvilServer, InProcess
from tests.evil.scene import PRODUCTION, THREE, TWO, Agent, Scene, answer_for, home_of, init_on

Machines = Callable[[], Machine]
HOUR = 3600
PRODUCTION_ASKED = Asked(name="production", id=None)


def pulled_at(agent: Agent, seconds: int) -> dict[str, bytes]:
    """What the agent gets when its clock stands so many seconds later."""
    with home_of(agent.machine):
        done = pull(InProcess(agent.server), parse_agent_token(agent.token), PRODUCTION_ASKED, lambda: time.time() + seconds)
    return {name: secret.value for name, secret in done.secrets.items()}


def age(scene: Scene, seconds: int) -> None:
    """A commit whose head is dated so many seconds ago."""
    draft = scene.draft()
    draft.created = int(time.time()) - seconds
    scene.org.put(draft, scene.staging, "API_KEY", b"staged at another time", scene.staging_ids["API_KEY"])
    scene.org.apply(draft)


def test_a_server_may_hold_everything_back_up_to_max_head_age(scene: Scene, agent: Agent, new_machine: Machines) -> None:
    """Without a limit, for ever: the mark sees nothing wrong in the newest state that it knows."""
    held_back = scene.server.fork()
    scene.write("API_KEY", TWO)
    agent.server = held_back
    assert pulled_at(agent, 10 * 365 * 86_400) == PRODUCTION
    held_back.close()
    # With a limit, until the newest head that is shown is as old.
    scene.act(lambda draft: limit_head_age(draft, HOUR))
    agent.server = scene.server
    agent.gets({**PRODUCTION, "API_KEY": TWO})
    held_back = scene.server.fork()
    scene.write("API_KEY", THREE)
    agent.server = held_back
    assert pulled_at(agent, HOUR - 60) == {**PRODUCTION, "API_KEY": TWO}
    for party in (agent, Agent(new_machine(), held_back, agent.token)):
        with pytest.raises(IntegrityError, match="seconds old"):
            pulled_at(party, HOUR + 60)
    held_back.close()


def test_an_old_head_stops_the_real_program_of_agents_and_operators(
    scene: Scene, agent: Agent, new_machine: Machines
) -> None:
    scene.act(lambda draft: limit_head_age(draft, HOUR))
    agent.gets(PRODUCTION)
    age(scene, 2 * HOUR)
    agent.is_refused()
    device = new_machine()
    with pytest.raises(IntegrityError, match="seconds old"):
        scene.vault(device, scene.org.admin)


def test_a_device_that_is_held_back_too_and_signs_makes_it_believed(
    scene: Scene, agent: Agent, new_machine: Machines
) -> None:
    """The limit of ``max_head_age``, as section 1 says it; whoever has seen more refuses what it signed."""
    scene.act(lambda draft: limit_head_age(draft, HOUR))
    device = new_machine()
    scene.vault(device, scene.org.admin)
    agent.gets(PRODUCTION)
    held_back = scene.server.fork()
    scene.write("API_KEY", TWO)
    witness = Agent(new_machine(), scene.server, agent.token)
    witness.gets({**PRODUCTION, "API_KEY": TWO})
    with home_of(device):
        operator = scene.vault(device, scene.org.admin, held_back).operator
        Vault(operator, to_refresh=True).commit(refresh_head)
    agent.server = witness.server = held_back
    assert pulled_at(agent, HOUR - 60) == PRODUCTION
    witness.is_refused(everywhere=False)
    held_back.close()


def test_max_head_age_does_not_see_an_editors_fresh_head(scene: Scene, agent: Agent, new_machine: Machines) -> None:
    """An older genuine structure and its contents under it: a party without a mark believes it, one with a mark does not."""
    draft = scene.draft()
    draft.org = draft.org.replace(policy=Policy(client_min=draft.org.policy.client_min, max_head_age=HOUR))
    draft.created = int(time.time()) - 2 * HOUR
    scene.org.apply(draft)
    age(scene, 0)
    old = answer_for(scene, new_machine())
    scene.act(lambda draft: create_group(draft, "later"))
    scene.write("API_KEY", TWO)
    agent.gets({**PRODUCTION, "API_KEY": TWO})
    contents = SignedMap({**scene.org.state.leaves("contents"), scene.production: old.contents.sha256})
    known = scene.org.state.head.document
    head = known.replace(
        seq=known.seq + 1,
        prev=known.sha256,
        structure_sha256=Structure.decode(old.structure.payload).sha256,
        contents=contents.root,
        created=int(time.time()),
    )
    forged = old.replace(head=scene.editor.sign("head", head.payload), contents_proof=contents.prove(scene.production))
    with scene.server.plays_back(PULL, forged.encode()):
        agent.is_refused(everywhere=False)
        Agent(new_machine(), scene.server, agent.token).gets(PRODUCTION)


def opened_by_hand(scene: Scene, token_id: bytes, share: bytes, answer: PullAnswer) -> ProfileKey:
    """The profile's key, as somebody gets it who has the token, its share, and the blobs that the server keeps."""
    token = parse_agent_token(scene.token(token_id))
    master = unlock_master_key(token, TokenSecret(token.secret), share)
    group_key = open_group_key(
        master.seal, scene.org.org_id, scene.group, 1, "token", token_id, scene.org.group_keys[scene.group].kcv, answer.seal
    )
    profile = scene.org.state.profiles[scene.production]
    grant = profile.grants[scene.group]
    ((wrap,),) = scene.server.query("SELECT content FROM blobs WHERE sha256 = ?", grant.wrap_sha256)
    return group_key.unwrap(profile.id, profile.epoch, profile.kcv, bytes(wrap))


def test_a_revoked_tokens_finder_with_the_server_reads_on_until_the_next_rekey(scene: Scene, new_machine: Machines) -> None:
    """The server kept share and seal: why *revoke* and *compromised* are two commands (rule R10)."""
    second = scene.mint()
    answer = answer_for(scene, new_machine(), token_id=second)
    share = scene.org.tokens[second].share
    draft = scene.draft()
    scene.org.revoke(draft, scene.agent_id, second)
    scene.org.apply(draft)
    scene.write("API_KEY", TWO)
    key = opened_by_hand(scene, second, share, answer)
    entry = scene.org.state.entries(scene.production)[scene.ids["API_KEY"]]
    ((ciphertext,),) = scene.server.query("SELECT content FROM blobs WHERE sha256 = ?", entry.ciphertext_sha256)
    assert key.open_secret(scene.ids["API_KEY"], 2, bytes(ciphertext)).value == TWO
    # *compromised* makes new keys: from then on nothing that they hold opens what is there.
    scene.act(lambda draft: compromised(draft, draft.agents()[scene.agent_id], []))
    with pytest.raises(IntegrityError):
        opened_by_hand(scene, second, share, answer)
    entry = scene.org.state.entries(scene.production)[scene.ids["API_KEY"]]
    ((ciphertext,),) = scene.server.query("SELECT content FROM blobs WHERE sha256 = ?", entry.ciphertext_sha256)
    for epoch in (1, 2):
        former = ProfileKey(key.raw, scene.org.org_id, scene.production, epoch)
        with pytest.raises(IntegrityError):
            former.open_secret(scene.ids["API_KEY"], 2, bytes(ciphertext))


def test_a_recorded_answer_and_the_token_found_later_are_what_that_pull_delivered(
    scene: Scene, agent: Agent, new_machine: Machines
) -> None:
    """From inside TLS; also after the token was revoked, and no more than that pull delivered."""
    agent.gets(PRODUCTION)
    recorded = scene.server.last_answer(PULL)
    scene.write("API_KEY", TWO)
    scene.mint()
    draft = scene.draft()
    scene.org.revoke(draft, scene.agent_id, scene.token_id)
    scene.org.apply(draft)
    finder = Agent(new_machine(), scene.server, scene.token())
    with scene.server.plays_back(PULL, recorded):
        finder.gets(PRODUCTION)
    assert decode_pull_answer(recorded).share == scene.org.tokens[scene.token_id].share


def test_a_commit_may_stand_although_its_client_was_told_that_it_failed(evil: EvilServer, new_machine: Machines) -> None:
    """The real program says so, and finds it at the next look."""
    org = init_on(evil, new_machine())
    org.make_agent("deploy", {"production": {"API_KEY": "value-of-production"}})
    with (
        evil.lies(COMMITS, lambda *_: (503, b"")) as lie,
        evil.lies("/steps", lambda status, body: (503, b"") if lie.told else (status, body)),
    ):
        told = org.run("secret", "set", "API_KEY", "-p", "production", stdin="value-of-later").failed(7)
    assert "may have taken effect" in told.err
    assert org.run("secret", "get", "API_KEY", "-p", "production").ok().out.strip() == "value-of-later"


def test_root_kit_and_dump_together_open_everything(scene: Scene) -> None:
    """Until the root is rotated: every group's key is sealed to it, for recovery."""
    root = RootKey(scene.org.root.raw)
    state = scene.org.state
    for group in state.groups.values():
        leaf = state.group_members(group.id)[bytes(16)]
        ((blob,),) = scene.server.query("SELECT content FROM blobs WHERE sha256 = ?", leaf.sealed_sha256)
        key = open_group_key(root.seal, scene.org.org_id, group.id, group.epoch, "root", bytes(16), group.kcv, bytes(blob))
        assert key.raw == scene.org.group_keys[group.id].raw


def test_the_server_sees_names_of_all_but_secrets(scene: Scene, new_machine: Machines) -> None:
    """Metadata that the server sees by design: names of profiles, groups, agents and people; never of secrets."""
    machine = new_machine()
    vault = scene.vault(machine, scene.org.admin)
    with home_of(machine):
        profile = vault.state.profiles[scene.production]
        known = read_secrets(vault, profile)
        vault.commit(lambda draft: write_secrets(draft, profile, known, {"ANOTHER_NAME": b"another value of it"}))
    stored = json.dumps([[str(value) for value in row] for row in scene.server.query("SELECT payload FROM payloads")])
    for name in ("production", "staging", "pipelines", "deploy"):
        assert name in stored
    content = b"".join(path.read_bytes() for path in scene.server.folder.iterdir() if path.is_file())
    for secret in (b"ANOTHER_NAME", b"another value of it", b"DATABASE_URL"):
        assert secret not in content
