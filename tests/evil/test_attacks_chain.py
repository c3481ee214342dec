"""Attacks 20, 21 and 24: on the chain of org documents, and on what clients know (protocol section 10, "Rights")."""

from __future__ import annotations

import os
from typing import Any

import pytest

from stronghold_cli.crypto.keys import RootKey
from stronghold_cli.protocol.documents.agent import Agent as AgentDocument
from stronghold_cli.protocol.documents.contents import Contents
from stronghold_cli.protocol.documents.group import Group
from stronghold_cli.protocol.documents.head import Head
from stronghold_cli.protocol.documents.org import Org, Policy, Resume, RootKeys
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.envelope import Envelope, sign_envelope
from stronghold_cli.protocol.errors import ClientTooOld
from stronghold_cli.protocol.messages_pull import PullAnswer
from tests.evil.forging import forged_pull
from tests.evil.scene import PRODUCTION, Agent, Scene, answer_for
from tests.evil.test_attacks_rights import NOTHING, Machines, fresh, next_head, operator_refuses, shows


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
