"""Taking away: members, grants, groups, agents, and compromised keys (protocol section 8; rules R10, R11).

Each act takes somebody's reading away and raises, in the same commit, the epochs of everything that they could reach.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from stronghold_cli.protocol.documents.agent import Agent, is_locked_down
from stronghold_cli.protocol.documents.group import Group
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.errors import Conflict, NotFound, UsageError
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.lookup import shown_id
from stronghold_cli.vault.rekeying import Rekeyed, rekey


def remove_from_group(draft: Draft, group: Group, agents: Iterable[Agent], operators: Iterable[bytes]) -> Rekeyed:
    """Take agents and operators out of a group; ``NotFound`` where one is not in it, and then nobody goes."""
    for agent in {agent.id: agent for agent in agents}.values():
        if group.id not in agent.groups:
            raise NotFound(
                f"The agent {agent.name!r} is not in the group {group.name!r}.",
                hint=f"See who is: stronghold group show {group.name!r}",
            )
        _leave(draft, agent, group)
    gone = set(operators)
    for operator_id in gone:
        _require_removable(draft, group, operator_id)
    if gone:
        draft.put(group.replace(operators=tuple(id_ for id_ in group.operators if id_ not in gone)))
    return rekey(draft, groups=[group.id])


def ungrant(draft: Draft, group: Group, profile: Profile) -> Rekeyed:
    """Take a profile from a group: the profile gets a new key, the group keeps its own."""
    if group.id not in profile.grants:
        raise NotFound(
            f"The group {group.name!r} may not read the profile {profile.name!r} anyway.",
            hint=f"See who may: stronghold access list --profile {profile.name}",
        )
    _require_other_grant(draft, group, [profile])
    draft.put(_without(profile, group))
    return rekey(draft, profiles=[profile.id])


def delete_group(draft: Draft, group: Group) -> Rekeyed:
    """Delete a group: its agents stay, without it, and each profile that it could read gets a new key."""
    profiles = [profile for profile in draft.profiles().values() if group.id in profile.grants]
    _require_other_grant(draft, group, profiles)
    for agent in draft.agents().values():
        if group.id in agent.groups:
            _leave(draft, agent, group)
    for profile in profiles:
        draft.put(_without(profile, group))
    draft.delete(group)
    return rekey(draft, profiles=[profile.id for profile in profiles])


def delete_agent(draft: Draft, agent: Agent) -> Rekeyed:
    """Delete an agent with all its tokens: its shares go, and everything that it could reach gets new keys."""
    draft.delete(agent)
    return rekey(draft, groups=agent.groups)


def compromised(draft: Draft, agent: Agent, tokens: Collection[bytes] | None = None) -> Rekeyed:
    """End tokens of an agent (``None``: all) and give new keys to everything that they could reach.

    The agent stays in its groups, and its other tokens go on working: master keys belong to one token each.
    """
    gone = agent.tokens.keys() if tokens is None else set(tokens)
    draft.put(agent.replace(tokens={id_: token for id_, token in agent.tokens.items() if id_ not in gone}))
    return rekey(draft, groups=agent.groups)


def delete_profile(draft: Draft, profile: Profile) -> None:
    """Delete a profile with all versions of its secrets: the server deletes every ciphertext."""
    draft.delete(profile)


def _leave(draft: Draft, agent: Agent, group: Group) -> None:
    """Take a group out of an agent's; ``Conflict`` where only that group's lockdown stops it.

    Without any group it reads nothing, but the next one that it is put into would wake it: lifting is an act of its own.
    """
    then = agent.replace(groups=tuple(id_ for id_ in agent.groups if id_ != group.id))
    lockdowns = draft.state.structure.document.lockdowns
    stopping = [lockdown for lockdown in lockdowns if is_locked_down(agent, lockdown)]
    if stopping and not any(is_locked_down(then, lockdown) for lockdown in lockdowns):
        raise Conflict(
            f"The agent {agent.name!r} is stopped by a lockdown of the group {group.name!r}, and would wake outside of it.",
            hint=f"Lock the agent down first (stronghold lockdown --agent {agent.name!r}), or lift the lockdown.",
        )
    draft.put(then)


def _without(profile: Profile, group: Group) -> Profile:
    return profile.replace(grants={id_: grant for id_, grant in profile.grants.items() if id_ != group.id})


def _require_removable(draft: Draft, group: Group, operator_id: bytes) -> None:
    operator = draft.org.operators.get(operator_id)
    if operator is None:
        raise NotFound(f"The operator {shown_id('operator', operator_id)} was removed from the org meanwhile.")
    if operator.role == "admin":
        raise UsageError(f"{operator.name!r} is an admin, and admins are members of every group.")
    if operator_id not in group.operators:
        raise NotFound(
            f"{operator.name!r} is not in the group {group.name!r}.",
            hint=f"See who is: stronghold group show {group.name!r}",
        )


def _require_other_grant(draft: Draft, group: Group, profiles: Iterable[Profile]) -> None:
    """A profile that no group may read has a key that nobody holds: its secrets, and their history, would be lost."""
    lost = sorted(
        profile.name
        for profile in profiles
        if profile.grants.keys() == {group.id} and draft.state.leaves("entries", profile.id)
    )
    if lost:
        raise Conflict(
            f"No other group may read {', '.join(map(repr, lost))}: the secrets there would be lost to everybody.",
            hint=f"Grant another group first (stronghold group grant GROUP {lost[0]}), "
            f"or delete the profile (stronghold profile delete {lost[0]}).",
        )
