"""Random acts on groups, their members and their grants, for ``test_life_cycle``."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from stronghold_cli.protocol.state import OrgState
from stronghold_cli.vault import groups, removal
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.draft import Draft
from tests.properties.life_machine import Ids, Life, Occasion, admins, find, in_turn, nothing, which
from tests.properties.life_org import BEA, EDITOR, READER

people = st.sampled_from((EDITOR, READER, EDITOR, READER, BEA))


class GroupActs(Life):
    """The acts."""

    @rule(on=admins, name_of=which)
    def create_group(self, on: Occasion, name_of: int) -> None:
        name = self.a_name(self.seen(on).groups, name_of)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            group = groups.create_group(draft, name)
            return lambda _: (group.id,)

        self.act(on, do, lambda model, ids: model.create_group(ids[0], name))

    @precondition(lambda self: self.model.groups)
    @rule(on=admins, group=which, name_of=which)
    def rename_group(self, on: Occasion, group: int, name_of: int) -> None:
        name = self.a_name(self.seen(on).groups, name_of)
        group_id = self.a_group(on, group)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            groups.rename_group(draft, find(draft.groups(), group_id), name)
            return nothing

        self.act(on, do, lambda model, _: model.rename_group(group_id, name))

    @precondition(lambda self: self.model.groups)
    @rule(on=admins, group=which)
    def delete_group(self, on: Occasion, group: int) -> None:
        group_id = self.a_group(on, group)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            removal.delete_group(draft, find(draft.groups(), group_id))
            return nothing

        self.act(on, do, lambda model, _: model.delete_group(group_id, self.now(on)))

    # Members.

    @precondition(lambda self: self.model.groups and self.model.agents)
    @rule(on=admins, group=which, agent=which)
    def add_agent(self, on: Occasion, group: int, agent: int) -> None:
        group_id, agent_id = self.a_group(on, group), self.an_agent(on, agent)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            groups.add_agent(draft, find(draft.groups(), group_id), find(draft.agents(), agent_id))
            return nothing

        self.act(on, do, lambda model, _: model.add_agent(group_id, agent_id, self.now(on)))

    @precondition(lambda self: self.model.groups)
    @rule(on=admins, group=which, person=people, adds=st.booleans())
    def add_or_remove_operator(self, on: Occasion, group: int, person: int, adds: bool) -> None:
        if adds:
            self.add_operator(on, group, person)
        else:
            self.remove_operator(on, group, person)

    def add_operator(self, on: Occasion, group: int, person: int) -> None:
        group_id, operator = self.a_group(on, group), self.org.by(person)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            groups.add_operator(draft, find(draft.groups(), group_id), operator.operator_id)
            return nothing

        self.act(on, do, lambda model, _: model.add_operator(group_id, operator))

    @precondition(lambda self: self.model.groups and self.model.agents)
    @rule(on=admins, group=which, chosen=st.sets(which, min_size=1, max_size=2))
    def remove_agents(self, on: Occasion, group: int, chosen: set[int]) -> None:
        group_id, known = self.a_group(on, group), self.seen(on).agents
        members = [id_ for id_, agent in known.items() if group_id in agent.groups] or list(known)
        gone = {in_turn(members, each) for each in chosen} if members else {b""}

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            found = find(draft.groups(), group_id)
            removal.remove_from_group(draft, found, [find(draft.agents(), id_) for id_ in gone], [])
            return nothing

        self.act(on, do, lambda model, _: model.remove_agents(group_id, gone, self.now(on)))

    def remove_operator(self, on: Occasion, group: int, person: int) -> None:
        operator, known = self.org.by(person), self.seen(on).groups
        own = [id_ for id_, line in known.items() if operator.operator_id in line.operators]
        group_id = in_turn(own, group) if own else self.a_group(on, group)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            removal.remove_from_group(draft, find(draft.groups(), group_id), [], [operator.operator_id])
            return nothing

        self.act(on, do, lambda model, _: model.remove_operator(group_id, operator, self.now(on)))

    # Grants.

    @precondition(lambda self: self.model.groups and self.model.profiles)
    @rule(on=admins, group=which, profile=which, grants=st.booleans())
    def grant_or_ungrant(self, on: Occasion, group: int, profile: int, grants: bool) -> None:
        if grants:
            self.grant(on, group, profile)
        else:
            self.ungrant(on, group, profile)

    def grant(self, on: Occasion, group: int, profile: int) -> None:
        group_id, profile_id = self.a_group(on, group), self.a_profile(on, profile)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            groups.grant(draft, find(draft.groups(), group_id), find(draft.profiles(), profile_id))
            return nothing

        self.act(on, do, lambda model, _: model.grant(group_id, profile_id))

    def ungrant(self, on: Occasion, group: int, profile: int) -> None:
        known = self.seen(on)
        several = [id_ for id_, line in known.profiles.items() if len(line.grants) > 1]
        profile_id = in_turn(several, profile) if several else self.a_profile(on, profile)
        line = known.profiles.get(profile_id)
        granted = [] if line is None else [id_ for id_ in known.groups if id_ in line.grants]
        group_id = in_turn(granted, group) if granted else self.a_group(on, group)

        def do(_: Vault, draft: Draft) -> Callable[[OrgState], Ids]:
            removal.ungrant(draft, find(draft.groups(), group_id), find(draft.profiles(), profile_id))
            return nothing

        self.act(on, do, lambda model, _: model.ungrant(group_id, profile_id, self.now(on)))
