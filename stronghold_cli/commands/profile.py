"""``profile``: create, list and show named sets of secrets."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from stronghold_cli.commands.acting import open_vault
from stronghold_cli.output import ago, emit_json, emit_line, say, settings, table, when
from stronghold_cli.protocol.encoding import JsonValue

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
def list_profiles() -> None:
    """List the profiles of the org.

    Example: stronghold profile list
    """
    from stronghold_cli.vault.lookup import shown_id

    state = open_vault().state
    now = int(time.time())
    rows: list[tuple[object, ...]] = []
    values: list[JsonValue] = []
    for profile in sorted(state.profiles.values(), key=lambda item: item.name):
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
