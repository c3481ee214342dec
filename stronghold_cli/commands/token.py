"""``token``: mint, list and revoke the credentials of agents."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from stronghold_cli.commands.acting import current_account, open_vault
from stronghold_cli.commands.minting import ServerOption, TokenFileTarget, prepare_token_file, show_token, token_address
from stronghold_cli.commands.times import expiry
from stronghold_cli.commands.typed import YesOption
from stronghold_cli.output import ago, confirm, emit_json, say, settings, table, when
from stronghold_cli.protocol.encoding import JsonValue
from stronghold_cli.protocol.errors import Refused, UsageError

if TYPE_CHECKING:
    from stronghold_cli.protocol.documents.agent import Agent
    from stronghold_cli.protocol.messages import TokenUse
    from stronghold_cli.vault.agents import NewToken
    from stronghold_cli.vault.committing import Vault
    from stronghold_cli.vault.draft import Draft

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)


@app.command("mint")
def mint_token(
    agent: Annotated[str, typer.Argument(help="The agent's name or id.")],
    name: Annotated[str | None, typer.Option("--name", help="The token's name; default: token and a number.")] = None,
    expires_in: Annotated[str | None, typer.Option("--expires-in", metavar="90d", help="Its life.")] = None,
    expires_at: Annotated[str | None, typer.Option("--expires-at", metavar="DATE", help="Its end, UTC.")] = None,
    output: TokenFileTarget = None,
    server: ServerOption = None,
) -> None:
    """Mint another token for an agent. It is shown once.

    Example: stronghold token mint "CI/CD Pipeline" --expires-in 90d
    """
    from stronghold_cli.vault.agents import mint
    from stronghold_cli.vault.lookup import find_agent

    not_after = expiry(expires_in, expires_at, int(time.time()))
    account = current_account()
    address = token_address(account, server)
    prepare_token_file(output)
    vault = open_vault(account)

    def act(draft: Draft) -> NewToken:
        found = find_agent(draft.agents(), agent)
        names = {token.name for token in found.tokens.values()}
        chosen = name or next(f"token {number}" for number in range(1, 10_000) if f"token {number}" not in names)
        return mint(draft, found, chosen, address, not_after=not_after)

    minted = vault.commit(act)
    groups = set(vault.state.agents[minted.agent.id].groups)
    profiles = sorted(item.name for item in vault.state.profiles.values() if groups & set(item.grants))
    show_token(minted, output, profiles[0] if profiles else None)


@app.command("list")
def list_tokens(
    agent: Annotated[str | None, typer.Option("--agent", metavar="AGENT", help="Only this agent's.")] = None,
) -> None:
    """List the live tokens with their state, expiry and last use.

    Example: stronghold token list --agent "CI/CD Pipeline"
    """
    from stronghold_cli.vault.lookup import find_agent, shown_id

    vault = open_vault()
    state, now, uses = vault.state, int(time.time()), _uses(vault)
    agents = state.agents.values() if agent is None else [find_agent(state.agents, agent)]
    rows: list[tuple[object, ...]] = []
    values: list[JsonValue] = []
    for owner in sorted(agents, key=lambda item: item.name):
        for token_id, token in sorted(owner.tokens.items(), key=lambda item: item[1].created):
            use = uses.get(token_id)
            used = None if use is None else use.last_used
            status = "expired" if token.not_after is not None and token.not_after <= now else token.state
            rows.append(
                (
                    owner.name,
                    token.name,
                    f"shat_…{token.last4}",
                    status,
                    when(token.not_after),
                    ago(used, now),
                    shown_id("token", token_id),
                )
            )
            values.append(
                {
                    "id": shown_id("token", token_id),
                    "agent": owner.name,
                    "name": token.name,
                    "ends_in": f"shat_…{token.last4}",
                    "state": status,
                    "created": when(token.created),
                    "expires": None if token.not_after is None else when(token.not_after),
                    "last_used": None if used is None else when(used),
                    "uses": None if use is None else use.uses,
                }
            )
    if settings().json:
        emit_json(values)
    else:
        table(rows, ("agent", "token", "ends in", "state", "expires", "last used", "id"))


@app.command("revoke")
def revoke_token(
    token: Annotated[str, typer.Argument(help="Its id (tk_…), shat_…last4, AGENT/NAME, or name.")],
    force: Annotated[bool, typer.Option("--force", help="Also the last live token of its agent.")] = False,
    yes: YesOption = False,
) -> None:
    """End a token for ever: the server deletes its share, and nothing opens its copy of the master key again.

    Example: stronghold token revoke shat_…x7Qd
    """
    from stronghold_cli.vault.agents import revoke
    from stronghold_cli.vault.lookup import find_token

    vault = open_vault()
    owner, token_id, found = find_token(vault.state, token)
    if not force:
        _require_another(owner, token_id, int(time.time()))
    if not confirm(f"Revoke the token {found.name!r} (shat_…{found.last4}) of {owner.name!r} for ever?", yes):
        say("Nothing was revoked.")
        return

    def act(draft: Draft) -> None:
        agent = draft.agents().get(owner.id)
        if agent is not None and token_id in agent.tokens:
            if not force:
                _require_another(agent, token_id, draft.now)
            revoke(draft, agent, token_id)

    vault.commit(act)
    say(f"Revoked the token {found.name!r} of {owner.name!r}. What it may have read stays readable to whoever copied it.")


def _require_another(owner: Agent, token_id: bytes, now: int) -> None:
    """Refuse to take its last live token from an agent; one that has expired is not live, and keeps nobody going."""
    live = [id_ for id_, token in owner.tokens.items() if token.not_after is None or token.not_after > now]
    if live == [token_id]:
        raise UsageError(
            f"{owner.tokens[token_id].name!r} is the last live token of {owner.name!r}.",
            hint="Mint another first, or give --force.",
        )


def _uses(vault: Vault) -> dict[bytes, TokenUse]:
    """When the server saw each token last; unknown where this operator's role may not ask."""
    from stronghold_cli.protocol.messages import decode_token_uses

    try:
        return decode_token_uses(vault.operator.get("/tokens"))
    except Refused as refusal:
        if refusal.code != "FORBIDDEN":
            raise
        return {}
