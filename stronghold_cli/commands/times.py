"""Durations and dates as people type them: ``90d``, ``8h``, ``2027-01-31``, ``2027-01-31T12:00:00Z``."""

from __future__ import annotations

import re

from stronghold_cli.protocol.errors import UsageError

# The year 10000, in which dates have five digits and programs that read them end.
_LAST = 253_402_300_800
_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}
_DURATION = re.compile(r"([1-9][0-9]{0,8})(s|m|min|h|d|w|y)")


def duration(text: str, option: str) -> int:
    """Seconds of ``90d``, ``12h``, ``30m``, ``2w``, ``1y``; ``UsageError`` else."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{option} {text[:40]!r} is not a duration.", hint="Write it like 90d, 12h, 30m or 1y.")
    return int(match[1]) * _UNITS[match[2]]


def expiry(expires_in: str | None, expires_at: str | None, now: int, prefix: str = "--expires") -> int | None:
    """The ``not_after`` that two options give, or ``None``; ``UsageError`` where it is past or both were given.

    ``prefix`` is what the two options are called: ``--expires-in`` and ``--expires-at``.
    """
    if expires_in is not None and expires_at is not None:
        raise UsageError(f"{prefix}-in and {prefix}-at were both given.", hint="Give one of them.")
    if expires_in is not None:
        moment = now + duration(expires_in, f"{prefix}-in")
        if moment >= _LAST:
            raise UsageError(f"{prefix}-in {expires_in[:40]!r} ends after the year 9999.", hint="Give a shorter time.")
        return moment
    if expires_at is None:
        return None
    moment = _moment(expires_at, f"{prefix}-at")
    if moment <= now:
        raise UsageError(f"{prefix}-at {expires_at[:40]!r} is past.", hint="Give a date that is still to come.")
    return moment


def past_moment(text: str | None, option: str, now: int) -> int | None:
    """Unix seconds of a date, or of a duration before ``now``; ``None`` where nothing was given."""
    if text is None:
        return None
    if _DURATION.fullmatch(text.strip()):
        return now - duration(text, option)
    return _moment(text, option)


def _moment(text: str, option: str) -> int:
    """Unix seconds of an ISO 8601 date or time; without a zone it is UTC."""
    from datetime import UTC, datetime

    try:
        moment = datetime.fromisoformat(text.strip())
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (OverflowError, ValueError) as error:
        raise UsageError(
            f"{option} {text[:40]!r} is not a date.", hint="Write it like 2027-01-31 or 2027-01-31T12:00:00Z."
        ) from error
