"""Who reaches what: agents and operators on one side, profiles on the other, and the groups between them (section 5)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stronghold_cli.protocol.documents.agent import Agent, is_locked_down
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.state import OrgState


class Reach(Record):
    """Somebody who may read a profile, and the ids of the groups through which they do, by the groups' names.

    ``kind`` is ``agent``, or an operator's role. ``hindrances`` say why an agent gets nothing at present all the same.
    """

    kind: str
    id: bytes
    name: str
    profile: Profile
    groups: tuple[bytes, ...]
    hindrances: tuple[str, ...]


def reaches(state: OrgState, now: int) -> Iterator[Reach]:
    """Everybody who may read a profile: by name, agents first, then operators, and by the profile's name."""
    profiles = sorted(state.profiles.values(), key=lambda item: item.name)
    for agent in sorted(state.agents.values(), key=lambda item: item.name):
        for profile in profiles:
            groups = shared_groups(state, agent, profile)
            if groups:
                yield Reach(
                    kind="agent",
                    id=agent.id,
                    name=agent.name,
                    profile=profile,
                    groups=groups,
                    hindrances=hindrances(state, agent, now),
                )
    for operator_id, operator in sorted(state.org.document.operators.items(), key=lambda item: item[1].name):
        for profile in profiles:
            groups = tuple(
                group_id for group_id in by_name(state, profile.grants) if operator_id in state.leaves("members", group_id)
            )
            if groups:
                yield Reach(
                    kind=operator.role, id=operator_id, name=operator.name, profile=profile, groups=groups, hindrances=()
                )


def shared_groups(state: OrgState, agent: Agent, profile: Profile) -> tuple[bytes, ...]:
    """The ids of the groups through which an agent may read a profile, by the groups' names."""
    return by_name(state, profile.grants.keys() & set(agent.groups))


def by_name(state: OrgState, group_ids: Iterable[bytes]) -> tuple[bytes, ...]:
    """Ids of groups in the order of the groups' names."""
    return tuple(sorted(group_ids, key=lambda id_: state.groups[id_].name))


def hindrances(state: OrgState, agent: Agent, now: int) -> tuple[str, ...]:
    """Why an agent is refused at present, whatever its groups may read: ``paused``, ``expired``, ``locked down``, …"""
    found = []
    if any(is_locked_down(agent, lockdown) for lockdown in state.structure.document.lockdowns):
        found.append("locked down")
    if agent.state != "active":
        found.append(agent.state)
    if agent.not_after is not None and agent.not_after <= now:
        found.append("expired")
    if not any(token.not_after is None or token.not_after > now for token in agent.tokens.values()):
        found.append("no live token")
    return tuple(found)
