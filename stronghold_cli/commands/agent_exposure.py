"""``agent exposure``: what an agent could decrypt, what it did fetch, and what is left to rotate (protocol section 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stronghold_cli.commands.acting import open_vault
from stronghold_cli.commands.progress import ProgressBar
from stronghold_cli.output import emit_json, say, settings, table, warn
from stronghold_cli.protocol.encoding import JsonValue
from stronghold_cli.protocol.errors import Refused, UsageError
from stronghold_cli.protocol.names import SECRET_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stronghold_cli.vault.committing import Vault
    from stronghold_cli.vault.exposure import Exposed, Exposure


def agent_exposure(
    name: Annotated[str, typer.Argument(help="The agent's name or id; of a deleted one too.")],
    todo: Annotated[
        bool, typer.Option("--todo", help="Only what is left to rotate: current values that ended tokens' keys open.")
    ] = False,
) -> None:
    """List the secrets and versions that an agent could decrypt, which of them it fetched, and which are still current.

    With its keys an agent can open the history too, so older versions count. After a compromise, --todo is the work-list: a
    secret leaves it when a version is written after the compromise, or when it is deleted.

    Example: stronghold agent exposure "CI/CD Pipeline" --todo
    """
    from stronghold_cli.vault.exposure import expose

    vault = open_vault()
    with ProgressBar() as bar:
        vault.progress = bar
        found = expose(vault, name)
        entries = found.todo() if todo else found.secrets
        names = _names(vault, entries)
    entries = tuple(sorted(entries, key=lambda item: (item.profile_name, names[item.secret_id], item.secret_id)))
    if settings().json:
        emit_json([_json(item, names) for item in entries])
    elif entries:
        rows = [
            (item.profile_name, names[item.secret_id], _ranges(item.versions), _ranges(item.fetched), _state(item))
            for item in entries
        ]
        table(rows, ("profile", "secret", "could read", "fetched", ""))
    _explain(found, len(entries), todo)


def _explain(found: Exposure, count: int, todo: bool) -> None:
    if not count:
        say(
            f"Nothing is left to rotate: no current value can be opened with keys that {found.agent_name!r} had."
            if todo and found.secrets
            else f"{found.agent_name!r} could decrypt nothing."
        )
    if todo and count and not found.has_ended:
        warn(
            f"no token of {found.agent_name!r} has ended: it goes on reading, and new values too; "
            "stronghold agent compromised ends its tokens and gives new keys"
        )
    elif found.in_use:
        warn(
            f"keys that an ended token of {found.agent_name!r} had are still in use, and open what is written now; "
            "stronghold agent compromised gives new ones"
        )


def _names(vault: Vault, entries: Iterable[Exposed]) -> dict[bytes, str]:
    """The secrets' names where the operator may read the profile, else their ids: names are inside what is encrypted.

    What nobody can read, as its writer left it, goes by its id too.
    """
    from stronghold_cli.vault.histories import read_deleted
    from stronghold_cli.vault.profiles import read_opened

    entries = list(entries)
    names = {item.secret_id: f"{SECRET_PREFIX}{item.secret_id.hex()}" for item in entries}
    for profile_id in {item.profile_id for item in entries} & vault.state.profiles.keys():
        profile = vault.state.profiles[profile_id]
        # Names stand beside the values, so only what is asked about is fetched.
        are_live = {item.current is not None for item in entries if item.profile_id == profile_id}
        try:
            if True in are_live:
                names.update((stored.id, name) for name, stored in read_opened(vault, profile).secrets.items())
            if False in are_live:
                names.update((gone.id, gone.name) for gone in read_deleted(vault, profile))
        except (Refused, UsageError):
            continue
    return names


def _json(item: Exposed, names: dict[bytes, str]) -> dict[str, JsonValue]:
    return {
        "profile": item.profile_name,
        "secret": names[item.secret_id],
        "id": f"{SECRET_PREFIX}{item.secret_id.hex()}",
        "versions": list(item.versions),
        "fetched": list(item.fetched),
        "current": item.current,
        "is_current": item.is_current,
    }


def _state(item: Exposed) -> str:
    if item.current is None:
        return "deleted"
    return "current" if item.is_current else f"replaced by version {item.current}"


def _ranges(versions: tuple[int, ...]) -> str:
    """``1-3, 5`` of 1, 2, 3, 5."""
    parts: list[list[int]] = []
    for version in versions:
        if parts and parts[-1][1] == version - 1:
            parts[-1][1] = version
        else:
            parts.append([version, version])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in parts) or "-"
