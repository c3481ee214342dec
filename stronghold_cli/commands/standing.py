"""Who is acting, for ``auth status`` and ``auth api-user``: agents from signed documents, operators from what lies here."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from stronghold_cli.commands.acting import agent_server
from stronghold_cli.output import ago, emit_json, emit_line, settings, warn, when
from stronghold_cli.protocol.encoding import JsonValue

if TYPE_CHECKING:
    from stronghold_cli.keystore.identities import OperatorIdentity, TokenIdentity
    from stronghold_cli.protocol.token import AgentToken
    from stronghold_cli.reader.client import Self


def show_agent(acting: TokenIdentity) -> None:
    """Ask the server who this agent is, and show it."""
    from stronghold_cli.reader.client import look_at_self

    with agent_server(acting.token) as server:
        found = look_at_self(server, acting.token, time.time)
    for sentence in found.warnings:
        warn(sentence)
    if settings().json:
        emit_json(agent_value(found, acting.token, acting.source))
        return
    tell_agent(found, emit_line)
    emit_line(f"  token shat_…{acting.token.last4} from {acting.source}, for {acting.token.base_url}")


def tell_agent(found: Self, write: Callable[[str], None]) -> None:
    """The agent's name, expiry and profiles, in lines."""
    standing = found.standing
    write(f"Agent {standing.agent.name!r} of {standing.org.name!r}")
    expires = standing.not_after
    until = "does not expire" if expires is None else f"expires {when(expires)} ({ago(expires, standing.now)})"
    write(f"  token {standing.token.name!r} {until}")
    names = ", ".join(sorted(profile.name for profile in found.profiles))
    write(f"  may read: {names or 'no profile yet'}")


def agent_value(found: Self, token: AgentToken, source: str) -> dict[str, JsonValue]:
    """The same as JSON."""
    from stronghold_cli.vault.lookup import shown_id

    standing = found.standing
    return {
        "identity": "agent",
        "source": source,
        "server": token.base_url,
        "org": {"id": standing.org.org_id.hex(), "name": standing.org.name},
        "agent": {"id": shown_id("agent", standing.agent.id), "name": standing.agent.name},
        "token": {
            "id": shown_id("token", standing.token_id),
            "name": standing.token.name,
            "last4": token.last4,
            "state": standing.token.state,
        },
        "expires": None if standing.not_after is None else when(standing.not_after),
        "profiles": sorted(profile.name for profile in found.profiles),
        "groups": sorted(group.name for group in found.groups),
    }


def show_operator(acting: OperatorIdentity) -> None:
    """Show the operator from the state last verified on this machine; needs neither server nor passphrase."""
    from stronghold_cli.keystore.sessions import find_session
    from stronghold_cli.vault.lookup import shown_id
    from stronghold_cli.vault.replica import local_state

    account, now = acting.account, int(time.time())
    session = find_session(account.org_id, account.operator_id, now=now)
    state = local_state(account.org_id)
    org = None if state is None else state.org.document
    person = None if org is None else org.operators.get(account.operator_id)
    if settings().json:
        emit_json(
            {
                "identity": "operator",
                "source": acting.source,
                "server": account.kit.base_url,
                "context": account.name,
                "org": {"id": account.org_id.hex(), "name": None if org is None else org.name},
                "operator": {
                    "id": shown_id("operator", account.operator_id),
                    "name": None if person is None else person.name,
                    "role": None if person is None else person.role,
                },
                "head_seq": None if state is None else state.seq,
                "unlocked_until": None if session is None else when(session.end),
            }
        )
        return
    who = f"{person.name!r}, {person.role}" if person else shown_id("operator", account.operator_id)
    emit_line(f"Operator {who} of {org.name if org else account.org_id.hex()!r}")
    emit_line(f"  context {account.name!r} from {acting.source}, on {account.kit.base_url}")
    if state is not None:
        emit_line(f"  newest state seen here: number {state.seq}, signed {when(state.head.document.created)}")
    emit_line("  locked" if session is None else f"  unlocked until {when(session.end)} ({ago(session.end, now)})")
