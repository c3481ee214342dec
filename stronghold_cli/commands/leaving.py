"""What ``auth logout`` and ``auth reset-mark`` take away from this machine, and what they say before."""

from __future__ import annotations

from stronghold_cli.keystore.identities import (
    OperatorIdentity,
    TokenIdentity,
    forget_account,
    forget_token,
    load_account,
    load_current,
    load_token,
)
from stronghold_cli.output import confirm, emit, emit_json, say, settings


def log_out(yes: bool) -> None:
    """Remove what was last made current: a stored token, or an operator's account, session and local copy."""
    current = load_current()
    if current.identity is None:
        say("Nobody is logged in on this machine.")
    elif current.kind == "token":
        _forget_agent(current.identity, yes)
    else:
        _forget_operator(current.identity, yes)


def log_out_everywhere(yes: bool) -> None:
    """Remove every file of ours and list them; the server, and what was pulled, stay as they are."""
    from stronghold_cli.keystore.everything import logout_all, stored_paths

    paths = stored_paths()
    if not paths:
        say("This program keeps nothing on this machine.")
        return
    for path in paths:
        say(f"  {path}")
    question = f"Remove these {len(paths)} files? Operators need their kits, and agents their tokens, to come back."
    if not confirm(question, yes):
        say("Nothing was removed.")
        return
    removed = logout_all()
    if settings().json:
        emit_json({"removed": list(removed)})
    else:
        emit("\n".join(removed))


def forget_mark(acting: TokenIdentity | OperatorIdentity, yes: bool) -> None:
    """Forget the mark of whoever is acting, after saying what that gives up."""
    from stronghold_cli.crypto.keys import TokenSecret
    from stronghold_cli.keystore.marks import agent_mark, operator_mark

    if isinstance(acting, TokenIdentity):
        mark, floor, whose = agent_mark(TokenSecret(acting.token.secret).token_id), acting.token.floor, "token"
    else:
        mark, floor, whose = operator_mark(acting.account.org_id), acting.account.kit.floor, "kit"
    say(
        "The mark is what tells an old state from the newest one. Without it this machine accepts the next state that the "
        f"server shows, however old, back to number {floor}, that of the {whose}: secrets replaced, readers removed and "
        "tokens revoked since then could come back unnoticed, and the server could show you another history than others.\n"
        "Give it up only where the server has lost its data for good; then compare heads with another device or person."
    )
    if not confirm("Forget the mark?", yes):
        say("The mark stays.")
    elif mark.reset():
        say("The mark is forgotten.")
    else:
        say("There was no mark.")


def _forget_agent(token_id: bytes, yes: bool) -> None:
    kept = load_token(token_id)
    name = repr(kept.label) if kept is not None and kept.label else "the agent"
    question = f"Remove the token of {name} from this machine? It cannot be shown again; on the server it stays live."
    if not confirm(question, yes):
        say("Nothing was removed.")
        return
    forget_token(token_id)
    say(f"Removed the token of {name}.")


def _forget_operator(org_id: bytes, yes: bool) -> None:
    from stronghold_cli.keystore import sessions
    from stronghold_cli.vault.replica import forget_local_state

    account = load_account(org_id)
    name = account.name if account is not None else org_id.hex()
    if not confirm(f"Remove the account of {name!r} from this machine? Only the operator kit brings it back.", yes):
        say("Nothing was removed.")
        return
    sessions.lock(org_id)
    forget_local_state(org_id)
    forget_account(org_id)
    say(f"Logged out of {name!r}. The mark stays, so that a later login cannot be shown an older state.")
