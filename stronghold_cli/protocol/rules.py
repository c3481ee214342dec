"""The invariants that hold in every state of an org (protocol section 5, "Invariants: State").

The server checks them at each commit; an operator's client after each sync and in its box audit. A broken one raises
``RuleError``.
"""

from __future__ import annotations

from collections.abc import Iterable

from stronghold_cli.protocol.documents.agent import Agent
from stronghold_cli.protocol.documents.group import Group
from stronghold_cli.protocol.documents.leaves import ROOT_MEMBER, MemberLeaf
from stronghold_cli.protocol.documents.org import Org
from stronghold_cli.protocol.documents.profile import Profile
from stronghold_cli.protocol.errors import RuleError
from stronghold_cli.protocol.names import MAX_SECRETS, caseless
from stronghold_cli.protocol.state import OrgState


def check_state(state: OrgState, *, known: OrgState | None = None) -> None:
    """Return if every state invariant holds, else raise ``RuleError`` with what and which.

    ``known`` is the state before, in which they hold: what ``state`` has just the same is not looked at a second time.
    """
    if known is None or not _has_same_structure(state, known):
        _check_structure(state)
    for profile in state.profiles.values():
        if known is None or not _has_same_profile(state, known, profile):
            _check_profile(state, profile)


def _has_same_structure(state: OrgState, known: OrgState) -> bool:
    """Whether nothing changed but contents and lockdowns: the root of the documents proves them and their maps."""
    return (
        state.org.document.sha256 == known.org.document.sha256
        and state.structure.document.documents == known.structure.document.documents
    )


def _has_same_profile(state: OrgState, known: OrgState, profile: Profile) -> bool:
    return (
        _has_same_structure(state, known)
        and known.contents[profile.id].document.sha256 == state.contents[profile.id].document.sha256
    )


def _check_structure(state: OrgState) -> None:
    for kind in ("agent", "group", "profile", "invite"):
        _check_names(kind, (document.name for document in state.documents(kind).values()))
    _check_keys_once(state)
    _check_agents(state)
    _check_groups(state)
    for invite in state.invites.values():
        if invite.id in state.org.document.operators:
            raise RuleError("an invite is still open for somebody who is an operator", evidence={"invite": invite.id.hex()})


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


def _check_agents(state: OrgState) -> None:
    for agent in state.agents.values():
        if not state.groups.keys() >= set(agent.groups):
            raise RuleError("an agent lists a group that does not exist", evidence={"agent": agent.id.hex()})


def _check_groups(state: OrgState) -> None:
    org = state.org.document
    listed = agents_by_group(state)
    for group in state.groups.values():
        roles = {org.role_of(operator_id) for operator_id in group.operators}
        if None in roles or "auditor" in roles:
            raise RuleError(
                "a group lists an auditor, or an operator who does not exist", evidence={"group": group.id.hex()}
            )
        members = {key: leaf.replace(sealed_sha256=b"") for key, leaf in state.group_members(group.id).items()}
        if members != expected_members(org, group, listed.get(group.id, ())):
            raise RuleError("a group's members are not exactly those that it must have", evidence={"group": group.id.hex()})


def _check_profile(state: OrgState, profile: Profile) -> None:
    evidence = {"profile": profile.id.hex()}
    org = state.org.document
    if any(org.role_of(operator_id) != "editor" for operator_id in profile.editors):
        raise RuleError("a profile's editors are not all editors of the org", evidence=evidence)
    for group_id, grant in profile.grants.items():
        group = state.groups.get(group_id)
        if group is None or group.epoch != grant.epoch:
            raise RuleError("a grant names no group, or not its current epoch", evidence=evidence)
    if state.contents[profile.id].document.profile_epoch != profile.epoch:
        raise RuleError("a contents does not carry its profile's epoch", evidence=evidence)
    entries = state.entries(profile.id)
    if any(entry.is_live and entry.epoch != profile.epoch for entry in entries.values()):
        raise RuleError("a live entry does not carry its profile's epoch", evidence=evidence)
    if sum(entry.is_live for entry in entries.values()) > MAX_SECRETS:
        raise RuleError(f"a profile holds more than {MAX_SECRETS} secrets", evidence=evidence)
    if any(epoch >= profile.epoch for epoch in state.old_keys(profile.id)):
        raise RuleError("an old key is not older than its profile's epoch", evidence=evidence)
