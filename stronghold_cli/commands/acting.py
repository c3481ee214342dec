"""Who carries out a command: an agent with its token, or the unlocked operator (product: "Who is acting, and with what")."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from stronghold_cli.keystore.identities import (
    Account,
    OperatorIdentity,
    TokenIdentity,
    find_account,
    find_identity,
    find_token,
)
from stronghold_cli.keystore.profile_choice import ProfileChoice, Settings, choose_profile, folder_settings, user_settings
from stronghold_cli.output import warn
from stronghold_cli.protocol.errors import NotAuthenticated
from stronghold_cli.protocol.token import AgentToken
from stronghold_cli.transport import Server

if TYPE_CHECKING:
    from stronghold_cli.crypto.keys import Keyset, LoginKeys
    from stronghold_cli.keystore.marks import HeadMark
    from stronghold_cli.vault.committing import Vault
    from stronghold_cli.vault.login import LoggedIn

_ARGV_WARNING = (
    "a token on the command line is seen by other users (ps) and kept by shells; "
    "use STRONGHOLD_TOKEN, STRONGHOLD_TOKEN_FILE or --token -"
)


def identity(token: str | None, token_file: str | None) -> TokenIdentity | OperatorIdentity:
    """Who is acting; a token typed on the command line gets one line of warning."""
    found = find_identity(token, token_file)
    _warn_of_argv(token)
    return found


def given_token(token: str | None, token_file: str | None) -> TokenIdentity | None:
    """The token given for this command alone, or ``None``; one typed on the command line gets its line of warning."""
    found = find_token(token, token_file)
    _warn_of_argv(token)
    return found


def agent_server(token: AgentToken) -> Server:
    """The server of a token, for one or two requests."""
    return Server(token.base_url, warn=warn)


def operator_server(account: Account) -> Server:
    """The server of an operator's org, for many requests."""
    return Server(account.kit.base_url, pooled=True, warn=warn)


def profile_choice(option: str | None) -> ProfileChoice:
    """Which profile is meant, from option, environment, folder and user's settings."""
    return choose_profile(option, _folder_settings(), user_settings())


def open_vault(account: Account | None = None, *, to_refresh: bool = False) -> Vault:
    """The operator's verified state of the org; asks for the passphrase on a terminal where the session is locked.

    ``to_refresh`` is for signing the head anew alone (``committing.Vault``).
    """
    account = account or current_account()
    server = operator_server(account)
    return vault_of(account, server, _unlocked(account, server), to_refresh=to_refresh)


def current_account() -> Account:
    """The operator of management commands: of the context that the folder names, else the current one."""
    return find_account(_folder_settings().context)


def login_keys(account: Account, passphrase: str) -> LoginKeys:
    """The keys that a passphrase and the account key make together; costs one Argon2id."""
    from stronghold_cli.crypto.passphrase import Argon2Parameters, account_unlock_key

    kit = account.kit
    parameters = Argon2Parameters(memory_kib=kit.memory_kib, time_cost=kit.time_cost, parallelism=kit.parallelism)
    return account_unlock_key(passphrase, kit.account_key, kit.salt, parameters, kit.org_id, kit.operator_id)


def log_in_as(account: Account, server: Server, passphrase: str) -> LoggedIn:
    """Fetch and verify the operator's keyset with the passphrase; a wrong one is ``NotAuthenticated``."""
    from stronghold_cli.keystore.marks import operator_mark
    from stronghold_cli.protocol.errors import Refused
    from stronghold_cli.vault.login import log_in

    kit = account.kit
    try:
        mark = operator_mark(kit.org_id).load()
        keys, now = login_keys(account, passphrase), int(time.time())
        return log_in(server, keys, pin=kit.pin, floor=kit.floor, mark=mark, now=now)
    except Refused as refusal:
        if refusal.code == "OPERATOR_UNKNOWN":
            raise NotAuthenticated(
                "The server does not know this operator, or not this org.",
                hint="Check that the kit belongs to this server; STRONGHOLD_URL holds.",
            ) from refusal
        if refusal.code != "SIGNATURE_INVALID":
            raise
        whose = f" of {account.name!r}" if account.name else ""
        raise NotAuthenticated(
            f"The passphrase{whose} is not the right one.", hint="Try again; nobody can reset it."
        ) from refusal


def fetch_keyset(account: Account, server: Server, passphrase: str) -> Keyset:
    """The operator's keyset, as ``log_in_as`` fetches it."""
    return log_in_as(account, server, passphrase).keyset


def vault_of(
    account: Account, server: Server, keyset: Keyset, *, seen: HeadMark | None = None, to_refresh: bool = False
) -> Vault:
    """The operator's verified state of the org, with the keyset at hand; ``seen`` is a head that login verified."""
    import gc

    from stronghold_cli.vault.committing import Vault
    from stronghold_cli.vault.operator import Operator

    # The state of a large org is some hundred thousand objects, none of them garbage before the command ends.
    gc.disable()
    operator = Operator(
        server=server,
        keyset=keyset,
        anchor=account.kit.pin,
        floor=account.kit.floor,
        clock=time.time,
        random=os.urandom,
        seen=seen,
    )
    return Vault(operator, to_refresh=to_refresh)


def _unlocked(account: Account, server: Server) -> Keyset:
    from stronghold_cli.keystore.sessions import find_session
    from stronghold_cli.output import ask_passphrase, interactive

    session = find_session(account.org_id, account.operator_id, now=int(time.time()))
    if session is not None:
        return session.keyset
    if not interactive():
        raise NotAuthenticated(f"The operator of {account.name!r} is locked.", hint="Run: stronghold auth unlock")
    passphrase = ask_passphrase(f"Passphrase of {account.name}", option="stronghold auth unlock --passphrase-file")
    return fetch_keyset(account, server, passphrase)


def _warn_of_argv(token: str | None) -> None:
    if token is not None and token != "-":  # noqa: S105  (the word for stdin)
        warn(_ARGV_WARNING)


def _folder_settings() -> Settings:
    settings = folder_settings()
    if settings.ignored:
        warn(f"{settings.path}: only profile, format, context and only are read, not {', '.join(settings.ignored)}")
    return settings
