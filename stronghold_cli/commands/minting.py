"""Showing a new token once, with the lines that put it to use; shared by ``agent create`` and ``token mint``."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from stronghold_cli.commands.token_options import limits_value, tell_limits
from stronghold_cli.output import emit, emit_json, say, settings, when
from stronghold_cli.protocol.encoding import JsonValue
from stronghold_cli.protocol.errors import LocalFileError
from stronghold_cli.protocol.token import is_loopback, split_url

if TYPE_CHECKING:
    from stronghold_cli.keystore.identities import Account
    from stronghold_cli.vault.agents import Address, NewToken

TokenFileTarget = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write the token to a new file (0600) instead of showing it."),
]
ServerOption = Annotated[
    str | None, typer.Option("--server", metavar="URL", help="The server's address as the agent will reach it.")
]


def token_address(account: Account, server: str | None) -> Address:
    """The address that goes into a token: the one given, else that of the operator's own kit."""
    from stronghold_cli.vault.agents import Address

    if server is None:
        return Address(address=account.kit.address, plain_http=account.kit.plain_http)
    plain_http, address = split_url(server)
    return Address(address=address, plain_http=plain_http)


def prepare_token_file(path: str | None) -> None:
    """Refuse, before anything is minted, a file that exists or a folder that does not."""
    if path is None:
        return
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.lexists(path):
        raise LocalFileError(f"{path} exists already.", hint="Choose another file: a token is never written over something.")
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise LocalFileError(f"{folder} is no folder that can be written to.", hint="Choose another place with --output.")


def show_token(minted: NewToken, output: str | None, profile: str | None) -> None:
    """Show a token once: on stdout (with ``--quiet`` nothing else), as JSON, or into a file."""
    text = minted.token.text
    if output is not None:
        _write_token(minted, text, output)
        say(f"Wrote the token to {output}. It cannot be shown again.")
    if settings().json:
        emit_json(_described(minted, None if output is not None else text))
        return
    if output is None:
        say(f"Its token {minted.name!r}, shown this once{_until(minted)}:")
        limits = tell_limits(minted.limits)
        if limits:
            say(f"It is limited: {limits}.")
        emit(text)
    if is_loopback(minted.token.address):
        say(f"It holds the address {minted.token.address}, so it works on this machine only (other: --server URL).")
    say(_uses(profile or "PROFILE"))


def _write_token(minted: NewToken, text: str, path: str) -> None:
    """Write a token that stands in the org already: if that fails, nobody has it."""
    from stronghold_cli.keystore.files import write_private
    from stronghold_cli.vault.lookup import shown_id

    try:
        write_private(path, text.encode() + b"\n")
    except LocalFileError as error:
        raise LocalFileError(
            f"{error.message} The token was minted, but is lost now.",
            hint=f"Revoke it (stronghold token revoke --force {shown_id('token', minted.token_id)}) and mint another one.",
        ) from error


def _described(minted: NewToken, text: str | None) -> dict[str, JsonValue]:
    from stronghold_cli.vault.lookup import shown_id

    return {
        "token": text,
        "id": shown_id("token", minted.token_id),
        "name": minted.name,
        "agent": minted.agent.name,
        "agent_id": shown_id("agent", minted.agent.id),
        "expires": None if minted.end is None else when(minted.end),
        "limits": limits_value(minted.limits),
    }


def _until(minted: NewToken) -> str:
    return "" if minted.end is None else f", good until {when(minted.end)}"


def _uses(profile: str) -> str:
    profile = shlex.quote(profile)
    return f"""Put it to use:
  GitHub Actions   gh secret set STRONGHOLD_TOKEN, then in the step's env:
                     STRONGHOLD_TOKEN: ${{{{ secrets.STRONGHOLD_TOKEN }}}}
                     run: stronghold env pull --profile {profile} -o .env
  Docker build     RUN --mount=type=secret,id=stronghold_token STRONGHOLD_TOKEN_FILE=/run/secrets/stronghold_token \\
                     stronghold run --profile {profile} -- make build
  Shell            STRONGHOLD_TOKEN=shat_… stronghold run --profile {profile} -- ./your-program"""
