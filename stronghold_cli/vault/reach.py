"""Who reaches what: agents and operators on one side, profiles on the other, and the groups between them (section 5)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

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
    """Everybody who may read a profile: by name, agents first, then operators, and by the profile's name.

    Each costs what it reaches, not what there is: by the groups that they are in.
    """
    granted: dict[bytes, set[bytes]] = {group_id: set() for group_id in state.groups}
    for profile in state.profiles.values():
        for group_id in profile.grants:
            granted[group_id].add(profile.id)
    for agent in sorted(state.agents.values(), key=lambda item: item.name):
        stopped = hindrances(state, agent, now)
        for profile, groups in _through(state, granted, agent.groups):
            yield Reach(kind="agent", id=agent.id, name=agent.name, profile=profile, groups=groups, hindrances=stopped)
    for operator_id, operator in sorted(state.org.document.operators.items(), key=lambda item: item[1].name):
        own = [group_id for group_id in state.groups if operator_id in state.leaves("members", group_id)]
        for profile, groups in _through(state, granted, own):
            yield Reach(
                kind=operator.role, id=operator_id, name=operator.name, profile=profile, groups=groups, hindrances=()
            )


def _through(
    state: OrgState, granted: Mapping[bytes, set[bytes]], group_ids: Iterable[bytes]
) -> list[tuple[Profile, tuple[bytes, ...]]]:
    """The profiles that somebody in these groups may read, by name, each with the groups by which they may."""
    own = by_name(state, set(group_ids) & granted.keys())
    ids = {profile_id for group_id in own for profile_id in granted[group_id]}
    profiles = sorted((state.profiles[id_] for id_ in ids), key=lambda item: item.name)
    return [(profile, tuple(id_ for id_ in own if profile.id in granted[id_])) for profile in profiles]


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
