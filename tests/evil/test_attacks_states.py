"""Attacks 7 to 9: older and other states, whole and genuine (protocol section 10, "Contents")."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from stronghold_cli.protocol.documents.base import NO_EXTENSIONS
from stronghold_cli.protocol.documents.head import Head
from stronghold_cli.protocol.documents.structure import Structure
from stronghold_cli.protocol.errors import IntegrityError
from stronghold_cli.protocol.messages import Steps
from stronghold_cli.protocol.state import Changes
from tests.e2e.support import Machine
from tests.evil.evil_server import PULL, EvilServer
from tests.evil.scene import OLD_FILE, PRODUCTION, STAGING, THREE, TWO, Agent, Scene, answer_for, init_on


def test_attack_07_older_state_by_way_of_a_profile_that_was_never_read(scene: Scene, agent: Agent) -> None:
    """Nothing but the head's number tells: the structure is the same, and of this profile the mark holds nothing."""
    then = scene.server.snapshot()
    draft = scene.draft(scene.editor)
    scene.org.put(draft, scene.staging, "API_KEY", TWO, scene.staging_ids["API_KEY"])
    scene.org.apply(draft)
    now = scene.server.snapshot()
    agent.gets(PRODUCTION)
    scene.server.restore(then)
    agent.is_refused(profile="staging")
    scene.server.restore(now)
    agent.gets({**STAGING, "API_KEY": TWO}, "staging")


@pytest.mark.parametrize("how", ["database restored", "answer of then", "a fork of then"])
def test_attack_07_whole_older_state_to_a_client_with_a_mark(scene: Scene, agent: Agent, how: str) -> None:
    agent.gets(PRODUCTION)
    then, answer = scene.server.snapshot(), scene.server.last_answer(PULL)
    fork = scene.server.fork()
    scene.write("API_KEY", TWO)
    agent.gets({**PRODUCTION, "API_KEY": TWO})
    if how == "database restored":
        scene.server.restore(then)
        agent.is_refused(everywhere=how == "database restored")
    elif how == "answer of then":
        with scene.server.plays_back(PULL, answer):
            agent.is_refused(everywhere=how == "database restored")
    else:
        agent.server = fork
        agent.is_refused(everywhere=how == "database restored")
        agent.server = scene.server
        agent.gets({**PRODUCTION, "API_KEY": TWO})
    fork.close()


def test_attack_08_whole_older_state_to_a_client_without_a_mark(scene: Scene, new_machine: Callable[[], Machine]) -> None:
    """The documented bound: without a mark a *complete* state is believed back to the token, and none before it."""
    at = {}
    values = {"one": PRODUCTION, "two": {**PRODUCTION, "API_KEY": TWO}, "three": {**PRODUCTION, "API_KEY": THREE}}
    tokens = {"one": scene.token_id}
    at["one"] = scene.server.snapshot()
    answers = {("one", "one"): answer_for(scene, new_machine())}
    for name, value in (("two", TWO), ("three", THREE)):
        scene.write("API_KEY", value)
        tokens[name] = scene.mint()
        at[name] = scene.server.snapshot()
        for token, token_id in tokens.items():
            answers[token, name] = answer_for(scene, new_machine(), token_id=token_id)

    def fresh(token: str) -> Agent:
        return Agent(new_machine(), scene.server, scene.token(tokens[token]))

    # The oldest token may be fed each complete state from its own on, and gets exactly the values of that time.
    for name, values_then in values.items():
        scene.server.restore(at[name])
        fresh("one").gets(values_then)
    # A newer token refuses every state before it, whoever's answer is shown to it, whole or in parts.
    for token, name in (("two", "one"), ("three", "one"), ("three", "two")):
        own, older = answers[token, token], answers["one", name]
        mixtures = {
            "the answer of another token": older,
            "own agent under the older structure": older.replace(agent=own.agent, share=own.share, seal=own.seal),
            "older head and structure alone": own.replace(head=older.head, structure=older.structure),
            "older head alone": own.replace(head=older.head),
            "older structure alone": own.replace(structure=older.structure),
            "older contents": own.replace(
                contents=older.contents, contents_proof=older.contents_proof, entries=older.entries
            ),
        }
        for mixture in mixtures.values():
            with scene.server.plays_back(PULL, mixture.encode()), pytest.raises(IntegrityError):
                fresh(token).pull()
        with scene.server.plays_back(PULL, older.encode()):
            fresh(token).is_refused(everywhere=(token, name) == ("three", "two"))
    # Nor is a mixture believed by the oldest token, to which either half alone is shown as a complete state.
    new, old = answers["one", "three"], answers["one", "one"]
    parts = ("structure", "agent", "profile", "group", "member", "member_proof")
    mixture = new.replace(**{name: getattr(old, name) for name in parts})
    with scene.server.plays_back(PULL, mixture.encode()):
        fresh("one").is_refused(everywhere=False)
    # And each token, shown its own newest state, works.
    for token in tokens:
        fresh(token).gets(values["three"])


def test_attack_08_the_floor_alone_refuses_a_state_that_holds_the_token(
    scene: Scene, agent: Agent, new_machine: Callable[[], Machine]
) -> None:
    """A colluding admin signs a state below the token's floor in which the token stands: only the floor tells it."""
    agent.gets(PRODUCTION)
    answer = answer_for(scene, new_machine())
    admin = scene.org.admin
    head = Head.decode(answer.head.payload)
    structure = Structure.decode(answer.structure.payload)
    assert structure.seq == head.seq
    older = structure.replace(seq=structure.seq - 1)
    fresh_head = head.replace(structure_sha256=older.sha256)
    below = answer.replace(structure=admin.sign("structure", older.payload))
    for signed in (fresh_head, fresh_head.replace(seq=head.seq - 1)):
        forged = below.replace(head=admin.sign("head", signed.payload))
        with scene.server.plays_back(PULL, forged.encode()):
            Agent(new_machine(), scene.server, scene.token()).is_refused(everywhere=signed is fresh_head)
    same = answer.replace(head=admin.sign("head", head.payload))
    with scene.server.plays_back(PULL, same.encode()):
        Agent(new_machine(), scene.server, scene.token()).gets(PRODUCTION)


def _head_after(scene: Scene, jump: int, created: int) -> Head:
    state = scene.org.state
    known = state.head.document
    return Head(
        org_id=known.org_id,
        seq=known.seq + jump,
        prev=known.sha256 if jump else known.prev,
        org_sha256=known.org_sha256,
        structure_sha256=known.structure_sha256,
        contents=known.contents,
        created=created,
        **NO_EXTENSIONS,
    )


@pytest.mark.parametrize("jump", [0, 2, 1 << 20])
def test_attack_09_another_head_under_the_same_number_and_a_counter_jump(
    scene: Scene, agent: Agent, new_machine: Callable[[], Machine], jump: int
) -> None:
    """A colluding editor signs the head. Operators refuse; an agent sees another hash, but cannot see a jump."""
    agent.gets(PRODUCTION)
    with_mark, without_files = new_machine(), new_machine()
    scene.vault(with_mark, scene.org.admin)
    scene.vault(without_files, scene.org.admin)
    next(without_files.data.glob("orgs/*.json")).unlink()  # the mark stays, the local state is gone
    forged = scene.editor.sign("head", _head_after(scene, jump, scene.server.now + 1).payload)
    forged_seq = Head.decode(forged.payload).seq
    only_head = Changes(org=(), heads=(forged,), structure=None, contents=(), payloads=(), maps={})
    for machine in (with_mark, without_files):
        kept = {path: path.read_bytes() for path in machine.data.rglob("*") if path.is_file()}
        # Who has a state asks for the commits since then, who has none for everything.
        if machine is with_mark:
            lie = scene.server.lies("/steps", lambda *_: (200, Steps(seq=forged_seq, steps=(only_head,)).encode()))
        else:
            lie = scene.server.lies_in_json("/sync", "changes.heads", lambda _: [forged.to_json()])
        with lie, pytest.raises(IntegrityError):
            scene.vault(machine, scene.org.admin)
        assert {path: path.read_bytes() for path in machine.data.rglob("*") if path.is_file()} == kept
        assert scene.vault(machine, scene.org.admin).state.seq == scene.org.state.seq
    with scene.server.lies_to_pulls(lambda answer: answer.replace(head=forged)):
        if jump:
            agent.gets(PRODUCTION)
        else:
            agent.is_refused()


def test_attack_09_two_devices_of_one_operator_on_a_fork(evil: EvilServer, new_machine: Callable[[], Machine]) -> None:
    """The real program: both heads are genuine, made by the same person on two machines, each shown one half."""
    org = init_on(evil, new_machine())
    org.make_agent("deploy", {"production": {"API_KEY": "value-of-production-one"}})
    laptop, desktop = org.machine, new_machine()
    for source, target in ((laptop.home, desktop.home), (laptop.runtime, desktop.runtime)):
        shutil.copytree(source, target, dirs_exist_ok=True)
    fork = evil.fork()
    elsewhere = {"STRONGHOLD_URL": fork.url}
    laptop.run("secret", "set", "API_KEY", "-p", "production", stdin="value-of-production-two").ok()
    desktop.run("secret", "set", "API_KEY", "-p", "production", stdin="value-of-production-six", env=elsewhere).ok()
    # Both stand at the same number with different heads. Then one of them goes on.
    desktop.run("secret", "set", "API_KEY", "-p", "production", stdin="value-of-production-seven", env=elsewhere).ok()
    target = laptop.file(".env", OLD_FILE.decode())
    for words in (
        ("env", "pull", "-p", "production", "-o", ".env"),
        ("env", "pull", "-p", "production"),
        ("secret", "get", "API_KEY", "-p", "production"),
        ("run", "-p", "production", "--", "env"),
        ("secret", "set", "API_KEY", "-p", "production"),
    ):
        result = laptop.run(*words, stdin="value-of-production-eight", env=elsewhere).failed(8)
        assert result.out_bytes == b""
        assert "value-of-production" not in result.err
    assert target.read_bytes() == OLD_FILE
    assert laptop.run("secret", "get", "API_KEY", "-p", "production").ok().out.strip() == "value-of-production-two"
    fork.close()
