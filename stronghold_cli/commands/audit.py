"""``audit``: who asked for what, and when. Each entry holds the signature of whoever asked."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from stronghold_cli.commands.acting import open_vault
from stronghold_cli.commands.progress import ProgressBar
from stronghold_cli.commands.times import past_moment
from stronghold_cli.output import ago, emit_json, emit_line, say, settings, table, when
from stronghold_cli.protocol.encoding import JsonValue

if TYPE_CHECKING:
    from stronghold_cli.vault.differences import Act, Subject
    from stronghold_cli.vault.log import Entry

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)

_SHOWN_ACTS = 3
_SHOWN_DETAILS = 3


@app.callback()
def _group() -> None:
    """The log of everything that was asked."""


@app.command("list")
def list_entries(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="How many of the newest entries.")] = 50,
    before: Annotated[
        int | None,
        typer.Option("--before", metavar="ENTRY", min=1, help="Only entries before this one: older pages."),
    ] = None,
    agent: Annotated[str | None, typer.Option("--agent", metavar="AGENT", help="What it asked for, and acts on it.")] = None,
    token: Annotated[str | None, typer.Option("--token", metavar="TOKEN", help="A token's id, name, or end.")] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", "-p", metavar="PROFILE", help="Reads of it, and acts on it.")
    ] = None,
    action: Annotated[
        str | None, typer.Option("--action", metavar="ACTION", help="What was asked for or done, e.g. pull, token-mint.")
    ] = None,
    outcome: Annotated[
        str | None, typer.Option("--outcome", metavar="OUTCOME", help="ok, refused, error, or a code.")
    ] = None,
    since: Annotated[str | None, typer.Option("--since", metavar="TIME", help="From then on: 24h, 7d, a date, UTC.")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Until then: 24h, 7d, a date, UTC.")] = None,
) -> None:
    """List the newest entries of the log that match, oldest first: reads, and what each commit changed.

    Names are those of the time; agents and profiles are found by their former names too, also after they were deleted.

    Example: stronghold audit list --agent "CI/CD Pipeline" --since 7d
    """
    from stronghold_cli.vault.log import Filter, read_log, require_filter

    now = int(time.time())
    wanted = require_filter(
        Filter(
            agent=agent,
            token=token,
            profile=profile,
            action=action,
            outcome=outcome,
            since=past_moment(since, "--since", now),
            until=past_moment(until, "--until", now),
        )
    )
    vault = open_vault()
    with ProgressBar() as bar:
        vault.progress = bar
        entries = read_log(vault, wanted, limit, before)
    if settings().json:
        emit_json([_value(entry) for entry in entries])
        _tell_older(entries, limit)
        return
    rows = [
        (
            entry.leaf.index,
            when(entry.leaf.server_time),
            ago(entry.leaf.server_time, now),
            _who(entry),
            entry.leaf.kind,
            _what(entry),
            _outcome(entry),
        )
        for entry in entries
    ]
    table(rows, ("entry", "time", "", "who", "asked for", "what", "outcome"))
    _tell_older(entries, limit)


@app.command()
def show(number: Annotated[int, typer.Argument(metavar="ENTRY", min=0, help="The entry's number.")]) -> None:
    """Show one entry of the log: who asked, and everything that a commit changed.

    Example: stronghold audit show 42
    """
    from stronghold_cli.vault.log import read_entry

    vault = open_vault()
    with ProgressBar() as bar:
        vault.progress = bar
        entry = read_entry(vault, number)
    if settings().json:
        emit_json(_value(entry))
        return
    emit_line(f"entry {number}  {when(entry.leaf.server_time)}  {entry.leaf.kind}  {_outcome(entry)}")
    emit_line(f"  asked by: {_who(entry)} ({entry.leaf.key_id.text})")
    if not entry.acts and (what := _what(entry)):
        emit_line(f"  what: {what}")
    for act in entry.acts:
        emit_line(f"  {act.action} {act.subject.name}")
        for detail in act.details:
            emit_line(f"    {detail}")
    emit_line(f"  head {entry.leaf.head_seq}, correlation id {entry.leaf.correlation_id.hex()}")
    if not entry.is_verified:
        say("Not verified: no known key signed this very request, or the commit's head is signed by somebody else.")
    if entry.had_ended:
        say("The token had ended before: by the holder of an ended key.")


def _tell_older(entries: list[Entry], limit: int) -> None:
    if len(entries) == limit and entries[0].leaf.index:
        say(f"The newest {limit} that match are shown. For older ones, add: --before {entries[0].leaf.index}")


def _who(entry: Entry) -> str:
    """Who is said to have asked; what is not proven by the signature of their key says so."""
    return _named(entry) if entry.is_verified else f"{_named(entry)} (not verified)"


def _named(entry: Entry) -> str:
    """The name of whoever's key it is, from verified documents; the id where it stands in none."""
    if entry.operator is not None:
        return entry.operator.name
    if entry.agent is not None and entry.token is not None:
        name = f"{entry.agent.name} / {entry.token.name.removeprefix(entry.agent.name + '/')}"
        return f"{name} (ended)" if entry.had_ended else name
    key = entry.leaf.key_id
    return {"t": "tk_", "o": "op_", "l": "op_"}.get(key.kind, "") + key.raw.hex()


def _what(entry: Entry) -> str:
    if entry.acts:
        shown = "; ".join(_act(act) for act in entry.acts[:_SHOWN_ACTS])
        more = len(entry.acts) - _SHOWN_ACTS
        return f"{shown}; and {more} more" if more > 0 else shown
    if entry.profile is not None:
        return entry.profile.name if entry.version is None else f"{entry.profile.name} version {entry.version}"
    document = entry.leaf.document
    return "" if document is None else f"{document.kind} {document.version}"


def _act(act: Act) -> str:
    details = ", ".join(act.details[:_SHOWN_DETAILS])
    more = f" and {len(act.details) - _SHOWN_DETAILS} more" if len(act.details) > _SHOWN_DETAILS else ""
    return f"{act.action} {act.subject.name}" + (f" ({details}{more})" if details else "")


def _outcome(entry: Entry) -> str:
    return entry.leaf.outcome + (f" {entry.leaf.code}" if entry.leaf.code else "")


def _value(entry: Entry) -> dict[str, JsonValue]:
    leaf, document = entry.leaf, entry.leaf.document
    acts: list[JsonValue] = [
        {"action": act.action, **_subject(act.subject), "details": list(act.details)} for act in entry.acts
    ]
    return {
        "entry": leaf.index,
        "time": when(leaf.server_time),
        "who": _named(entry),
        "verified": entry.is_verified,
        "key": leaf.key_id.text,
        "agent": None if entry.agent is None else entry.agent.name,
        "token": None if entry.token is None else _subject(entry.token)["id"],
        "ended": entry.had_ended,
        "kind": leaf.kind,
        "what": _what(entry),
        "profile": None if entry.profile is None else entry.profile.name,
        "version": entry.version,
        "acts": acts,
        "document": None if document is None else document.id.hex(),
        "outcome": leaf.outcome,
        "code": leaf.code,
        "head": leaf.head_seq,
        "correlation_id": leaf.correlation_id.hex(),
    }


def _subject(subject: Subject) -> dict[str, JsonValue]:
    from stronghold_cli.protocol.names import ID_PREFIXES

    shown = subject.name if subject.kind == "lockdown" else f"{ID_PREFIXES.get(subject.kind, '')}{subject.id.hex()}"
    return {"kind": subject.kind, "id": shown, "name": subject.name}
