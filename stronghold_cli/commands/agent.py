"""``agent``: the non-human actors, from their making to their pause; each act is one commit, in force from then on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from stronghold_cli.commands.acting import current_account, open_vault
from stronghold_cli.commands.agent_exposure import agent_exposure
from stronghold_cli.commands.agent_removal import agent_compromised, delete_agent
from stronghold_cli.commands.listing import AfterOption, LimitOption, page_of, place_after
from stronghold_cli.commands.minting import ServerOption, TokenFileTarget, prepare_token_file, show_token, token_address
from stronghold_cli.commands.times import expiry
from stronghold_cli.commands.token_options import read_labels
from stronghold_cli.commands.typed import YesOption
from stronghold_cli.output import confirm, emit_json, say, settings, table, warn, when
from stronghold_cli.protocol.errors import UsageError

if TYPE_CHECKING:
    from stronghold_cli.protocol.documents.agent import Agent, Token
    from stronghold_cli.protocol.documents.group import Group
    from stronghold_cli.protocol.documents.profile import Profile
    from stronghold_cli.vault.agents import NewToken
    from stronghold_cli.vault.committing import Vault
    from stronghold_cli.vault.draft import Draft

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)

T = TypeVar("T")

NameArgument = Annotated[str, typer.Argument(help="The agent's name or id.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help='The new agent\'s name, e.g. "CI/CD Pipeline".')],
    profile: Annotated[
        list[str] | None, typer.Option("--profile", "-p", metavar="PROFILE", help="A profile that it may read.")
    ] = None,
    group: Annotated[list[str] | None, typer.Option("--group", metavar="GROUP", help="A group that it is put into.")] = None,
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    label: Annotated[
        list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="A label, e.g. env=prod; repeatable.")
    ] = None,
    expires_in: Annotated[
        str | None, typer.Option("--expires-in", metavar="90d", help="Life of the agent, and so of all its tokens.")
    ] = None,
    expires_at: Annotated[
        str | None, typer.Option("--expires-at", metavar="DATE", help="End of the agent and all its tokens, UTC.")
    ] = None,
    token_name: Annotated[str, typer.Option("--token-name", help="Name of its first token.")] = "first",  # noqa: S107
    token_expires_in: Annotated[
        str | None, typer.Option("--token-expires-in", metavar="90d", help="Life of its first token alone.")
    ] = None,
    token_expires_at: Annotated[
        str | None, typer.Option("--token-expires-at", metavar="DATE", help="End of its first token alone, UTC.")
    ] = None,
    no_token: Annotated[bool, typer.Option("--no-token", help="Mint no token yet.")] = False,
    output: TokenFileTarget = None,
    server: ServerOption = None,
) -> None:
    """Make an agent, put it where it may read a profile, and mint its first token, as one commit. The token is shown once.

    Example: stronghold agent create "CI/CD Pipeline" --profile production
    """
    from stronghold_cli.commands.agent_view import profiles_of
    from stronghold_cli.vault.agents import create_agent, mint
    from stronghold_cli.vault.lookup import find_group, find_profile, shown_id

    now = int(time.time())
    not_after = expiry(expires_in, expires_at, now)
    token_end = expiry(token_expires_in, token_expires_at, now, "--token-expires")
    if no_token and (token_end is not None or output is not None):
        raise UsageError("--no-token was given, and something about a token too.", hint="Leave one of them out.")
    labels = read_labels(label or ())
    account = current_account()
    address = token_address(account, server)
    if not no_token:
        prepare_token_file(output)
    vault = open_vault(account)

    def act(draft: Draft) -> tuple[Agent, NewToken | None]:
        groups = {item.id: item for item in (find_group(draft.groups(), each) for each in group or ())}
        for each in profile or ():
            item = _group_of(draft, find_profile(draft.profiles(), each))
            groups[item.id] = item
        agent = create_agent(draft, name, groups.values(), description=description, labels=labels, not_after=not_after)
        return agent, None if no_token else mint(draft, agent, token_name, address, not_after=token_end)

    agent, minted = vault.commit(act)
    profiles = profiles_of(vault.state, agent)
    say(f"Made the agent {agent.name!r} ({shown_id('agent', agent.id)}).")
    if agent.not_after is not None:
        say(f"It and its tokens expire {when(agent.not_after)}.")
    say(
        f"It may read: {', '.join(profiles)}"
        if profiles
        else "It may read nothing yet: stronghold group add GROUP --agent …"
    )
    _tell_lockdowns(vault, agent)
    if minted is not None:
        show_token(minted, output, profiles[0] if profiles else None)
    elif settings().json:
        emit_json({"agent": shown_id("agent", agent.id), "name": agent.name})


@app.command("list")
def list_agents(
    label: Annotated[
        list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="Only agents with this label; repeatable.")
    ] = None,
    group: Annotated[str | None, typer.Option("--group", metavar="GROUP", help="Only agents in this group.")] = None,
    limit: LimitOption = None,
    after: AfterOption = None,
) -> None:
    """List the agents with their state, labels, groups and number of tokens.

    Example: stronghold agent list --label env=prod
    """
    from stronghold_cli.commands.agent_view import AGENT_HEADERS, agent_row, agent_value
    from stronghold_cli.protocol.laid_documents import names_of
    from stronghold_cli.protocol.names import ID_PREFIXES
    from stronghold_cli.vault.lookup import find_group, shown_id

    labels = read_labels(label or ())
    state, now = open_vault().state, int(time.time())
    wanted = None if group is None else find_group(state.groups, group).id
    names = dict(names_of(state.agents))
    if labels or wanted is not None:
        names = {
            agent.id: agent.name
            for agent in state.agents.values()
            if labels.items() <= agent.labels.items() and (wanted is None or wanted in agent.groups)
        }
    named = sorted((name, shown_id("agent", id_), id_) for id_, name in names.items())
    start = place_after([each[:2] for each in named], after, "agents", ID_PREFIXES["agent"])
    page = page_of(named, "agents", limit=limit, start=start, cursor=lambda each: each[0])
    agents = [state.agents[id_] for _, _, id_ in page.items]
    if settings().json:
        emit_json([agent_value(state, agent, now) for agent in agents])
    else:
        table([agent_row(state, agent, now) for agent in agents], AGENT_HEADERS)
    page.tell()


@app.command()
def show(name: NameArgument) -> None:
    """Show one agent: its state, labels, groups, the profiles it may read, and its tokens with their uses.

    Example: stronghold agent show "CI/CD Pipeline"
    """
    from stronghold_cli.commands import agent_view
    from stronghold_cli.vault.lookup import find_agent

    vault = open_vault()
    state, now = vault.state, int(time.time())
    agent = find_agent(state.agents, name)
    uses = agent_view.uses_of(vault)
    if settings().json:
        tokens = [agent_view.token_value(state, agent, token_id, uses, now) for token_id in agent_view.by_age(agent)]
        profiles = agent_view.profiles_of(state, agent)
        emit_json({**agent_view.agent_value(state, agent, now), "profiles": list(profiles), "tokens": list(tokens)})
        return
    agent_view.show_agent(state, agent, uses, now)
    agent_view.warn_of_ends([agent], now)


@app.command()
def rename(name: NameArgument, new_name: Annotated[str, typer.Argument(help="The name that it is to have.")]) -> None:
    """Give an agent another name. Its tokens go on working.

    Example: stronghold agent rename "CI/CD Pipeline" deploy
    """
    from stronghold_cli.vault.agents import rename_agent

    vault = open_vault()
    before, after, _ = _change(vault, name, lambda draft, agent: rename_agent(draft, agent, new_name))
    _tell(vault, after, f"Renamed {before.name!r} to {after.name!r}." if before != after else f"It is named {after.name!r}.")


@app.command()
def edit(
    name: NameArgument,
    description: Annotated[str | None, typer.Option(help='What it is for; "" for nothing.')] = None,
    expires_in: Annotated[
        str | None, typer.Option("--expires-in", metavar="90d", help="Time from now until it and all its tokens end.")
    ] = None,
    expires_at: Annotated[
        str | None, typer.Option("--expires-at", metavar="DATE", help="End of it and all its tokens, UTC.")
    ] = None,
    no_expiry: Annotated[bool, typer.Option("--no-expiry", help="It does not end by itself.")] = False,
) -> None:
    """Change what an agent is for, and when it ends. What has expired stays so: a later end wakes no token.

    Example: stronghold agent edit "CI/CD Pipeline" --expires-in 90d
    """
    from stronghold_cli.vault.agents import describe_agent, end_agent

    not_after = expiry(expires_in, expires_at, int(time.time()))
    if no_expiry and not_after is not None:
        raise UsageError("--no-expiry was given, and an end too.", hint="Give one of them.")
    if description is None and not_after is None and not no_expiry:
        raise UsageError(
            "Nothing to change was given.", hint="Give --description, --expires-in, --expires-at or --no-expiry."
        )

    def act(draft: Draft, agent: Agent) -> tuple[Token, ...]:
        if description is not None:
            agent = describe_agent(draft, agent, description)
        return end_agent(draft, agent, not_after) if not_after is not None or no_expiry else ()

    vault = open_vault()
    before, after, lost = _change(vault, name, act)
    end = "does not expire" if after.not_after is None else f"expires {when(after.not_after)}"
    _tell(
        vault, after, f"Changed {after.name!r}; it {end}." if before != after else f"Nothing changed: {after.name!r} {end}."
    )
    if lost:
        names = ", ".join(repr(token.name) for token in lost)
        warn(f"it had expired, and its tokens with it, for ever: {names}; mint others with: stronghold token mint")


@app.command()
def label(
    name: NameArgument,
    labels: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Labels to set.")] = None,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", metavar="KEY", help="A label to take away; repeatable.")
    ] = None,
    yes: YesOption = False,
) -> None:
    """Set and take away labels, by which agents are found, and locked down together.

    Example: stronghold agent label "CI/CD Pipeline" env=prod team=web --remove trial
    """
    from stronghold_cli.protocol.names import nfc
    from stronghold_cli.vault.agents import label_agent, lockdowns_left, relabelled
    from stronghold_cli.vault.lookup import find_agent

    wanted, gone = read_labels(labels or ()), tuple(nfc(key) for key in remove or ())
    if not wanted and not gone:
        raise UsageError("No label was given.", hint="Give KEY=VALUE, or --remove KEY.")
    vault = open_vault()
    agent = find_agent(vault.state.agents, name)
    lockdowns = vault.state.structure.document.lockdowns
    woken = lockdowns_left(lockdowns, agent, relabelled(agent, wanted, gone))
    reasons = "; ".join(each.reason for each in woken)
    if woken and not confirm(f"A lockdown ({reasons}) stops {agent.name!r} by its labels. Let it out of that?", yes):
        say("Nothing was changed.")
        return
    may_wake = {each.id for each in woken}
    before, after, _ = _change(vault, name, lambda draft, found: label_agent(draft, found, wanted, gone, may_wake=may_wake))
    shown = ", ".join(f"{key}={value}" for key, value in sorted(after.labels.items())) or "none"
    _tell(vault, after, f"{'Changed' if before != after else 'Unchanged'}: the labels of {after.name!r} are {shown}.")
    _tell_lockdowns(vault, after)


@app.command()
def pause(name: NameArgument) -> None:
    """Stop an agent until it is activated: from the next request on, all its tokens are refused. (Also: agent deactivate.)

    Example: stronghold agent pause "CI/CD Pipeline"
    """
    from stronghold_cli.vault.agents import pause_agent

    vault = open_vault()
    before, after, _ = _change(vault, name, pause_agent)
    _tell(vault, after, f"Paused {after.name!r}." if before != after else f"{after.name!r} was paused already.")


app.command("deactivate", help="The same as pause.", hidden=True)(pause)


@app.command()
def activate(name: NameArgument) -> None:
    """Let a paused agent go on, from the next request on.

    Example: stronghold agent activate "CI/CD Pipeline"
    """
    from stronghold_cli.vault.agents import activate_agent

    vault = open_vault()
    before, after, _ = _change(vault, name, activate_agent)
    _tell(vault, after, f"Activated {after.name!r}." if before != after else f"{after.name!r} was active already.")
    _tell_lockdowns(vault, after)
    if after.not_after is not None and after.not_after <= int(time.time()):
        warn(f"{after.name!r} has expired; give it a later end with: stronghold agent edit --expires-in 90d")


def _change(vault: Vault, name: str, act: Callable[[Draft, Agent], T]) -> tuple[Agent, Agent, T]:
    """Carry out a change of the agent that is named: the agent just before, the agent it is now, and what ``act`` gave."""
    from stronghold_cli.vault.lookup import find_again, find_agent

    found = find_agent(vault.state.agents, name)

    def change(draft: Draft) -> tuple[Agent, Agent, T]:
        agent = find_again(draft.agents(), found)
        result = act(draft, agent)
        return agent, draft.agents()[agent.id], result

    return vault.commit(change)


def _tell(vault: Vault, agent: Agent, sentence: str) -> None:
    from stronghold_cli.commands.agent_view import agent_value

    if settings().json:
        emit_json(agent_value(vault.state, agent, int(time.time())))
    else:
        say(sentence)


def _tell_lockdowns(vault: Vault, agent: Agent) -> None:
    from stronghold_cli.commands.agent_view import lockdowns_of

    for lockdown in lockdowns_of(vault.state, agent):
        warn(f"{agent.name!r} is stopped by a lockdown: {lockdown.reason}")


app.command("compromised")(agent_compromised)
app.command("exposure")(agent_exposure)
app.command("delete")(delete_agent)


def _group_of(draft: Draft, profile: Profile) -> Group:
    """The group through which ``--profile`` lets an agent read: that of the profile's own name, else the only one."""
    granted = [draft.groups()[group_id] for group_id in profile.grants]
    named = [item for item in granted if item.name == profile.name]
    if named or len(granted) == 1:
        return (named or granted)[0]
    if not granted:
        raise UsageError(
            f"No group may read the profile {profile.name!r}.",
            hint=f"Grant it first: stronghold group grant GROUP {profile.name}",
        )
    raise UsageError(
        f"Several groups may read the profile {profile.name!r}: {', '.join(sorted(item.name for item in granted))}.",
        hint="Name one with --group instead of --profile.",
    )
