"""The invariants that hold in every state of an org (protocol section 5, "Invariants: State").

The server checks them at each commit; an operator's client after each sync and in its box audit. A broken one raises
``RuleError``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stronghold_cli.protocol.documents.agent import Agent, Token
from stronghold_cli.protocol.documents.group import Group
from stronghold_cli.protocol.documents.leaves import ROOT_MEMBER, MemberLeaf
from stronghold_cli.protocol.documents.org import Org
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.errors import RuleError
from stronghold_cli.protocol.laid_documents import names_of
from stronghold_cli.protocol.names import MAX_SECRETS, caseless
from stronghold_cli.protocol.state import OrgState, changed_documents


def check_state(state: OrgState, *, known: OrgState | None = None) -> None:
    """Return if every state invariant holds, else raise ``RuleError`` with what and which.

    ``known`` is the state before, in which they hold: what ``state`` has just the same is not looked at a second time. So
    a commit costs by what it changes and not by the size of the org; new tokens alone are held against those of all agents.
    """
    if known is not None and known.org.document.sha256 == state.org.document.sha256:
        _check_changes(state, known)
        return
    for kind in ("agent", "group", "profile", "invite"):
        _check_names(kind, (document.name for document in state.documents(kind).values()))
    _check_keys_once(state)
    for agent in state.agents.values():
        _check_agent(state, agent)
    listed = agents_by_group(state)
    for group in state.groups.values():
        _check_group(state, group, listed.get(group.id, ()))
    _check_invites(state)
    for profile in state.profiles.values():
        _check_profile(state, profile)


def _check_changes(state: OrgState, known: OrgState) -> None:
    """The same for a state that follows ``known`` under the same org document."""
    changed = changed_documents(known, state)
    for kind in (kind for kind, ids in changed.items() if ids):
        _check_names(kind, (name for _, name in names_of(state.documents(kind))))
    if changed["invite"] or any(_has_new_keys(state, known, agent_id) for agent_id in changed["agent"]):
        _check_keys_once(state)
    # Where a group went, any agent may still list it.
    is_group_gone = not state.groups.keys() >= known.groups.keys()
    for agent_id in state.agents if is_group_gone else changed["agent"] & state.agents.keys():
        _check_agent(state, state.agents[agent_id])
    for group_id in _touched_groups(state, known, changed) & state.groups.keys():
        _check_group(state, state.groups[group_id], _listing(state, known, changed["agent"], group_id))
    _check_invites(state)
    for profile in state.profiles.values():
        if profile.id in changed["profile"] or state.contents[profile.id].document != known.contents[profile.id].document:
            _check_profile(state, profile)
        else:
            _check_grants(state, profile)


def _has_new_keys(state: OrgState, known: OrgState, agent_id: bytes) -> bool:
    """Whether an agent has a token, or a key of one, that it did not have before."""
    if agent_id not in state.agents:
        return False
    old = known.agents[agent_id].tokens if agent_id in known.agents else {}
    return any(token_id not in old or _keys(old[token_id]) != _keys(token) for token_id, token in _tokens(state, agent_id))


def _tokens(state: OrgState, agent_id: bytes) -> Iterable[tuple[bytes, Token]]:
    return state.agents[agent_id].tokens.items()


def _keys(token: Token) -> tuple[bytes, bytes]:
    return token.auth_public_key, token.seal_sha256


def _touched_groups(state: OrgState, known: OrgState, changed: Mapping[str, set[bytes]]) -> set[bytes]:
    """The groups that changed (their documents prove their members), and those that a changed agent lists or listed."""
    touched = set(changed["group"])
    for agents in (known.agents, state.agents):
        for agent_id in changed["agent"] & agents.keys():
            touched.update(agents[agent_id].groups)
    return touched


def _listing(state: OrgState, known: OrgState, changed: set[bytes], group_id: bytes) -> list[Agent]:
    """The agents with tokens that list a group: of those that did not change, the owners of the tokens in it before."""
    owners = {leaf.owner for leaf in known.group_members(group_id).values() if leaf.kind == "token"}
    agents = (state.agents[agent_id] for agent_id in (owners | changed) & state.agents.keys())
    return [agent for agent in agents if group_id in agent.groups]


def expected_members(org: Org, group: Group, agents: Iterable[Agent]) -> dict[bytes, MemberLeaf]:
    """The member leaves that a group must have, with ``sealed_sha256`` left empty.

    One for each token of each agent that lists the group, one for each operator in ``operators``, one for each admin, and
    root. ``agents`` are those that list the group (``agents_by_group``).
    """
    expected = {ROOT_MEMBER: MemberLeaf(kind="root", owner=b"", seal_sha256=org.root.seal_sha256, sealed_sha256=b"")}
    for operator_id in (*group.operators, *org.admins()):
        operator = org.operators[operator_id]
        expected[operator_id] = MemberLeaf(kind="operator", owner=b"", seal_sha256=operator.seal_sha256, sealed_sha256=b"")
    for agent in agents:
        for token_id, token in agent.tokens.items():
            expected[token_id] = MemberLeaf(kind="token", owner=agent.id, seal_sha256=token.seal_sha256, sealed_sha256=b"")
    return expected


def agents_by_group(state: OrgState) -> dict[bytes, list[Agent]]:
    """The agents that list each group."""
    listed: dict[bytes, list[Agent]] = {}
    for agent in state.agents.values():
        for group_id in agent.groups:
            listed.setdefault(group_id, []).append(agent)
    return listed


def _check_names(kind: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        key = caseless(name)
        if key in seen:
            raise RuleError(f"two {kind}s have the same name", evidence={"name": name})
        seen.add(key)


def _check_keys_once(state: OrgState) -> None:
    """Sign, request, auth and sealing keys occur once in an org, and so do the ids of root, operators and tokens."""
    org: Org = state.org.document
    signing = [org.root.sign, *(invite.public_key for invite in state.invites.values())]
    sealing = [org.root.seal_sha256]
    for operator in org.operators.values():
        signing += (operator.sign, operator.request)
        sealing.append(operator.seal_sha256)
    # One member map holds root, operators and tokens: an id that stands for two would hide one of them from it.
    member_ids: list[bytes] = [ROOT_MEMBER, *org.operators]
    for agent in state.agents.values():
        for token_id, token in agent.tokens.items():
            member_ids.append(token_id)
            signing.append(token.auth_public_key)
            sealing.append(token.seal_sha256)
    for what, values in (("signing key", signing), ("sealing key", sealing), ("member id", member_ids)):
        if len(set(values)) != len(values):
            raise RuleError(f"a {what} stands in the org twice")


def _check_agent(state: OrgState, agent: Agent) -> None:
    if not state.groups.keys() >= set(agent.groups):
        raise RuleError("an agent lists a group that does not exist", evidence={"agent": agent.id.hex()})


def _check_group(state: OrgState, group: Group, agents: Iterable[Agent]) -> None:
    """``agents`` are those that list the group; such as have no token may be left out."""
    org = state.org.document
    roles = {org.role_of(operator_id) for operator_id in group.operators}
    if None in roles or "auditor" in roles:
        raise RuleError("a group lists an auditor, or an operator who does not exist", evidence={"group": group.id.hex()})
    members = {key: leaf.replace(sealed_sha256=b"") for key, leaf in state.group_members(group.id).items()}
    if members != expected_members(org, group, agents):
        raise RuleError("a group's members are not exactly those that it must have", evidence={"group": group.id.hex()})


def _check_invites(state: OrgState) -> None:
    for invite in state.invites.values():
        if invite.id in state.org.document.operators:
            raise RuleError("an invite is still open for somebody who is an operator", evidence={"invite": invite.id.hex()})


def _check_grants(state: OrgState, profile: Profile) -> None:
    for group_id, grant in profile.grants.items():
        group = state.groups.get(group_id)
        if group is None or group.epoch != grant.epoch:
            raise RuleError("a grant names no group, or not its current epoch", evidence={"profile": profile.id.hex()})


def _check_profile(state: OrgState, profile: Profile) -> None:
    evidence = {"profile": profile.id.hex()}
    org = state.org.document
    if any(org.role_of(operator_id) != "editor" for operator_id in profile.editors):
        raise RuleError("a profile's editors are not all editors of the org", evidence=evidence)
    _check_grants(state, profile)
    if state.contents[profile.id].document.profile_epoch != profile.epoch:
        raise RuleError("a contents does not carry its profile's epoch", evidence=evidence)
    entries = state.entries(profile.id)
    if any(entry.is_live and entry.epoch != profile.epoch for entry in entries.values()):
        raise RuleError("a live entry does not carry its profile's epoch", evidence=evidence)
    if sum(entry.is_live for entry in entries.values()) > MAX_SECRETS:
        raise RuleError(f"a profile holds more than {MAX_SECRETS} secrets", evidence=evidence)
    if any(epoch >= profile.epoch for epoch in state.old_keys(profile.id)):
        raise RuleError("an old key is not older than its profile's epoch", evidence=evidence)
