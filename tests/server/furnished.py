"""An org that has one of everything."""

from __future__ import annotations

from stronghold_cli.protocol.record import Record
from tests.server.support import TestOrg


class Furnished(Record):
    """An org with one of everything."""

    org: TestOrg
    group: bytes
    profile: bytes
    agent: bytes
    token: bytes
    second_token: bytes
    secret: bytes
    second_secret: bytes


def furnish(org: TestOrg) -> Furnished:
    """Add a group, a profile of two secrets, and an agent with two tokens, in one commit."""
    draft = org.draft()
    group = org.add_group(draft, "CI/CD")
    profile = org.add_profile(draft, "production", group)
    agent = org.add_agent(draft, "CI Pipeline", group)
    token, second_token = org.mint(draft, agent), org.mint(draft, agent)
    secret = org.put(draft, profile, "DATABASE_URL", b"postgres://one")
    second_secret = org.put(draft, profile, "API_KEY", b"two")
    org.apply(draft)
    return Furnished(
        org=org,
        group=group,
        profile=profile,
        agent=agent,
        token=token,
        second_token=second_token,
        secret=secret,
        second_secret=second_secret,
    )
