"""How old the newest head may be (protocol sections 5 and 8): asked by agents and operators alike."""

from __future__ import annotations

from stronghold_cli.protocol.documents.head import Head
from stronghold_cli.protocol.documents.org import Org
from stronghold_cli.protocol.errors import IntegrityError

MAX_AHEAD = 300


def check_head_time(head: Head, org: Org, now: int) -> None:
    """Refuse a head dated more than 300 s ahead, or older than the org's ``max_head_age`` where that is set.

    ``now`` is Unix seconds by the party's own clock; raises ``IntegrityError``.
    """
    check_not_ahead(head, now)
    age = now - head.created
    if org.policy.max_head_age and age > org.policy.max_head_age:
        raise IntegrityError(
            f"The newest head is {age} seconds old, more than the {org.policy.max_head_age} that the org allows.",
            hint="The server may be holding changes back. Where nobody changed anything, an operator signs the head anew: "
            "stronghold org refresh",
            evidence={"created": head.created, "now": now},
        )


def check_not_ahead(head: Head, now: int) -> None:
    """Refuse a head dated more than 300 s ahead: all that is asked where an old head is what is to be replaced."""
    if head.created - now > MAX_AHEAD:
        raise IntegrityError(
            "The newest head is dated in the future.",
            hint="Check the clock of this machine.",
            evidence={"created": head.created, "now": now},
        )
