"""Attack 40: the token of one agent and the whole database, against another agent's profiles (protocol section 10)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import product
from typing import TypeVar

import pytest

from stronghold_cli.crypto.keys import GroupKey, MasterKey, ProfileKey, TokenSecret, open_group_key
from stronghold_cli.crypto.tokens import unlock_master_key
from stronghold_cli.protocol.errors import IntegrityError, Refused
from stronghold_cli.protocol.messages_pull import decode_pull_answer
from stronghold_cli.protocol.token import AgentToken, parse_agent_token
from tests.e2e.support import Machine
from tests.evil.evil_server import PULL, EvilServer
from tests.evil.scene import PRODUCTION, STAGING, Agent, Scene

T = TypeVar("T")
OTHERS = {"PAYROLL": b"value-of-the-other-profile"}


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
