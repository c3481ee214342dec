"""``auth api-user``, the hot command that stores an agent's token. Its options stand in ``declared``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from stronghold_cli.commands.acting import agent_server, given_token
from stronghold_cli.keystore.identities import store_token
from stronghold_cli.output import ask_passphrase, emit_json, interactive, say, settings, warn
from stronghold_cli.protocol.errors import Refused

if TYPE_CHECKING:
    from stronghold_cli.protocol.token import AgentToken


def api_user(*, token: str | None, token_file: str | None, offline: bool) -> None:
    """Store an agent's token on this machine, after one request that shows that it works. (Also: auth agent.)

    Example: stronghold auth api-user --token-file token
    """
    from stronghold_cli.commands.standing import agent_value, tell_agent
    from stronghold_cli.crypto.keys import TokenSecret
    from stronghold_cli.reader.client import look_at_self

    given = _token_to_store(token, token_file)
    token_id = TokenSecret(given.secret).token_id
    if offline:
        store_token(token_id, given, "")
        say("Stored the token without asking the server whether it works.")
        return
    with agent_server(given) as server:
        found = look_at_self(server, given, time.time)
    store_token(token_id, given, found.standing.agent.name)
    for sentence in found.warnings:
        warn(sentence)
    if settings().json:
        emit_json(agent_value(found, given, "stored on this machine"))
        return
    tell_agent(found, say)
    say("Stored the token: commands on this machine act as this agent now.")


def _token_to_store(token: str | None, token_file: str | None) -> AgentToken:
    from stronghold_cli.protocol.token import parse_agent_token

    given = given_token(token, token_file)
    if given is not None:
        return given.token
    if not interactive():
        raise Refused(
            "TOKEN_MISSING", "No token was given.", hint="Give one with --token-file FILE, --token - or STRONGHOLD_TOKEN."
        )
    return parse_agent_token(ask_passphrase("Agent token (shat_…)", option="--token-file").strip())
