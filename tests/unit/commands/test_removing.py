"""What is printed after a removal, while others change the org: a removal that took effect never ends in an error."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stronghold_cli.commands.agent_removal import agent_compromised
from stronghold_cli.commands.group import delete, remove
from stronghold_cli.protocol.errors import Unavailable
from stronghold_cli.vault.agents import create_agent, mint
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.groups import grant
from stronghold_cli.vault.profiles import create_profile
from stronghold_cli.vault.removal import delete_agent, delete_profile
from tests.support.org import ADDRESS, NOW, VALUES, TestOrg, workshop

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def org(monkeypatch: pytest.MonkeyPatch) -> TestOrg:
    """The workshop, with a second agent in the group production, and its profile granted to staging too; ada acts."""
    org = workshop()
    leaver = org.commit(lambda draft: create_agent(draft, "leaver", [org.group("production")]))
    org.commit(lambda draft: mint(draft, org.state.agents[leaver.id], "old", ADDRESS, not_after=NOW + 60))
    org.commit(lambda draft: grant(draft, org.group("staging"), org.profile("production")))
    vault = Vault(org.operator())
    for module in ("group", "agent_removal"):
        monkeypatch.setattr(f"stronghold_cli.commands.{module}.open_vault", lambda: vault)
    return org


def new_profile(org: TestOrg) -> None:
    """Somebody grants a new profile to the group."""

    def act(draft: Draft) -> None:
        grant(draft, draft.groups()[org.group("production").id], create_profile(draft, "fresh", with_group=False))

    org.commit(act)


def lose_answer(org: TestOrg, act: Callable[[Draft], object]) -> None:
    """The next commit lands, its answer is lost, and somebody commits before the client looks."""

    def forge(target: str, body: bytes) -> bytes:
        if target.endswith("/commits"):
            org.server.forge = lambda _, answer: answer
            org.commit(act)
            raise Unavailable("The connection broke.")
        return body

    org.server.forge = forge


COMMANDS = {
    "remove": lambda: remove("production", agent=["leaver"], operator=None, yes=True),
    "compromised": lambda: agent_compromised("leaver", token=None, yes=True),
}


@pytest.mark.parametrize("command", ["remove", "compromised"])
def test_a_profile_that_is_granted_meanwhile_is_named(
    org: TestOrg, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    new_profile(org)
    COMMANDS[command]()
    printed = capsys.readouterr()
    assert "New keys: 1 group, 2 profiles" in printed.err
    assert all(name in printed.out for name in ("production: ", *VALUES))


def test_an_expired_token_of_an_agent_that_is_made_meanwhile_is_named(
    org: TestOrg, capsys: pytest.CaptureFixture[str]
) -> None:
    made = org.commit(lambda draft: create_agent(draft, "newcomer", [org.group("production")]))
    org.commit(lambda draft: mint(draft, org.state.agents[made.id], "short", ADDRESS, not_after=NOW + 60))
    org.now = NOW + 61
    COMMANDS["remove"]()
    assert "1 token past the end went, of 'newcomer'." in capsys.readouterr().err


@pytest.mark.parametrize("gone", ["the profile", "the agent"])
@pytest.mark.parametrize("command", ["remove", "compromised"])
def test_what_others_delete_after_the_removal_is_no_error(
    org: TestOrg, command: str, gone: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (leaver,) = (item for item in org.state.agents.values() if item.name == "leaver")

    def act(draft: Draft) -> None:
        if gone == "the agent":
            delete_agent(draft, draft.agents()[leaver.id])
        else:
            delete_profile(draft, draft.profiles()[org.profile("production").id])

    lose_answer(org, act)
    COMMANDS[command]()
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("production: ", *VALUES))


def test_a_group_is_deleted_with_a_profile_that_is_granted_meanwhile(
    org: TestOrg, capsys: pytest.CaptureFixture[str]
) -> None:
    new_profile(org)
    delete("production", yes=True)
    assert "New keys: 0 groups, 2 profiles" in capsys.readouterr().err
