"""Attack 10: a fork shown to two devices, then one writes (protocol section 10, "Contents")."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from stronghold_cli.protocol.documents.head import Head
from stronghold_cli.protocol.errors import IntegrityError, Refused
from stronghold_cli.protocol.messages import Commit, Steps, decode_commit
from stronghold_cli.protocol.requests import KeyId
from stronghold_cli.protocol.state import advance
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.groups import create_group
from stronghold_cli.vault.profiles import read_secrets, write_secrets
from tests.e2e.support import Machine
from tests.evil.evil_server import COMMITS, PULL, EvilServer
from tests.evil.scene import OLD_FILE, PRODUCTION, THREE, TWO, Agent, Scene, files_below, home_of, init_on
from tests.evil.test_attacks_removals import second_device
from tests.server.support import Draft, Person

VALUE = "value-of-production-one"


@pytest.fixture
def fork(scene: Scene) -> Iterator[EvilServer]:
    """The same state on a second server; whoever talks to it cannot tell."""
    server = scene.server.fork()
    yield server
    server.close()


class Device:
    """An operator's device with a mark, which is shown the one server or the other."""

    def __init__(self, scene: Scene, machine: Machine, person: Person) -> None:
        self.scene, self.machine, self.person = scene, machine, person
        self.vault(scene.server)

    def vault(self, server: EvilServer) -> Vault:
        return self.scene.vault(self.machine, self.person, server)

    def writes(self, server: EvilServer, value: bytes) -> None:
        vault = self.vault(server)
        profile = vault.state.profiles[self.scene.production]
        with home_of(self.machine):
            vault.commit(lambda draft: write_secrets(draft, profile, read_secrets(vault, profile), {"API_KEY": value}))

    def reads(self, server: EvilServer) -> bytes:
        vault = self.vault(server)
        return read_secrets(vault, vault.state.profiles[self.scene.production])["API_KEY"].secret.value

    def refuses(self, server: EvilServer) -> None:
        """Neither reads nor writes: nothing is sent, and nothing that it remembers changes."""
        kept = files_below(self.machine.data)
        sent = len([each for each in server.recorded if each.path.endswith(COMMITS)])
        with pytest.raises((IntegrityError, Refused)) as caught:
            self.writes(server, THREE)
        assert isinstance(caught.value, IntegrityError) or caught.value.code == "ANCHOR_UNKNOWN"
        assert files_below(self.machine.data) == kept
        assert len([each for each in server.recorded if each.path.endswith(COMMITS)]) == sent


@pytest.mark.parametrize("who", ["two devices of one person", "two people"])
@pytest.mark.parametrize("further", [0, 2])
def test_attack_10_fork_shown_to_two_devices_then_one_writes(
    scene: Scene, fork: EvilServer, new_machine: Callable[[], Machine], who: str, further: int
) -> None:
    """Who has written, or seen, one half never takes the other: at the same number, and when that has gone on further."""
    first = Device(scene, new_machine(), scene.org.admin)
    second = Device(scene, new_machine(), scene.org.admin if who == "two devices of one person" else scene.editor)
    behind = Device(scene, new_machine(), scene.org.admin)
    assert second.reads(fork) == PRODUCTION["API_KEY"]
    first.writes(scene.server, TWO)
    # The documented bound: who is shown the fork alone, where nobody wrote, sees nothing newer, and cannot know.
    assert second.reads(fork) == PRODUCTION["API_KEY"]
    # Who has written is not shown it any more.
    first.refuses(fork)
    # Once the second one has written there, neither takes the half of the other.
    second.writes(fork, b"key-of-the-fork")
    for number in range(further):
        second.writes(fork, b"key-of-the-fork %d" % number)
    first.refuses(fork)
    second.refuses(scene.server)
    # The control: each goes on in its own half, and one that has written in neither follows any one, but then no other.
    assert first.reads(scene.server) == TWO
    assert second.reads(fork).startswith(b"key-of-the-fork")
    assert behind.reads(scene.server) == TWO
    behind.refuses(fork)


def test_attack_10_without_a_fork_both_write(scene: Scene, new_machine: Callable[[], Machine]) -> None:
    """The control."""
    first, second = (Device(scene, new_machine(), scene.org.admin) for _ in range(2))
    first.writes(scene.server, TWO)
    second.writes(scene.server, THREE)
    assert first.reads(scene.server) == second.reads(scene.server) == THREE


def test_attack_10_commit_of_one_half_is_sent_to_the_other(
    scene: Scene, fork: EvilServer, new_machine: Callable[[], Machine]
) -> None:
    """The server joins the halves: it takes the genuine commit from the fork, and puts it behind the other device's."""
    first, second = (Device(scene, new_machine(), scene.org.admin) for _ in range(2))
    first.writes(scene.server, TWO)
    second.writes(fork, b"key-of-the-fork")
    sent = next(each for each in reversed(fork.recorded) if each.path.endswith(COMMITS))
    headers = [each for each in sent.headers if each[0] != b"host"]
    reply = scene.server.call("POST", sent.target, body=sent.body, headers=headers)
    assert (reply.status, reply.code) == (409, "CONFLICT")
    assert len(decode_commit(sent.body).changes.heads) == 1
    # Told as a step all the same, it does not follow what the first device knows.
    theirs = decode_commit(sent.body).changes

    def joined(status: int, body: bytes) -> tuple[int, bytes]:
        return status, Steps(seq=Head.decode(theirs.heads[0].payload).seq, steps=(theirs,)).encode()

    kept = files_below(first.machine.data)
    with scene.server.lies("/steps", joined), pytest.raises(IntegrityError):
        first.vault(scene.server)
    assert files_below(first.machine.data) == kept
    assert first.reads(scene.server) == TWO


def heads_alone(scene: Scene, *dates: int) -> list[Commit]:
    """Commits on the scene's state, each behind the one before, that sign a head anew and change nothing else."""
    commits, state = list[Commit](), scene.org.state
    for date in dates:
        commits.append(Draft(state, scene.org.admin, scene.server.now + date).finish())
        state = advance(state, commits[-1].changes)
    return commits


def send(scene: Scene, server: EvilServer, commit: Commit) -> None:
    key, key_id = scene.org.admin.keyset.request, KeyId(kind="o", raw=scene.org.admin.operator_id)
    assert server.send(key, key_id, "POST", f"{scene.org.path}{COMMITS}", commit.encode()).status == 200


def test_attack_10_halves_that_differ_in_nothing_but_their_heads(
    scene: Scene, fork: EvilServer, new_machine: Callable[[], Machine]
) -> None:
    """State and numbers are the same in both: the link to the head before tells them apart."""
    device, elsewhere = (Device(scene, new_machine(), scene.org.admin) for _ in range(2))
    seq = scene.org.state.seq
    (ours,), (theirs, next_of_theirs) = heads_alone(scene, 0), heads_alone(scene, 1, 2)
    send(scene, scene.server, ours)
    for commit in (theirs, next_of_theirs):
        send(scene, fork, commit)
    assert device.reads(scene.server) == PRODUCTION["API_KEY"]
    joined = Steps(seq=seq + 2, steps=(next_of_theirs.changes,)).encode()
    kept = files_below(device.machine.data)
    with scene.server.plays_back("/steps", joined), pytest.raises(IntegrityError) as caught:
        device.vault(scene.server)
    assert "does not follow the one before" in caught.value.message
    assert files_below(device.machine.data) == kept
    # The control: behind the head that it names, it is followed.
    assert elsewhere.vault(fork).state.seq == seq + 2


def test_attack_10_an_agent_of_halves_that_differ_in_nothing_but_their_heads(
    scene: Scene, fork: EvilServer, agent: Agent, new_machine: Callable[[], Machine]
) -> None:
    """What the agent reads is the same in both, and so is its version: the head in the mark tells them apart."""
    theirs = heads_alone(scene, 1, 2)
    for commit in heads_alone(scene, 0, 0):
        send(scene, scene.server, commit)
    agent.gets(PRODUCTION)
    agent.server = fork
    for commit in theirs:
        send(scene, fork, commit)
        agent.is_refused(everywhere=False)  # older by its number, then another one under it
        Agent(new_machine(), fork, scene.token()).gets(PRODUCTION)  # the control
    agent.server = scene.server
    agent.gets(PRODUCTION)


def test_attack_10_agents_of_the_two_halves(
    scene: Scene, fork: EvilServer, agent: Agent, new_machine: Callable[[], Machine]
) -> None:
    device, other = Device(scene, new_machine(), scene.org.admin), Device(scene, new_machine(), scene.editor)
    agent.gets(PRODUCTION)
    device.writes(scene.server, TWO)
    agent.gets({**PRODUCTION, "API_KEY": TWO})
    # Older by the number, then another one under it.
    agent.server = fork
    agent.is_refused()
    other.writes(fork, b"key-of-the-fork")
    agent.is_refused()
    with fork.lies(PULL, lambda status, body: (status, body)):
        Agent(new_machine(), fork, scene.token()).gets({**PRODUCTION, "API_KEY": b"key-of-the-fork"})  # the control
    agent.server = scene.server
    agent.gets({**PRODUCTION, "API_KEY": TWO}, everywhere=True)


def test_attack_10_by_the_real_program(evil: EvilServer, new_machine: Callable[[], Machine]) -> None:
    org = init_on(evil, new_machine())
    org.make_agent("deploy", {"production": {"API_KEY": VALUE}})
    laptop, desktop = org.machine, second_device(org, new_machine)
    fork = evil.fork()
    elsewhere: dict[str, str | None] = {"STRONGHOLD_URL": fork.url}
    assert desktop.run("secret", "get", "API_KEY", "-p", "production", env=elsewhere).ok().out.strip() == VALUE
    laptop.run("secret", "set", "API_KEY", "-p", "production", stdin="value-of-production-two").ok()
    target = laptop.file(".env", OLD_FILE.decode())
    kept = files_below(laptop.data)
    for words in (
        ("env", "pull", "-p", "production", "-o", ".env"),
        ("secret", "get", "API_KEY", "-p", "production"),
        ("secret", "set", "API_KEY", "-p", "production"),
        ("group", "remove", "production", "--agent", "deploy", "--yes"),
    ):
        result = laptop.run(*words, stdin="value-of-production-three", env=elsewhere)
        assert result.code != 0
        assert result.out_bytes == b""
        assert "value-of-production" not in result.err
    assert target.read_bytes() == OLD_FILE
    assert files_below(laptop.data) == kept
    # The desktop, which wrote nothing, follows as soon as it is shown what the laptop wrote; the fork is over then.
    assert desktop.run("secret", "get", "API_KEY", "-p", "production").ok().out.strip() == "value-of-production-two"
    assert desktop.run("secret", "get", "API_KEY", "-p", "production", env=elsewhere).code != 0
    fork.close()


def test_attack_10_a_conflict_that_the_server_makes_up_brings_no_fork_in(
    scene: Scene, fork: EvilServer, new_machine: Callable[[], Machine]
) -> None:
    """The first device's commit is answered as overtaken, and what it then looks for is told from the fork."""
    first, second = (Device(scene, new_machine(), scene.org.admin) for _ in range(2))
    first.writes(scene.server, TWO)
    second.writes(fork, b"key-of-the-fork")
    vault = first.vault(scene.server)
    steps = fork.last_answer("/steps")
    with (
        home_of(first.machine),
        scene.server.refuses(COMMITS, 409, "CONFLICT", ask=False),
        scene.server.plays_back("/steps", steps),
        pytest.raises(IntegrityError),
    ):
        vault.commit(lambda draft: create_group(draft, os.urandom(4).hex()))
    assert first.reads(scene.server) == TWO
