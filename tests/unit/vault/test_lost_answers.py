"""Commits whose answer is lost: none is done twice, and none that may yet take effect is kept quiet about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stronghold_cli.protocol.errors import Conflict, IntegrityError, NotFound, Refused, Unavailable
from stronghold_cli.vault.agents import NewToken, mint
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.groups import create_group
from stronghold_cli.vault.keyring import Overtaken
from stronghold_cli.vault.profiles import read_secrets
from tests.support.org import ADDRESS, TestOrg, workshop

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def org() -> TestOrg:
    return workshop()


class Fate:
    """What becomes of each commit that is sent: ``lost`` on the way, ``unheard`` (done, but the answer is lost), ``done``;
    ``late`` (lost, and done after all before the next request), or a code that the server answers without doing anything.

    What the server never got is done or lost as the last of them says.
    """

    def __init__(self, org: TestOrg, *fates: str) -> None:
        self.fates, self.sent = list(fates), list[bytes]()
        self._passed_on, self._late = org.server._answer, list[Callable[[], bytes]]()
        org.server._answer = self  # type: ignore[method-assign, assignment]

    def __call__(self, path: str, query: Any, body: bytes, key_id: Any) -> bytes:
        if not path.endswith("/commits"):
            if self._late and path.endswith("/contents"):
                self._late.pop()()
            return self._passed_on(path, query, body, key_id)
        self.sent.append(body)
        fate = self.fates[min(len(self.sent), len(self.fates)) - 1]
        if fate == "late":
            self._late.append(lambda: self._passed_on(path, query, body, key_id))
        if fate in {"unheard", "done", "REPLAYED after all"}:
            answer = self._passed_on(path, query, body, key_id)
            if fate == "done":
                return answer
        if fate.isupper() or fate == "REPLAYED after all":
            raise Refused(fate.split()[0], "no")
        raise Unavailable("The connection broke.")


MAY_STAND = "The connection broke. The change was sent and may have taken effect."


def test_silence_at_every_attempt_is_told_as_such_and_not_as_a_conflict(org: TestOrg) -> None:
    """No commit is answered while the state can be had, as behind a proxy that refuses what is sent."""
    vault, fate = Vault(org.operator()), Fate(org, "lost")
    with pytest.raises(Unavailable) as caught:
        vault.commit(lambda draft: create_group(draft, "more"))
    assert caught.value.message == MAY_STAND
    assert caught.value.__cause__.__class__ is Conflict
    assert "before you run the command again" in caught.value.hint
    assert len(fate.sent) == 8


@pytest.mark.parametrize("code", ["FORBIDDEN", "RATE_LIMITED", "COMMIT_REFUSED"])
def test_a_refusal_after_a_silence_does_not_hide_that_the_first_commit_may_stand(org: TestOrg, code: str) -> None:
    vault = Vault(org.operator())
    Fate(org, "lost", code)
    with pytest.raises(Unavailable) as caught:
        vault.commit(lambda draft: create_group(draft, "more"))
    assert caught.value.message == MAY_STAND


def test_a_commit_of_a_state_that_others_have_changed_cannot_stand_any_more(org: TestOrg) -> None:
    vault, fate = Vault(org.operator()), Fate(org, "lost", "CONFLICT")

    def act(draft: Draft) -> None:
        create_group(draft, "more")
        if "theirs" in {group.name for group in draft.groups().values()}:
            raise NotFound("It is gone.")

    def meanwhile(target: str, body: bytes) -> bytes:
        """After the sync that finds nothing new, and before the next commit is refused."""
        if "/steps" in target and len(fate.sent) == 1:
            org.commit(lambda draft: create_group(draft, "theirs"))
            org.server.forge = lambda _, body: body
        return body

    org.server.forge = meanwhile
    with pytest.raises(NotFound) as caught:
        vault.commit(act)
    assert caught.value.message == "It is gone."
    assert len(fate.sent) == 2


def test_a_commit_that_was_refused_for_a_conflict_did_not_take_effect(org: TestOrg) -> None:
    vault = Vault(org.operator())
    Fate(org, "CONFLICT")
    with pytest.raises(Conflict) as caught:
        vault.commit(lambda draft: create_group(draft, "more"))
    assert caught.value.message.endswith("so nothing was changed.")


def test_an_earlier_silence_is_not_told_of_a_later_command(org: TestOrg) -> None:
    vault, fate = Vault(org.operator()), Fate(org, "lost")
    with pytest.raises(Unavailable):
        vault.commit(lambda draft: create_group(draft, "more"))
    fate.fates = ["FORBIDDEN"]
    with pytest.raises(Refused) as caught:
        vault.commit(lambda draft: create_group(draft, "more"))
    assert caught.value.message == "no"


def test_what_cannot_be_trusted_is_told_before_the_silence(org: TestOrg) -> None:
    vault = Vault(org.operator())
    Fate(org, "lost")
    org.server.forge = lambda target, body: b"\xff" if "/steps" in target else body
    with pytest.raises(IntegrityError) as caught:
        vault.commit(lambda draft: create_group(draft, "more"))
    assert caught.value.message.endswith(". The change was sent and may have taken effect.")


def test_an_interrupt_after_a_silence_says_that_the_first_commit_may_stand(org: TestOrg) -> None:
    vault, attempts = Vault(org.operator()), list[Draft]()
    Fate(org, "lost")

    def act(draft: Draft) -> None:
        attempts.append(draft)
        if len(attempts) == 2:
            raise KeyboardInterrupt
        create_group(draft, "more")

    with pytest.raises(KeyboardInterrupt, match="may have taken effect"):
        vault.commit(act)


def test_an_interrupt_before_anything_was_sent_says_nothing(org: TestOrg) -> None:
    def act(draft: Draft) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        Vault(org.operator()).commit(act)
    assert not caught.value.args


def test_an_earlier_attempt_that_lands_while_the_next_is_made_is_not_done_twice(org: TestOrg) -> None:
    vault, fate, attempts = Vault(org.operator()), Fate(org, "late", "done"), list[NewToken]()
    (agent,) = vault.state.agents.values()
    production = org.profile("production")

    def act(draft: Draft) -> NewToken:
        attempts.append(mint(draft, draft.agents()[agent.id], f"token {len(attempts)}", ADDRESS))
        if len(attempts) > 1:
            # What is fetched belongs to a newer state by then.
            read_secrets(vault, production)
            raise Overtaken("The state moved on.")
        return attempts[-1]

    assert vault.commit(act) is attempts[0]
    assert len(fate.sent) == 1
    assert {token.name for token in org.state.agents[agent.id].tokens.values()} == {"ci", "token 0"}


@pytest.mark.parametrize("fate", ["REPLAYED after all", "REPLAYED"])
def test_a_request_that_something_on_the_way_sent_twice_takes_effect_once(org: TestOrg, fate: str) -> None:
    """Whoever sends it again gets REPLAYED, and loses the answer: the commit may stand, or not."""
    vault, sending = Vault(org.operator()), Fate(org, fate, "done")
    (agent,) = vault.state.agents.values()
    made = vault.commit(lambda draft: mint(draft, draft.agents()[agent.id], "second", ADDRESS))
    assert len(sending.sent) == (1 if fate == "REPLAYED after all" else 2)
    assert len(org.state.agents[agent.id].tokens) == 2
    assert made.token_id in org.state.agents[agent.id].tokens
    assert vault.state == org.state


def test_a_request_that_is_always_answered_as_a_replay_may_have_taken_effect(org: TestOrg) -> None:
    vault, sending = Vault(org.operator()), Fate(org, "REPLAYED")
    with pytest.raises(Refused) as caught:
        vault.commit(lambda draft: create_group(draft, "more"))
    assert (caught.value.code, caught.value.message) == ("REPLAYED", "no. The change was sent and may have taken effect.")
    assert len(sending.sent) == 8
