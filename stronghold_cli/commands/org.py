"""``org``: create a further org, and show the one that is current."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from stronghold_cli.commands.acting import open_vault
from stronghold_cli.commands.founding import Wishes, found_org
from stronghold_cli.commands.setup import (
    ContextOption,
    KitFileOption,
    NewPassphraseOption,
    OperatorNameOption,
    ProjectOption,
    ServerOption,
    SetupCodeFileOption,
    SetupCodeOption,
)
from stronghold_cli.output import ago, emit_json, emit_line, settings, table, when
from stronghold_cli.protocol.encoding import JsonValue

if TYPE_CHECKING:
    from stronghold_cli.protocol.state import OrgState

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="The new org's name.")],
    operator_name: OperatorNameOption = None,
    server: ServerOption = None,
    setup_code: SetupCodeOption = None,
    setup_code_file: SetupCodeFileOption = None,
    passphrase_file: NewPassphraseOption = None,
    kit_file: KitFileOption = None,
    context: ContextOption = None,
    project: ProjectOption = False,
) -> None:
    """Create a further org, as init does; each needs a setup code of its own (stronghold server setup-code).

    Example: stronghold org create "Example Two" --setup-code-file code
    """
    found_org(
        Wishes(
            server=server,
            org=name,
            name=operator_name,
            context=context,
            passphrase_file=passphrase_file,
            setup_code=setup_code,
            setup_code_file=setup_code_file,
            kit_file=kit_file,
            project=project,
        )
    )


@app.command()
def show() -> None:
    """Show the org as verified now: its head, who is in it, its rules and how much it holds.

    Compare the ten words with another device or person: the same words mean the same state.

    Example: stronghold org show
    """
    from stronghold_cli.protocol.words import words

    vault = open_vault()
    value = describe(vault.state)
    if settings().json:
        emit_json(value)
        return
    org, head, counts = vault.state.org.document, vault.state.head.document, _counts(vault.state)
    now = int(time.time())
    emit_line(f"{org.name}  {org.org_id.hex()}")
    emit_line(f"  head {head.seq}, signed {when(head.created)} ({ago(head.created, now)})")
    emit_line(f"  words: {words(head.sha256)}")
    emit_line(f"  {', '.join(f'{count} {kind}' for kind, count in counts.items())}")
    emit_line(f"  oldest client {org.policy.client_min}; oldest head {_max_age(org.policy.max_head_age)}")
    emit_line(f"  log keys: {', '.join(key.id.hex() for key in org.log_keys)}")
    table([(operator.name, operator.role) for operator in org.operators.values()], ("operator", "role"))


def describe(state: OrgState) -> dict[str, JsonValue]:
    """The org as JSON."""
    from stronghold_cli.protocol.encoding import encode_base64
    from stronghold_cli.protocol.words import words
    from stronghold_cli.vault.lookup import shown_id

    org, head = state.org.document, state.head.document
    return {
        "id": org.org_id.hex(),
        "name": org.name,
        "seq": org.seq,
        "created": when(org.created),
        "head": {
            "seq": head.seq,
            "sha256": head.sha256.hex(),
            "words": words(head.sha256),
            "created": when(head.created),
        },
        "operators": [
            {"id": shown_id("operator", id_), "name": operator.name, "role": operator.role}
            for id_, operator in sorted(org.operators.items())
        ],
        "policy": {"client_min": org.policy.client_min, "max_head_age": org.policy.max_head_age},
        "counts": dict(_counts(state)),
        "log_keys": [{"id": key.id.hex(), "public_key": encode_base64(key.public_key)} for key in org.log_keys],
    }


def _counts(state: OrgState) -> dict[str, int]:
    return {
        "profiles": len(state.profiles),
        "secrets": sum(entry.is_live for id_ in state.profiles for entry in state.entries(id_).values()),
        "groups": len(state.groups),
        "agents": len(state.agents),
        "tokens": sum(len(agent.tokens) for agent in state.agents.values()),
        "open invites": len(state.invites),
        "lockdowns": len(state.structure.document.lockdowns),
    }


def _max_age(seconds: int) -> str:
    return f"{seconds} s" if seconds else "any age"
