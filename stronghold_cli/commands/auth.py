"""``auth``: log in, unlock and lock as an operator; store an agent's token; say who is acting; log out."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Annotated

import typer

from stronghold_cli.commands.acting import (
    current_account,
    fetch_keyset,
    identity,
    log_in_as,
    operator_server,
    vault_of,
)
from stronghold_cli.commands.declared import API_USER
from stronghold_cli.commands.typed import (
    PassphraseFileOption,
    TokenFileOption,
    TokenOption,
    YesOption,
    add_hot_command,
    typed,
)
from stronghold_cli.keystore.identities import Account, TokenIdentity, load_account, store_account
from stronghold_cli.keystore.marks import HeadMark
from stronghold_cli.output import ago, ask_passphrase, emit, emit_json, say, settings, warn, when
from stronghold_cli.protocol.errors import Conflict, TokenMalformed, UsageError

if TYPE_CHECKING:
    from stronghold_cli.crypto.keys import Keyset
    from stronghold_cli.protocol.token import OperatorKit
    from stronghold_cli.vault.committing import Vault

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)

_MAX_KIT_FILE = 16 << 10
_MAX_UNLOCKED = 30 * 86_400


@app.command()
def login(
    kit_file: Annotated[
        str | None, typer.Option("--kit-file", metavar="FILE", help="A file with the operator kit (shok_…).")
    ] = None,
    passphrase_file: PassphraseFileOption = None,
    context: Annotated[
        str | None, typer.Option("--context", metavar="NAME", help="Name of the org on this machine; default: the org's.")
    ] = None,
) -> None:
    """Log in as an operator on this machine, from the operator kit and the passphrase; both are asked for if not given.

    The first time, it shows ten words to compare with another device or person before anything is written.

    Example: stronghold auth login --kit-file kits
    """
    from stronghold_cli.commands.passphrases import known_passphrase
    from stronghold_cli.vault.box_audit import audit_boxes

    kit = _operator_kit(kit_file)
    known = load_account(kit.org_id)
    name = context or (known.name if known is not None else "")
    _require_same_operator(known, kit)
    account = Account(name=name, kit=kit)
    with operator_server(account) as server:
        passphrase = known_passphrase(name or "the operator", passphrase_file)
        logged_in = log_in_as(account, server, passphrase)
        account = account.replace(name=name or logged_in.org_name)
        seen = HeadMark(seq=logged_in.head.seq, sha256=logged_in.head.sha256)
        vault = vault_of(account, server, logged_in.keyset, seen=seen)
        audit = audit_boxes(vault)
    store_account(account)
    session = _unlock(logged_in.keyset, None)
    if settings().json:
        emit_json({"context": account.name, "operator": logged_in.operator_name, **_head(vault), **session.described()})
        return
    say(f"Logged in to {logged_in.org_name!r} as {logged_in.operator_name!r}.")
    say(f"Checked {audit.signatures} signatures and {audit.seals} sealed keys; opened {audit.groups} group keys.")
    if known is None:
        _show_head(vault)
    session.tell()


@app.command()
def unlock(
    length: Annotated[str | None, typer.Option("--for", metavar="8h", help="For how long; default 8h.")] = None,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Unlock the operator with the passphrase, in every shell of this machine.

    Where the machine has no folder in memory, a line to be evaluated stands on stdout: eval "$(stronghold auth unlock)".

    Example: stronghold auth unlock --for 2h
    """
    from stronghold_cli.commands.passphrases import known_passphrase

    seconds = _unlock_seconds(length)
    account = current_account()
    with operator_server(account) as server:
        keyset = fetch_keyset(account, server, known_passphrase(account.name, passphrase_file))
    session = _unlock(keyset, seconds)
    if settings().json:
        emit_json({"context": account.name, **session.described()})
        return
    session.tell()


@app.command()
def lock(
    everything: Annotated[bool, typer.Option("--all", help="Lock the operators of all orgs known on this machine.")] = False,
) -> None:
    """Lock the operator: the next command that needs the keys asks for the passphrase.

    Example: stronghold auth lock
    """
    from stronghold_cli.keystore import sessions

    if everything:
        sessions.lock_all()
        say("Locked all operators on this machine.")
        return
    account = current_account()
    was_unlocked = sessions.lock(account.org_id)
    say(f"Locked {account.name!r}." if was_unlocked else f"{account.name!r} was locked already.")


add_hot_command(app, API_USER)
app.command("agent", help="The same as api-user.", hidden=True)(typed(API_USER))


@app.command()
def status(token: TokenOption = None, token_file: TokenFileOption = None) -> None:
    """Say who is acting, and from where that is known: an agent as the server's signed documents show it, or an operator.

    Example: stronghold auth status
    """
    from stronghold_cli.commands.standing import show_agent, show_operator

    acting = identity(token, token_file)
    if isinstance(acting, TokenIdentity):
        show_agent(acting)
    else:
        show_operator(acting)


@app.command()
def logout(
    everything: Annotated[bool, typer.Option("--all", help="Remove all that this program keeps on this machine.")] = False,
    yes: YesOption = False,
) -> None:
    """Remove the current identity's token, or the operator's account and session, from this machine.

    Example: stronghold auth logout
    """
    from stronghold_cli.commands.leaving import log_out, log_out_everywhere

    if everything:
        log_out_everywhere(yes)
    else:
        log_out(yes)


@app.command("reset-mark")
def reset_mark(token: TokenOption = None, token_file: TokenFileOption = None, yes: YesOption = False) -> None:
    """Forget the newest state that was verified here: the way out where a server has lost its data for good.

    Example: stronghold auth reset-mark
    """
    from stronghold_cli.commands.leaving import forget_mark

    forget_mark(identity(token, token_file), yes)


class _Unlocked:
    """A session that was just begun; ``key`` where no run-time folder takes it."""

    def __init__(self, end: int, key: str | None) -> None:
        self._end = end
        self._key = key

    def described(self) -> dict[str, str | None]:
        """Its members in JSON."""
        return {"unlocked_until": when(self._end), "session": self._key}

    def tell(self) -> None:
        """Until when, and the line that holds the key."""
        from stronghold_cli.commands.founding import say_unlocked

        say_unlocked(self._end, self._key)


def _unlock(keyset: Keyset, seconds: int | None) -> _Unlocked:
    from stronghold_cli.keystore import sessions

    seconds = seconds or sessions.SESSION_SECONDS
    now = int(time.time())
    return _Unlocked(now + seconds, sessions.unlock(keyset, now=now, random=os.urandom, seconds=seconds, warn=warn))


def _unlock_seconds(text: str | None) -> int | None:
    from stronghold_cli.commands.times import duration

    if text is None:
        return None
    seconds = duration(text, "--for")
    if seconds > _MAX_UNLOCKED:
        raise UsageError("--for is longer than 30 days.", hint="Unlock for as long as you work: --for 8h.")
    return seconds


def _operator_kit(path: str | None) -> OperatorKit:
    """The operator kit in a file (alone, or among the lines that ``init`` wrote), or typed without being shown."""
    from stronghold_cli.keystore.files import read_given
    from stronghold_cli.protocol.token import parse_operator_kit

    if path is None:
        return parse_operator_kit(ask_passphrase("Operator kit (shok_…)", option="--kit-file").strip())
    try:
        text = read_given(path, _MAX_KIT_FILE).decode("utf-8")
    except UnicodeDecodeError as error:
        raise TokenMalformed(f"{path} does not hold an operator kit.", hint="Give the file that holds it.") from error
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    kits = [line for line in lines if line.startswith("shok_")] or lines
    if len(kits) != 1:
        raise TokenMalformed(
            f"{path} holds {'no' if not kits else 'more than one'} kit.", hint="Give a file with one operator kit (shok_…)."
        )
    try:
        return parse_operator_kit(kits[0])
    except TokenMalformed as error:
        raise TokenMalformed(f"{error.message} It came from {path}.", hint=error.hint) from error


def _require_same_operator(known: Account | None, kit: OperatorKit) -> None:
    """One operator per org on one machine: another one's session and account must not be mixed up with this one's."""
    if known is not None and known.operator_id != kit.operator_id:
        raise Conflict(
            f"Another operator of this org is logged in on this machine, as {known.name!r}.",
            hint="Log that one out first: stronghold auth logout",
        )


def _head(vault: Vault) -> dict[str, str | int]:
    from stronghold_cli.protocol.words import words

    head = vault.state.head.document
    return {"head_seq": head.seq, "head_created": when(head.created), "head_words": words(head.sha256)}


def _show_head(vault: Vault) -> None:
    from stronghold_cli.protocol.words import words

    head = vault.state.head.document
    say(f"The newest state is number {head.seq}, signed {when(head.created)} ({ago(head.created, int(time.time()))}).")
    say("Before you change anything, compare these words with another device or person (stronghold org show):")
    emit(words(head.sha256))
