"""``profile``: create, list, show, rename, edit, copy and delete named sets of secrets."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from stronghold_cli.commands.acting import open_vault
from stronghold_cli.commands.listing import AfterOption, LimitOption, page_of, place_after
from stronghold_cli.commands.removing import carry_out, counted, named
from stronghold_cli.commands.typed import YesOption
from stronghold_cli.output import ago, confirm, emit_json, emit_line, say, settings, table, when
from stronghold_cli.protocol.encoding import JsonValue
from stronghold_cli.protocol.errors import UsageError

if TYPE_CHECKING:
    from stronghold_cli.protocol.documents.profile import Profile
    from stronghold_cli.vault.draft import Draft

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="The new profile's name.")],
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    no_group: Annotated[
        bool, typer.Option("--no-group", help="Do not make a group of the same name that may read it.")
    ] = False,
) -> None:
    """Make an empty profile, and a group of the same name that may read it.

    Example: stronghold profile create staging
    """
    from stronghold_cli.vault.lookup import shown_id
    from stronghold_cli.vault.profiles import create_profile

    vault = open_vault()
    profile = vault.commit(lambda draft: create_profile(draft, name, description, with_group=not no_group))
    if settings().json:
        emit_json({"id": shown_id("profile", profile.id), "name": profile.name})
    elif no_group:
        say(f"Made the profile {profile.name!r}. No group may read it yet: stronghold group grant GROUP {profile.name}")
    else:
        say(f"Made the profile {profile.name!r} and the group {profile.name!r}, which may read it.")


@app.command("list")
def list_profiles(limit: LimitOption = None, after: AfterOption = None) -> None:
    """List the profiles of the org.

    Example: stronghold profile list
    """
    from stronghold_cli.protocol.names import ID_PREFIXES
    from stronghold_cli.vault.lookup import shown_id

    state, now = open_vault().state, int(time.time())
    profiles = sorted(state.profiles.values(), key=lambda item: item.name)
    named = [(profile.name, shown_id("profile", profile.id)) for profile in profiles]
    start = place_after(named, after, "profiles", ID_PREFIXES["profile"])
    page = page_of(profiles, "profiles", limit=limit, start=start, cursor=lambda profile: profile.name)
    rows: list[tuple[object, ...]] = []
    values: list[JsonValue] = []
    for profile in page.items:
        contents = state.contents[profile.id].document
        count = sum(entry.is_live for entry in state.entries(profile.id).values())
        groups = sorted(state.groups[group_id].name for group_id in profile.grants)
        rows.append((profile.name, count, contents.version, ago(contents.created, now), ", ".join(groups) or "-"))
        values.append(
            {
                "id": shown_id("profile", profile.id),
                "name": profile.name,
                "description": profile.description,
                "secrets": count,
                "version": contents.version,
                "changed": when(contents.created),
                "groups": groups,
            }
        )
    if settings().json:
        emit_json(values)
    else:
        table(rows, ("profile", "secrets", "version", "changed", "groups"))
    page.tell()


@app.command()
def show(name: Annotated[str, typer.Argument(help="The profile's name or id.")]) -> None:
    """Show one profile: its state, its groups and who is in them.

    Example: stronghold profile show production
    """
    from stronghold_cli.vault.lookup import find_profile, shown_id

    state = open_vault().state
    profile = find_profile(state.profiles, name)
    contents = state.contents[profile.id].document
    groups = {state.groups[group_id].name: group_id for group_id in profile.grants}
    agents = {
        group: sorted(agent.name for agent in state.agents.values() if group_id in agent.groups)
        for group, group_id in sorted(groups.items())
    }
    value: dict[str, JsonValue] = {
        "id": shown_id("profile", profile.id),
        "name": profile.name,
        "description": profile.description,
        "secrets": sum(entry.is_live for entry in state.entries(profile.id).values()),
        "version": contents.version,
        "changed": when(contents.created),
        "key_epoch": profile.epoch,
        "editors": sorted(state.org.document.operators[id_].name for id_ in profile.editors),
        "groups": agents,
    }
    if settings().json:
        emit_json(value)
        return
    emit_line(f"{profile.name}  {value['id']}")
    if profile.description:
        emit_line(f"  {profile.description}")
    emit_line(f"  secrets: {value['secrets']}, version {contents.version}, changed {when(contents.created)}")
    for group, names in agents.items():
        emit_line(f"  group {group}: {', '.join(names) or 'no agents'}")
    if not agents:
        emit_line("  no group may read it")


@app.command()
def rename(
    name: Annotated[str, typer.Argument(help="The profile's name or id.")],
    new_name: Annotated[str, typer.Argument(metavar="NEW_NAME", help="Its new name.")],
) -> None:
    """Give a profile another name. Its secrets, groups and history stay; pipelines have to ask for the new name.

    Example: stronghold profile rename prod production
    """
    from stronghold_cli.vault.lookup import find_again, find_profile
    from stronghold_cli.vault.profiles import rename_profile

    vault = open_vault()
    found = find_profile(vault.state.profiles, name)
    renamed = vault.commit(lambda draft: rename_profile(draft, find_again(draft.profiles(), found), new_name))
    say(f"The profile {found.name!r} is called {renamed.name!r} now: whoever pulls it by name has to use the new one.")


@app.command()
def edit(
    name: Annotated[str, typer.Argument(help="The profile's name or id.")],
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
) -> None:
    """Change what a profile says that it is for.

    Example: stronghold profile edit production --description "The shop, live"
    """
    from stronghold_cli.vault.lookup import find_again, find_profile
    from stronghold_cli.vault.profiles import describe_profile

    if description is None:
        raise UsageError("Nothing to change was given.", hint="Give --description TEXT; the name: stronghold profile rename")
    vault = open_vault()
    found = find_profile(vault.state.profiles, name)
    vault.commit(lambda draft: describe_profile(draft, find_again(draft.profiles(), found), description))
    say(f"Changed the description of the profile {found.name!r}.")


@app.command()
def copy(
    name: Annotated[str, typer.Argument(help="The profile's name or id.")],
    new_name: Annotated[str, typer.Argument(metavar="NEW_NAME", help="The new profile's name.")],
    group: Annotated[
        str | None,
        typer.Option(metavar="GROUP", help="The group that may read it, by name or id; else a new one of the same name."),
    ] = None,
) -> None:
    """Make a profile with the current values and notes of another one. Its history and its readers stay behind.

    Example: stronghold profile copy production staging
    """
    from stronghold_cli.vault.lookup import find_again, find_group, find_profile, shown_id
    from stronghold_cli.vault.profiles import copy_profile, read_secrets

    vault = open_vault()
    found = find_profile(vault.state.profiles, name)
    reader = None if group is None else find_group(vault.state.groups, group)

    def act(draft: Draft) -> tuple[Profile, int]:
        source = find_again(draft.state.profiles, found)
        known = read_secrets(vault, source)
        again = None if reader is None else find_again(draft.groups(), reader)
        return copy_profile(draft, source, known, new_name, group=again), len(known)

    made, count = carry_out(vault, act)
    if settings().json:
        emit_json({"id": shown_id("profile", made.id), "name": made.name, "secrets": count})
        return
    say(f"Copied {counted(count, 'secret')} of {found.name!r} into the new profile {made.name!r}.")
    if reader is not None:
        say(f"The group {reader.name!r} may read it.")


@app.command()
def delete(name: Annotated[str, typer.Argument(help="The profile's name or id.")], yes: YesOption = False) -> None:
    """Delete a profile with all its secrets and all their versions. Only a backup of the server brings them back.

    Example: stronghold profile delete staging
    """
    from stronghold_cli.vault.lookup import find_again, find_profile
    from stronghold_cli.vault.reach import shared_groups
    from stronghold_cli.vault.removal import delete_profile

    vault = open_vault()
    state = vault.state
    found = find_profile(state.profiles, name)
    live = sum(entry.is_live for entry in state.entries(found.id).values())
    readers = [agent.name for agent in state.agents.values() if shared_groups(state, agent, found)]
    what = f"{counted(live, 'secret')} and all older versions are lost: only a backup of the server brings them back."
    who = f" {counted(len(readers), 'agent')} can no longer pull it: {named(readers)}." if readers else ""
    if not confirm(f"Delete the profile {found.name!r} for ever? {what}{who}", yes):
        say("Nothing was changed.")
        return
    vault.commit(lambda draft: delete_profile(draft, find_again(draft.profiles(), found)))
    say(f"Deleted the profile {found.name!r}: {what}")
    idle = [
        state.groups[id_].name
        for id_ in found.grants
        if id_ in vault.state.groups and not any(id_ in item.grants for item in vault.state.profiles.values())
    ]
    if idle:
        say(f"Left, and reading nothing now: the group {named(idle)}.")
