"""``token``: the credentials of agents: mint, list, deprecate, rotate and revoke."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from stronghold_cli.commands.acting import current_account, open_vault
from stronghold_cli.commands.listing import AfterIdOption, LimitOption, page_of, place_of
from stronghold_cli.commands.minting import ServerOption, TokenFileTarget, prepare_token_file, show_token, token_address
from stronghold_cli.commands.times import duration, expiry
from stronghold_cli.commands.token_options import CidrOption, RateOption, UsesOption, read_limits
from stronghold_cli.commands.typed import YesOption
from stronghold_cli.output import ago, confirm, emit_json, say, settings, table, warn, when
from stronghold_cli.protocol.errors import NotFound, UsageError

if TYPE_CHECKING:
    from stronghold_cli.protocol.documents.agent import Agent, Token
    from stronghold_cli.vault.agents import NewToken
    from stronghold_cli.vault.committing import Vault
    from stronghold_cli.vault.draft import Draft
    from stronghold_cli.vault.tokens import Rotated

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)
T = TypeVar("T")

_MAX_GRACE = 366 * 86_400

TokenArgument = Annotated[str, typer.Argument(help="Its id (tk_…), shat_…last4, AGENT/NAME, or name.")]
ExpiresInOption = Annotated[str | None, typer.Option("--expires-in", metavar="90d", help="Its life.")]
ExpiresAtOption = Annotated[str | None, typer.Option("--expires-at", metavar="DATE", help="Its end, UTC.")]


@app.command("mint")
def mint_token(
    agent: Annotated[str, typer.Argument(help="The agent's name or id.")],
    name: Annotated[str | None, typer.Option("--name", help="The token's name; default: token and a number.")] = None,
    expires_in: ExpiresInOption = None,
    expires_at: ExpiresAtOption = None,
    cidr: CidrOption = None,
    rate: RateOption = None,
    uses: UsesOption = None,
    output: TokenFileTarget = None,
    server: ServerOption = None,
) -> None:
    """Mint another token for an agent. It is shown once.

    Example: stronghold token mint "CI/CD Pipeline" --expires-in 90d --cidr 10.0.0.0/8 --rate 60/min
    """
    from stronghold_cli.protocol.documents.agent import NO_LIMITS
    from stronghold_cli.vault.agents import mint
    from stronghold_cli.vault.lookup import find_again, find_agent
    from stronghold_cli.vault.tokens import next_name

    not_after = expiry(expires_in, expires_at, int(time.time()))
    limits = read_limits(cidr, rate, uses) or NO_LIMITS
    account = current_account()
    address = token_address(account, server)
    prepare_token_file(output)
    vault = open_vault(account)
    wanted = find_agent(vault.state.agents, agent)

    def act(draft: Draft) -> NewToken:
        found = find_again(draft.agents(), wanted)
        chosen = name or next_name("token", found.tokens.values(), first=1)
        return mint(draft, found, chosen, address, not_after=not_after, limits=limits)

    _show_minted(vault, vault.commit(act), output)


@app.command("list")
def list_tokens(
    agent: Annotated[str | None, typer.Option("--agent", metavar="AGENT", help="Only this agent's.")] = None,
    limit: LimitOption = None,
    after: AfterIdOption = None,
) -> None:
    """List the tokens with their state, expiry, uses and maker. Those that were revoked are gone; the log keeps their trace.

    Example: stronghold token list --agent "CI/CD Pipeline"
    """
    from stronghold_cli.commands import agent_view
    from stronghold_cli.vault.lookup import find_agent, shown_id

    vault = open_vault()
    state, now = vault.state, int(time.time())
    agents = (
        [find_agent(state.agents, agent)] if agent is not None else sorted(state.agents.values(), key=lambda it: it.name)
    )
    tokens = [(owner, token_id) for owner in agents for token_id in agent_view.by_age(owner)]
    ids = [shown_id("token", token_id) for _, token_id in tokens]
    start = 0 if after is None else place_of(ids, after, "tokens") + 1
    page = page_of(tokens, "tokens", limit=limit, start=start, cursor=lambda each: shown_id("token", each[1]))
    uses = agent_view.uses_of(vault)
    if settings().json:
        emit_json([agent_view.token_value(state, owner, token_id, uses, now) for owner, token_id in page.items])
    else:
        rows = [agent_view.token_row(state, owner, token_id, uses, now) for owner, token_id in page.items]
        table(rows, agent_view.TOKEN_HEADERS)
    page.tell()
    if not settings().json:
        agent_view.warn_of_ends(agents, now)


@app.command("deprecate")
def deprecate_token(token: TokenArgument) -> None:
    """Mark a token as one to be replaced: it goes on working, every use warns whoever runs it, and is marked in the log.

    Example: stronghold token deprecate "CI/CD Pipeline/first"
    """
    from stronghold_cli.vault.tokens import deprecate

    vault = open_vault()
    owner, found, changed = _change(vault, token, deprecate)
    _tell(
        vault,
        owner,
        found,
        f"Deprecated {_named(owner, found)}." if changed else f"{_named(owner, found)} was deprecated already.",
    )


@app.command("undeprecate")
def undeprecate_token(token: TokenArgument) -> None:
    """Make a deprecated token an ordinary one again. Its end stays what it is.

    Example: stronghold token undeprecate "CI/CD Pipeline/first"
    """
    from stronghold_cli.vault.tokens import undeprecate

    vault = open_vault()
    owner, found, changed = _change(vault, token, undeprecate)
    _tell(
        vault,
        owner,
        found,
        f"{_named(owner, found)} is active again." if changed else f"{_named(owner, found)} was active already.",
    )
    end = found.end_with(owner.not_after)
    if end is not None and found.ends_soon(end, int(time.time())):
        warn(f"it still expires {when(end)}; no token's end is put off: rotate it, or mint another one")


@app.command("rotate")
def rotate_token(
    token: TokenArgument,
    grace: Annotated[str, typer.Option("--grace", metavar="24h", help="How long the old one goes on working.")] = "24h",
    name: Annotated[
        str | None, typer.Option("--name", help="The new one's name; default: the old one's and a number.")
    ] = None,
    expires_in: Annotated[
        str | None,
        typer.Option("--expires-in", metavar="90d", help="The new one's life; default: as long as the old one's."),
    ] = None,
    expires_at: Annotated[str | None, typer.Option("--expires-at", metavar="DATE", help="The new one's end, UTC.")] = None,
    cidr: CidrOption = None,
    rate: RateOption = None,
    uses: UsesOption = None,
    output: TokenFileTarget = None,
    server: ServerOption = None,
) -> None:
    """Mint a token in place of another one, which is deprecated and ends after the grace, as one commit.

    The new one has the limits of the old one unless others are given, and is shown once.

    Example: stronghold token rotate "CI/CD Pipeline/first" --grace 24h
    """
    from stronghold_cli.vault.tokens import rotate

    not_after = expiry(expires_in, expires_at, int(time.time()))
    seconds = duration(grace, "--grace")
    if seconds > _MAX_GRACE:
        raise UsageError("--grace is longer than a year.", hint="Two tokens that both work are two to lose: --grace 24h.")
    limits = read_limits(cidr, rate, uses)
    account = current_account()
    address = token_address(account, server)
    prepare_token_file(output)
    vault = open_vault(account)

    def act(draft: Draft, agent: Agent, token_id: bytes) -> Rotated:
        return rotate(draft, agent, token_id, address, grace=seconds, name=name, not_after=not_after, limits=limits)

    _, old, rotated = _change(vault, token, act)
    now = int(time.time())
    say(f"The old token {old.name!r} is deprecated and ends {when(rotated.old_end)} ({ago(rotated.old_end, now)}).")
    _show_minted(vault, rotated.new, output)


@app.command("revoke")
def revoke_token(
    token: TokenArgument,
    force: Annotated[bool, typer.Option("--force", help="Also the last live token of its agent.")] = False,
    yes: YesOption = False,
) -> None:
    """End a token for ever: the server deletes its share, and nothing opens its copy of the master key again.

    Example: stronghold token revoke shat_…x7Qd
    """
    from stronghold_cli.vault.agents import revoke
    from stronghold_cli.vault.lookup import find_token
    from stronghold_cli.vault.tokens import require_another

    vault = open_vault()
    owner, token_id, found = find_token(vault.state, token)
    if not force:
        require_another(owner, token_id, int(time.time()))
    if not confirm(f"Revoke the token {found.name!r} (shat_…{found.last4}) of {owner.name!r} for ever?", yes):
        say("Nothing was revoked.")
        return

    def act(draft: Draft) -> None:
        agent = draft.agents().get(owner.id)
        if agent is not None and token_id in agent.tokens:
            if not force:
                require_another(agent, token_id, draft.now)
            revoke(draft, agent, token_id)

    vault.commit(act)
    say(f"Revoked the token {found.name!r} of {owner.name!r}. What it may have read stays readable to whoever copied it.")


def _change(vault: Vault, text: str, act: Callable[[Draft, Agent, bytes], T]) -> tuple[Agent, Token, T]:
    """Carry out a change of the token that is named: its agent and itself as they are now, and what ``act`` gave."""
    from stronghold_cli.vault.lookup import find_again, find_token

    owner, token_id, found = find_token(vault.state, text)

    def change(draft: Draft) -> tuple[Agent, Token, T]:
        agent = find_again(draft.agents(), owner)
        if token_id not in agent.tokens:
            raise NotFound(f"The token {found.name!r} of {owner.name!r} was revoked meanwhile.")
        result = act(draft, agent, token_id)
        agent = draft.agents()[agent.id]
        return agent, agent.tokens[token_id], result

    return vault.commit(change)


def _show_minted(vault: Vault, minted: NewToken, output: str | None) -> None:
    """Show a new token, with what stands in its way."""
    from stronghold_cli.commands.agent_view import lockdowns_of, profiles_of

    profiles = profiles_of(vault.state, minted.agent)
    show_token(minted, output, profiles[0] if profiles else None)
    if minted.agent.state == "paused":
        warn(f"{minted.agent.name!r} is paused: the token is refused until it is activated")
    for lockdown in lockdowns_of(vault.state, minted.agent):
        warn(f"{minted.agent.name!r} is stopped by a lockdown: {lockdown.reason}")


def _named(owner: Agent, token: Token) -> str:
    return f"the token {token.name!r} (shat_…{token.last4}) of {owner.name!r}"


def _tell(vault: Vault, owner: Agent, token: Token, sentence: str) -> None:
    from stronghold_cli.commands.agent_view import token_value

    if settings().json:
        (token_id,) = (id_ for id_, each in owner.tokens.items() if each is token)
        emit_json(token_value(vault.state, owner, token_id, {}, int(time.time())))
    else:
        say(sentence[0].upper() + sentence[1:])
