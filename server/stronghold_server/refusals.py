"""Refusals of the server: every stable code with its HTTP status (protocol section 6), and how one is made.

Two kinds are told apart by where they leave a trace. A ``Refused`` answers a request whose signature was valid, fresh and
new: it becomes an audit entry. An ``Unlogged`` one answers what may not make an entry (unknown keys, skews, replays, rate
limits, requests without a signature): it is counted at most.
"""

from __future__ import annotations

from typing import Final

from stronghold_cli.protocol.errors import Conflict, MalformedError, Refused, StrongholdError, Unavailable
from stronghold_server.store.interface import CounterKind

# Stable code: HTTP status. The sentences stand where the refusal is known.
STATUSES: Final[dict[str, int]] = {
    "MALFORMED": 400,
    "TOKEN_MISSING": 401,
    "TOKEN_INVALID": 401,
    "OPERATOR_UNKNOWN": 401,
    "SIGNATURE_INVALID": 401,
    "CLOCK_SKEW": 401,
    "REPLAYED": 401,
    "TOKEN_REVOKED": 401,
    "TOKEN_EXPIRED": 401,
    "OPERATOR_REMOVED": 401,
    "TOKEN_EXHAUSTED": 403,
    "AGENT_PAUSED": 403,
    "LOCKED_DOWN": 403,
    "ADDRESS_DENIED": 403,
    "PROFILE_FORBIDDEN": 403,
    "FORBIDDEN": 403,
    "SETUP_CODE_INVALID": 403,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "CONFLICT": 409,
    "ANCHOR_UNKNOWN": 409,
    "PROFILE_REQUIRED": 409,
    "AHEAD_FULL": 409,
    "HISTORY_FULL": 409,
    "TOO_LARGE": 413,
    "AUTHORITY_UNKNOWN": 421,
    "COMMIT_REFUSED": 422,
    "RATE_LIMITED": 429,
    "INTERNAL": 500,
    "CLOCK_BEHIND": 503,
    "STORAGE_FAILED": 503,
    "BUSY": 503,
}

# The codes of what is refused before a request is whole, and so before any route is asked (guard).
GUARD_STATUSES: Final[dict[str, int]] = {
    "REQUEST_MALFORMED": 400,
    "REQUEST_TIMEOUT": 408,
    "TOO_LARGE": 413,
    "HEADERS_TOO_LARGE": 431,
    "SERVER_BUSY": 503,
}


class Unlogged(Refused):
    """A refusal without an audit entry; ``counted`` names the counter that goes up, if any."""

    def __init__(
        self, code: str, message: str, *, counted: CounterKind | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(code, message, retry_after=retry_after)
        self.counted = counted


def malformed(error: MalformedError) -> Refused:
    """The refusal of a request that was signed well, but says nothing that can be read."""
    return Refused("MALFORMED", error.message)


def as_refusal(error: StrongholdError) -> Refused:
    """What an error of the protocol's tree means as an answer."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, MalformedError):
        return malformed(error)
    if isinstance(error, Conflict):
        return Refused("CONFLICT", error.message)
    if isinstance(error, Unavailable) and error.code in STATUSES:
        return Unlogged(error.code, error.message)
    return Unlogged("INTERNAL", "the server failed")
