"""Agents and their tokens as operators see them: rows, JSON and lines, from the verified state and the server's counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from stronghold_cli.commands.token_options import limits_value, tell_limits
from stronghold_cli.output import ago, emit_line, warn, when
from stronghold_cli.protocol.documents.agent import is_locked_down
from stronghold_cli.protocol.encoding import JsonValue
from stronghold_cli.protocol.errors import Refused
from stronghold_cli.vault.lookup import shown_id
from stronghold_cli.vault.tokens import has_ended, status_of

if TYPE_CHECKING:
    from stronghold_cli.protocol.documents.agent import Agent, Token
    from stronghold_cli.protocol.documents.structure import Lockdown
    from stronghold_cli.protocol.messages import TokenUse
    from stronghold_cli.protocol.state import OrgState
    from stronghold_cli.vault.committing import Vault

TOKEN_HEADERS = (
    "agent", "token", "ends in", "state", "expires", "last used", "uses", "limits", "created", "created by", "id",
)  # fmt: skip
AGENT_HEADERS = ("agent", "state", "tokens", "expires", "labels", "groups", "id")
_MOST_NAMED = 5


def uses_of(vault: Vault) -> Mapping[bytes, TokenUse]:
    """When the server saw each token last, and how often; nothing where this operator's role may not ask."""
    from stronghold_cli.protocol.messages import decode_token_uses

    try:
        return decode_token_uses(vault.operator.get("/tokens"))
    except Refused as refusal:
        if refusal.code != "FORBIDDEN":
            raise
        return {}


def lockdowns_of(state: OrgState, agent: Agent) -> list[Lockdown]:
    """The lockdowns that stop an agent."""
    return [each for each in state.structure.document.lockdowns if is_locked_down(agent, each)]


def agent_state(state: OrgState, agent: Agent, now: int) -> str:
    """``active``, ``paused`` or ``expired``, and whether it is locked down."""
    word = "expired" if agent.not_after is not None and agent.not_after <= now else agent.state
    return f"{word}, locked down" if lockdowns_of(state, agent) else word


def profiles_of(state: OrgState, agent: Agent) -> list[str]:
    """The names of the profiles that an agent may read."""
    return sorted(item.name for item in state.profiles.values() if set(item.grants) & set(agent.groups))


def labels_of(agent: Agent) -> str:
    """The labels in one line; ``-`` for none."""
    return ", ".join(f"{key}={value}" for key, value in sorted(agent.labels.items())) or "-"


def agent_row(state: OrgState, agent: Agent, now: int) -> tuple[object, ...]:
    """One line of ``agent list``, under ``AGENT_HEADERS``."""
    return (
        agent.name,
        agent_state(state, agent, now),
        len(agent.tokens),
        when(agent.not_after),
        labels_of(agent),
        ", ".join(_groups_of(state, agent)) or "-",
        shown_id("agent", agent.id),
    )


def agent_value(state: OrgState, agent: Agent, now: int) -> dict[str, JsonValue]:
    """One agent of ``agent list --json``."""
    has_expired = agent.not_after is not None and agent.not_after <= now
    return {
        "id": shown_id("agent", agent.id),
        "name": agent.name,
        "description": agent.description,
        "state": "expired" if has_expired else agent.state,
        "locked_down": bool(lockdowns_of(state, agent)),
        "labels": dict(sorted(agent.labels.items())),
        "expires": None if agent.not_after is None else when(agent.not_after),
        "tokens": len(agent.tokens),
        "groups": list(_groups_of(state, agent)),
    }


def token_row(
    state: OrgState, agent: Agent, token_id: bytes, uses: Mapping[bytes, TokenUse], now: int
) -> tuple[object, ...]:
    """One line of ``token list``, under ``TOKEN_HEADERS``."""
    token, use = agent.tokens[token_id], uses.get(token_id)
    return (
        agent.name,
        token.name,
        f"shat_…{token.last4}",
        status_of(agent, token, now),
        when(token.end_with(agent.not_after)),
        ago(None if use is None else use.last_used, now),
        _uses_words(token, use),
        tell_limits(token.limits) or "-",
        when(token.created),
        _maker(state, token),
        shown_id("token", token_id),
    )


def token_value(
    state: OrgState, agent: Agent, token_id: bytes, uses: Mapping[bytes, TokenUse], now: int
) -> dict[str, JsonValue]:
    """One token of ``token list --json`` and ``agent show --json``."""
    token, use = agent.tokens[token_id], uses.get(token_id)
    end = token.end_with(agent.not_after)
    return {
        "id": shown_id("token", token_id),
        "agent": agent.name,
        "agent_id": shown_id("agent", agent.id),
        "name": token.name,
        "ends_in": f"shat_…{token.last4}",
        "state": status_of(agent, token, now),
        "created": when(token.created),
        "created_by": _maker(state, token),
        "expires": None if end is None else when(end),
        "limits": limits_value(token.limits),
        "last_used": None if use is None or use.last_used is None else when(use.last_used),
        "uses": None if use is None else use.uses,
    }


def show_agent(state: OrgState, agent: Agent, uses: Mapping[bytes, TokenUse], now: int) -> None:
    """All that is known of one agent, in lines."""
    emit_line(f"{agent.name}  {shown_id('agent', agent.id)}  {agent_state(state, agent, now)}")
    if agent.description:
        emit_line(f"  {agent.description}")
    for lockdown in lockdowns_of(state, agent):
        emit_line(f"  locked down since {when(lockdown.created)}: {lockdown.reason}")
    emit_line(f"  labels: {labels_of(agent) if agent.labels else 'none'}")
    if agent.not_after is not None:
        emit_line(f"  expires: {when(agent.not_after)} ({ago(agent.not_after, now)})")
    emit_line(f"  groups: {', '.join(_groups_of(state, agent)) or 'none'}")
    emit_line(f"  may read: {', '.join(profiles_of(state, agent)) or 'nothing'}")
    for token_id in by_age(agent):
        token = agent.tokens[token_id]
        end = token.end_with(agent.not_after)
        limits = tell_limits(token.limits)
        emit_line(
            f"  token {token.name}  shat_…{token.last4}  {shown_id('token', token_id)}  {status_of(agent, token, now)}, "
            f"expires {when(end)}{f'; {limits}' if limits else ''}"
        )
        use = uses.get(token_id)
        used = "-" if use is None else f"{ago(use.last_used, now)}, {use.uses} in all"
        emit_line(f"    created {when(token.created)} by {_maker(state, token)}; last used: {used}")


def by_age(agent: Agent) -> list[bytes]:
    """The ids of an agent's tokens, the oldest first."""
    return sorted(agent.tokens, key=lambda token_id: (agent.tokens[token_id].created, agent.tokens[token_id].name))


def warn_of_ends(agents: Iterable[Agent], now: int) -> None:
    """Warn in one line of the tokens that expire soon, the first to end first."""
    soon = sorted(
        (end, f"{agent.name}/{token.name}")
        for agent in agents
        for token in agent.tokens.values()
        if (end := token.end_with(agent.not_after)) is not None
        and not has_ended(agent, token, now)
        and token.state == "active"
        and token.ends_soon(end, now)
    )
    if soon:
        named = ", ".join(f"{name} {ago(end, now)}" for end, name in soon[:_MOST_NAMED])
        more = f" and {len(soon) - _MOST_NAMED} more" if len(soon) > _MOST_NAMED else ""
        warn(f"{'a token expires' if len(soon) == 1 else f'{len(soon)} tokens expire'} soon: {named}{more}")


def _groups_of(state: OrgState, agent: Agent) -> list[str]:
    return sorted(state.groups[group_id].name for group_id in agent.groups if group_id in state.groups)


def _maker(state: OrgState, token: Token) -> str:
    operators = state.org.document.operators
    if token.created_by in operators:
        return operators[token.created_by].name
    return shown_id("operator", token.created_by)


def _uses_words(token: Token, use: TokenUse | None) -> str:
    if use is None:
        return "-"
    return f"{use.uses} of {token.limits.uses}" if token.limits.uses is not None else str(use.uses)
