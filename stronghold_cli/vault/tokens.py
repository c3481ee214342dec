"""What happens to a token between its minting and its end: deprecate, undeprecate, rotate (protocol section 8).

Active and deprecated are states of the signed document; expired is told from its dates; a revoked token stands in no
document any more. Minting and revoking stand in ``agents``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import count

from stronghold_cli.protocol.documents.agent import Agent, Limits, Token
from stronghold_cli.protocol.errors import Conflict, UsageError
from stronghold_cli.protocol.names import MAX_NAME, caseless
from stronghold_cli.protocol.record import Record
from stronghold_cli.vault.agents import Address, NewToken, mint
from stronghold_cli.vault.draft import Draft

_NUMBERED = re.compile(r"(.*\S) ([1-9][0-9]{0,4})", re.DOTALL)


class Rotated(Record):
    """A token's replacement, and when the old one ends."""

    new: NewToken
    old_end: int

    def __repr__(self) -> str:
        return f"Rotated({self.new!r})"


def has_ended(agent: Agent, token: Token, now: int) -> bool:
    """Whether the token, or its agent, has expired."""
    end = token.end_with(agent.not_after)
    return end is not None and end <= now


def status_of(agent: Agent, token: Token, now: int) -> str:
    """``active``, ``deprecated`` or ``expired``."""
    return "expired" if has_ended(agent, token, now) else token.state


def live_tokens(agent: Agent, now: int) -> list[bytes]:
    """The ids of the tokens that have not expired."""
    return [token_id for token_id, token in agent.tokens.items() if not has_ended(agent, token, now)]


def require_another(agent: Agent, token_id: bytes, now: int) -> None:
    """Refuse to take its last live token from an agent; one that has expired is not live, and keeps nobody going."""
    if live_tokens(agent, now) == [token_id]:
        raise UsageError(
            f"{agent.tokens[token_id].name!r} is the last live token of {agent.name!r}.",
            hint="Mint another first, or give --force.",
        )


def deprecate(draft: Draft, agent: Agent, token_id: bytes) -> bool:
    """Mark a token as one to be replaced: it works, every use warns and is marked in the log. Whether it was active."""
    return _set_state(draft, agent, token_id, "deprecated")


def undeprecate(draft: Draft, agent: Agent, token_id: bytes) -> bool:
    """Make a deprecated token an ordinary one again; its end stays what it is. Whether it was deprecated."""
    return _set_state(draft, agent, token_id, "active")


def rotate(
    draft: Draft,
    agent: Agent,
    token_id: bytes,
    address: Address,
    *,
    grace: int,
    name: str | None = None,
    not_after: int | None = None,
    limits: Limits | None = None,
) -> Rotated:
    """Mint a token in place of another one, which becomes deprecated and ends after ``grace`` seconds, as one commit.

    Without ``not_after`` the new one lives as long as the old one was to live; without ``limits`` it has the old one's.
    """
    old = agent.tokens[token_id]
    _require_not_ended(agent, old, draft.now)
    if old.state == "deprecated":
        raise Conflict(
            f"The token {old.name!r} of {agent.name!r} is deprecated already: it is being replaced.",
            hint=f"Mint another one (stronghold token mint {agent.name!r}), or undeprecate this one first.",
        )
    grace_end = draft.now + grace
    old_end = grace_end if old.not_after is None else min(grace_end, old.not_after)
    if not_after is None and old.not_after is not None:
        not_after = draft.now + max(1, old.not_after - old.created)
    tokens = {**agent.tokens, token_id: old.replace(state="deprecated", not_after=old_end)}
    new = mint(
        draft,
        agent.replace(tokens=tokens),
        name or next_name(old.name, agent.tokens.values()),
        address,
        not_after=not_after,
        limits=old.limits if limits is None else limits,
    )
    return Rotated(new=new, old_end=old_end)


def next_name(name: str, tokens: Iterable[Token], *, first: int = 2) -> str:
    """The name with the next number that is free: ``deploy``, ``deploy 2``, ``deploy 3``."""
    match = _NUMBERED.fullmatch(name)
    stem, number = (match[1], int(match[2]) + 1) if match else (name, first)
    stem = stem[: MAX_NAME - 7].rstrip()
    taken = {caseless(token.name) for token in tokens}
    return next(chosen for each in count(number) if caseless(chosen := f"{stem} {each}") not in taken)


def _set_state(draft: Draft, agent: Agent, token_id: bytes, state: str) -> bool:
    token = agent.tokens[token_id]
    _require_not_ended(agent, token, draft.now)
    if token.state == state:
        return False
    draft.put(agent.replace(tokens={**agent.tokens, token_id: token.replace(state=state)}))
    return True


def _require_not_ended(agent: Agent, token: Token, now: int) -> None:
    if has_ended(agent, token, now):
        raise UsageError(
            f"The token {token.name!r} of {agent.name!r} has expired, which is for ever.",
            hint=f"Mint another one: stronghold token mint {agent.name!r}",
        )
