"""``doctor``: looks at this machine, the identity, the server and every sealed key, and names a remedy for each problem."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from stronghold_cli.commands.acting import agent_server, operator_server, vault_of
from stronghold_cli.commands.typed import TokenFileOption, TokenOption
from stronghold_cli.keystore.everything import our_folders, stored_paths
from stronghold_cli.keystore.identities import OperatorIdentity, TokenIdentity, find_identity
from stronghold_cli.output import ago, emit, emit_json, plain, settings, when
from stronghold_cli.protocol.errors import Findings, StrongholdError
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.requests import MAX_SKEW
from stronghold_cli.version import PROTOCOL_VERSION, VERSION

if TYPE_CHECKING:
    from stronghold_cli.keystore.marks import MarkFile
    from stronghold_cli.transport import Server
    from stronghold_cli.vault.committing import Vault

_HEALTH_LIMIT = 1 << 16


class Check(Record):
    """One thing looked at; ``remedy`` is empty where there is nothing to do."""

    name: str
    is_fine: bool
    found: str
    remedy: str = ""


def doctor(token: TokenOption = None, token_file: TokenFileOption = None) -> None:
    """Check this machine's files, who is acting, the server, and (for an unlocked operator) every sealed key.

    Ends with exit code 11 where it finds a problem; each is shown with its remedy.

    Example: stronghold doctor
    """
    checks: list[Check] = []
    for check in _all_checks(token, token_file):
        checks.append(check)
        if not settings().json:
            _show(check)
    paths = stored_paths()
    if settings().json:
        listed = [
            {"check": each.name, "ok": each.is_fine, "found": each.found, "remedy": each.remedy or None} for each in checks
        ]
        emit_json({"checks": listed, "paths": list(paths)})
    else:
        emit("\n".join([f"What is kept here: {len(paths)} files", *(f"  {plain(path)}" for path in paths)]))
    problems = sum(not each.is_fine for each in checks)
    if problems:
        found = "1 problem" if problems == 1 else f"{problems} problems"
        raise Findings(f"The doctor found {found}.", hint="Each is listed with its remedy.")


def _all_checks(token: str | None, token_file: str | None) -> Iterator[Check]:
    python = ".".join(map(str, sys.version_info[:3]))
    yield Check(name="program", is_fine=True, found=f"stronghold {VERSION}, protocol {PROTOCOL_VERSION}, Python {python}")
    yield from (_check_folder(kind, path) for kind, path in our_folders().items())
    yield from _check_files()
    try:
        acting = find_identity(token, token_file)
    except StrongholdError as error:
        yield _problem("identity", error)
        return
    if isinstance(acting, TokenIdentity):
        yield from _check_agent(acting)
    else:
        yield from _check_operator(acting)


def _check_folder(kind: str, path: str) -> Check:
    name = f"{kind} folder"
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return Check(name=name, is_fine=True, found=f"{path} (not made yet)")
    except OSError as error:
        remedy = "Check the folders above it."
        return Check(name=name, is_fine=False, found=f"{path} cannot be looked at: {error.strerror}", remedy=remedy)
    if not stat.S_ISDIR(status.st_mode):
        return Check(name=name, is_fine=False, found=f"{path} is no folder", remedy="Move it away.")
    if _is_foreign(status):
        return Check(name=name, is_fine=False, found=f"{path} belongs to another user", remedy="Move it away.")
    if status.st_mode & 0o022:
        found = f"others may write to {path}"
        return Check(name=name, is_fine=False, found=found, remedy=f"Run: chmod 700 '{path}'")
    if not os.access(path, os.W_OK | os.X_OK):
        found = f"{path} cannot be written to: marks and sessions are not kept"
        return Check(name=name, is_fine=False, found=found, remedy="Make it writable for this user.")
    return Check(name=name, is_fine=True, found=path)


def _check_files() -> Iterator[Check]:
    """One check for all files that are private, and one more for each that is not."""
    private = 0
    for path in stored_paths():
        try:
            status = os.lstat(path)
        except OSError:
            continue  # gone meanwhile
        if not stat.S_ISREG(status.st_mode) or _is_foreign(status):
            found = f"{path} is no plain file of this user"
            yield Check(name="file", is_fine=False, found=found, remedy="Move it away.")
        elif status.st_mode & 0o077 and os.name == "posix":
            found = f"{path} is open to other users"
            yield Check(name="file", is_fine=False, found=found, remedy=f"Run: chmod 600 '{path}'")
        else:
            private += 1
    yield Check(name="files", is_fine=True, found=f"{private} private files")


def _check_agent(acting: TokenIdentity) -> Iterator[Check]:
    from stronghold_cli.crypto.keys import TokenSecret
    from stronghold_cli.keystore.marks import agent_mark
    from stronghold_cli.reader.client import look_at_self

    token = acting.token
    yield Check(name="identity", is_fine=True, found=f"agent token shat_…{token.last4} from {acting.source}")
    yield _check_mark(agent_mark(TokenSecret(token.secret).token_id))
    try:
        server = agent_server(token)
    except StrongholdError as error:
        yield _problem("server", error)
        return
    with server:
        reached = _check_server(server)
        yield from reached
        if not all(each.is_fine for each in reached):
            return
        try:
            found = look_at_self(server, token, time.time)
        except StrongholdError as error:
            yield _problem("agent", error)
            return
    names = sorted(profile.name for profile in found.profiles)
    expires = found.standing.not_after
    until = "does not expire" if expires is None else f"expires {when(expires)} ({ago(expires, found.standing.now)})"
    yield Check(name="agent", is_fine=True, found=f"{found.standing.agent.name!r} of {found.standing.org.name!r}; {until}")
    for sentence in found.warnings:
        yield Check(name="token", is_fine=False, found=sentence, remedy="An admin mints one: stronghold token mint AGENT")
    if names:
        yield Check(name="profiles", is_fine=True, found=", ".join(names))
    else:
        remedy = "An admin grants one: stronghold group grant GROUP PROFILE"
        yield Check(name="profiles", is_fine=False, found="this agent may read no profile", remedy=remedy)


def _check_operator(acting: OperatorIdentity) -> Iterator[Check]:
    from stronghold_cli.keystore.marks import operator_mark
    from stronghold_cli.keystore.sessions import find_session

    account = acting.account
    yield Check(name="identity", is_fine=True, found=f"operator of {account.name!r} from {acting.source}")
    yield _check_mark(operator_mark(account.org_id))
    try:
        server = operator_server(account)
        session = find_session(account.org_id, account.operator_id, now=int(time.time()))
    except StrongholdError as error:
        yield _problem("session", error)
        return
    with server:
        reached = _check_server(server)
        yield from reached
        if session is None:
            yield Check(name="session", is_fine=True, found="locked, so the sealed keys were not looked at (auth unlock)")
            return
        yield Check(name="session", is_fine=True, found=f"unlocked until {when(session.end)}")
        if all(each.is_fine for each in reached):
            keyset = session.keyset
            yield _attempt("sealed keys", lambda: _audit(vault_of(account, server, keyset)))


def _audit(vault: Vault) -> str:
    from stronghold_cli.vault.box_audit import audit_boxes

    audit = audit_boxes(vault)
    return (
        f"{audit.signatures} signatures and {audit.seals} sealed keys are right; "
        f"{audit.groups} group keys and {audit.profiles} profile keys open"
    )


def _check_server(server: Server) -> list[Check]:
    """Whether it answers, in our protocol, and how far its clock is from ours (its word: nothing is set by it)."""
    place = server.route.base_url
    try:
        answer = server.ask_open("/healthz", _HEALTH_LIMIT)
    except StrongholdError as error:
        return [_problem("server", error)]
    checks = [Check(name="server", is_fine=True, found=f"{place} answers in protocol {PROTOCOL_VERSION}")]
    distance = _clock_distance(answer.headers.get("date", ""), time.time())
    if distance is None:
        return checks
    if abs(distance) <= MAX_SKEW:
        return [*checks, Check(name="clock", is_fine=True, found=f"within {MAX_SKEW} s of the server's")]
    side = "ahead of" if distance < 0 else "behind"
    found = f"this machine's clock is {abs(distance)} s {side} the server's"
    return [
        *checks,
        Check(name="clock", is_fine=False, found=found, remedy="Set the one that is wrong: requests are refused."),
    ]


def _clock_distance(date: str, now: float) -> int | None:
    """Seconds from our clock to the one in an HTTP date; ``None`` where there is no such date."""
    from email.utils import parsedate_to_datetime

    try:
        return round(parsedate_to_datetime(date).timestamp() - now)
    except ValueError:
        return None


def _check_mark(marks: MarkFile) -> Check:
    def look() -> str:
        mark = marks.load()
        return "none yet: the next state that verifies is remembered" if mark is None else f"state {mark.head.seq} was seen"

    return _attempt("mark", look)


def _attempt(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name=name, is_fine=True, found=look())
    except StrongholdError as error:
        return _problem(name, error)


def _problem(name: str, error: StrongholdError) -> Check:
    return Check(name=name, is_fine=False, found=error.message, remedy=error.hint)


def _is_foreign(status: os.stat_result) -> bool:
    return os.name == "posix" and status.st_uid not in {0, os.geteuid()}


def _show(check: Check) -> None:
    emit(f"{'ok' if check.is_fine else 'problem':8} {check.name}: {plain(check.found)}")
    if check.remedy:
        emit(f"{'':8} {plain(check.remedy)}")
