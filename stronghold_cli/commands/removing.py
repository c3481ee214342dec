"""What commands share that take reading away: the question, the progress bar, and the exposure (protocol section 8)."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from stronghold_cli.commands.progress import ProgressBar
from stronghold_cli.output import emit_json, emit_line, say, settings, warn
from stronghold_cli.vault.lookup import shown_id, shown_secret

if TYPE_CHECKING:
    from stronghold_cli.protocol.state import OrgState
    from stronghold_cli.vault.committing import Vault
    from stronghold_cli.vault.draft import Draft
    from stronghold_cli.vault.rekeying import Rekeyed

T = TypeVar("T")

# So many names of secrets stand in a line for people; ``--json`` has all.
_SHOWN = 20
_NAMED = 5


def carry_out(vault: Vault, act: Callable[[Draft], T]) -> T:
    """Carry out an act that may take a while as one commit, with a progress bar."""
    with ProgressBar() as bar:
        vault.progress = bar
        return vault.commit(act)


def named(names: Iterable[str]) -> str:
    """Names for a sentence: ``'a', 'b' and 3 more``."""
    listed = sorted(names)
    shown = ", ".join(map(repr, listed[:_NAMED]))
    return shown if len(listed) <= _NAMED else f"{shown} and {len(listed) - _NAMED} more"


def counted(count: int, noun: str) -> str:
    """``1 token``, ``2 tokens``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def quoted(name: str) -> str:
    """A name as it is typed in a shell."""
    return shlex.quote(name)


def show_exposure(after: OrgState, done: Rekeyed, profiles: Iterable[bytes]) -> None:
    """Print what has new keys now, and the secrets of ``profiles``: whoever lost them could read these until now.

    ``after`` is the state that the act made, or a later one.
    """
    exposed = sorted((done.names[id_], done.profiles[id_]) for id_ in set(profiles) & done.profiles.keys())
    say(
        f"New keys: {counted(len(done.groups), 'group')}, {counted(len(done.profiles), 'profile')}; "
        f"{counted(sum(map(len, done.profiles.values())), 'secret')} encrypted anew."
    )
    if done.expired:
        owners = {done.names[agent_id] for agent_id in done.expired.values()}
        say(f"{counted(len(done.expired), 'token')} past the end went, of {named(owners)}.")
    for secret_id, profile_id in done.unreadable.items():
        warn(
            f"in {done.names[profile_id]!r} the secret {shown_secret(secret_id)} was deleted: nobody could use it, as it "
            "did not open, or had no name of its own."
        )
    if settings().json:
        emit_json(
            {
                "groups": [shown_id("group", id_) for id_ in done.groups],
                "profiles": [shown_id("profile", id_) for id_ in done.profiles],
                "expired_tokens": [shown_id("token", id_) for id_ in done.expired],
                "exposed": {name: {secret.name: secret.version for secret in renewed} for name, renewed in exposed},
                "unreadable": [shown_secret(id_) for id_ in done.unreadable],
                "head": after.seq,
            }
        )
        return
    if not any(renewed for _, renewed in exposed):
        say("No secret was in reach.")
        return
    say("Could be read until now, with older versions; what must not be known is to be changed at its source:")
    for name, renewed in exposed:
        words = ", ".join(f"{secret.name} (version {secret.version})" for secret in renewed[:_SHOWN])
        more = f" and {len(renewed) - _SHOWN} more (--json lists all)" if len(renewed) > _SHOWN else ""
        if renewed:
            emit_line(f"{name}: {words}{more}")
