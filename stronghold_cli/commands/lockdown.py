"""``lockdown``: stop agents at once, see who is stopped, and wake them again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from stronghold_cli.commands.acting import open_vault
from stronghold_cli.commands.listing import AfterIdOption, LimitOption, page_of, place_of
from stronghold_cli.output import ago, emit_json, say, settings, table, when
from stronghold_cli.protocol.encoding import JsonValue
from stronghold_cli.protocol.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sized

    from stronghold_cli.protocol.documents.structure import Lockdown
    from stronghold_cli.protocol.state import OrgState

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)

_SHOWN_NAMES = 5


@app.callback(invoke_without_command=True)
def lockdown(
    context: typer.Context,
    everyone: Annotated[bool, typer.Option("--all", help="Stop every agent of the org.")] = False,
    group: Annotated[
        list[str] | None, typer.Option("--group", metavar="GROUP", help="Stop the agents in this group.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="Stop the agents with this label.")
    ] = None,
    agent: Annotated[list[str] | None, typer.Option("--agent", metavar="AGENT", help="Stop this agent.")] = None,
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why; kept in the signed state.")] = None,
) -> None:
    """Stop agents at once: they are refused from their next request on, and nothing else about them changes.

    It is not asked for twice: nothing is lost, and lifting it wakes them again.

    Example: stronghold lockdown --label env=staging --reason "a token stood in a public log"
    """
    from stronghold_cli.protocol.laid_documents import names_of
    from stronghold_cli.vault.lockdowns import Wanted, lock_down, require_wanted, shown_lockdown

    chosen = bool(everyone or group or label or agent or reason is not None)
    if context.invoked_subcommand is not None:
        if chosen:
            raise UsageError(
                f"lockdown {context.invoked_subcommand} takes none of the options that stop agents.",
                hint="Nothing was done. Give them to: stronghold lockdown",
            )
        return
    if reason is None:
        raise UsageError("No reason was given.", hint='Say why in a sentence: --reason "token found in a public log"')
    wanted = require_wanted(
        Wanted(
            all=everyone,
            groups=tuple(group or ()),
            agents=tuple(agent or ()),
            labels=tuple(label or ()),
            reason=reason,
        )
    )
    vault = open_vault()
    made = vault.commit(lambda draft: lock_down(draft, wanted))
    if settings().json:
        emit_json({**_value(made.lockdown, vault.state), "stopped": len(made.agents)})
        return
    known = dict(names_of(vault.state.agents))
    stopped = [known[agent_id] for agent_id in made.agents]
    say(
        f"Stopped {_count(stopped)}{_names(stopped)}. To wake them: stronghold lockdown lift {shown_lockdown(made.lockdown)}"
        if stopped
        else "This stops no agent as the org stands; it will stop those that match later. "
        f"To lift it: stronghold lockdown lift {shown_lockdown(made.lockdown)}"
    )


@app.command("list")
def list_lockdowns(
    limit: LimitOption = None,
    after: AfterIdOption = None,
) -> None:
    """List the lockdowns in force, the oldest first: whom they stop, since when, and why.

    Example: stronghold lockdown list
    """
    from stronghold_cli.vault.lockdowns import shown_lockdown, stopped_by

    state = open_vault().state
    lockdowns = state.structure.document.lockdowns
    start = 0 if after is None else place_of([shown_lockdown(item) for item in lockdowns], after, "lockdowns") + 1
    page = page_of(lockdowns, "lockdowns", limit=limit, start=start, cursor=shown_lockdown)
    stopped = [(item, len(stopped_by(state.agents, item))) for item in page.items]
    if settings().json:
        emit_json([{**_value(item, state), "stopped": count} for item, count in stopped])
    else:
        now = int(time.time())
        rows = [
            (shown_lockdown(item), _whom(item, state), count, ago(item.created, now), item.reason) for item, count in stopped
        ]
        table(rows, ("lockdown", "whom", "agents", "since", "reason"))
    page.tell()


@app.command()
def lift(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="The lockdowns' ids, or their beginnings.")],
) -> None:
    """Lift lockdowns: wakes those that they stopped, and nobody who is paused or stopped otherwise.

    Example: stronghold lockdown lift ld_5f0c2a
    """
    from stronghold_cli.protocol.laid_documents import names_of
    from stronghold_cli.vault.lockdowns import lift as lift_lockdowns
    from stronghold_cli.vault.lockdowns import shown_lockdown, stopped_by, woken_by

    vault = open_vault()
    lifted = vault.commit(lambda draft: lift_lockdowns(draft, ids))
    state = vault.state
    woken = woken_by(state, lifted)
    concerned = {agent_id for item in lifted for agent_id in stopped_by(state.agents, item)}
    known = dict(names_of(state.agents))
    still = [known[agent_id] for agent_id in concerned - set(woken)]
    if settings().json:
        emit_json(
            {
                "lifted": [shown_lockdown(item) for item in lifted],
                "woken": len(woken),
                "still_stopped": sorted(still),
            }
        )
        return
    awake = [known[agent_id] for agent_id in woken]
    say(f"Lifted {', '.join(shown_lockdown(item) for item in lifted)}: woke {_count(woken)}{_names(awake)}.")
    if still:
        say(f"Paused, or under another lockdown, and so still stopped: {_count(still)}{_names(still)}.")


def _whom(lockdown: Lockdown, state: OrgState) -> str:
    """Whom a lockdown stops, in words; of what was deleted meanwhile, the id."""
    if lockdown.all:
        return "all agents"
    value = _value(lockdown, state)
    parts = [(word, value[f"{word}s"]) for word in ("agent", "group", "label")]
    return "; ".join(f"{word} {each}" for word, names in parts if isinstance(names, list) for each in names)


def _value(lockdown: Lockdown, state: OrgState) -> dict[str, JsonValue]:
    from stronghold_cli.vault.lockdowns import shown_lockdown
    from stronghold_cli.vault.lookup import shown_id

    def name(kind: str, id_: bytes) -> str:
        document = state.documents(kind).get(id_)
        return shown_id(kind, id_) if document is None else document.name

    return {
        "id": shown_lockdown(lockdown),
        "all": lockdown.all,
        "groups": [name("group", id_) for id_ in lockdown.groups],
        "agents": [name("agent", id_) for id_ in lockdown.agents],
        "labels": list(lockdown.labels),
        "reason": lockdown.reason,
        "created": when(lockdown.created),
    }


def _count(agents: Sized) -> str:
    return f"{len(agents)} agent{'' if len(agents) == 1 else 's'}"


def _names(names: list[str]) -> str:
    """The names of a few agents, in brackets."""
    names = sorted(names)
    more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    return f" ({', '.join(names[:_SHOWN_NAMES])}{more})" if names else ""
