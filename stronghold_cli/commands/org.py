"""``org``: create a further org, show the one that is current, limit the age of its head, and sign the head anew."""

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
from stronghold_cli.commands.typed import YesOption
from stronghold_cli.output import ago, confirm, emit_json, emit_line, say, settings, table, when
from stronghold_cli.protocol.encoding import JsonValue
from stronghold_cli.protocol.errors import UsageError

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
    emit_line(f"  fingerprint: {words(org.org_id)}")
    emit_line(f"  head {head.seq}, signed {when(head.created)} ({ago(head.created, now)})")
    emit_line(f"  words: {words(head.sha256)}")
    emit_line(f"  {', '.join(f'{count} {kind}' for kind, count in counts.items())}")
    emit_line(f"  oldest client {org.policy.client_min}; oldest head {_max_age(org.policy.max_head_age)}")
    emit_line(f"  log keys: {', '.join(key.id.hex() for key in org.log_keys)}")
    table([(operator.name, operator.role) for operator in org.operators.values()], ("operator", "role"))


@app.command()
def edit(
    max_head_age: Annotated[
        str | None,
        typer.Option(metavar="7d", help="How old the newest signed state may be before everybody refuses it; off: any age."),
    ] = None,
) -> None:
    """Change what holds for the whole org.

    --max-head-age limits how long a server can hold changes back unnoticed: past that age of the newest signed state (each
    change makes one, and so does org refresh) agents get no secrets, and operators change nothing, until it is signed anew.

    Example: stronghold org edit --max-head-age 7d
    """
    from stronghold_cli.commands.times import duration
    from stronghold_cli.vault.policy import limit_head_age

    if max_head_age is None:
        raise UsageError("Nothing to change was given.", hint="Give --max-head-age 7d, or off.")
    seconds = 0 if max_head_age.strip() in {"off", "0"} else duration(max_head_age, "--max-head-age")
    vault = open_vault()
    changed = vault.commit(lambda draft: limit_head_age(draft, seconds))
    if settings().json:
        emit_json({"changed": changed, "max_head_age": seconds, "head": vault.state.seq})
    elif not changed:
        say(f"It was so already; oldest head: {_max_age(seconds)}.")
    elif seconds:
        say(f"From now on a head older than {_span(seconds)} is refused. Sign it anew in time: stronghold org refresh")
    else:
        say("From now on the newest head may be of any age.")


@app.command()
def refresh(yes: YesOption = False) -> None:
    """Sign the newest state of the org anew, with today's date: for orgs with a limit on its age.

    It vouches that nothing newer exists. Where the limit is past already, compare the words with another device first: a
    server that holds changes back would be believed again.

    Example: stronghold org refresh
    """
    from stronghold_cli.protocol.words import words
    from stronghold_cli.vault.policy import refresh_head

    vault = open_vault(to_refresh=True)
    head, limit = vault.state.head.document, vault.state.org.document.policy.max_head_age
    if limit:
        now = int(time.time())
        if now - head.created > limit:
            say(f"The newest head is number {head.seq}, signed {when(head.created)} ({ago(head.created, now)}).")
            say(f"Its words, to compare with another device or person: {words(head.sha256)}")
            if not confirm("It is past the org's limit. Is it the newest that you know of, and to be signed anew?", yes):
                say("Nothing was changed.")
                return
        vault.commit(refresh_head)
    if settings().json:
        emit_json({"refreshed": bool(limit), "max_head_age": limit, "head": vault.state.seq})
    elif limit:
        say(f"Signed the head anew as number {vault.state.seq}; it is good for {_span(limit)}.")
    else:
        say("This org sets no limit on the age of its head, so there is nothing to sign anew.")


def describe(state: OrgState) -> dict[str, JsonValue]:
    """The org as JSON."""
    from stronghold_cli.protocol.encoding import encode_base64
    from stronghold_cli.protocol.words import words
    from stronghold_cli.vault.lookup import shown_id

    org, head = state.org.document, state.head.document
    return {
        "id": org.org_id.hex(),
        "name": org.name,
        "fingerprint": words(org.org_id),
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
    return _span(seconds) if seconds else "any age"


def _span(seconds: int) -> str:
    """``7 d``, ``36 h``, ``90 min``: the largest unit that divides it."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
