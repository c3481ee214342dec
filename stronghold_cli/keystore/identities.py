"""Who is acting, and with what: the tokens and accounts kept on this machine (design: "Who is acting, and with what").

    data folder
      tokens/<token id>.json    an agent token that `auth api-user` stored
      accounts/<org id>.json    an operator's kit that `init` or `auth login` stored; one per org, a "context"
      current.json              the identity last made current, and the context of operators' commands

Every file is private (0600) and refused when others may read it. The first token found wins: ``--token``, ``--token-file``,
``STRONGHOLD_TOKEN``, ``STRONGHOLD_TOKEN_FILE``, ``API_STRONGHOLD_TOKEN``; then the current identity. A variable that is set
to nothing is an error: in a pipeline it is a secret that is missing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from stronghold_cli.keystore.files import list_dir, locked, read_given, read_private, remove, write_private
from stronghold_cli.keystore.paths import data_dir
from stronghold_cli.protocol.encoding import JsonValue, decode_hex, decode_json, encode_json
from stronghold_cli.protocol.errors import (
    Conflict,
    LocalFileError,
    MalformedError,
    NotAuthenticated,
    NotFound,
    Refused,
    TokenMalformed,
)
from stronghold_cli.protocol.names import caseless, require_name
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.token import AgentToken, OperatorKit, parse_agent_token, parse_operator_kit

TOKEN_VARIABLES = ("STRONGHOLD_TOKEN", "STRONGHOLD_TOKEN_FILE", "API_STRONGHOLD_TOKEN")
MAX_TOKEN_FILE = 4096
MAX_STORED_FILE = 16 << 10
STORED = "the identity stored on this machine"
_VERSION = 1
_WAYS = (
    "Give one with STRONGHOLD_TOKEN, STRONGHOLD_TOKEN_FILE, API_STRONGHOLD_TOKEN, --token-file FILE or --token -, "
    "or store one with: stronghold auth api-user --token-file FILE. Operators: stronghold auth login"
)


class TokenIdentity(Record):
    """An agent acts. ``source`` says where its token came from, for ``auth status`` and errors."""

    token: AgentToken
    source: str


class Account(Record):
    """An operator of one org, as known on this machine; ``name`` is that of the context."""

    name: str
    kit: OperatorKit

    @property
    def org_id(self) -> bytes:
        """The org, 32 bytes."""
        return self.kit.org_id

    @property
    def operator_id(self) -> bytes:
        """The operator, 16 bytes."""
        return self.kit.operator_id


class OperatorIdentity(Record):
    """An operator acts."""

    account: Account
    source: str


class StoredToken(Record):
    """A token kept by ``auth api-user``; ``label`` is the agent's name as the server gave it, or empty."""

    token_id: bytes
    token: AgentToken
    label: str


class Current(Record):
    """What was last made current: ``identity`` (``token`` or ``operator``, with its id) and the context's org."""

    kind: str | None = None
    identity: bytes | None = None
    context: bytes | None = None


def find_token(
    token: str | None, token_file: str | None, environ: Mapping[str, str] = os.environ, *, only_options: bool = False
) -> TokenIdentity | None:
    """The token given for this command, from an option or a variable, or ``None`` where none is given.

    ``token`` may be ``-`` for stdin. Raises ``TokenMalformed`` naming the source, ``Refused`` (``TOKEN_MISSING``) for
    one that is given but empty, ``LocalFileError`` for a file that cannot be read. ``only_options``: no variables.
    """
    if token == "-":  # noqa: S105  (the word for stdin)
        return _identity(os.fsdecode(sys.stdin.buffer.read(MAX_TOKEN_FILE + 1)), "stdin")
    if token is not None:
        return _identity(token, "--token")
    if token_file is not None:
        return _from_file(token_file, f"the file {token_file}")
    if only_options:
        return None
    for variable in TOKEN_VARIABLES:
        if (value := environ.get(variable)) is None:
            continue
        if variable.endswith("_FILE") and value.strip():
            return _from_file(value.strip(), f"the file {value.strip()} ({variable})")
        return _identity(value, variable)
    return None


def find_identity(
    token: str | None, token_file: str | None, environ: Mapping[str, str] = os.environ
) -> TokenIdentity | OperatorIdentity:
    """Who is acting: the first token given, else the identity last made current; ``TOKEN_MISSING`` where there is none."""
    given = find_token(token, token_file, environ)
    if given is not None:
        return given
    current = load_current()
    if current.kind == "token" and current.identity is not None and (kept := load_token(current.identity)):
        return TokenIdentity(token=kept.token, source=STORED)
    if current.kind == "operator" and current.identity is not None and (account := load_account(current.identity)):
        return OperatorIdentity(account=account, source=STORED)
    raise Refused("TOKEN_MISSING", "There is no token, and nobody is logged in on this machine.", hint=_WAYS)


def find_account(name: str | None = None) -> Account:
    """The operator of management commands: the account that ``name`` (context, or org id) names, else the current one."""
    if name is not None:
        return account_named(name)
    context = load_current().context
    account = load_account(context) if context is not None else None
    if account is None:
        raise NotAuthenticated(
            "No operator is logged in on this machine.", hint="Run: stronghold auth login, or stronghold init for a new org."
        )
    return account


def store_token(token_id: bytes, token: AgentToken, label: str) -> None:
    """Keep a token and make its agent the current identity."""
    _write(_token_path(token_id), {"v": _VERSION, "token": token.text, "label": label})
    change_current(kind="token", identity=token_id)


def load_token(token_id: bytes) -> StoredToken | None:
    """A token kept here, or ``None``."""
    stored = _read(_token_path(token_id), "token", "label")
    if stored is None:
        return None
    return StoredToken(token_id=token_id, token=parse_agent_token(stored["token"]), label=stored["label"])


def stored_tokens() -> list[StoredToken]:
    """Every token kept here."""
    found = (load_token(token_id) for token_id in _ids(_folder("tokens"), 16))
    return [each for each in found if each is not None]


def forget_token(token_id: bytes) -> bool:
    """Remove a token; whether there was one."""
    return _forget(_token_path(token_id), "token", token_id)


def store_account(account: Account) -> None:
    """Keep an operator's account, and make it the current identity and context; the name has to be free."""
    require_name("context", account.name)
    _require_free_name(account.name, account.org_id)
    _write(_account_path(account.org_id), {"v": _VERSION, "name": account.name, "kit": account.kit.text})
    change_current(kind="operator", identity=account.org_id, context=account.org_id)


def load_account(org_id: bytes) -> Account | None:
    """The account of an org on this machine, or ``None``."""
    stored = _read(_account_path(org_id), "name", "kit")
    if stored is None:
        return None
    account = Account(name=stored["name"], kit=parse_operator_kit(stored["kit"]))
    if account.org_id != org_id:
        raise LocalFileError(
            f"{_account_path(org_id)} holds the kit of another org.", hint="Log in again: stronghold auth login"
        )
    return account


def contexts() -> list[Account]:
    """Every org known on this machine, by name."""
    found = (load_account(org_id) for org_id in _ids(_folder("accounts"), 32))
    return sorted((each for each in found if each is not None), key=lambda each: caseless(each.name))


def account_named(name: str) -> Account:
    """The account whose context has this name, or whose org id begins with it (at least 8 digits); ``NotFound`` else."""
    known = contexts()
    found = [each for each in known if caseless(each.name) == caseless(name)]
    if not found and len(name) >= 8:
        found = [each for each in known if each.org_id.hex().startswith(name)]
    if len(found) != 1:
        names = ", ".join(each.name for each in known) or "none"
        raise NotFound(f"There is no context {name!r} on this machine.", hint=f"Known here: {names}.")
    return found[0]


def use_context(name: str) -> Account:
    """Make a context, and its operator, current."""
    account = account_named(name)
    change_current(kind="operator", identity=account.org_id, context=account.org_id)
    return account


def rename_context(name: str, new: str) -> Account:
    """Give a context another name."""
    account = account_named(name)
    renamed = account.replace(name=require_name("context", new))
    _require_free_name(renamed.name, renamed.org_id)
    _write(_account_path(renamed.org_id), {"v": _VERSION, "name": renamed.name, "kit": renamed.kit.text})
    return renamed


def forget_account(org_id: bytes) -> bool:
    """Remove an operator's account; whether there was one. The kit is then the only way back."""
    return _forget(_account_path(org_id), "operator", org_id)


def load_current() -> Current:
    """What was last made current; nothing on a fresh machine."""
    path = _current_path()
    stored = _read(path, "kind", "identity", "context")
    if stored is None:
        return Current()
    try:
        size = {"token": 16, "operator": 32}.get(stored["kind"])
        return Current(
            kind=stored["kind"] if size else None,
            identity=decode_hex(stored["identity"], size) if size else None,
            context=decode_hex(stored["context"], 32) if stored["context"] else None,
        )
    except MalformedError as error:
        raise _unreadable(path) from error


def change_current(**changes: Any) -> None:
    """Change members of ``current.json``; the others stay."""
    path = _current_path()
    with locked(path):
        current = load_current().replace(**changes)
        _write(
            path,
            {
                "v": _VERSION,
                "kind": current.kind or "",
                "identity": (current.identity or b"").hex(),
                "context": (current.context or b"").hex(),
            },
        )


def _identity(text: str, source: str) -> TokenIdentity:
    text = text.strip()
    if not text:
        raise Refused("TOKEN_MISSING", f"{source} is empty: there is no token in it.", hint=_empty_hint(source))
    try:
        return TokenIdentity(token=parse_agent_token(text), source=source)
    except TokenMalformed as error:
        raise TokenMalformed(f"{error.message} It came from {source}.", hint=error.hint) from error


def _empty_hint(source: str) -> str:
    if source in TOKEN_VARIABLES:
        return f"Check that the secret behind {source} exists where this runs, or unset the variable."
    return _WAYS


def _from_file(path: str, source: str) -> TokenIdentity:
    content = read_given(path, MAX_TOKEN_FILE)
    try:
        return _identity(content.decode("ascii"), source)
    except UnicodeDecodeError as error:
        raise TokenMalformed(f"{source} does not hold a token.", hint="Give the file that holds the token alone.") from error


def _folder(name: str) -> str:
    return os.path.join(data_dir(), name)


def _token_path(token_id: bytes) -> str:
    return os.path.join(_folder("tokens"), f"{token_id.hex()}.json")


def _account_path(org_id: bytes) -> str:
    return os.path.join(_folder("accounts"), f"{org_id.hex()}.json")


def _current_path() -> str:
    return os.path.join(data_dir(), "current.json")


def _ids(folder: str, length: int) -> Sequence[bytes]:
    """The ids that name files in a folder; other files are not ours."""
    ids = []
    for name in list_dir(folder):
        stem, dot, _ = name.partition(".json")
        if dot:
            try:
                ids.append(decode_hex(stem, length))
            except MalformedError:
                continue
    return ids


def _require_free_name(name: str, org_id: bytes) -> None:
    for each in contexts():
        if each.org_id != org_id and caseless(each.name) == caseless(name):
            raise Conflict(
                f"There is another context {each.name!r} on this machine.", hint="Choose another name: --context NAME"
            )


def _forget(path: str, kind: str, identity: bytes) -> bool:
    removed = remove(path)
    current = load_current()
    if current.kind == kind and current.identity == identity:
        change_current(kind=None, identity=None)
    if current.context == identity:
        change_current(context=None)
    return removed


def _write(path: str, value: Mapping[str, JsonValue]) -> None:
    write_private(path, encode_json(value) + b"\n")


def _read(path: str, *names: str) -> dict[str, str] | None:
    """The members of one of the files above, which are texts, or ``None`` without file."""
    content = read_private(path, MAX_STORED_FILE)
    if content is None:
        return None
    try:
        value = decode_json(content, MAX_STORED_FILE)
    except MalformedError as error:
        raise _unreadable(path) from error
    if not isinstance(value, dict) or tuple(value) != ("v", *names) or value.pop("v") != _VERSION:
        raise _unreadable(path)
    if not all(isinstance(each, str) for each in value.values()):
        raise _unreadable(path)
    return value


def _unreadable(path: str) -> LocalFileError:
    return LocalFileError(f"{path} is not what this program wrote.", hint="Remove it and log in, or store the token, again.")
