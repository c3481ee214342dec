"""Who reaches what, and what stops an agent all the same."""

from __future__ import annotations

import pytest

from stronghold_cli.protocol.documents.structure import Lockdown
from stronghold_cli.protocol.state import OrgState
from stronghold_cli.vault.agents import revoke
from stronghold_cli.vault.groups import add_agent, create_group, grant
from stronghold_cli.vault.reach import hindrances, reaches
from tests.support.org import NOW, TestOrg, workshop

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def org() -> TestOrg:
    return workshop()


def seen(org: TestOrg) -> list[tuple[str, str, str, tuple[str, ...]]]:
    state = org.state
    return [
        (each.kind, each.name, each.profile.name, tuple(state.groups[id_].name for id_ in each.groups))
        for each in reaches(state, NOW)
    ]


def locked(state: OrgState) -> OrgState:
    line = Lockdown(id=bytes(16), all=True, groups=(), agents=(), labels=(), reason="", created=NOW)
    document = state.structure.document.replace(lockdowns=(line,))
    return state.replace(structure=state.structure.replace(document=document))


def test_everybody_stands_with_every_profile_and_the_groups_between(org: TestOrg) -> None:
    org.commit(lambda draft: create_group(draft, "also"))
    org.commit(lambda draft: grant(draft, org.group("also"), org.profile("production")))
    (bot,) = org.state.agents.values()
    org.commit(lambda draft: add_agent(draft, org.group("also"), bot))
    assert seen(org) == [
        ("agent", "bot", "production", ("also", "production")),
        ("admin", "ada", "production", ("also", "production")),
        ("admin", "ada", "staging", ("staging",)),
        ("editor", "eve", "production", ("production",)),
    ]


def test_what_stops_an_agent_is_told(org: TestOrg) -> None:
    (bot,) = org.state.agents.values()
    assert hindrances(org.state, bot, NOW) == ()
    assert hindrances(locked(org.state), bot, NOW) == ("locked down",)
    assert hindrances(org.state, bot.replace(state="paused"), NOW) == ("paused",)
    assert hindrances(org.state, bot.replace(not_after=NOW + 1), NOW) == ()
    assert hindrances(org.state, bot.replace(not_after=NOW), NOW) == ("expired",)
    (token_id,) = bot.tokens
    for end, expected in ((NOW + 1, ()), (NOW, ("no live token",))):
        late = bot.replace(tokens={token_id: bot.tokens[token_id].replace(not_after=end)})
        assert hindrances(org.state, late, NOW) == expected
    org.commit(lambda draft: revoke(draft, bot, token_id))
    assert [each.hindrances for each in reaches(org.state, NOW) if each.kind == "agent"] == [("no live token",)]
