"""What stops a token that is genuine: lockdowns, its end, expiry, a pause, and its limits (protocol sections 5, 6 and 8).

All of it is told from signed documents but the end and the uses, which are the server's own rows and are looked at again
inside the transaction that gives the answer. The rate is counted in the memory of one process: with several replicas each
allows it once.
"""

from __future__ import annotations

import ipaddress
import threading
from collections import OrderedDict, deque
from typing import Final

from stronghold_cli.protocol.audit import DEPRECATED
from stronghold_cli.protocol.documents.agent import NO_LIMITS, Agent, Limits, Rate, Token, is_locked_down
from stronghold_cli.protocol.errors import Refused
from stronghold_cli.protocol.record import Record
from stronghold_cli.protocol.state import OrgState
from stronghold_server.refusals import Unlogged
from stronghold_server.store.interface import TokenRow

_MAX_TOKENS: Final = 10_000


class LiveToken(Record):
    """A token that may be used now, with its agent's signed document."""

    token_id: bytes
    agent: Agent
    token: Token

    @property
    def code(self) -> str:
        """What the audit entry says of a use: nothing, or that the token is deprecated."""
        return DEPRECATED if self.token.state == "deprecated" else ""

    def ends_by(self, now: int) -> bool:
        """Whether the token or its agent has expired."""
        return any(end is not None and end <= now for end in (self.token.not_after, self.agent.not_after))


def require_live(state: OrgState, row: TokenRow, address: str, now: int) -> LiveToken:
    """Return the token with its agent, or raise ``Refused`` with the first reason in the protocol's order."""
    agent = state.agents.get(row.agent_id)
    if agent is not None and any(is_locked_down(agent, lockdown) for lockdown in state.structure.document.lockdowns):
        raise Refused("LOCKED_DOWN", "a lockdown is in force for this agent")
    require_not_ended(row)
    token = None if agent is None else agent.tokens.get(row.token_id)
    if agent is None or token is None:
        raise Refused("TOKEN_REVOKED", "the token has been revoked")
    live = LiveToken(token_id=row.token_id, agent=agent, token=token)
    if live.ends_by(now):
        raise Refused("TOKEN_EXPIRED", "the token or its agent has expired")
    if agent.state == "paused":
        raise Refused("AGENT_PAUSED", "the agent is paused")
    if not _is_allowed(address, token.limits):
        raise Refused("ADDRESS_DENIED", "the token may not be used from this address")
    require_uses_left(row, token.limits)
    return live


def is_unlimited(state: OrgState, row: TokenRow) -> bool:
    """Whether the token is there and nothing of its uses has to be counted or looked at."""
    agent = state.agents.get(row.agent_id)
    token = None if agent is None else agent.tokens.get(row.token_id)
    return token is not None and token.limits == NO_LIMITS


def require_not_ended(row: TokenRow) -> None:
    """Raise ``Refused`` where the server has ended the token."""
    if row.ended == "revoked":
        raise Refused("TOKEN_REVOKED", "the token has been revoked")
    if row.ended == "expired":
        raise Refused("TOKEN_EXPIRED", "the token or its agent has expired")


def require_uses_left(row: TokenRow, limits: Limits, counted: int = 0) -> None:
    """Raise ``Refused`` where the token has delivered as often as it may; ``counted``: the row has this use already."""
    if limits.uses is not None and row.uses - counted >= limits.uses:
        raise Refused("TOKEN_EXHAUSTED", "the token has been used as often as it may be")


def _is_allowed(address: str, limits: Limits) -> bool:
    if not limits.addresses:
        return True
    try:
        client = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(client, "ipv4_mapped", None)
    return any((mapped or client) in ipaddress.ip_network(network) for network in limits.addresses)


class RateLimits:
    """When each limited token was used last; bounded, and safe to use from any thread."""

    def __init__(self) -> None:
        self._uses: OrderedDict[bytes, deque[float]] = OrderedDict()
        self._door = threading.Lock()

    def count(self, token_id: bytes, rate: Rate | None, now: float) -> None:
        """Count a request, or raise ``Unlogged`` with the seconds to wait."""
        if rate is not None:
            with self._door:
                self._count(token_id, rate, now)

    def _count(self, token_id: bytes, rate: Rate, now: float) -> None:
        uses = self._uses.setdefault(token_id, deque(maxlen=rate.requests))
        self._uses.move_to_end(token_id)
        if uses.maxlen != rate.requests:
            uses = self._uses[token_id] = deque(uses, maxlen=rate.requests)
        if len(uses) == rate.requests and uses[0] > now - rate.seconds:
            wait = max(1, int(uses[0] + rate.seconds - now + 0.999))
            raise Unlogged("RATE_LIMITED", "the token is used too often", counted="rate_limited", retry_after=wait)
        uses.append(now)
        while len(self._uses) > _MAX_TOKENS:
            self._uses.popitem(last=False)
