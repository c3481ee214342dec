"""``access``: who reaches what, and why."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from stronghold_cli.commands.acting import open_vault
from stronghold_cli.commands.listing import LimitOption, page_of, place_of
from stronghold_cli.commands.removing import quoted
from stronghold_cli.output import emit_json, emit_line, settings, table
from stronghold_cli.protocol.encoding import JsonValue

if TYPE_CHECKING:
    from stronghold_cli.protocol.documents.agent import Agent
    from stronghold_cli.protocol.documents.profile import Profile
    from stronghold_cli.protocol.state import OrgState
    from stronghold_cli.vault.reach import Reach

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)


@app.command("list")
def list_access(
    agent: Annotated[str | None, typer.Option("--agent", metavar="AGENT", help="Only what this agent reaches.")] = None,
    operator: Annotated[
        str | None, typer.Option("--operator", metavar="NAME", help="Only what this operator reaches.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", "-p", metavar="PROFILE", help="Only who reaches this profile.")
    ] = None,
    group: Annotated[str | None, typer.Option("--group", metavar="GROUP", help="Only what is reached through it.")] = None,
    limit: LimitOption = None,
    after: Annotated[
        str | None,
        typer.Option("--after", metavar="ID/PROFILE", help="Go on after this row, as the page before said."),
    ] = None,
) -> None:
    """List who may read which profile, and through which groups. It comes from the signed documents, not from the server.

    Example: stronghold access list --profile production
    """
    from stronghold_cli.vault.lookup import find_agent, find_group, find_operator, find_profile, shown_id
    from stronghold_cli.vault.reach import reaches

    state = open_vault().state
    people = set()
    if agent is not None:
        people.add(find_agent(state.agents, agent).id)
    if operator is not None:
        people.add(find_operator(state, operator))
    profile_id = None if profile is None else find_profile(state.profiles, profile).id
    group_id = None if group is None else find_group(state.groups, group).id
    found = [
        reach
        for reach in reaches(state, int(time.time()))
        if (not people or reach.id in people)
        and profile_id in (None, reach.profile.id)
        and (group_id is None or group_id in reach.groups)
    ]
    start = 0 if after is None else place_of([_cursor(reach) for reach in found], after, "rows") + 1
    page = page_of(found, "rows", limit=limit, start=start, cursor=_cursor)
    if settings().json:
        emit_json(
            [
                {
                    "id": shown_id("agent" if reach.kind == "agent" else "operator", reach.id),
                    "name": reach.name,
                    "kind": reach.kind,
                    "profile": reach.profile.name,
                    "groups": [state.groups[id_].name for id_ in reach.groups],
                    "stopped_by": list(reach.hindrances),
                }
                for reach in page.items
            ]
        )
    else:
        table([_row(state, reach) for reach in page.items], ("who", "kind", "profile", "through", "at present"))
    page.tell()


@app.command()
def explain(
    agent: Annotated[str, typer.Argument(help="The agent's name or id.")],
    profile: Annotated[str, typer.Argument(help="The profile's name or id.")],
) -> None:
    """Say by which group an agent may read a profile, or why it may not, and what to type to change that.

    Example: stronghold access explain "CI/CD Pipeline" production
    """
    from stronghold_cli.vault.lookup import find_agent, find_profile
    from stronghold_cli.vault.reach import hindrances, shared_groups

    state = open_vault().state
    who, what = find_agent(state.agents, agent), find_profile(state.profiles, profile)
    groups = [state.groups[id_].name for id_ in shared_groups(state, who, what)]
    stopped = hindrances(state, who, int(time.time()))
    change = _to_end(who, what, groups) if groups else _to_allow(state, who, what)
    remedies = [_REMEDIES[each].format(agent=quoted(who.name)) for each in stopped]
    if settings().json:
        value: dict[str, JsonValue] = {
            "agent": who.name,
            "profile": what.name,
            "may_read": bool(groups),
            "through": list(groups),
            "stopped_by": list(stopped),
            "change": list(change),
        }
        emit_json(value)
        return
    if groups:
        through = ", ".join(map(repr, groups))
        emit_line(f"{who.name!r} may read {what.name!r}: it is in the group {through}, which is granted {what.name!r}.")
    else:
        emit_line(f"{who.name!r} may not read {what.name!r}: {_why_not(state, who, what)}.")
    for hindrance, remedy in zip(stopped, remedies, strict=True):
        emit_line(f"At present it gets nothing: {hindrance}. To change that: {remedy}")
    emit_line("To take it away:" if groups else "To let it:")
    for line in change:
        emit_line(f"  {line}")


_REMEDIES = {
    "locked down": "stronghold lockdown list",
    "paused": "stronghold agent activate {agent}",
    "expired": "stronghold agent edit {agent}",
    "no live token": "stronghold token mint {agent}",
}


def _row(state: OrgState, reach: Reach) -> tuple[object, ...]:
    groups = ", ".join(state.groups[id_].name for id_ in reach.groups)
    return (reach.name, reach.kind, reach.profile.name, groups, ", ".join(reach.hindrances) or "reads")


def _cursor(reach: Reach) -> str:
    from stronghold_cli.vault.lookup import shown_id

    return f"{shown_id('agent' if reach.kind == 'agent' else 'operator', reach.id)}/{reach.profile.name}"


def _why_not(state: OrgState, agent: Agent, profile: Profile) -> str:
    from stronghold_cli.vault.reach import by_name

    granted = ", ".join(repr(state.groups[id_].name) for id_ in by_name(state, profile.grants))
    member = ", ".join(repr(state.groups[id_].name) for id_ in by_name(state, agent.groups))
    reads = f"{profile.name!r} is granted to {granted}" if granted else f"{profile.name!r} is granted to no group"
    return f"{reads}, and {agent.name!r} is in {member or 'no group'}"


def _to_end(agent: Agent, profile: Profile, groups: list[str]) -> list[str]:
    """For each group the narrow change, that takes it from this agent, and the wide one, that takes it from all in there."""
    lines = []
    for name in groups:
        lines.append(f"stronghold group remove {quoted(name)} --agent {quoted(agent.name)}")
        lines.append(f"stronghold group ungrant {quoted(name)} {quoted(profile.name)}")
    return lines


def _to_allow(state: OrgState, agent: Agent, profile: Profile) -> list[str]:
    from stronghold_cli.vault.reach import by_name

    lines = [
        f"stronghold group add {quoted(state.groups[id_].name)} --agent {quoted(agent.name)}"
        for id_ in by_name(state, profile.grants)
    ]
    lines += [
        f"stronghold group grant {quoted(state.groups[id_].name)} {quoted(profile.name)}"
        for id_ in by_name(state, agent.groups)
    ]
    if not lines:
        lines = [
            f"stronghold group create {quoted(profile.name)}",
            f"stronghold group grant {quoted(profile.name)} {quoted(profile.name)}",
            f"stronghold group add {quoted(profile.name)} --agent {quoted(agent.name)}",
        ]
    return lines
