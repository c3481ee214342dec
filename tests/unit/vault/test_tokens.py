"""Tokens between minting and end: deprecated, active again, rotated; and which of them still live."""

from __future__ import annotations

from typing import Any

import pytest

from stronghold_cli.protocol.documents.agent import Limits, Rate
from stronghold_cli.protocol.errors import Conflict, UsageError
from stronghold_cli.protocol.names import MAX_NAME
from stronghold_cli.vault.agents import end_agent, mint
from stronghold_cli.vault.tokens import (
    deprecate,
    has_ended,
    live_tokens,
    next_name,
    require_another,
    rotate,
    status_of,
    undeprecate,
)
from tests.support.org import ADDRESS, NOW, TestOrg, workshop

pytestmark = pytest.mark.usefixtures("home")
LIMITS = Limits(addresses=("10.0.0.0/8",), rate=Rate(requests=1, seconds=60), uses=3)


@pytest.fixture
def org() -> TestOrg:
    return workshop()


def bot(org: TestOrg) -> Any:
    return next(agent for agent in org.state.agents.values() if agent.name == "bot")


def named(org: TestOrg, name: str) -> tuple[bytes, Any]:
    return next((token_id, token) for token_id, token in bot(org).tokens.items() if token.name == name)


def test_a_token_is_deprecated_and_made_active_again(org: TestOrg) -> None:
    token_id, before = named(org, "ci")
    assert org.commit(lambda draft: deprecate(draft, bot(org), token_id))
    assert bot(org).tokens[token_id] == before.replace(state="deprecated")
    draft = org.draft()
    assert not deprecate(draft, bot(org), token_id)
    assert draft.is_empty
    assert org.commit(lambda draft: undeprecate(draft, bot(org), token_id))
    assert bot(org).tokens[token_id] == before
    draft = org.draft()
    assert not undeprecate(draft, bot(org), token_id)
    assert draft.is_empty


def test_rotation_is_one_commit_with_two_tokens_that_both_work(org: TestOrg) -> None:
    org.commit(lambda draft: mint(draft, bot(org), "deploy", ADDRESS, not_after=NOW + 1000, limits=LIMITS))
    token_id, before = named(org, "deploy")
    org.now = NOW + 100
    seq = org.state.seq
    rotated = org.commit(lambda draft: rotate(draft, bot(org), token_id, ADDRESS, grace=50))
    assert org.state.seq == seq + 1
    assert bot(org).tokens[token_id] == before.replace(state="deprecated", not_after=org.now + 50)
    assert rotated.old_end == org.now + 50
    new = bot(org).tokens[rotated.new.token_id]
    assert (new.name, new.state, new.not_after, new.limits) == ("deploy 2", "active", org.now + 1000, LIMITS)
    members = org.state.leaves("members", org.group("production").id)
    assert {token_id, rotated.new.token_id} <= members.keys()


def test_rotation_puts_off_no_end_and_takes_what_was_asked_for(org: TestOrg) -> None:
    org.commit(lambda draft: mint(draft, bot(org), "short", ADDRESS, not_after=NOW + 10))
    token_id, _ = named(org, "short")
    other = Limits(addresses=(), rate=None, uses=1)
    rotated = org.commit(
        lambda draft: rotate(draft, bot(org), token_id, ADDRESS, grace=50, name="mine", not_after=NOW + 500, limits=other)
    )
    assert (rotated.old_end, bot(org).tokens[token_id].not_after) == (NOW + 10, NOW + 10)
    new = bot(org).tokens[rotated.new.token_id]
    assert (new.name, new.not_after, new.limits) == ("mine", NOW + 500, other)
    forever, _ = named(org, "ci")
    assert org.commit(lambda draft: rotate(draft, bot(org), forever, ADDRESS, grace=1)).new.not_after is None


def test_a_token_that_is_being_replaced_or_has_expired_is_not_rotated(org: TestOrg) -> None:
    token_id, _ = named(org, "ci")
    org.commit(lambda draft: deprecate(draft, bot(org), token_id))
    with pytest.raises(Conflict, match="deprecated already"):
        rotate(org.draft(), bot(org), token_id, ADDRESS, grace=1)
    org.commit(lambda draft: end_agent(draft, bot(org), NOW + 1))
    org.now = NOW + 1
    for act in (deprecate, undeprecate):
        with pytest.raises(UsageError, match="has expired"):
            act(org.draft(), bot(org), token_id)
    with pytest.raises(UsageError, match="has expired"):
        rotate(org.draft(), bot(org), token_id, ADDRESS, grace=1)


def test_the_earlier_of_two_ends_counts(org: TestOrg) -> None:
    agent = bot(org)
    (token_id,) = agent.tokens
    for token_end, agent_end, end in ((None, None, None), (5, None, 5), (None, 5, 5), (5, 6, 5), (6, 5, 5)):
        token = agent.tokens[token_id].replace(not_after=token_end)
        owner = agent.replace(not_after=agent_end, tokens={token_id: token})
        assert token.end_with(agent_end) == end
        assert [has_ended(owner, token, now) for now in (4, 5)] == [False, end is not None]
        assert status_of(owner, token, 5) == ("active" if end is None else "expired")
        assert live_tokens(owner, 5) == ([token_id] if end is None else [])


def test_the_last_live_token_is_told_from_those_that_expired(org: TestOrg) -> None:
    token_id, _ = named(org, "ci")
    with pytest.raises(UsageError, match="last live token"):
        require_another(bot(org), token_id, NOW)
    org.commit(lambda draft: mint(draft, bot(org), "short", ADDRESS, not_after=NOW + 10))
    require_another(bot(org), token_id, NOW)
    with pytest.raises(UsageError, match="last live token"):
        require_another(bot(org), token_id, NOW + 10)


@pytest.mark.parametrize(
    ("name", "taken", "chosen"),
    [
        ("deploy", [], "deploy 2"),
        ("deploy 2", [], "deploy 3"),
        ("deploy", ["DEPLOY 2"], "deploy 3"),
        ("deploy 9", ["deploy 10"], "deploy 11"),
        ("7", [], "7 2"),
        ("x" * MAX_NAME, [], f"{'x' * 93} 2"),
    ],
)
def test_the_next_name_has_the_next_number(org: TestOrg, name: str, taken: list[str], chosen: str) -> None:
    _, token = named(org, "ci")
    assert next_name(name, [token.replace(name=each) for each in taken]) == chosen
    assert len(chosen) <= MAX_NAME
    assert next_name("token", [], first=1) == "token 1"
