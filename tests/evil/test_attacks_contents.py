"""Attacks 1 to 6 and 13: on what a profile holds (protocol section 10, "Contents")."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from stronghold_cli.crypto.secrets import Secret
from stronghold_cli.protocol.documents.contents import Contents
from stronghold_cli.protocol.documents.head import Head
from stronghold_cli.protocol.documents.leaves import EntryLeaf, decode_entry_leaf, leaf_link
from stronghold_cli.protocol.encoding import digest
from stronghold_cli.protocol.messages_pull import Entry, PullAnswer, decode_pull_answer
from stronghold_cli.protocol.signed_map import SignedMap, map_root
from tests.e2e.support import Machine
from tests.evil.evil_server import PULL
from tests.evil.scene import PRODUCTION, STAGING, TWO, Agent, Scene, answer_for, entry_of
from tests.server.support import Person

FORGED = b"value-of-the-attacker"


def renew(answer: PullAnswer, secret_id: bytes, **members: object) -> PullAnswer:
    """The answer with other members of one entry."""
    entries = tuple(each.replace(**members) if each.secret_id == secret_id else each for each in answer.entries)
    return answer.replace(entries=entries)


def signed_by(
    scene: Scene, author: Person, secret_id: bytes, ciphertext: bytes | None
) -> Callable[[PullAnswer], PullAnswer]:
    """The colluding author signs a head, and contents in which a secret's next version is a ciphertext of their choice.

    An honest server would not take such a commit; this one shows it all the same.
    """

    def bend(answer: PullAnswer) -> PullAnswer:
        assert ciphertext is not None
        known = entry_of(answer, secret_id).leaf
        leaf = decode_entry_leaf(known)
        leaf = leaf.replace(version=leaf.version + 1, ciphertext_sha256=digest(ciphertext), prev=leaf_link(secret_id, known))
        answer = renew(answer, secret_id, leaf=leaf.encode(), ciphertext=ciphertext)
        before = Contents.decode(answer.contents.payload)
        leaves = {each.secret_id: each.leaf for each in answer.entries}
        after = before.replace(version=before.version + 1, prev=before.sha256, entries=map_root(leaves))
        return under_a_head_of(scene, author, answer.replace(contents=author.sign("contents", after.payload)), after)

    return bend


@pytest.mark.parametrize("how", ["ciphertexts", "whole leaves", "ids", "in the database", "signed by an editor"])
def test_attack_01_swap_two_ciphertexts(scene: Scene, agent: Agent, how: str) -> None:
    agent.gets(PRODUCTION)
    one, other = scene.ids["DATABASE_URL"], scene.ids["API_KEY"]

    def swap(answer: PullAnswer) -> PullAnswer:
        first, second = entry_of(answer, one), entry_of(answer, other)
        if how == "ids":
            swapped = {one: first.replace(secret_id=other), other: second.replace(secret_id=one)}
            return answer.replace(entries=tuple(swapped.get(each.secret_id, each) for each in answer.entries))
        what = {"ciphertexts": ("ciphertext",), "whole leaves": ("leaf", "ciphertext")}[how]
        answer = renew(answer, one, **{name: getattr(second, name) for name in what})
        return renew(answer, other, **{name: getattr(first, name) for name in what})

    if how == "in the database":
        hashes = [decode_entry_leaf(scene.org.state.leaves("entries", scene.production)[each]) for each in (one, other)]
        first, second = (leaf.ciphertext_sha256 for leaf in hashes)
        ((a,), (b,)) = (
            scene.server.query("SELECT content FROM blobs WHERE sha256 = ?", each)[0] for each in (first, second)
        )
        scene.server.query("UPDATE blobs SET content = ? WHERE sha256 = ?", b, first)
        scene.server.query("UPDATE blobs SET content = ? WHERE sha256 = ?", a, second)
        scene.server.restart()
        agent.is_refused(everywhere=how == "ciphertexts")
    elif how == "signed by an editor":
        ciphertext = entry_of(decode_pull_answer(scene.server.last_answer(PULL)), other).ciphertext
        with scene.server.lies_to_pulls(signed_by(scene, scene.editor, one, ciphertext)):
            agent.is_refused(everywhere=False)
    else:
        with scene.server.lies_to_pulls(swap):
            agent.is_refused(everywhere=how == "ciphertexts")
        agent.gets(PRODUCTION)


@pytest.mark.parametrize("how", ["ciphertext", "entry added", "all of it", "contents alone", "signed by an editor"])
def test_attack_02_move_a_secret_between_profiles(
    scene: Scene, agent: Agent, new_machine: Callable[[], Machine], how: str
) -> None:
    agent.gets(PRODUCTION)
    other = answer_for(scene, new_machine(), "staging")
    moved = entry_of(other, scene.staging_ids["API_KEY"])

    def move(answer: PullAnswer) -> PullAnswer:
        if how == "ciphertext":
            return renew(answer, scene.ids["API_KEY"], ciphertext=moved.ciphertext)
        if how == "entry added":
            return answer.replace(entries=(*answer.entries, moved))
        if how == "contents alone":
            return answer.replace(contents=other.contents, entries=other.entries)
        return answer.replace(contents=other.contents, contents_proof=other.contents_proof, entries=other.entries)

    if how == "signed by an editor":
        with scene.server.lies_to_pulls(signed_by(scene, scene.editor, scene.ids["API_KEY"], moved.ciphertext)):
            agent.is_refused(everywhere=False)
    else:
        with scene.server.lies_to_pulls(move):
            agent.is_refused(everywhere=how == "ciphertext")
        agent.gets(PRODUCTION)


@pytest.mark.parametrize("how", ["ciphertext", "leaf too", "signed by an editor"])
def test_attack_03_old_version_under_the_new_number(
    scene: Scene, agent: Agent, new_machine: Callable[[], Machine], how: str
) -> None:
    secret_id = scene.ids["API_KEY"]
    old = entry_of(answer_for(scene, new_machine()), secret_id)
    scene.write("API_KEY", TWO)
    agent.gets({**PRODUCTION, "API_KEY": TWO})

    def go_back(answer: PullAnswer) -> PullAnswer:
        if how == "ciphertext":
            return renew(answer, secret_id, ciphertext=old.ciphertext)
        leaf = decode_entry_leaf(old.leaf).replace(version=2).encode()
        return renew(answer, secret_id, leaf=leaf, ciphertext=old.ciphertext)

    if how == "signed by an editor":
        with scene.server.lies_to_pulls(signed_by(scene, scene.editor, secret_id, old.ciphertext)):
            agent.is_refused(everywhere=False)
    else:
        with scene.server.lies_to_pulls(go_back):
            agent.is_refused(everywhere=how == "ciphertext")
        agent.gets({**PRODUCTION, "API_KEY": TWO})


@pytest.mark.parametrize("how", ["entry", "ciphertext", "shown as deleted", "all"])
def test_attack_04_drop_one_secret(scene: Scene, agent: Agent, how: str) -> None:
    secret_id = scene.ids["API_KEY"]

    def drop(answer: PullAnswer) -> PullAnswer:
        if how == "ciphertext":
            return renew(answer, secret_id, ciphertext=None)
        if how == "shown as deleted":
            leaf = decode_entry_leaf(entry_of(answer, secret_id).leaf).replace(ciphertext_sha256=bytes(32))
            return renew(answer, secret_id, leaf=leaf.encode(), ciphertext=None)
        kept = () if how == "all" else tuple(each for each in answer.entries if each.secret_id != secret_id)
        return answer.replace(entries=kept)

    with scene.server.lies_to_pulls(drop):
        agent.is_refused(everywhere=how == "entry")
    agent.gets(PRODUCTION)


@pytest.mark.parametrize("how", ["entry added", "ciphertext", "leaf too", "twice", "contents forged"])
def test_attack_05_inject_a_secret_with_the_profile_key_known(scene: Scene, agent: Agent, how: str) -> None:
    key = scene.org.profile_keys[scene.production]
    secret_id = scene.ids["API_KEY"]
    forged = Secret(name="API_KEY", value=FORGED, note=b"", author=scene.editor.operator_id, time=scene.server.now)
    for_old = key.seal_secret(secret_id, 1, forged, os.urandom)
    new_id = bytes(16)
    ciphertext = key.seal_secret(new_id, 1, forged.replace(name="LD_AUDIT"), os.urandom)
    leaf = EntryLeaf(version=1, epoch=1, ciphertext_sha256=digest(ciphertext), prev=bytes(32), oldest=1).encode()
    added = Entry(secret_id=new_id, leaf=leaf, ciphertext=ciphertext)

    def inject(answer: PullAnswer) -> PullAnswer:
        if how == "ciphertext":
            return renew(answer, secret_id, ciphertext=for_old)
        if how == "leaf too":
            renewed = decode_entry_leaf(entry_of(answer, secret_id).leaf).replace(ciphertext_sha256=digest(for_old))
            return renew(answer, secret_id, leaf=renewed.encode(), ciphertext=for_old)
        if how == "twice":
            return answer.replace(entries=(*answer.entries, answer.entries[0]))
        answer = answer.replace(entries=(*answer.entries, added))
        if how == "entry added":
            return answer
        # Contents that name it, as the editor would sign them: the agent's own token is known, a signing key is not.
        known = Contents.decode(answer.contents.payload)
        leaves = {each.secret_id: each.leaf for each in answer.entries}
        document = known.replace(version=known.version + 1, prev=known.sha256, entries=map_root(leaves))
        return answer.replace(contents=answer.contents.replace(payload=document.payload))

    with scene.server.lies_to_pulls(inject):
        agent.is_refused(everywhere=how == "entry added")
    agent.gets(PRODUCTION)


@pytest.mark.parametrize("how", ["contents", "contents and their proof", "all but head and structure"])
@pytest.mark.parametrize("knows", [True, False])
def test_attack_06_old_contents_under_the_new_head(
    scene: Scene, agent: Agent, new_machine: Callable[[], Machine], how: str, knows: bool
) -> None:
    old = answer_for(scene, new_machine())
    scene.write("API_KEY", TWO, scene.editor)
    if knows:
        agent.gets({**PRODUCTION, "API_KEY": TWO})

    def go_back(answer: PullAnswer) -> PullAnswer:
        if how == "all but head and structure":
            return old.replace(head=answer.head, structure=answer.structure)
        answer = answer.replace(contents=old.contents, entries=old.entries)
        return answer if how == "contents" else answer.replace(contents_proof=old.contents_proof)

    with scene.server.lies_to_pulls(go_back):
        agent.is_refused(everywhere=how == "contents" and knows)
    agent.gets({**PRODUCTION, "API_KEY": TWO})


def under_a_head_of(scene: Scene, author: Person, answer: PullAnswer, contents: Contents) -> PullAnswer:
    """The answer under a fresh head of ``author``'s, which names these contents of production."""
    leaves = SignedMap({**scene.org.state.leaves("contents"), scene.production: contents.sha256})
    known = Head.decode(answer.head.payload)
    head = known.replace(seq=known.seq + 1, prev=known.sha256, contents=leaves.root)
    return answer.replace(head=author.sign("head", head.payload), contents_proof=leaves.prove(scene.production))


def test_attack_05_inject_with_the_profile_key_and_a_head_of_an_editor_of_other_profiles(
    scene: Scene, agent: Agent, new_machine: Callable[[], Machine]
) -> None:
    """Head and contents are signed, entries complete, keys right: only that the profile does not list this editor tells."""
    draft = scene.draft()
    stranger = scene.org.add_person(draft, "Mallory", "editor")
    scene.org.apply(draft)
    agent.gets(PRODUCTION)
    secret_id, key = scene.ids["API_KEY"], scene.org.profile_keys[scene.production]
    secret = Secret(name="API_KEY", value=FORGED, note=b"", author=stranger.operator_id, time=scene.server.now)
    ciphertext = key.seal_secret(secret_id, 2, secret, os.urandom)

    with scene.server.lies_to_pulls(signed_by(scene, stranger, secret_id, ciphertext)):
        agent.is_refused()
    # The control: an editor whom the profile does list may write so, and is believed.
    with scene.server.lies_to_pulls(signed_by(scene, scene.editor, secret_id, ciphertext)):
        Agent(new_machine(), scene.server, scene.token()).gets({**PRODUCTION, "API_KEY": FORGED})


def test_attack_06_old_contents_under_the_fresh_head_of_a_colluding_editor(
    scene: Scene, agent: Agent, new_machine: Callable[[], Machine]
) -> None:
    """A mark refuses; the documented bound is that without one, contents back to the token are believed."""
    old = answer_for(scene, new_machine())
    scene.write("API_KEY", TWO)
    agent.gets({**PRODUCTION, "API_KEY": TWO})

    def bend(answer: PullAnswer) -> PullAnswer:
        answer = answer.replace(contents=old.contents, entries=old.entries)
        return under_a_head_of(scene, scene.editor, answer, Contents.decode(old.contents.payload))

    with scene.server.lies_to_pulls(bend):
        agent.is_refused()
        Agent(new_machine(), scene.server, scene.token()).gets(PRODUCTION)
    agent.gets({**PRODUCTION, "API_KEY": TWO})


@pytest.mark.parametrize("asked", ["by name", "by id", "not named, one known"])
def test_attack_13_another_profile_than_the_one_asked_for(
    scene: Scene, agent: Agent, new_machine: Callable[[], Machine], asked: str
) -> None:
    """All of it is genuine, and the token may read it: it is only not what was asked for."""
    wanted = answer_for(scene, new_machine(), "production").encode()
    other = answer_for(scene, new_machine(), "staging").encode()
    if asked == "not named, one known":
        with scene.server.plays_back(PULL, wanted):
            agent.gets(PRODUCTION, None)
    with scene.server.plays_back(PULL, other):
        agent.gets(STAGING, "staging")
        if asked == "by name":
            agent.is_refused()
        elif asked == "by id":
            agent.is_refused(profile_id=scene.production)
        else:
            agent.is_refused(profile=None)


def test_attack_13_a_first_pull_that_names_none_says_which_profile_came(
    scene: Scene, agent: Agent, new_machine: Callable[[], Machine]
) -> None:
    """The documented bound: nothing is known yet, so what is offered is taken, named, and kept."""
    other = answer_for(scene, new_machine(), "staging").encode()
    with scene.server.plays_back(PULL, other):
        first = agent.run("env", "pull").ok()
    assert "staging" in first.err
    assert agent.pull(None).profile.name == "staging"
