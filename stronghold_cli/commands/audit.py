"""``audit``: who asked for what, and when. Each entry holds the signature of whoever asked."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from stronghold_cli.commands.acting import open_vault
from stronghold_cli.output import ago, emit_json, settings, table, when
from stronghold_cli.protocol.encoding import JsonValue

if TYPE_CHECKING:
    from stronghold_cli.protocol.audit import AuditLeaf
    from stronghold_cli.protocol.state import OrgState
    from stronghold_cli.vault.committing import Vault

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)

_PAGE = 500


@app.callback()
def _group() -> None:
    """The log of everything that was asked."""


@app.command("list")
def list_entries(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="How many of the newest entries.")] = 50,
) -> None:
    """List the newest entries of the log, oldest first.

    Example: stronghold audit list --limit 20
    """
    vault = open_vault()
    leaves = _newest(vault, limit)
    if settings().json:
        emit_json([_value(leaf, vault.state) for leaf in leaves])
        return
    now = int(time.time())
    rows = [
        (
            leaf.index,
            when(leaf.server_time),
            ago(leaf.server_time, now),
            _who(leaf, vault.state),
            leaf.kind,
            _what(leaf, vault.state),
            leaf.outcome + (f" {leaf.code}" if leaf.code else ""),
        )
        for leaf in leaves
    ]
    table(rows, ("entry", "time", "", "who", "asked for", "what", "outcome"))


def _newest(vault: Vault, limit: int) -> list[AuditLeaf]:
    from stronghold_cli.protocol.audit import decode_leaf
    from stronghold_cli.protocol.messages import decode_audit

    _, size = decode_audit(vault.operator.get("/audit?after=0&limit=1"))
    start = max(0, size - limit)
    found: list[AuditLeaf] = []
    while start < size:
        leaves, _ = decode_audit(vault.operator.get(f"/audit?after={start}&limit={min(_PAGE, size - start)}"))
        if not leaves:
            break
        found += [decode_leaf(leaf) for leaf in leaves]
        start += len(leaves)
    return found


def _who(leaf: AuditLeaf, state: OrgState) -> str:
    """The name of whoever's key signed, from verified documents; the id where it stands in none any more."""
    raw = leaf.key_id.raw
    if leaf.key_id.kind in {"o", "l"} and raw in state.org.document.operators:
        return state.org.document.operators[raw].name
    for agent in state.agents.values():
        if leaf.key_id.kind == "t" and raw in agent.tokens:
            return f"{agent.name} / {agent.tokens[raw].name}"
    return {"t": "tk_", "o": "op_", "l": "op_"}.get(leaf.key_id.kind, "") + raw.hex()


def _what(leaf: AuditLeaf, state: OrgState) -> str:
    document = leaf.document
    if document is None:
        return ""
    if document.kind == "contents" and document.id in state.profiles:
        return f"{state.profiles[document.id].name} version {document.version}"
    return f"{document.kind} {document.version}"


def _value(leaf: AuditLeaf, state: OrgState) -> dict[str, JsonValue]:
    document = leaf.document
    return {
        "entry": leaf.index,
        "time": when(leaf.server_time),
        "who": _who(leaf, state),
        "key": leaf.key_id.text,
        "kind": leaf.kind,
        "what": _what(leaf, state),
        "document": None if document is None else document.id.hex(),
        "outcome": leaf.outcome,
        "code": leaf.code,
        "head": leaf.head_seq,
        "correlation_id": leaf.correlation_id.hex(),
    }
