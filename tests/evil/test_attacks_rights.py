"""Attacks 15 to 21 and 24: by people of the org who have, or had, a right (protocol section 10, "Rights")."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from stronghold_cli.crypto.keys import RootKey
from stronghold_cli.protocol.documents.agent import Agent as AgentDocument
from stronghold_cli.protocol.documents.contents import Contents
from stronghold_cli.protocol.documents.group import Group
from stronghold_cli.protocol.documents.head import Head
from stronghold_cli.protocol.documents.org import Org, Policy, Resume, RootKeys
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.documents.structure import Structure
from stronghold_cli.protocol.envelope import Envelope, sign_envelope
from stronghold_cli.protocol.errors import ClientTooOld, IntegrityError, StrongholdError
from stronghold_cli.protocol.messages import Steps, decode_sync, encode_sync
from stronghold_cli.protocol.messages_pull import PullAnswer, decode_pull_answer
from stronghold_cli.protocol.signed_map import SignedMap
from stronghold_cli.protocol.state import CONTENTS, Changes
from stronghold_cli.vault.groups import create_group
from stronghold_cli.vault.people import change_role, remove_operator, set_editors
from stronghold_cli.vault.profiles import read_secrets, write_secrets
from tests.e2e.support import Machine
from tests.evil.evil_server import PULL, EvilServer
from tests.evil.forging import forged_pull
from tests.evil.scene import PRODUCTION, STAGING, THREE, TWO, Agent, Scene, answer_for, files_below, home_of
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
    _write_on(scene, elsewhere, zoe, fork, pin)
    forged = answer_on(fork, scene, new_machine(), older)
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


def _write_on(scene: Scene, machine: Machine, person: Person, fork: EvilServer, pin: bytes) -> None:
    """The former admin goes on writing where nobody has heard of the removal."""
    vault = scene.vault(machine, person, fork, pin=pin)
    profile = vault.state.profiles[scene.production]
    with home_of(machine):
        for value in (TWO, THREE, FORGED):
            known = read_secrets(vault, profile)
            vault.commit(lambda draft, known=known, value=value: write_secrets(draft, profile, known, {"API_KEY": value}))  # type: ignore[misc]


def _chain(scene: Scene, signer: str, **members: Any) -> tuple[Envelope, Org]:
    """The next org document with these members, signed by the admin or by a root key."""
    known = scene.org.state.org.document
    document = known.replace(**{"seq": known.seq + 1, "prev": known.sha256, **members})
    if signer == "admin":
        return scene.org.admin.sign("org", document.payload), document
    key = scene.org.root if signer == "root" else OTHER_ROOT
    return sign_envelope("org", document.payload, "root", key.sign), document


OTHER_ROOT = RootKey(b"r" * 32)
OTHER = RootKeys(sign=OTHER_ROOT.sign.public, seal_sha256=OTHER_ROOT.seal.public_sha256)


def _told(scene: Scene, answer: PullAnswer, links: tuple[Envelope, ...], org: Org) -> PullAnswer:
    """The answer with these further links, under a head of the admin's that names the last of them."""
    head = Head.decode(answer.head.payload)
    head = head.replace(seq=head.seq + 1, prev=head.sha256, org_sha256=org.sha256)
    return answer.replace(org=(*answer.org, *links), head=scene.org.admin.sign("head", head.payload))


@pytest.mark.parametrize(
    "signer", ["admin", "the new root", "admin, over a left-out link", "the new root, over a left-out link"]
)
def test_attack_20_an_admin_replaces_the_root(scene: Scene, agent: Agent, new_machine: Machines, signer: str) -> None:
    agent.gets(PRODUCTION)
    machine = new_machine()
    scene.vault(machine, scene.org.admin)
    answer, known = answer_for(scene, new_machine()), scene.org.state.org.document
    who, _, over = signer.partition(", ")
    jump = {"seq": known.seq + 2, "prev": os.urandom(32)} if over else {}
    link, document = _chain(scene, "admin" if who == "admin" else "other", root=OTHER, **jump)
    with shows(scene, _told(scene, answer, (link,), document)):
        agent.is_refused(everywhere=signer == "admin")
        fresh(scene, new_machine).is_refused(everywhere=False)
    head = scene.org.admin.sign("head", next_head(scene, org_sha256=document.sha256).payload)
    operator_refuses(scene, machine, NOTHING.replace(org=(link,), heads=(head,)))
    # The control: the root of before may do it, also over a link that an agent does not get to see.
    link, document = _chain(scene, "root", root=OTHER, **jump)
    with shows(scene, _told(scene, answer, (link,), document)):
        fresh(scene, new_machine).gets(PRODUCTION)


@pytest.mark.parametrize("what", ["client_min lowered", "resume set", "both over a left-out link"])
def test_attack_21_client_min_lowered_or_resume_set_without_root(
    scene: Scene, agent: Agent, new_machine: Machines, what: str
) -> None:
    agent.gets(PRODUCTION)
    machine = new_machine()
    scene.vault(machine, scene.org.admin)
    answer, known = answer_for(scene, new_machine()), scene.org.state.org.document
    changes: dict[str, Any] = {"client_min lowered": {"policy": Policy(client_min="0.0.9", max_head_age=0)}}.get(
        what, {"resume": Resume(head_sha256=scene.org.state.head.document.sha256, seq=scene.org.state.seq)}
    )
    if "left-out" in what:
        changes |= {"policy": Policy(client_min="0.0.9", max_head_age=0), "seq": known.seq + 2, "prev": os.urandom(32)}
    link, document = _chain(scene, "admin", **changes)
    with shows(scene, _told(scene, answer, (link,), document)):
        agent.is_refused(everywhere=what == "client_min lowered")
        fresh(scene, new_machine).is_refused(everywhere=False)
    head = scene.org.admin.sign("head", next_head(scene, org_sha256=document.sha256).payload)
    operator_refuses(scene, machine, NOTHING.replace(org=(link,), heads=(head,)))
    link, document = _chain(scene, "root", **changes)
    with shows(scene, _told(scene, answer, (link,), document)):
        fresh(scene, new_machine).gets(PRODUCTION)


@pytest.mark.parametrize("kind", ["org", "structure", "agent", "profile", "group", "contents", "head"])
def test_attack_24_unknown_crit(scene: Scene, agent: Agent, new_machine: Machines, kind: str) -> None:
    """Also in a document that has members of later times; what is in ``ext`` alone is signed and ignored."""
    agent.gets(PRODUCTION)
    answer, admin = answer_for(scene, new_machine()), scene.org.admin

    def forged(**members: Any) -> PullAnswer:
        changed: dict[str, Any] = {}
        if kind == "org":
            known = scene.org.state.org.document
            changed["org"] = known.replace(seq=known.seq + 1, prev=known.sha256, **members)
        elif kind in ("structure", "head"):
            changed[kind] = members
        elif kind == "contents":
            known_contents = Contents.decode(answer.contents.payload)
            changed[kind] = known_contents.replace(version=known_contents.version + 1, prev=known_contents.sha256, **members)
        else:
            decoders: dict[str, Any] = {"agent": AgentDocument, "profile": Profile, "group": Group}
            changed[kind] = decoders[kind].decode(getattr(answer, kind).payload).replace(**members)
        return forged_pull(answer, scene.org.state, scene.token_id, (admin, admin, admin), **changed)

    with shows(scene, forged(crit=("future",), ext={"future": 1})):
        agent.is_refused(error=ClientTooOld, code=1, error_code="CLIENT_TOO_OLD", everywhere=kind in ("org", "contents"))
    with shows(scene, forged(ext={"future": {"a": [1]}})):
        fresh(scene, new_machine).gets(PRODUCTION)
