"""Random sequences of acts on agents, tokens, groups, grants and secrets, against a simple model of who may read what.

Several devices of one admin act through the client's library on a real server in this process. A device that has not
looked for a while knows an older state: its act is carried out on the newest one, or the person is told. Requests and
answers of commits get lost. After each act

- the verified state is the model's, and one act made one commit, or none;
- every agent pulls for real, and gets the model's values, or the model's refusal;
- whoever kept all keys that a token ever led to, and has all dumps of the database, opens nothing that was written after
  the token's holder lost its reading, and everything that it may read: so the attack itself is sound;
- the dump holds the versions and shares that the model keeps, and no other.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test

from stronghold_cli.protocol.documents.agent import Agent, Rate
from stronghold_cli.protocol.errors import NotFound
from stronghold_cli.protocol.state import OrgState
from stronghold_cli.vault import agents, groups, histories, lockdowns, profiles, removal, tokens
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.lookup import shown_id
from stronghold_server import service
from tests.properties.life_machine import DEVICES, Ids, Life, Person, T, in_turn, nothing
from tests.properties.life_model import LockdownLine, Model
from tests.properties.life_org import ADDRESS
from tests.server.support import World

SEQUENCES, ACTS, PARTS = 200, 30, 4
MOST_TOKENS = 4

# Who acts; most look at the newest state first, as every command does, and then meet nobody in between.
device = st.tuples(st.integers(0, DEVICES - 1), st.sampled_from((True, True, False))).map(lambda drawn: Person(*drawn))
which = st.integers(0, 11)
# Commits seldom get lost.
lost = st.sampled_from(("nothing",) * 8 + ("request", "answer"))
names = st.sampled_from(("one", "two", "three"))
secret_names = st.sampled_from(("ALPHA", "BETA"))
labels = st.sampled_from((frozenset(), frozenset({"env=ci"}), frozenset({"env=prod"})))


def find(documents: Mapping[bytes, T], id_: bytes) -> T:
    """What a command finds by its name or id."""
    if id_ not in documents:
        raise NotFound("there is none")
    return documents[id_]


def owner(draft: Draft, token_id: bytes) -> Agent:
    found = [agent for agent in draft.agents().values() if token_id in agent.tokens]
    if not found:
        raise NotFound("there is no such token")
    return found[0]


class LifeCycle(Life):
    """The acts."""

    # The beginning: two profiles with a group each, three agents, four tokens.

    @initialize()
    def furnish(self) -> None:
        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            made, own = [], []
            for name in ("one", "two"):
                profile = profiles.create_profile(draft, name)
                profiles.write_secrets(draft, profile, {}, {"ALPHA": name.encode()})
                (group_id,) = profile.grants
                made += [profile.id, group_id]
                own.append(draft.groups()[group_id])
            for name, members in (("one", own), ("two", own[:1]), ("three", own[1:])):
                agent = agents.create_agent(draft, name, members)
                made += [agent.id, self.mint(draft, agent)]
            return lambda state: [*made, *(next(iter(state.entries(id_))) for id_ in made[:4:2])]

        def expect(model: Model, ids: Ids) -> Model:
            now = self.org.now
            for name, profile_id, group_id, secret_id in (("one", *ids[:2], ids[10]), ("two", *ids[2:4], ids[11])):
                model = model.create_profile(profile_id, name, group_id)
                model = model.write(secret_id, profile_id, "ALPHA", name.encode())
            members = {"one": (ids[1], ids[3]), "two": (ids[1],), "three": (ids[3],)}
            for position, (name, own) in enumerate(members.items()):
                agent_id, token_id = ids[4 + 2 * position : 6 + 2 * position]
                model = model.create_agent(agent_id, name, own).mint(token_id, agent_id, None, now)
            return model

        self.act(Person(0, looks=True), do, expect)

    # Devices and time.

    @rule(person=device)
    def restart(self, person: Person) -> None:
        self.org.restart(person.device)

    @rule(seconds=st.sampled_from((30, 600, 4000)))
    def wait(self, seconds: int) -> None:
        self.org.world.now += seconds
        self.has_news = True

    # Agents and tokens.

    @rule(person=device, name=names, chosen=st.sets(which, max_size=2), lose=lost)
    def create_agent(self, person: Person, name: str, chosen: set[int], lose: str) -> None:
        own = {in_turn(list(self.seen(person).groups), each) for each in chosen} if self.seen(person).groups else set()

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            agent = agents.create_agent(draft, name, [find(draft.groups(), id_) for id_ in own])
            token_id = self.mint(draft, agent)
            return lambda _: (agent.id, token_id)

        def expect(model: Model, ids: Ids) -> Model:
            return model.create_agent(ids[0], name, own).mint(ids[1], ids[0], None, self.org.now)

        self.act(person, do, expect, lose)

    @precondition(lambda self: self.model.agents)
    @rule(person=device, agent=which, lose=lost)
    def delete_agent(self, person: Person, agent: int, lose: str) -> None:
        agent_id = self.an_agent(person, agent)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            removal.delete_agent(draft, find(draft.agents(), agent_id))
            return nothing

        self.act(person, do, lambda model, _: model.delete_agent(agent_id, self.org.now), lose)

    @precondition(lambda self: self.model.agents)
    @rule(person=device, agent=which, is_active=st.booleans(), lose=lost)
    def pause_or_activate(self, person: Person, agent: int, is_active: bool, lose: str) -> None:
        agent_id = self.an_agent(person, agent)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            change = agents.activate_agent if is_active else agents.pause_agent
            change(draft, find(draft.agents(), agent_id))
            return nothing

        self.act(person, do, lambda model, _: model.set_active(agent_id, is_active), lose)

    @precondition(lambda self: self.model.agents)
    @rule(person=device, agent=which, worn=labels)
    def label(self, person: Person, agent: int, worn: frozenset[str]) -> None:
        agent_id = self.an_agent(person, agent)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            found = find(draft.agents(), agent_id)
            wanted = dict(label.split("=") for label in worn)
            agents.label_agent(draft, found, wanted, found.labels.keys() - wanted.keys())
            return nothing

        self.act(person, do, lambda model, _: model.label(agent_id, worn))

    @precondition(lambda self: any(len(agent.tokens) < MOST_TOKENS for agent in self.model.agents.values()))
    @rule(person=device, agent=which, lives=st.sampled_from((None, None, 500, 5000)), lose=lost)
    def mint_token(self, person: Person, agent: int, lives: int | None, lose: str) -> None:
        known = self.seen(person).agents
        few = [id_ for id_, line in known.items() if len(line.tokens) < MOST_TOKENS]
        agent_id = in_turn(few or list(known) or [b""], agent)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            not_after = None if lives is None else draft.now + lives
            token_id = self.mint(draft, find(draft.agents(), agent_id), not_after)
            return lambda _: (token_id,)

        def expect(model: Model, ids: Ids) -> Model:
            now = self.org.now
            return model.mint(ids[0], agent_id, None if lives is None else now + lives, now)

        self.act(person, do, expect, lose)

    @precondition(lambda self: self.has_tokens())
    @rule(person=device, token=which, lose=lost)
    def revoke(self, person: Person, token: int, lose: str) -> None:
        token_id = self.a_token(person, token)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            agents.revoke(draft, owner(draft, token_id), token_id)
            return nothing

        self.act(person, do, lambda model, _: model.revoke(token_id), lose)

    @precondition(lambda self: self.has_tokens())
    @rule(person=device, token=which, state=st.sampled_from(("active", "deprecated")))
    def deprecate_or_not(self, person: Person, token: int, state: str) -> None:
        token_id = self.a_token(person, token)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            change = tokens.deprecate if state == "deprecated" else tokens.undeprecate
            change(draft, owner(draft, token_id), token_id)
            return nothing

        self.act(person, do, lambda model, _: model.set_token_state(token_id, state, self.org.now))

    @precondition(lambda self: self.has_tokens())
    @rule(person=device, token=which, grace=st.sampled_from((0, 100, 5000)), lose=lost)
    def rotate(self, person: Person, token: int, grace: int, lose: str) -> None:
        token_id = self.a_token(person, token)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            rotated = tokens.rotate(draft, owner(draft, token_id), token_id, ADDRESS, grace=grace)
            made = self.keep(rotated.new)
            return lambda _: (made,)

        self.act(person, do, lambda model, ids: model.rotate(ids[0], token_id, grace, self.org.now), lose)

    @precondition(lambda self: self.model.agents)
    @rule(person=device, agent=which, only=st.none() | which, lose=lost)
    def compromised(self, person: Person, agent: int, only: int | None, lose: str) -> None:
        agent_id = self.an_agent(person, agent)
        known = self.seen(person).agents.get(agent_id)
        chosen = None if only is None or known is None or not known.tokens else {in_turn(list(known.tokens), only)}

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            removal.compromised(draft, find(draft.agents(), agent_id), chosen)
            return nothing

        self.act(person, do, lambda model, _: model.compromised(agent_id, chosen, self.org.now), lose)

    # Groups and grants.

    @rule(person=device, name=names, lose=lost)
    def create_group(self, person: Person, name: str, lose: str) -> None:
        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            group = groups.create_group(draft, name)
            return lambda _: (group.id,)

        self.act(person, do, lambda model, ids: model.create_group(ids[0], name), lose)

    @precondition(lambda self: self.model.groups)
    @rule(person=device, group=which, lose=lost)
    def delete_group(self, person: Person, group: int, lose: str) -> None:
        group_id = self.a_group(person, group)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            removal.delete_group(draft, find(draft.groups(), group_id))
            return nothing

        self.act(person, do, lambda model, _: model.delete_group(group_id, self.org.now), lose)

    @precondition(lambda self: self.model.groups and self.model.agents)
    @rule(person=device, group=which, agent=which, lose=lost)
    def add_to_group(self, person: Person, group: int, agent: int, lose: str) -> None:
        group_id, agent_id = self.a_group(person, group), self.an_agent(person, agent)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            groups.add_agent(draft, find(draft.groups(), group_id), find(draft.agents(), agent_id))
            return nothing

        self.act(person, do, lambda model, _: model.add_agent(group_id, agent_id), lose)

    @precondition(lambda self: self.model.groups and self.model.agents)
    @rule(person=device, group=which, chosen=st.sets(which, min_size=1, max_size=2), lose=lost)
    def remove_from_group(self, person: Person, group: int, chosen: set[int], lose: str) -> None:
        group_id, known = self.a_group(person, group), self.seen(person).agents
        members = [id_ for id_, agent in known.items() if group_id in agent.groups] or list(known)
        gone = {in_turn(members, each) for each in chosen} if members else {b""}

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            found = find(draft.groups(), group_id)
            removal.remove_from_group(draft, found, [find(draft.agents(), id_) for id_ in gone], [])
            return nothing

        self.act(person, do, lambda model, _: model.remove_agents(group_id, gone, self.org.now), lose)

    @precondition(lambda self: self.model.groups and self.model.profiles)
    @rule(person=device, group=which, profile=which, lose=lost)
    def grant(self, person: Person, group: int, profile: int, lose: str) -> None:
        group_id, profile_id = self.a_group(person, group), self.a_profile(person, profile)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            groups.grant(draft, find(draft.groups(), group_id), find(draft.profiles(), profile_id))
            return nothing

        self.act(person, do, lambda model, _: model.grant(group_id, profile_id), lose)

    @precondition(lambda self: self.model.groups and self.model.profiles)
    @rule(person=device, group=which, profile=which, lose=lost)
    def ungrant(self, person: Person, group: int, profile: int, lose: str) -> None:
        profile_id = self.a_profile(person, profile)
        line = self.seen(person).profiles.get(profile_id)
        granted = [] if line is None else [id_ for id_ in self.seen(person).groups if id_ in line.grants]
        group_id = in_turn(granted, group) if granted else self.a_group(person, group)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            removal.ungrant(draft, find(draft.groups(), group_id), find(draft.profiles(), profile_id))
            return nothing

        self.act(person, do, lambda model, _: model.ungrant(group_id, profile_id, self.org.now), lose)

    # Profiles and secrets.

    @rule(person=device, name=names, with_group=st.booleans(), lose=lost)
    def create_profile(self, person: Person, name: str, with_group: bool, lose: str) -> None:
        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            profile = profiles.create_profile(draft, name, with_group=with_group)
            return lambda _: (profile.id, *profile.grants)

        def expect(model: Model, ids: Ids) -> Model:
            return model.create_profile(ids[0], name, ids[1] if with_group else None)

        self.act(person, do, expect, lose)

    @precondition(lambda self: self.model.profiles)
    @rule(person=device, profile=which)
    def delete_profile(self, person: Person, profile: int) -> None:
        profile_id = self.a_profile(person, profile)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            removal.delete_profile(draft, find(draft.profiles(), profile_id))
            return nothing

        self.act(person, do, lambda model, _: model.delete_profile(profile_id))

    @precondition(lambda self: self.model.profiles)
    @rule(person=device, profile=which, name=secret_names, value=st.sampled_from((b"", b"x", b"y\n")), lose=lost)
    def write_secret(self, person: Person, profile: int, name: str, value: bytes, lose: str) -> None:
        profile_id = self.a_profile(person, profile)

        def do(vault: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            found = find(draft.profiles(), profile_id)
            profiles.write_secrets(draft, found, profiles.read_secrets(vault, found), {name: value})
            known = self.model.profiles[profile_id].secrets
            return lambda state: [id_ for id_ in state.entries(profile_id) if id_ not in known] or [b""]

        self.act(person, do, lambda model, ids: model.write(ids[0], profile_id, name, value), lose)

    @precondition(lambda self: self.model.profiles)
    @rule(person=device, profile=which, name=secret_names, lose=lost)
    def delete_secret(self, person: Person, profile: int, name: str, lose: str) -> None:
        profile_id = self.a_profile(person, profile)

        def do(vault: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            found = find(draft.profiles(), profile_id)
            profiles.delete_secrets(draft, found, profiles.read_secrets(vault, found), [name])
            return nothing

        self.act(person, do, lambda model, _: model.delete_secret(profile_id, name), lose)

    @precondition(lambda self: self.has_secrets())
    @rule(person=device, secret=which, version=st.none() | st.integers(1, 4))
    def roll_back(self, person: Person, secret: int, version: int | None) -> None:
        profile_id, secret_id = self.a_secret(person, secret)

        def do(vault: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            found = find(draft.profiles(), profile_id)
            if not find(draft.state.entries(profile_id), secret_id).is_live:
                raise NotFound("it was deleted")
            history = histories.read_history(vault, found, secret_id)
            histories.roll_back(draft, found, profiles.read_secrets(vault, found), history, version)
            return nothing

        self.act(person, do, lambda model, _: model.roll_back(profile_id, secret_id, version))

    @precondition(lambda self: self.has_secrets())
    @rule(person=device, secret=which, lose=lost)
    def restore(self, person: Person, secret: int, lose: str) -> None:
        profile_id, secret_id = self.a_secret(person, secret, deleted=True)

        def do(vault: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            found = find(draft.profiles(), profile_id)
            deleted = {item.id: item for item in histories.read_deleted(vault, found)}
            known = profiles.read_secrets(vault, found)
            histories.restore(draft, found, known, find(deleted, secret_id), None)
            return nothing

        self.act(person, do, lambda model, _: model.restore(profile_id, secret_id), lose)

    @precondition(lambda self: self.has_secrets())
    @rule(person=device, secret=which, keep=st.integers(1, 2))
    def purge(self, person: Person, secret: int, keep: int) -> None:
        profile_id, secret_id = self.a_secret(person, secret)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            found = find(draft.profiles(), profile_id)
            find(draft.state.entries(profile_id), secret_id)
            histories.purge(draft, found, secret_id, "a secret", keep)
            return nothing

        self.act(person, do, lambda model, _: model.purge(profile_id, secret_id, keep))

    # Lockdowns.

    @precondition(lambda self: self.model.agents and self.model.groups)
    @rule(person=device, whom=st.sampled_from(("all", "group", "agent", "label")), one=which, worn=labels, lose=lost)
    def lock_down(self, person: Person, whom: str, one: int, worn: frozenset[str], lose: str) -> None:
        line = LockdownLine(
            all=whom == "all" or (whom == "label" and not worn),
            groups=frozenset({self.a_group(person, one)} if whom == "group" else ()),
            agents=frozenset({self.an_agent(person, one)} if whom == "agent" else ()),
            labels=worn if whom == "label" else frozenset(),
        )

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            wanted = lockdowns.Wanted(
                all=line.all,
                groups=tuple(shown_id("group", id_) for id_ in line.groups),
                agents=tuple(shown_id("agent", id_) for id_ in line.agents),
                labels=tuple(line.labels),
                reason="found in a log",
            )
            stopped = lockdowns.lock_down(draft, wanted)
            return lambda _: (stopped.lockdown.id,)

        self.act(person, do, lambda model, ids: model.lock_down(ids[0], line), lose)

    @precondition(lambda self: self.model.lockdowns)
    @rule(person=device, lockdown=which, lose=lost)
    def lift(self, person: Person, lockdown: int, lose: str) -> None:
        lockdown_id = in_turn(list(self.seen(person).lockdowns) or [bytes(16)], lockdown)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            lockdowns.lift(draft, [lockdown_id.hex()])
            return nothing

        self.act(person, do, lambda model, _: model.lift(lockdown_id), lose)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory, where there is one: each act waits for the disk several times."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="stronghold-test-", dir=memory) as path:
        yield Path(path)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(PARTS))
def test_random_lives_of_an_org_agree_with_the_model(folder: Path, monkeypatch: pytest.MonkeyPatch, part: int) -> None:
    """In parts, for as many processes: the same sequences in every run, and other ones in each part; new ones in soak."""
    monkeypatch.setattr(service, "REFUSALS", Rate(requests=10_000, seconds=1))
    server = folder / "server"
    server.mkdir()
    world = World(server)

    def begin() -> LifeCycle:
        return LifeCycle(world, folder)

    sequences = max(SEQUENCES, settings().max_examples) // PARTS
    try:
        run_state_machine_as_test(
            seed(part)(begin) if settings().derandomize else begin,
            settings=settings(
                max_examples=sequences,
                stateful_step_count=ACTS + 1,
                suppress_health_check=list(HealthCheck),
                # A failing sequence is made smaller in the long form alone, since that takes minutes.
                phases=[Phase.generate] if sequences == SEQUENCES // PARTS else [Phase.generate, Phase.shrink],
            ),
            _min_steps=ACTS,
        )
    finally:
        world.close()
