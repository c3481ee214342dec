"""Commits that meet others: a conflict is carried out again from its arguments, a lost answer looks for its own head."""

from __future__ import annotations

from typing import Any

import pytest

from stronghold_cli.protocol.encoding import encode_base64
from stronghold_cli.protocol.errors import Conflict, IntegrityError, Refused, Unavailable
from stronghold_cli.protocol.messages import Committed, decode_commit, decode_steps
from stronghold_cli.vault.agents import NewToken, create_agent, mint
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.groups import add_operator, create_group
from stronghold_cli.vault.profiles import create_profile, read_secrets, write_secrets
from stronghold_cli.vault.removal import compromised
from tests.support.org import ADDRESS, NOTHING, VALUES, TestOrg, workshop

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def org() -> TestOrg:
    return workshop()


class Between:
    """Lets another operator commit before the first ``times`` commits arrive; keeps every body sent."""

    def __init__(self, org: TestOrg, times: int = 1) -> None:
        self.org, self.left, self.bodies = org, times, list[bytes]()
        self.passed_on = org.server._answer
        org.server._answer = self  # type: ignore[method-assign, assignment]

    def __call__(self, path: str, query: Any, body: bytes, key_id: Any) -> bytes:
        if path.endswith("/commits"):
            self.bodies.append(body)
            if self.left:
                self.left -= 1
                self.org.commit(lambda draft: create_group(draft, f"other {self.left}"))
        return self.passed_on(path, query, body, key_id)


def test_a_commit_stands_and_is_the_new_state(org: TestOrg) -> None:
    vault = Vault(org.operator())
    group = vault.commit(lambda draft: create_group(draft, "more"))
    assert vault.state == org.state
    assert vault.state.groups[group.id].name == "more"
    assert vault.keys.group(group.id).kcv == group.kcv


def test_an_act_that_changes_nothing_sends_nothing(org: TestOrg) -> None:
    vault = Vault(org.operator())
    assert vault.commit(lambda draft: 7) == 7
    assert not [target for target in org.server.targets if target.startswith("POST")]


def test_a_mint_that_meets_a_conflict_uses_nothing_twice(org: TestOrg) -> None:
    """Attack 38."""
    vault, between = Vault(org.operator()), Between(org)
    (agent,) = vault.state.agents.values()
    attempts: list[NewToken] = []

    def act(draft: Draft) -> NewToken:
        attempts.append(mint(draft, draft.agents()[agent.id], "second", ADDRESS))
        return attempts[-1]

    result = vault.commit(act)
    one, two = attempts
    assert result is two
    assert two.token_id in org.state.agents[agent.id].tokens
    assert one.token_id not in org.state.agents[agent.id].tokens
    assert one.token.secret != two.token.secret
    assert one.token.wrapped_master_key != two.token.wrapped_master_key
    assert two.token.floor == one.token.floor + 1 == org.state.seq
    first, second = (decode_commit(body) for body in between.bodies)
    assert set(first.blobs).isdisjoint(second.blobs)
    assert set(first.shares).isdisjoint(second.shares)
    assert set(first.shares.values()).isdisjoint(second.shares.values())
    assert len(set(org.random.drawn)) == len(org.random.drawn)


def test_a_name_taken_meanwhile_is_told(org: TestOrg) -> None:
    vault = Vault(org.operator())
    Between(org)
    with pytest.raises(Conflict, match="already a group named 'other 0'"):
        vault.commit(lambda draft: create_group(draft, "other 0"))


def test_an_act_that_read_the_newest_values_itself_begins_again_with_the_newest_keys(org: TestOrg) -> None:
    """Reading brought the state up to date already, when the draft over the older one meets the new keys."""
    vault = Vault(org.operator())
    org.commit(lambda draft: compromised(draft, *draft.agents().values()))
    production = org.profile("production")

    def act(draft: Draft) -> None:
        profile = draft.profiles()[production.id]
        write_secrets(draft, profile, read_secrets(vault, profile), {"API_KEY": b"newer value"})

    vault.commit(act)
    assert vault.state == org.state
    assert {name: each.secret.value for name, each in read_secrets(vault, production).items()} == {
        **VALUES,
        "API_KEY": b"newer value",
    }


def test_a_conflict_at_every_attempt_ends(org: TestOrg) -> None:
    vault, between = Vault(org.operator()), Between(org, times=100)
    with pytest.raises(Conflict, match="nothing was changed"):
        vault.commit(lambda draft: create_group(draft, "never"))
    assert len(between.bodies) == 8


def test_another_refusal_is_passed_on(org: TestOrg) -> None:
    vault = Vault(org.operator())

    def refuse(target: str, body: bytes) -> bytes:
        raise Refused("FORBIDDEN", "no")

    org.server.forge = refuse
    with pytest.raises(Refused, match="no"):
        vault.commit(lambda draft: create_group(draft, "more"))


def test_a_lost_answer_finds_its_own_head(org: TestOrg) -> None:
    vault = Vault(org.operator())

    def lose(target: str, body: bytes) -> bytes:
        if target.endswith("/commits"):
            org.commit(lambda draft: create_group(draft, "later"))
            raise Unavailable("The connection broke.")
        return body

    org.server.forge = lose
    group = vault.commit(lambda draft: create_group(draft, "more"))
    assert org.state.groups[group.id].name == "more"
    assert vault.state == org.state
    assert len([target for target in org.server.targets if target.startswith("POST")]) == 1


def test_a_commit_that_got_lost_is_carried_out_again(org: TestOrg) -> None:
    vault, sent = Vault(org.operator()), list[bytes]()
    passed_on = org.server._answer

    def lose(path: str, query: Any, body: bytes, key_id: Any) -> bytes:
        if path.endswith("/commits"):
            sent.append(body)
            if len(sent) == 1:
                raise Unavailable("The connection broke.")
        return passed_on(path, query, body, key_id)

    org.server._answer = lose  # type: ignore[method-assign, assignment]
    vault.commit(lambda draft: create_group(draft, "more"))
    assert len(sent) == 2
    assert len([group for group in org.state.groups.values() if group.name == "more"]) == 1


def test_silence_says_that_the_change_may_have_taken_effect(org: TestOrg) -> None:
    vault = Vault(org.operator())

    def silent(target: str, body: bytes) -> bytes:
        if target.endswith("/commits"):
            gone.append(1)
        if gone:
            raise Unavailable("The connection broke.")
        return body

    gone: list[int] = []

    org.server.forge = silent
    with pytest.raises(Unavailable) as caught:
        vault.commit(lambda draft: create_group(draft, "more"))
    assert caught.value.message == "The connection broke. The change was sent and may have taken effect."


def test_an_answer_with_another_number_is_refused(org: TestOrg) -> None:
    vault = Vault(org.operator())
    org.server.forge = lambda target, body: (
        Committed(seq=99, already=False).encode() if target.endswith("/commits") else body
    )
    with pytest.raises(IntegrityError, match="another number") as caught:
        vault.commit(lambda draft: create_group(draft, "more"))
    assert caught.value.message.endswith("The change was sent and may have taken effect.")


def test_an_own_head_shown_outside_the_verified_chain_is_not_believed(org: TestOrg) -> None:
    """A server that never kept the commit shows its head once, in a list that leads nowhere: the act is done again."""
    vault, sent = Vault(org.operator()), list[bytes]()
    passed_on = org.server._answer

    def lie(path: str, query: Any, body: bytes, key_id: Any) -> bytes:
        if path.endswith("/commits"):
            sent.append(body)
            if len(sent) == 1:
                raise Refused("CONFLICT", "the state changed meanwhile")
        answer = passed_on(path, query, body, key_id)
        if path.endswith("/steps") and len(sent) == 1 and not shown:
            shown.append(1)
            own = NOTHING.replace(heads=decode_commit(sent[0]).changes.heads)
            return decode_steps(answer).replace(steps=(own,), seq=vault.state.seq + 1).encode()
        return answer

    shown: list[int] = []
    org.server._answer = lie  # type: ignore[method-assign, assignment]
    with pytest.raises(IntegrityError):
        vault.commit(lambda draft: create_group(draft, "more"))
    assert not [group for group in org.state.groups.values() if group.name == "more"]


def test_no_secret_leaves_in_a_commit(org: TestOrg) -> None:
    vault, between = Vault(org.operator()), Between(org, times=0)
    drawn = len(org.random.drawn)
    vault.commit(lambda draft: create_profile(draft, "new"))
    (agent,) = vault.state.agents.values()
    token = vault.commit(lambda draft: mint(draft, draft.agents()[agent.id], "second", ADDRESS)).token
    sent = b"".join(between.bodies)
    keys = [raw for raw in org.random.drawn[drawn:] if len(raw) == 32 and raw not in org.server.shares.values()]
    assert len(keys) == 4
    for raw in (*keys, token.secret, token.wrapped_master_key):
        assert encode_base64(raw).encode() not in sent
        assert raw.hex().encode() not in sent


def test_an_earlier_attempt_that_lands_late_is_the_one_that_counts(org: TestOrg) -> None:
    """Attempt 1 is silent and not yet in the chain; it lands while attempt 2 is on its way."""
    vault, sent = Vault(org.operator()), list[bytes]()
    passed_on = org.server._answer

    def delay(path: str, query: Any, body: bytes, key_id: Any) -> bytes:
        if not path.endswith("/commits"):
            return passed_on(path, query, body, key_id)
        sent.append(body)
        if len(sent) == 1:
            raise Unavailable("The connection broke.")
        passed_on(path, query, sent[0], key_id)
        return passed_on(path, query, body, key_id)

    org.server._answer = delay  # type: ignore[method-assign, assignment]
    attempts: list[NewToken] = []
    (agent,) = vault.state.agents.values()

    def act(draft: Draft) -> NewToken:
        attempts.append(mint(draft, draft.agents()[agent.id], "second", ADDRESS))
        return attempts[-1]

    result = vault.commit(act)
    assert len(attempts) == 2
    assert result is attempts[0]
    assert result.token_id in org.state.agents[agent.id].tokens


def test_an_answer_that_cannot_be_read_is_looked_after(org: TestOrg) -> None:
    vault = Vault(org.operator())
    org.server.forge = lambda target, body: b"<html>" if target.endswith("/commits") else body
    group = vault.commit(lambda draft: create_group(draft, "more"))
    assert org.state.groups[group.id].name == "more"


def test_an_interrupt_says_that_the_change_may_have_taken_effect(org: TestOrg) -> None:
    vault = Vault(org.operator())

    def interrupt(target: str, body: bytes) -> bytes:
        if target.endswith("/commits"):
            raise KeyboardInterrupt
        return body

    org.server.forge = interrupt
    with pytest.raises(KeyboardInterrupt, match="may have taken effect"):
        vault.commit(lambda draft: create_group(draft, "more"))


@pytest.mark.parametrize("name", ["eve", "rob", "una"])
def test_whoever_is_no_admin_is_told_so_before_anything_is_sent(org: TestOrg, name: str) -> None:
    vault = Vault(org.operator(name))
    with pytest.raises(Refused) as caught:
        vault.commit(lambda draft: create_agent(draft, "made", []))
    assert (caught.value.code, caught.value.hint) == ("FORBIDDEN", "Ask an admin.")
    assert f"({vault.state.org.document.operators[org.id(name)].role})" in caught.value.message
    assert not [target for target in org.server.targets if target.startswith("POST")]


def test_an_editor_writes_the_profiles_that_list_them_and_no_others(org: TestOrg) -> None:
    org.commit(lambda draft: add_operator(draft, org.group("staging"), org.id("eve")))
    vault = Vault(org.operator("eve"))
    vault.commit(lambda draft: write_secrets(draft, org.profile("production"), {}, {"NEW": b"value"}))
    with pytest.raises(Refused, match="not listed as an editor of the profile 'staging'") as caught:
        vault.commit(lambda draft: write_secrets(draft, org.profile("staging"), {}, {"NEW": b"value"}))
    assert caught.value.code == "FORBIDDEN"


@pytest.mark.parametrize("name", ["rob", "una"])
def test_readers_and_auditors_change_no_secret(org: TestOrg, name: str) -> None:
    vault, production = Vault(org.operator(name)), org.profile("production")
    with pytest.raises(Refused, match="may change nothing") as caught:
        vault.commit(lambda draft: draft.touch_contents(production.id))
    assert caught.value.code == "FORBIDDEN"
