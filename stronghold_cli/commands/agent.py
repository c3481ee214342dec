"""``agent``: create, list and show the non-human actors."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from stronghold_cli.commands.acting import current_account, open_vault
from stronghold_cli.commands.agent_exposure import agent_exposure
from stronghold_cli.commands.agent_removal import agent_compromised, delete_agent
from stronghold_cli.commands.minting import ServerOption, TokenFileTarget, prepare_token_file, show_token, token_address
from stronghold_cli.commands.times import expiry
from stronghold_cli.output import emit_json, emit_line, say, settings, table, when
from stronghold_cli.protocol.encoding import JsonValue
from stronghold_cli.protocol.errors import UsageError

if TYPE_CHECKING:
    from stronghold_cli.protocol.documents.group import Group
    from stronghold_cli.protocol.documents.profile import Profile
    from stronghold_cli.vault.draft import Draft

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help='The new agent\'s name, e.g. "CI/CD Pipeline".')],
    profile: Annotated[
        list[str] | None, typer.Option("--profile", "-p", metavar="PROFILE", help="A profile that it may read.")
    ] = None,
    group: Annotated[list[str] | None, typer.Option("--group", metavar="GROUP", help="A group that it is put into.")] = None,
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    expires_in: Annotated[str | None, typer.Option("--expires-in", metavar="90d", help="Life of its first token.")] = None,
    expires_at: Annotated[
        str | None, typer.Option("--expires-at", metavar="DATE", help="End of its first token, UTC.")
    ] = None,
    token_name: Annotated[str, typer.Option("--token-name", help="Name of its first token.")] = "first",  # noqa: S107
    no_token: Annotated[bool, typer.Option("--no-token", help="Mint no token yet.")] = False,
    output: TokenFileTarget = None,
    server: ServerOption = None,
) -> None:
    """Make an agent, put it where it may read a profile, and mint its first token, as one commit. The token is shown once.

    Example: stronghold agent create "CI/CD Pipeline" --profile production
    """
    from stronghold_cli.vault.agents import NewToken, create_agent, mint
    from stronghold_cli.vault.lookup import find_group, find_profile, shown_id

    not_after = expiry(expires_in, expires_at, int(time.time()))
    account = current_account()
    address = token_address(account, server)
    if not no_token:
        prepare_token_file(output)
    vault = open_vault(account)

    def act(draft: Draft) -> NewToken | bytes:
        groups = {item.id: item for item in (find_group(draft.groups(), each) for each in group or ())}
        for each in profile or ():
            item = _group_of(draft, find_profile(draft.profiles(), each))
            groups[item.id] = item
        agent = create_agent(draft, name, groups.values(), description=description)
        return agent.id if no_token else mint(draft, agent, token_name, address, not_after=not_after)

    made = vault.commit(act)
    agent_id = made if isinstance(made, bytes) else made.agent.id
    profiles = sorted(
        item.name for item in vault.state.profiles.values() if set(item.grants) & set(vault.state.agents[agent_id].groups)
    )
    say(f"Made the agent {vault.state.agents[agent_id].name!r} ({shown_id('agent', agent_id)}).")
    say(
        f"It may read: {', '.join(profiles)}"
        if profiles
        else "It may read nothing yet: stronghold group add GROUP --agent …"
    )
    if isinstance(made, NewToken):
        show_token(made, output, profiles[0] if profiles else None)
    elif settings().json:
        emit_json({"agent": shown_id("agent", agent_id), "name": vault.state.agents[agent_id].name})


@app.command("list")
def list_agents() -> None:
    """List the agents with their groups and tokens.

    Example: stronghold agent list
    """
    from stronghold_cli.vault.lookup import shown_id

    state = open_vault().state
    rows: list[tuple[object, ...]] = []
    values: list[JsonValue] = []
    for agent in sorted(state.agents.values(), key=lambda item: item.name):
        groups = sorted(state.groups[group_id].name for group_id in agent.groups)
        rows.append((agent.name, agent.state, len(agent.tokens), ", ".join(groups) or "-", shown_id("agent", agent.id)))
        values.append(
            {
                "id": shown_id("agent", agent.id),
                "name": agent.name,
                "description": agent.description,
                "state": agent.state,
                "tokens": len(agent.tokens),
                "groups": groups,
            }
        )
    if settings().json:
        emit_json(values)
    else:
        table(rows, ("agent", "state", "tokens", "groups", "id"))


@app.command()
def show(name: Annotated[str, typer.Argument(help="The agent's name or id.")]) -> None:
    """Show one agent: its groups, the profiles it may read, and its tokens.

    Example: stronghold agent show "CI/CD Pipeline"
    """
    from stronghold_cli.vault.lookup import find_agent, shown_id

    state = open_vault().state
    agent = find_agent(state.agents, name)
    groups = sorted(state.groups[group_id].name for group_id in agent.groups)
    profiles = sorted(item.name for item in state.profiles.values() if set(item.grants) & set(agent.groups))
    operators = state.org.document.operators
    tokens = [
        {
            "id": shown_id("token", token_id),
            "name": token.name,
            "ends_in": f"shat_…{token.last4}",
            "state": token.state,
            "created": when(token.created),
            "created_by": operators[token.created_by].name
            if token.created_by in operators
            else shown_id("operator", token.created_by),
            "expires": when(token.not_after),
        }
        for token_id, token in sorted(agent.tokens.items(), key=lambda item: item[1].created)
    ]
    if settings().json:
        emit_json(
            {
                "id": shown_id("agent", agent.id),
                "name": agent.name,
                "description": agent.description,
                "state": agent.state,
                "labels": dict(agent.labels),
                "groups": groups,
                "profiles": profiles,
                "tokens": tokens,
            }
        )
        return
    emit_line(f"{agent.name}  {shown_id('agent', agent.id)}  {agent.state}")
    if agent.description:
        emit_line(f"  {agent.description}")
    emit_line(f"  groups: {', '.join(groups) or 'none'}")
    emit_line(f"  may read: {', '.join(profiles) or 'nothing'}")
    for token in tokens:
        emit_line(
            f"  token {token['name']}  {token['ends_in']}  {token['id']}  {token['state']}, expires {token['expires']}"
        )


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
