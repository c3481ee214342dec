"""Attacks 15 to 19: by people of the org who have, or had, a right (protocol section 10, "Rights")."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stronghold_cli.crypto.keys import TokenSecret
from stronghold_cli.protocol.documents.head import Head
from stronghold_cli.protocol.documents.structure import Structure
from stronghold_cli.protocol.errors import IntegrityError, StrongholdError
from stronghold_cli.protocol.messages import Steps, decode_sync, encode_sync
from stronghold_cli.protocol.messages_pull import PullAnswer, decode_pull_answer
from stronghold_cli.protocol.requests import KeyId
from stronghold_cli.protocol.signed_map import SignedMap
from stronghold_cli.protocol.state import CONTENTS, Changes
from stronghold_cli.vault.draft import Draft as ClientDraft
from stronghold_cli.vault.groups import create_group, seal_to_token
from stronghold_cli.vault.people import change_role, remove_operator, set_editors
from stronghold_cli.vault.profiles import read_secrets, write_secrets
from tests.e2e.support import Machine
from tests.evil.evil_server import PULL, EvilServer
from tests.evil.forging import forged_pull
from tests.evil.scene import PRODUCTION, STAGING, THREE, TWO, Agent, Scene, answer_for, files_below, home_of
from tests.evil.signing import Request
from tests.server.support import Person

Machines = Callable[[], Machine]
NOTHING = Changes(org=(), heads=(), structure=None, contents=(), payloads=(), maps={})
FORGED = b"value-of-the-attacker"


def shows(scene: Scene, answer: PullAnswer) -> Any:
    return scene.server.plays_back(PULL, answer.encode())


def fresh(scene: Scene, new_machine: Machines, token_id: bytes | None = None) -> Agent:
    return Agent(new_machine(), scene.server, scene.token(token_id))


def operator_refuses(
    scene: Scene, machine: Machine, changes: Changes, *, error: type[StrongholdError] = IntegrityError
) -> None:
    """The admin's device, which has followed the org so far, is shown one more commit of the attackers' making."""
    kept = files_below(machine.data)
    with (
        scene.server.lies("/steps", lambda *_: (200, Steps(seq=scene.org.state.seq + 1, steps=(changes,)).encode())),
        pytest.raises(error),
    ):
        scene.vault(machine, scene.org.admin)
    assert files_below(machine.data) == kept
    assert scene.vault(machine, scene.org.admin).state.seq == scene.org.state.seq


def next_head(scene: Scene, **parts: Any) -> Head:
    known = scene.org.state.head.document
    return known.replace(**{"seq": known.seq + 1, "prev": known.sha256, **parts})


def test_attack_15_older_genuine_structure_under_the_head_of_an_editor(
    scene: Scene, agent: Agent, new_machine: Machines
) -> None:
    """The documented bound: a party without a mark is fed it, back to its token, with the contents of that time."""
    old = answer_for(scene, new_machine())
    scene.act(lambda draft: create_group(draft, "later"))
    newer = scene.mint()
    scene.write("API_KEY", TWO)
    agent.gets({**PRODUCTION, "API_KEY": TWO})
    older_structure = Structure.decode(old.structure.payload)
    contents = SignedMap({**scene.org.state.leaves("contents"), scene.production: old.contents.sha256})
    head = next_head(scene, structure_sha256=older_structure.sha256, contents=contents.root)
    forged = old.replace(head=scene.editor.sign("head", head.payload), contents_proof=contents.prove(scene.production))
    with shows(scene, forged):
        agent.is_refused()
        fresh(scene, new_machine, newer).is_refused(everywhere=False)
        fresh(scene, new_machine).gets(PRODUCTION)
    # Nothing but the structure is older: the contents are the newest, and the mark knows them.
    now, leaves = answer_for(scene, new_machine()), SignedMap(scene.org.state.leaves("contents"))
    structure_alone = old.replace(
        head=scene.editor.sign("head", next_head(scene, structure_sha256=older_structure.sha256).payload),
        contents=now.contents,
        contents_proof=leaves.prove(scene.production),
        entries=now.entries,
    )
    with shows(scene, structure_alone):
        agent.is_refused(everywhere=False)
        fresh(scene, new_machine).gets({**PRODUCTION, "API_KEY": TWO})
    # The newer token is not even helped by documents in which it stands: the structure is below its floor.
    own = answer_for(scene, new_machine(), token_id=newer)
    with shows(scene, own.replace(head=forged.head, structure=forged.structure)):
        fresh(scene, new_machine, newer).is_refused()
    machine = new_machine()
    scene.vault(machine, scene.org.admin)
    step = NOTHING.replace(heads=(forged.head,), structure=forged.structure)
    operator_refuses(scene, machine, step)


def test_attack_16_other_profiles_held_back_under_the_head_of_an_editor(
    scene: Scene, agent: Agent, new_machine: Machines
) -> None:
    old, before = answer_for(scene, new_machine(), "staging"), scene.org.state
    draft = scene.draft()
    scene.org.put(draft, scene.staging, "API_KEY", TWO, scene.staging_ids["API_KEY"])
    scene.org.apply(draft)
    agent.gets({**STAGING, "API_KEY": TWO}, "staging")
    machine, without_copy = new_machine(), new_machine()
    for each in (machine, without_copy):
        scene.vault(each, scene.org.admin)
    next(without_copy.data.glob("orgs/*.json")).unlink()
    contents = SignedMap({**scene.org.state.leaves("contents"), scene.staging: old.contents.sha256})
    head = scene.editor.sign("head", next_head(scene, contents=contents.root).payload)
    now = answer_for(scene, new_machine(), "staging")
    held_back = now.replace(
        head=head, contents=old.contents, contents_proof=contents.prove(scene.staging), entries=old.entries
    )
    with shows(scene, held_back):
        agent.is_refused(profile="staging")
        # The documented bound again: without a mark it is the state of an editor who says that it is the newest.
        fresh(scene, new_machine).gets(STAGING, "staging")
    operator_refuses(scene, machine, NOTHING.replace(heads=(head,), contents=(old.contents,)))

    def older(status: int, body: bytes) -> tuple[int, bytes]:
        """Everything as it stands, complete and proven by the editor's head, but for the older contents of one profile."""
        whole = decode_sync(body)
        envelopes = {each.sha256: each for each in whole.contents}
        envelopes.pop(scene.org.state.contents[scene.staging].envelope.sha256)
        entries = ("entries", scene.staging)
        maps = {**whole.maps, CONTENTS: dict(contents), entries: before.leaves(*entries)}
        return status, encode_sync(whole.replace(heads=(head,), contents=(*envelopes.values(), old.contents), maps=maps))

    with scene.server.lies("/sync", older):
        with pytest.raises(IntegrityError):
            scene.vault(without_copy, scene.org.admin)
        # The control: by itself what is shown holds together, and a machine that remembers nothing believes it.
        assert scene.vault(new_machine(), scene.org.admin).state.head.document.sha256 == head.sha256


@pytest.mark.parametrize("how", ["renames", "regrants", "adds an editor", "adds a token", "makes themself an admin"])
def test_attack_17_an_editor_changes_what_only_admins_may(
    scene: Scene, agent: Agent, new_machine: Machines, how: str
) -> None:
    agent.gets(PRODUCTION)
    machine = new_machine()
    scene.vault(machine, scene.org.admin)
    answer, editor = answer_for(scene, new_machine()), scene.editor
    draft = scene.draft(editor)
    profile, org = draft.profiles[scene.production], scene.org.state.org.document
    changed: dict[str, Any] = {}
    if how == "renames":
        draft.profiles[scene.staging] = draft.profiles[scene.staging].replace(name="former staging")
        changed["profile"] = draft.profiles[scene.production] = profile.replace(name="Production")
    elif how == "regrants":
        scene.org.grant(draft, scene.production, scene.org.add_group(draft, "of the editor", editor))
        changed["profile"] = draft.profiles[scene.production]
    elif how == "adds an editor":
        changed["profile"] = draft.profiles[scene.production] = profile.replace(editors=())
    elif how == "adds a token":
        scene.org.mint(draft, scene.agent_id)
        changed["agent"] = draft.agents[scene.agent_id]
    else:
        own = {editor.operator_id: editor.as_operator().replace(role="admin")}
        draft.org = org.replace(operators={**org.operators, **own})
        changed["org"] = draft.org.replace(seq=org.seq + 1, prev=org.sha256)
    # An honest server takes no such commit; the agent believes none, and nor does another operator.
    commit = draft.finish()
    reply = scene.org.send(commit, editor)
    assert (reply.status, reply.code) == (422, "COMMIT_REFUSED")
    with shows(scene, forged_pull(answer, scene.org.state, scene.token_id, (editor, editor, editor), **changed)):
        agent.is_refused(everywhere=how in ("renames", "makes themself an admin"))
    operator_refuses(scene, machine, commit.changes)
    agent.gets(PRODUCTION)
    # The control: the same from an admin is believed by whoever trusts the org.
    admin = scene.org.admin
    with shows(scene, forged_pull(answer, scene.org.state, scene.token_id, (admin, admin, admin), **changed)):
        fresh(scene, new_machine).gets(PRODUCTION)


@pytest.mark.parametrize("how", ["is not listed", "no longer listed", "no longer an editor"])
def test_attack_18_an_editor_writes_a_profile_that_does_not_list_them(
    scene: Scene, agent: Agent, new_machine: Machines, how: str
) -> None:
    editor, machine = scene.editor, new_machine()
    scene.write("API_KEY", TWO, editor)
    former = scene.org.state.contents[scene.production].envelope
    if how == "is not listed":
        editor = scene.add_person("Mallory", "editor")
    elif how == "no longer listed":
        scene.act(lambda draft: set_editors(draft, draft.profiles()[scene.production], []))
    else:
        scene.act(lambda draft: change_role(draft, editor.operator_id, "reader"))
    agent.gets({**PRODUCTION, "API_KEY": TWO})
    scene.vault(machine, scene.org.admin)
    answer = answer_for(scene, new_machine())
    draft = scene.draft(editor)
    scene.org.put(draft, scene.production, "API_KEY", FORGED, scene.ids["API_KEY"])
    commit = draft.finish()
    reply = scene.org.send(commit, editor)
    assert reply.code == ("FORBIDDEN" if how == "no longer an editor" else "COMMIT_REFUSED")
    (contents,) = commit.changes.contents
    entries = tuple(
        each.replace(leaf=draft.leaves("entries", scene.production)[each.secret_id], ciphertext=draft.blobs[0])
        if each.secret_id == scene.ids["API_KEY"]
        else each
        for each in answer.entries
    )
    tree = SignedMap({**scene.org.state.leaves("contents"), scene.production: contents.sha256})
    forged = answer.replace(
        head=commit.changes.heads[0], contents=contents, contents_proof=tree.prove(scene.production), entries=entries
    )
    # Somebody who may still sign heads helps: only who signed the contents tells.
    helped = forged.replace(head=scene.org.admin.sign("head", commit.changes.heads[0].payload))
    for each in (forged, helped):
        with shows(scene, each):
            agent.is_refused(everywhere=each is helped)
    operator_refuses(scene, machine, commit.changes)
    if how != "is not listed":
        # Nor does the editor's former signature count, although what it stands under is current.
        assert former.sha256 == answer.contents.sha256
        assert former != answer.contents
        with shows(scene, answer.replace(contents=former)):
            agent.is_refused(everywhere=False)
    agent.gets({**PRODUCTION, "API_KEY": TWO})


@pytest.mark.parametrize("how", ["removed", "demoted"])
def test_attack_19_a_former_admins_fork(scene: Scene, new_machine: Machines, how: str) -> None:
    """The documented bound: a party without a mark, whose token is older than the removal, is fed values of their making."""
    zoe = scene.add_person("Zoe", "admin")
    older = scene.mint()
    remembering = fresh(scene, new_machine, older)
    device, elsewhere = new_machine(), new_machine()
    scene.vault(device, scene.org.admin)
    fork, pin = scene.server.fork(), scene.org.pin
    if how == "removed":
        scene.act(lambda draft: remove_operator(draft, zoe.operator_id))
    else:
        scene.act(lambda draft: change_role(draft, zoe.operator_id, "reader"))
    newer = scene.mint()
    remembering.gets(PRODUCTION)
    scene.vault(device, scene.org.admin)
    _go_on(scene, elsewhere, zoe, fork, pin, newer)
    forged = answer_on(fork, scene, new_machine(), older)
    for_newer = answer_by_hand(fork, scene, newer, pin)
    known = scene.org.state.org
    later = known.document.replace(seq=known.document.seq + 1, prev=known.document.sha256)
    head = Head.decode(forged.head.payload).replace(org_sha256=later.sha256)
    told = {
        "the fork": forged,
        "from the newest document": forged.replace(org=(known.envelope,)),
        "with a link of their own": forged.replace(
            org=(known.envelope, zoe.sign("org", later.payload)), head=zoe.sign("head", head.payload)
        ),
    }
    for name, each in told.items():
        with shows(scene, each):
            remembering.is_refused(everywhere=name == "the fork")
            fresh(scene, new_machine, newer).is_refused(everywhere=name == "the fork")
    # All of it is complete, consistent and newer than the token, and made for it: it only does not begin at its pin.
    newest = scene.org.state.org.envelope
    links = {"the fork's": for_newer.org, "its own pin": (newest,), "its pin first": (newest, *for_newer.org)}
    for name, chain in links.items():
        with shows(scene, for_newer.replace(org=chain)):
            fresh(scene, new_machine, newer).is_refused(everywhere=name == "the fork's")
    with pytest.raises(StrongholdError):
        scene.vault(device, scene.org.admin, fork)
    innocent = fresh(scene, new_machine, older)
    innocent.server = fork
    innocent.gets({**PRODUCTION, "API_KEY": FORGED}, everywhere=True)
    remembering.gets(PRODUCTION)
    fork.close()


def answer_on(fork: EvilServer, scene: Scene, machine: Machine, token_id: bytes) -> PullAnswer:
    """What the fork says to an older token."""
    Agent(machine, fork, scene.token(token_id)).pull()
    return decode_pull_answer(fork.last_answer(PULL))


def answer_by_hand(fork: EvilServer, scene: Scene, token_id: bytes, pin: bytes) -> PullAnswer:
    """What the fork says where a pull for the token is asked from the pin of then."""
    secret = TokenSecret(scene.org.tokens[token_id].token.secret)
    target = f"{PULL}?org={pin.hex()}&profile=production"
    reply = Request(secret.auth, KeyId(kind="t", raw=token_id), "GET", target).send_to(fork)
    assert reply.status == 200, reply.body
    return decode_pull_answer(reply.body)


def _go_on(scene: Scene, machine: Machine, person: Person, fork: EvilServer, pin: bytes, newer: bytes) -> None:
    """The former admin goes on writing where nobody has heard of the removal, and takes the newer token in.

    Its public keys and its share are the server's to give: that it was minted later is all that speaks against it.
    """
    vault = scene.vault(machine, person, fork, pin=pin)
    profile = vault.state.profiles[scene.production]
    minted, line = scene.org.tokens[newer], scene.org.state.agents[scene.agent_id].tokens[newer]

    def adopt(draft: ClientDraft) -> None:
        agent = draft.agents()[scene.agent_id]
        draft.put(agent.replace(tokens={**agent.tokens, newer: line.replace(created_by=person.operator_id)}))
        draft.add_share(newer, minted.share)
        draft.add_blob(minted.seal_public)
        seal_to_token(draft, scene.group, newer, agent.id, line.seal_sha256, minted.seal_public)

    with home_of(machine):
        for value in (TWO, THREE, FORGED):
            known = read_secrets(vault, profile)
            vault.commit(lambda draft, known=known, value=value: write_secrets(draft, profile, known, {"API_KEY": value}))  # type: ignore[misc]
        vault.commit(adopt)
