"""``context``: the orgs that are known on this machine, and which of them commands act on."""

from __future__ import annotations

from typing import Annotated

import typer

from stronghold_cli.keystore.identities import contexts, load_current, rename_context, use_context
from stronghold_cli.output import emit_json, say, settings, table
from stronghold_cli.vault.lookup import shown_id

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)


@app.command("list")
def list_contexts() -> None:
    """List the orgs known on this machine.

    Example: stronghold context list
    """
    current = load_current().context
    known = contexts()
    if settings().json:
        emit_json(
            [
                {
                    "name": each.name,
                    "current": each.org_id == current,
                    "org_id": each.org_id.hex(),
                    "operator_id": shown_id("operator", each.operator_id),
                    "server": each.kit.base_url,
                }
                for each in known
            ]
        )
        return
    rows = [("*" if each.org_id == current else "", each.name, each.kit.base_url, each.org_id.hex()[:16]) for each in known]
    table(rows, ("current", "name", "server", "org"))
    if not known:
        say("No org is known on this machine: stronghold init makes one, stronghold auth login takes up an existing one.")


@app.command()
def use(name: Annotated[str, typer.Argument(help="Name of the context, or the beginning of the org's id.")]) -> None:
    """Make an org, and its operator, the one that commands act on.

    Example: stronghold context use "Example Inc"
    """
    account = use_context(name)
    say(f"Commands act on {account.name!r} now.")


@app.command()
def rename(
    name: Annotated[str, typer.Argument(help="Name of the context.")],
    new: Annotated[str, typer.Argument(help="Its new name, on this machine only.")],
) -> None:
    """Give a context another name on this machine; the org keeps its own.

    Example: stronghold context rename "Example Inc" work
    """
    account = rename_context(name, new)
    say(f"The context is called {account.name!r} now.")
