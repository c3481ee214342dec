"""What is done with every act of ``test_life_cycle``, and compared after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import pytest
from hypothesis import event
from hypothesis.stateful import RuleBasedStateMachine, invariant

from stronghold_cli.protocol.documents.agent import Agent
from stronghold_cli.protocol.errors import Conflict, NotFound, Refused, UsageError
from stronghold_cli.protocol.state import OrgState
from stronghold_cli.protocol.token import AgentToken
from stronghold_cli.vault import agents, histories, profiles
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.draft import Draft
from tests.properties.life_keyholder import Keyholders
from tests.properties.life_model import Model, Told
from tests.properties.life_org import ADDRESS, LifeOrg
from tests.server.support import World

T = TypeVar("T")
Ids = Sequence[bytes]
Do = Callable[[Vault, Draft], Callable[[OrgState], Ids]]
Expect = Callable[[Model, Ids], Model]

DEVICES = 3
PLACEHOLDERS = tuple(b"made %d" % number for number in range(12))


class Person(NamedTuple):
    """Somebody at a device, who looks at the newest state before they act, or does not."""

    device: int
    looks: bool


def nothing(_: OrgState) -> Ids:
    """What an act makes that makes nothing with an id."""
    return ()


class Life(RuleBasedStateMachine):
    """An org, and the model of it; the acts are rules of ``LifeCycle``."""

    def __init__(self, world: World, folder: Path) -> None:
        super().__init__()
        self.org = LifeOrg(world, folder, DEVICES)
        self.model = Model()
        self.models = {self.org.head()[1]: self.model}  # what each head ever means
        self.tokens: dict[bytes, tuple[AgentToken, bytes]] = {}  # all that took effect, with their agents' ids
        self.minted: dict[bytes, tuple[AgentToken, bytes]] = {}  # by one act, in all its attempts
        self.keyholders = Keyholders(self.org.org_id)
        self.last_known: dict[tuple[bytes, bytes], int] = {}
        self.steps = 0
        self.is_sound = True
        self.has_news = True

    def teardown(self) -> None:
        try:
            if self.is_sound:
                self.everybody_reads()
        finally:
            self.org.close()

    # An act, and what has to come of it.

    def act(self, person: Person, do: Do, expect: Expect, lose: str = "nothing") -> None:
        """Carry out an act on a device, and hold what came of it against the model."""
        self.is_sound = False
        self.minted.clear()
        self.org.world.now += 1
        known, vault = self.seen(person), self.org.devices[person.device]
        seq, head = self.org.head()
        # A device that is behind may be told by what it knows, or by what it learns when it sends.
        outcomes = {outcome(model, expect) for model in (known, self.model)}
        self.org.wire.lose = lose
        error, made = None, nothing
        try:
            made = vault.commit(partial(do, vault))
        except (Conflict, NotFound, UsageError) as caught:
            error = type(caught)
        self.org.wire.lose = "nothing"
        seq_after, head_after = self.org.head()
        if seq_after == seq:
            assert (error or "unchanged") in outcomes, f"{error or 'nothing happened'}, but the model says {outcomes}"
        else:
            assert seq_after == seq + 1, "one act made several commits"
            assert error is None, f"the person was told {error}, but the act took effect"
            assert vault.state.head.document.sha256 == head_after
            self.model = expect(self.model, made(vault.state))
            self.models[head_after] = self.model
            self.has_news = True
            self.compare(vault.state)
        told = error.__name__ if error else "changed" if seq_after > seq else "unchanged"
        event(f"{told}{'' if known is self.models[head] else ', and was behind'}")
        self.is_sound = True

    def seen(self, person: Person) -> Model:
        """What somebody knows who is about to act."""
        vault = self.org.devices[person.device]
        if person.looks and vault.state.head.document.sha256 != self.org.head()[1]:
            vault.refresh()
        return self.models[vault.state.head.document.sha256]

    def mint(self, draft: Draft, agent: Agent, not_after: int | None = None) -> bytes:
        new = agents.mint(draft, agent, f"token {self.org.now} {len(self.minted)}", ADDRESS, not_after=not_after)
        return self.keep(new)

    def keep(self, new: agents.NewToken) -> bytes:
        """Hand a new token to its agent; one of an attempt that was overtaken is never used."""
        self.minted[new.token_id] = (new.token, new.agent.id)
        return new.token_id

    # What is compared.

    def compare(self, state: OrgState) -> None:
        """The verified state, and what can be made of a dump."""
        assert of_state(state) == of_model(self.model)
        blobs, shares = self.org.dump()
        minted = {id_ for agent in self.model.agents.values() for id_ in agent.tokens}
        assert shares.keys() == minted
        self.tokens.update({id_: line for id_, line in self.minted.items() if id_ in minted})
        for token_id in self.minted.keys() & minted:
            self.keyholders.keep(self.minted[token_id][0], shares[token_id])
        assert self.keyholders.dump(blobs, state) == {
            (profile_id, secret_id, number)
            for profile_id, profile in self.model.profiles.items()
            for secret_id, secret in profile.secrets.items()
            for number, value in secret.kept().items()
            if value is not None
        }
        self.compare_keys(state)

    def compare_keys(self, state: OrgState) -> None:
        """Nobody opens what was written after they lost their reading; who may know a key opens all under it."""
        for profile_id, profile in self.model.profiles.items():
            for token_id in profile.knowers:
                self.last_known[token_id, profile_id] = self.keyholders.step
            live = {entry.ciphertext_sha256 for entry in state.entries(profile_id).values() if entry.is_live}
            for token_id in profile.knowers:
                assert self.keyholders.opens(token_id, live)
        for token_id in self.tokens:
            for profile_id, newest in self.keyholders.newest_opened(token_id).items():
                assert newest <= self.last_known.get((token_id, profile_id), 0), "old keys open what was written later"

    @invariant()
    def every_agent_reads(self) -> None:
        """Each agent pulls what it may with one of its tokens, and somebody what they may not, in turn.

        After an act that changed nothing they would get what they got before, and do not ask again.
        """
        if not self.has_news:
            return
        self.has_news, self.is_sound = False, False
        self.steps += 1
        may, may_not = dict[bytes, list[tuple[bytes, bytes]]](), list[tuple[bytes, bytes]]()
        for token_id, (_, agent_id) in self.tokens.items():
            for profile_id in self.model.profiles:
                if self.model.refusals(token_id, agent_id, profile_id, self.org.now):
                    may_not.append((token_id, profile_id))
                else:
                    may.setdefault(agent_id, []).append((token_id, profile_id))
        for pairs in (*may.values(), *([may_not] if may_not else [])):
            self.read(*in_turn(pairs, self.steps))
        self.is_sound = True

    def everybody_reads(self) -> None:
        """At the end: every token all that it may, and the operator's own devices, with the history of every secret."""
        for token_id, (_, agent_id) in self.tokens.items():
            for profile_id in self.model.profiles:
                if not self.model.refusals(token_id, agent_id, profile_id, self.org.now):
                    self.read(token_id, profile_id)
        for vault in self.org.devices:
            vault.refresh()
            assert of_state(vault.state) == of_model(self.model)
        for profile_id, line in self.model.profiles.items():
            profile = vault.state.profiles[profile_id]
            assert {name: each.secret.value for name, each in profiles.read_secrets(vault, profile).items()} == line.live()
            for secret_id, secret in line.secrets.items():
                if any(value is not None for value in secret.kept().values()):
                    assert history_of(vault, profile_id, secret_id) == secret.kept()

    def read(self, token_id: bytes, profile_id: bytes) -> None:
        token, agent_id = self.tokens[token_id]
        profile = self.model.profiles[profile_id]
        refusals = self.model.refusals(token_id, agent_id, profile_id, self.org.now)
        if refusals:
            with pytest.raises(Refused) as caught:
                self.org.pull(token, profile.name)
            assert caught.value.code in refusals
        else:
            assert self.org.pull(token, profile.name) == profile.live()

    # Whom and what an act is about: what the person at the device knows of.

    def an_agent(self, person: Person, one: int) -> bytes:
        return in_turn(list(self.seen(person).agents) or [bytes(16)], one)

    def a_group(self, person: Person, one: int) -> bytes:
        return in_turn(list(self.seen(person).groups) or [bytes(16)], one)

    def a_profile(self, person: Person, one: int) -> bytes:
        return in_turn(list(self.seen(person).profiles) or [bytes(16)], one)

    def a_token(self, person: Person, one: int) -> bytes:
        known = [id_ for agent in self.seen(person).agents.values() for id_ in agent.tokens]
        return in_turn(known or [bytes(16)], one)

    def a_secret(self, person: Person, one: int, *, deleted: bool = False) -> tuple[bytes, bytes]:
        known = [
            (profile_id, secret_id, secret.value is None)
            for profile_id, profile in self.seen(person).profiles.items()
            for secret_id, secret in profile.secrets.items()
        ]
        preferred = [each for each in known if each[2] == deleted] or known
        return in_turn(preferred, one)[:2] if preferred else (bytes(16), bytes(16))

    def has_tokens(self) -> bool:
        return any(agent.tokens for agent in self.model.agents.values())

    def has_secrets(self) -> bool:
        return any(profile.secrets for profile in self.model.profiles.values())


def in_turn(items: Sequence[T], number: int) -> T:
    return items[number % len(items)]


def outcome(model: Model, expect: Expect) -> object:
    """What has to come of an act on this state: a class of errors, or whether it changes something."""
    try:
        return "unchanged" if expect(model, PLACEHOLDERS) == model else "changed"
    except Told as told:
        return told.error


def history_of(vault: Vault, profile_id: bytes, secret_id: bytes) -> dict[int, bytes | None]:
    history = histories.read_history(vault, vault.state.profiles[profile_id], secret_id)
    return {item.number: None if item.secret is None else item.secret.value for item in history.versions}


def of_state(state: OrgState) -> dict[str, object]:
    """Everything that the model knows of too."""
    return {
        "agents": {
            id_: (
                agent.name,
                agent.state == "active",
                set(agent.groups),
                {f"{key}={value}" for key, value in agent.labels.items()},
                {token: (line.state, line.created, line.not_after) for token, line in agent.tokens.items()},
            )
            for id_, agent in state.agents.items()
        },
        "groups": {id_: group.name for id_, group in state.groups.items()},
        "profiles": {
            id_: (
                profile.name,
                set(profile.grants),
                {key: (entry.version, entry.oldest, entry.is_live) for key, entry in state.entries(id_).items()},
            )
            for id_, profile in state.profiles.items()
        },
        "lockdowns": {lockdown.id for lockdown in state.structure.document.lockdowns},
    }


def of_model(model: Model) -> dict[str, object]:
    return {
        "agents": {
            id_: (
                agent.name,
                agent.is_active,
                agent.groups,
                agent.labels,
                {token: (line.state, line.created, line.not_after) for token, line in agent.tokens.items()},
            )
            for id_, agent in model.agents.items()
        },
        "groups": {id_: group.name for id_, group in model.groups.items()},
        "profiles": {
            id_: (
                profile.name,
                profile.grants,
                {
                    key: (len(secret.versions), secret.oldest, secret.value is not None)
                    for key, secret in profile.secrets.items()
                },
            )
            for id_, profile in model.profiles.items()
        },
        "lockdowns": set(model.lockdowns),
    }
