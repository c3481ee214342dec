"""``group``: agents and operators on one side, profiles on the other."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from stronghold_cli.commands.acting import open_vault
from stronghold_cli.commands.listing import AfterOption, LimitOption, page_of, place_after
from stronghold_cli.commands.removing import carry_out, counted, named, show_exposure
from stronghold_cli.commands.typed import YesOption
from stronghold_cli.output import confirm, emit_json, emit_line, say, settings, table
from stronghold_cli.protocol.encoding import JsonValue
from stronghold_cli.protocol.errors import UsageError
from stronghold_cli.protocol.record import Record

if TYPE_CHECKING:
    from stronghold_cli.protocol.documents.group import Group
    from stronghold_cli.protocol.state import OrgState
    from stronghold_cli.vault.draft import Draft
    from stronghold_cli.vault.rekeying import Rekeyed

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)

_MOST_NAMED = 5


@app.command()
def create(name: Annotated[str, typer.Argument(help="The new group's name.")]) -> None:
    """Make an empty group.

    Example: stronghold group create deployers
    """
    from stronghold_cli.vault.groups import create_group
    from stronghold_cli.vault.lookup import shown_id

    vault = open_vault()
    group = vault.commit(lambda draft: create_group(draft, name))
    if settings().json:
        emit_json({"id": shown_id("group", group.id), "name": group.name})
    else:
        say(f"Made the group {group.name!r}. Let it read a profile with: stronghold group grant {group.name!r} PROFILE")


@app.command("list")
def list_groups(limit: LimitOption = None, after: AfterOption = None) -> None:
    """List the groups with their agents, operators and profiles; on a terminal the first names of each.

    Example: stronghold group list
    """
    from stronghold_cli.protocol.names import ID_PREFIXES
    from stronghold_cli.vault.lookup import shown_id

    state = open_vault().state
    groups = sorted(state.groups.values(), key=lambda item: item.name)
    named = [(group.name, shown_id("group", group.id)) for group in groups]
    start = place_after(named, after, "groups", ID_PREFIXES["group"])
    page = page_of(groups, "groups", limit=limit, start=start, cursor=lambda group: group.name)
    values = _values(state, page.items)
    if settings().json:
        emit_json([value.to_json() for value in values])
    else:
        rows = [(value.name, _joined(value.agents), _joined(value.operators), _joined(value.profiles)) for value in values]
        table(rows, ("group", "agents", "operators", "profiles"))
    page.tell()


@app.command()
def show(name: Annotated[str, typer.Argument(help="The group's name or id.")]) -> None:
    """Show one group: who is in it and what it may read.

    Example: stronghold group show deployers
    """
    from stronghold_cli.vault.lookup import find_group

    state = open_vault().state
    (value,) = _values(state, [find_group(state.groups, name)])
    if settings().json:
        emit_json(value.to_json())
        return
    emit_line(f"{value.name}  {value.id}")
    for what, names in (("agents", value.agents), ("operators", value.operators), ("profiles", value.profiles)):
        emit_line(f"  {what}: {', '.join(names) or 'none'}")
    emit_line("  admins are members of every group")


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="The group's name or id.")],
    agent: Annotated[list[str] | None, typer.Option("--agent", metavar="AGENT", help="An agent's name or id.")] = None,
    operator: Annotated[
        list[str] | None, typer.Option("--operator", metavar="NAME", help="An operator's name or id.")
    ] = None,
) -> None:
    """Put agents or operators into a group, so that they may read its profiles.

    Example: stronghold group add deployers --agent "CI/CD Pipeline"
    """
    from stronghold_cli.vault.groups import add_agent, add_operator
    from stronghold_cli.vault.lookup import find_agent, find_group, find_operator

    if not agent and not operator:
        raise UsageError("Nobody was named.", hint="Name whom to add with --agent or --operator.")

    def act(draft: Draft) -> tuple[str, list[str]]:
        group_id, expired = find_group(draft.groups(), name).id, list[str]()
        for each in agent or ():
            found = find_agent(draft.agents(), each)
            expired += (f"{found.name}/{token}" for token in add_agent(draft, draft.groups()[group_id], found))
        for each in operator or ():
            add_operator(draft, draft.groups()[group_id], find_operator(draft.state, each))
        return draft.groups()[group_id].name, expired

    added, expired = open_vault().commit(act)
    say(f"Added {', '.join((*(agent or ()), *(operator or ())))} to the group {added!r}.")
    if expired:
        say(f"{counted(len(expired), 'token')} past the end went: {named(expired)}.")


@app.command()
def grant(
    name: Annotated[str, typer.Argument(help="The group's name or id.")],
    profile: Annotated[str, typer.Argument(help="The profile's name or id.")],
) -> None:
    """Let a group read a profile.

    Example: stronghold group grant deployers production
    """
    from stronghold_cli.vault.groups import grant as grant_profile
    from stronghold_cli.vault.lookup import find_group, find_profile

    def act(draft: Draft) -> tuple[str, str]:
        group, found = find_group(draft.groups(), name), find_profile(draft.profiles(), profile)
        grant_profile(draft, group, found)
        return group.name, found.name

    group_name, profile_name = open_vault().commit(act)
    say(f"The group {group_name!r} may read the profile {profile_name!r} from now on.")


@app.command()
def rename(
    name: Annotated[str, typer.Argument(help="The group's name or id.")],
    new_name: Annotated[str, typer.Argument(metavar="NEW_NAME", help="Its new name.")],
) -> None:
    """Give a group another name. Who is in it and what it may read stays.

    Example: stronghold group rename deployers "CI/CD"
    """
    from stronghold_cli.vault.groups import rename_group
    from stronghold_cli.vault.lookup import find_again, find_group

    vault = open_vault()
    found = find_group(vault.state.groups, name)
    renamed = vault.commit(lambda draft: rename_group(draft, find_again(draft.groups(), found), new_name))
    say(f"The group {found.name!r} is called {renamed.name!r} now.")


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="The group's name or id.")],
    agent: Annotated[list[str] | None, typer.Option("--agent", metavar="AGENT", help="An agent's name or id.")] = None,
    operator: Annotated[
        list[str] | None, typer.Option("--operator", metavar="NAME", help="An operator's name or id.")
    ] = None,
    yes: YesOption = False,
) -> None:
    """Take agents or operators out of a group. Its profiles get new keys, and the secrets there are encrypted anew.

    Whoever stays reads on with the token they have. What could be read until now is printed.

    Example: stronghold group remove deployers --agent "CI/CD Pipeline"
    """
    from stronghold_cli.vault.lookup import find_again, find_agent, find_group, find_operator
    from stronghold_cli.vault.removal import remove_from_group

    if not agent and not operator:
        raise UsageError("Nobody was named.", hint="Name whom to remove with --agent or --operator.")
    vault = open_vault()
    before = vault.state
    group = find_group(before.groups, name)
    agents = {found.id: found for found in (find_agent(before.agents, each) for each in agent or ())}
    operators = {find_operator(before, each) for each in operator or ()}
    who = named([*(item.name for item in agents.values()), *(before.org.document.operators[id_].name for id_ in operators)])
    if not confirm(f"Remove {who} from the group {group.name!r}?", yes):
        say("Nothing was changed.")
        return

    def act(draft: Draft) -> Rekeyed:
        members = [find_again(draft.agents(), item) for item in agents.values()]
        return remove_from_group(draft, find_again(draft.groups(), group), members, operators)

    done = carry_out(vault, act)
    say(f"Removed {who} from the group {group.name!r}.")
    lost = [id_ for id_ in done.profiles if _lost_by_somebody(vault.state, id_, agents, operators)]
    show_exposure(vault.state, done, lost)
    if still := sorted(done.names[id_] for id_ in done.profiles if id_ not in lost):
        say(f"Still read through other groups: {named(still)}.")


@app.command()
def ungrant(
    name: Annotated[str, typer.Argument(help="The group's name or id.")],
    profile: Annotated[str, typer.Argument(help="The profile's name or id.")],
    yes: YesOption = False,
) -> None:
    """Take a profile from a group. The profile gets a new key, and its secrets are encrypted anew.

    Example: stronghold group ungrant deployers production
    """
    from stronghold_cli.vault.lookup import find_again, find_group, find_profile
    from stronghold_cli.vault.removal import ungrant as ungrant_profile

    vault = open_vault()
    before = vault.state
    group, found = find_group(before.groups, name), find_profile(before.profiles, profile)
    if not confirm(f"Take the profile {found.name!r} from the group {group.name!r}?", yes):
        say("Nothing was changed.")
        return

    def act(draft: Draft) -> Rekeyed:
        return ungrant_profile(draft, find_again(draft.groups(), group), find_again(draft.profiles(), found))

    done = carry_out(vault, act)
    say(f"The group {group.name!r} may not read the profile {found.name!r} any more.")
    show_exposure(vault.state, done, done.profiles)


@app.command()
def delete(name: Annotated[str, typer.Argument(help="The group's name or id.")], yes: YesOption = False) -> None:
    """Delete a group. Its agents stay, and each profile that it could read gets a new key.

    Example: stronghold group delete deployers
    """
    from stronghold_cli.vault.lookup import find_again, find_group
    from stronghold_cli.vault.removal import delete_group

    vault = open_vault()
    before = vault.state
    group = find_group(before.groups, name)
    (value,) = _values(before, [group])
    lost = f" {counted(len(value.agents), 'agent')} in it no longer read {named(value.profiles)} through it."
    if not confirm(f"Delete the group {group.name!r} for ever?{lost if value.agents and value.profiles else ''}", yes):
        say("Nothing was changed.")
        return
    done = carry_out(vault, lambda draft: delete_group(draft, find_again(draft.groups(), group)))
    say(f"Deleted the group {group.name!r}.")
    show_exposure(vault.state, done, done.profiles)


def _lost_by_somebody(state: OrgState, profile_id: bytes, agents: Iterable[bytes], operators: Iterable[bytes]) -> bool:
    """Whether one of those who were removed has no other group through which they may read the profile.

    Others may have deleted the profile or an agent since: then there is no such group either.
    """
    profile = state.profiles.get(profile_id)
    if profile is None:
        return True
    grants = profile.grants.keys()
    readers = [agent_id not in state.agents or grants.isdisjoint(state.agents[agent_id].groups) for agent_id in agents]
    readers += [
        not any(operator_id in state.leaves("members", group_id) for group_id in grants) for operator_id in operators
    ]
    return any(readers)


class _Shown(Record):
    """A group as people see it, by names."""

    id: str
    name: str
    agents: list[str]
    operators: list[str]
    profiles: list[str]
    key_epoch: int

    def to_json(self) -> dict[str, JsonValue]:
        """For ``--json``."""
        return {name: getattr(self, name) for name in self.members}


def _values(state: OrgState, groups: Iterable[Group]) -> list[_Shown]:
    """The groups by names; agents and profiles are gone through once for all of them."""
    from stronghold_cli.vault.lookup import shown_id

    groups = list(groups)
    agents: dict[bytes, list[str]] = {group.id: [] for group in groups}
    profiles: dict[bytes, list[str]] = {group.id: [] for group in groups}
    for agent in state.agents.values():
        for group_id in agents.keys() & set(agent.groups):
            agents[group_id].append(agent.name)
    for profile in state.profiles.values():
        for group_id in profiles.keys() & profile.grants.keys():
            profiles[group_id].append(profile.name)
    operators = state.org.document.operators
    return [
        _Shown(
            id=shown_id("group", group.id),
            name=group.name,
            agents=sorted(agents[group.id]),
            operators=sorted(operators[operator_id].name for operator_id in group.operators),
            profiles=sorted(profiles[group.id]),
            key_epoch=group.epoch,
        )
        for group in groups
    ]


def _joined(names: list[str]) -> str:
    """Names in one cell: all of them, and on a terminal the first few."""
    shown = names[:_MOST_NAMED] if sys.stdout.isatty() else names
    more = f" and {len(names) - len(shown)} more" if len(shown) < len(names) else ""
    return f"{', '.join(shown)}{more}" or "-"
