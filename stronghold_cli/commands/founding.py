"""Creating an org from this machine: what ``init`` and ``org create`` share (protocol section 8, "Create org").

The order keeps a failure from leaving something half-done: all that can go wrong here (a name, a file that is in the way, a
folder that cannot be written, the passphrase) is looked at before the request is sent. Once the org exists the kits come
first, since nothing can make them again.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from stronghold_cli.keystore.files import make_private_dir, read_given, read_private, write_private
from stronghold_cli.keystore.identities import Account, contexts, store_account
from stronghold_cli.keystore.paths import data_dir, state_dir
from stronghold_cli.keystore.profile_choice import FOLDER_FILE
from stronghold_cli.output import ask, emit, emit_json, interactive, say, settings, warn, when
from stronghold_cli.protocol.errors import Conflict, LocalFileError, StrongholdError, Unavailable, UsageError
from stronghold_cli.protocol.names import caseless, require_name
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.token import is_loopback, split_url
from stronghold_cli.transport import Server

if TYPE_CHECKING:
    from stronghold_cli.protocol.documents.org import LogKey
    from stronghold_cli.vault.creation import NewOrg

LOCAL_SERVER = "http://127.0.0.1:8321"
_SETUP_LIMIT = 1 << 16
_CODE_LIMIT = 4096
_CODE_HINT = "Where the server runs: stronghold server setup-code. Give it with --setup-code-file FILE."


class Wishes(Record):
    """What the person gave as options; ``None``: to be found, or asked for."""

    server: str | None
    org: str | None
    name: str | None
    context: str | None
    passphrase_file: str | None
    setup_code: str | None
    setup_code_file: str | None
    kit_file: str | None
    project: bool

    def __repr__(self) -> str:
        return f"Wishes(org={self.org!r})"


def found_org(wishes: Wishes) -> None:
    """Create the org, show or write both kits, and leave the person unlocked on this machine."""
    from stronghold_cli.commands.passphrases import new_passphrase
    from stronghold_cli.vault.creation import Place, create_org

    _check_targets(wishes)
    url = wishes.server or os.environ.get("STRONGHOLD_URL") or LOCAL_SERVER
    plain_http, address = split_url(url)
    with Server(url, warn=warn) as server:
        log_keys = _log_keys(server, address)
        setup_code = _setup_code(wishes, address)
        org_name = require_name("org", wishes.org or ask("Name of the org", option="--org"))
        context = _free_context(wishes.context or org_name)
        own_name = require_name("operator", wishes.name or _login_name())
        passphrase = new_passphrase(wishes.passphrase_file)
        new = create_org(
            server,
            Place(address=address, plain_http=plain_http, log_keys=log_keys),
            name=org_name,
            operator_name=own_name,
            passphrase=passphrase,
            setup_code=setup_code,
            now=int(time.time()),
            random=os.urandom,
        )
        say(f"Made the org {org_name!r} on {server.route.base_url}; {own_name!r} is its admin.")
        kit_file = wishes.kit_file if _write_kits(new, wishes.kit_file) else None
        if kit_file is None and not settings().json:
            _show_kits(new)
        try:
            end, session = _settle(new, context, server)
        except StrongholdError as error:
            if kit_file is None and settings().json:
                _show_kits(new)
            error.hint = f"{error.hint} The org was made; log in to it with its kit: stronghold auth login".strip()
            raise
    if wishes.project:
        _write_project_file(context)
    if settings().json:
        _report(new, context, kit_file, end, session)
        return
    say_unlocked(end, session)
    say("Next: stronghold env push .env --profile production")


def _check_targets(wishes: Wishes) -> None:
    """Look at every place that will be written, before anything is asked or made."""
    if wishes.kit_file is not None:
        folder = os.path.dirname(os.path.abspath(wishes.kit_file))
        if os.path.lexists(wishes.kit_file):
            raise LocalFileError(
                f"{wishes.kit_file} exists already.", hint="Choose another file: kits are never written over something."
            )
        if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
            raise LocalFileError(f"{folder} is no folder that can be written to.", hint="Choose another place: --kit-file.")
    if wishes.project and os.path.lexists(FOLDER_FILE):
        raise LocalFileError(
            f"{os.path.abspath(FOLDER_FILE)} exists already.", hint="Leave --project out, or move that file away."
        )
    if wishes.context is not None:
        _free_context(wishes.context)
    for folder in (data_dir(), state_dir()):
        make_private_dir(folder)
        if not os.access(folder, os.W_OK):
            raise LocalFileError(f"{folder} cannot be written.", hint="The account and the session are kept there.")


def _free_context(name: str) -> str:
    name = require_name("context", name)
    if any(caseless(each.name) == caseless(name) for each in contexts()):
        raise Conflict(
            f"There is another context {name!r} on this machine.", hint="Choose another name for this one: --context NAME"
        )
    return name


def _log_keys(server: Server, address: str) -> tuple[LogKey, ...]:
    """The log keys that the server offers: they bind only the server (protocol section 5, "Believed unsigned")."""
    from stronghold_cli.protocol.messages import decode_setup

    try:
        return decode_setup(server.get_open("/v1/setup", _SETUP_LIMIT))
    except Unavailable as error:
        if is_loopback(address):
            error.hint = "Start one in another terminal: stronghold server start. Another server: --server URL."
        raise


def _setup_code(wishes: Wishes, address: str) -> str:
    """The code given; that of a server of this user on this machine; or the one that the person types."""
    if wishes.setup_code is not None and wishes.setup_code_file is not None:
        raise UsageError("--setup-code and --setup-code-file were both given.", hint="Give one of them.")
    if wishes.setup_code is not None:
        warn("a setup code on the command line is seen by other users (ps) until it is used; better: --setup-code-file")
        return wishes.setup_code.strip()
    if wishes.setup_code_file is not None:
        return _code_in(wishes.setup_code_file, read_given(wishes.setup_code_file, _CODE_LIMIT))
    if is_loopback(address):
        path = os.path.join(_server_folder(), "setup-code")
        content = read_private(path, _CODE_LIMIT)
        if content is not None:
            return _code_in(path, content)
    if not interactive():
        raise UsageError("The server's setup code was not found.", hint=_CODE_HINT)
    say("A server makes an org only for somebody with its setup code. Where it runs: stronghold server setup-code")
    return ask("Setup code", option="--setup-code-file")


def _code_in(path: str, content: bytes) -> str:
    try:
        code = content.decode("ascii").strip()
    except UnicodeDecodeError:
        code = ""
    if not code:
        raise UsageError(f"{path} does not hold a setup code.", hint=_CODE_HINT)
    return code


def _server_folder() -> str:
    """Where a server that this user started keeps its data: beside our own folder, unless it was told otherwise."""
    told = os.environ.get("STRONGHOLD_DATA_DIR")
    return os.path.expanduser(told) if told else os.path.join(os.path.dirname(data_dir()), "stronghold-server")


def _login_name() -> str:
    from getpass import getuser

    try:
        return getuser()
    except (OSError, KeyError):  # a user without a name, as in containers; KeyError before Python 3.13
        return ask("Your own name", option="--name")


def _write_kits(new: NewOrg, path: str | None) -> bool:
    """Write both kits into a new private file; whether that was asked for, and done."""
    if path is None:
        return False
    try:
        write_private(os.path.abspath(path), _kit_text(new).encode())
    except LocalFileError as error:
        # The org exists: without its kits it would be lost.
        warn(f"{error.message} The kits are shown instead.")
        return False
    say(f"Wrote both kits to {path}. They cannot be shown again: move them to a safe place, off this machine.")
    return True


def _show_kits(new: NewOrg) -> None:
    """Both kits on stdout, each after a sentence on stderr."""
    say(f"Shown this once. {_ROOT_KIT_IS} Keep it offline, where nobody finds it:")
    emit(new.root_kit.text)
    say(f"Shown this once. {_OPERATOR_KIT_IS} Keep it apart from the passphrase:")
    emit(new.operator_kit.text)


_ROOT_KIT_IS = "The root kit is the org's last resort: it opens everything, also when all admins are lost."
_OPERATOR_KIT_IS = "The operator kit is what you need, beside your passphrase, to log in on another machine."


def _kit_text(new: NewOrg) -> str:
    org = new.state.org.document
    return (
        f"# Kits of the org {org.name}, made {when(org.created)}.\n"
        f"# {_ROOT_KIT_IS}\n{new.root_kit.text}\n"
        f"# {_OPERATOR_KIT_IS}\n{new.operator_kit.text}\n"
    )


def _settle(new: NewOrg, context: str, server: Server) -> tuple[int, str | None]:
    """Keep account, mark and state, and unlock; the session's end, and its key where no run-time folder takes it."""
    from stronghold_cli.keystore.sessions import SESSION_SECONDS, unlock
    from stronghold_cli.vault.operator import Operator
    from stronghold_cli.vault.replica import Replica

    kit, now = new.operator_kit, int(time.time())
    store_account(Account(name=context, kit=kit))
    operator = Operator(
        server=server, keyset=new.keyset, anchor=kit.pin, floor=kit.floor, clock=time.time, random=os.urandom
    )
    Replica(operator).keep(new.state)
    return now + SESSION_SECONDS, unlock(new.keyset, now=now, random=os.urandom, warn=warn)


def _write_project_file(context: str) -> None:
    """``.stronghold.toml`` with the context and nothing else; the word is escaped as JSON, which TOML reads alike."""
    import json

    content = f"context = {json.dumps(context, ensure_ascii=False)}\n".encode()
    try:
        descriptor = os.open(FOLDER_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o644)
        with open(descriptor, "wb") as stream:
            stream.write(content)
    except OSError as error:
        raise LocalFileError(
            f"{os.path.abspath(FOLDER_FILE)} cannot be written: {error.strerror}.", hint="The org was made all the same."
        ) from error
    say(f"Wrote {FOLDER_FILE}: in this folder, and below, commands act on this org.")


def say_unlocked(end: int, session: str | None) -> None:
    """Tell until when the person is unlocked; where the session's key is not kept here, print the line that holds it."""
    from stronghold_cli.keystore.sessions import SESSION_VARIABLE

    say(f"Unlocked on this machine until {when(end)} (stronghold auth lock ends it).")
    if session is not None:
        say("This machine has no folder in memory: the session is good in shells that hold this line.")
        emit(f"export {SESSION_VARIABLE}={session}")


def _report(new: NewOrg, context: str, kit_file: str | None, end: int, session: str | None) -> None:
    from stronghold_cli.vault.lookup import shown_id

    org, kit = new.state.org.document, new.operator_kit
    emit_json(
        {
            "org": {"id": org.org_id.hex(), "name": org.name},
            "operator": {"id": shown_id("operator", kit.operator_id), "name": org.operators[kit.operator_id].name},
            "context": context,
            "root_kit": None if kit_file else new.root_kit.text,
            "operator_kit": None if kit_file else kit.text,
            "kit_file": kit_file,
            "unlocked_until": when(end),
            "session": session,
        }
    )
