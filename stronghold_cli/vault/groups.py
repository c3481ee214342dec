"""Acts on groups: create, add agents and operators, grant profiles (protocol sections 3 and 5)."""

from __future__ import annotations

from stronghold_cli.crypto.keys import GroupKey, ProfileKey
from stronghold_cli.protocol.documents.agent import Agent
from stronghold_cli.protocol.documents.base import NO_EXTENSIONS
from stronghold_cli.protocol.documents.group import Group
from stronghold_cli.protocol.documents.leaves import MemberLeaf
from stronghold_cli.protocol.documents.profile import Grant, Profile
from stronghold_cli.protocol.errors import Conflict, UsageError
from stronghold_cli.protocol.names import require_name
from stronghold_cli.protocol.signed_map import map_root
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.lookup import require_free
from stronghold_cli.vault.rekeying import drop_expired_tokens
from stronghold_cli.vault.sealing import seal_to_member, seal_to_operator, seal_to_root

_KEY = 32


def create_group(draft: Draft, name: str) -> Group:
    """Make a group of the admins and root, with its first key."""
    name = require_name("group", name)
    require_free("group", draft.groups(), name)
    group_id = draft.new_id()
    key = GroupKey(draft.random(_KEY), draft.org_id, group_id, 1)
    group = Group(
        org_id=draft.org_id,
        id=group_id,
        version=1,
        name=name,
        epoch=1,
        kcv=key.kcv,
        operators=(),
        member_map=map_root({}),
        **NO_EXTENSIONS,
    )
    draft.keys.learn_group(key)
    draft.put(group)
    seal_to_root(draft, key)
    for operator_id in draft.org.admins():
        seal_to_operator(draft, key, operator_id)
    return group


def rename_group(draft: Draft, group: Group, name: str) -> Group:
    """Give a group another name; its id, and so everything that it may do, stays."""
    name = require_name("group", name)
    require_free("group", draft.groups(), name, but=group.id)
    if name != group.name:
        draft.put(group.replace(name=name))
    return draft.groups()[group.id]


def add_agent(draft: Draft, group: Group, agent: Agent) -> tuple[str, ...]:
    """Put an agent, with all its live tokens, into a group; those past their end leave it, and their names are returned."""
    if group.id in agent.groups:
        raise Conflict(f"The agent {agent.name!r} is already in the group {group.name!r}.")
    gone = drop_expired_tokens(draft, agent)
    agent = draft.agents()[agent.id]
    draft.put(agent.replace(groups=tuple(sorted((*agent.groups, group.id)))))
    key = draft.keys.group(group.id)
    public_keys = draft.keys.agent(agent.id) if agent.id in draft.state.agents else {}
    for token_id, token in agent.tokens.items():
        leaf = MemberLeaf(kind="token", owner=agent.id, seal_sha256=token.seal_sha256, sealed_sha256=b"")
        seal_to_member(draft, key, token_id, leaf, public_keys)
    return tuple(token.name for token in gone.values())


def add_operator(draft: Draft, group: Group, operator_id: bytes) -> None:
    """Put an operator into a group: admins are in every group anyway, and auditors read no secrets."""
    operator = draft.org.operators[operator_id]
    if operator_id in group.operators or operator.role == "admin":
        raise Conflict(f"{operator.name!r} is already in the group {group.name!r}.")
    if operator.role == "auditor":
        raise UsageError(f"{operator.name!r} is an auditor, and auditors read no secrets.")
    draft.put(group.replace(operators=tuple(sorted((*group.operators, operator_id)))))
    seal_to_operator(draft, draft.keys.group(group.id), operator_id)


def grant(draft: Draft, group: Group, profile: Profile) -> None:
    """Let a group read a profile: the profile's key, boxed under the group's.

    A profile that nobody was granted has no key that anybody holds. It is empty then, and gets a new key and epoch here.
    """
    if group.id in profile.grants:
        raise Conflict(f"The group {group.name!r} may already read the profile {profile.name!r}.")
    if profile.grants or profile.id not in draft.state.profiles:
        key = draft.keys.profile(profile.id)
    else:
        profile, key = _new_epoch_of_empty(draft, profile)
    wrap = draft.keys.group(group.id).wrap(key, draft.random)
    grants = {**profile.grants, group.id: Grant(epoch=group.epoch, wrap_sha256=draft.add_blob(wrap))}
    draft.put(profile.replace(grants=grants))


def seal_to_token(
    draft: Draft, group_id: bytes, token_id: bytes, agent_id: bytes, seal_sha256: bytes, public: bytes
) -> None:
    """Give a token the key of a group."""
    leaf = MemberLeaf(kind="token", owner=agent_id, seal_sha256=seal_sha256, sealed_sha256=b"")
    seal_to_member(draft, draft.keys.group(group_id), token_id, leaf, {seal_sha256: public})


def _new_epoch_of_empty(draft: Draft, profile: Profile) -> tuple[Profile, ProfileKey]:
    key = ProfileKey(draft.random(_KEY), draft.org_id, profile.id, profile.epoch + 1)
    draft.keys.learn_profile(key)
    draft.touch_contents(profile.id)
    return profile.replace(epoch=key.epoch, kcv=key.kcv), key
