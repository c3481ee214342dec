"""Acts on agents: names, labels, ends and pauses, and what stands in the way of each."""

from __future__ import annotations

from typing import Any

import pytest

from stronghold_cli.protocol.documents.agent import MAX_LABELS, MAX_TOKENS
from stronghold_cli.protocol.documents.structure import Lockdown
from stronghold_cli.protocol.errors import Conflict, NotFound, UsageError
from stronghold_cli.vault import agents
from stronghold_cli.vault.agents import (
    activate_agent,
    create_agent,
    describe_agent,
    end_agent,
    label_agent,
    lockdowns_left,
    mint,
    pause_agent,
    relabelled,
    rename_agent,
)
from stronghold_cli.vault.draft import Draft
from stronghold_cli.vault.lookup import find_again, find_token, nearest
from tests.support.org import ADDRESS, NOW, TestOrg, workshop

pytestmark = pytest.mark.usefixtures("home")
LINE = Lockdown(id=bytes(16), all=False, groups=(), agents=(), labels=("env=ci",), reason="drill", created=NOW)


@pytest.fixture
def org() -> TestOrg:
    return workshop()


def bot(org: TestOrg) -> Any:
    return next(agent for agent in org.state.agents.values() if "env" in agent.labels)


def test_each_act_changes_the_document_and_nothing_where_there_is_nothing_to_change(org: TestOrg) -> None:
    org.commit(lambda draft: rename_agent(draft, bot(org), "Bot"))
    org.commit(lambda draft: describe_agent(draft, bot(org), "what for"))
    org.commit(lambda draft: end_agent(draft, bot(org), NOW + 10))
    org.commit(lambda draft: label_agent(draft, bot(org), {"team": "web"}, []))
    assert org.commit(lambda draft: pause_agent(draft, bot(org)))
    agent = bot(org)
    assert (agent.name, agent.description, agent.not_after, agent.state) == ("Bot", "what for", NOW + 10, "paused")
    assert (agent.labels, agent.version) == ({"env": "ci", "team": "web"}, 7)
    draft = org.draft()
    rename_agent(draft, agent, "Bot")
    describe_agent(draft, agent, "what for")
    assert end_agent(draft, agent, NOW + 10) == ()
    label_agent(draft, agent, {"team": "web"}, [])
    assert not pause_agent(draft, agent)
    assert draft.is_empty
    assert activate_agent(draft, agent)
    assert not draft.is_empty


def test_a_name_that_another_agent_has_is_taken(org: TestOrg) -> None:
    org.commit(lambda draft: create_agent(draft, "other", []))
    with pytest.raises(Conflict):
        rename_agent(org.draft(), bot(org), "OTHER")
    with pytest.raises(UsageError):
        rename_agent(org.draft(), bot(org), "tk_x")


def test_labels_that_are_not_legal_too_many_or_not_there_are_told(org: TestOrg) -> None:
    agent = bot(org)
    for labels, remove, error in (
        ({"a b": "c"}, [], UsageError),
        ({"a": ""}, [], UsageError),
        ({f"k{number}": "v" for number in range(MAX_LABELS)}, [], UsageError),
        ({"env": "x"}, ["env"], UsageError),
        ({}, ["nev"], NotFound),
    ):
        with pytest.raises(error):
            label_agent(org.draft(), agent, labels, remove)
    with pytest.raises(NotFound) as caught:
        relabelled(agent, {}, ["nev"])
    assert "'env'" in caught.value.hint
    with pytest.raises(UsageError):
        create_agent(org.draft(), "x", [], labels={"a,b": "c"})


def locked_draft(org: TestOrg) -> Draft:
    """A draft over the state in which a lockdown names a label of the agent."""
    draft = org.draft()
    structure = draft.state.structure
    draft.state = draft.state.replace(structure=structure.replace(document=structure.document.replace(lockdowns=(LINE,))))
    draft.lockdowns = (LINE,)
    return draft


def test_no_label_wakes_an_agent_from_a_lockdown_unless_that_is_meant(org: TestOrg) -> None:
    agent = bot(org)
    for labels, remove in (({"env": "prod"}, []), ({}, ["env"])):
        draft = locked_draft(org)
        with pytest.raises(Conflict, match="drill"):
            label_agent(draft, agent, labels, remove)
        assert draft.is_empty
        label_agent(draft, agent, labels, remove, may_wake={LINE.id})
        assert not draft.is_empty
    label_agent(locked_draft(org), agent, {"team": "web"}, [])
    everybody = LINE.replace(all=True, labels=())
    assert lockdowns_left([LINE, everybody], agent, relabelled(agent, {}, ["env"])) == (LINE,)


def test_a_later_end_wakes_no_token_that_has_expired(org: TestOrg) -> None:
    org.commit(lambda draft: end_agent(draft, bot(org), NOW + 10))
    (token_id,) = bot(org).tokens
    draft = org.draft()
    assert end_agent(draft, bot(org), NOW + 20) == ()
    assert draft.agents()[bot(org).id].tokens
    org.now = NOW + 10
    lost = org.commit(lambda draft: end_agent(draft, bot(org), None))
    assert [token.name for token in lost] == ["ci"]
    assert (bot(org).tokens, bot(org).not_after) == ({}, None)
    assert token_id not in org.state.leaves("members", org.group("production").id)


def test_no_token_is_minted_that_would_be_dead_at_once(org: TestOrg) -> None:
    org.commit(lambda draft: end_agent(draft, bot(org), NOW + 10))
    mint(org.draft(), bot(org), "more", ADDRESS)
    org.now = NOW + 10
    with pytest.raises(UsageError, match="has expired"):
        mint(org.draft(), bot(org), "more", ADDRESS)


def test_minting_clears_away_what_expired_over_an_hour_ago_and_no_other(org: TestOrg) -> None:
    org.commit(lambda draft: mint(draft, bot(org), "short", ADDRESS, not_after=NOW + 10))
    org.now = NOW + 10 + 3599
    org.commit(lambda draft: mint(draft, bot(org), "second", ADDRESS))
    assert sorted(token.name for token in bot(org).tokens.values()) == ["ci", "second", "short"]
    org.now += 1
    org.commit(lambda draft: mint(draft, bot(org), "third", ADDRESS))
    assert sorted(token.name for token in bot(org).tokens.values()) == ["ci", "second", "third"]
    assert len(org.state.leaves("members", org.group("production").id)) == len(bot(org).tokens) + 3


def test_an_agent_has_so_many_tokens_and_no_more(org: TestOrg, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_TOKENS == 100
    monkeypatch.setattr(agents, "MAX_TOKENS", 1)
    with pytest.raises(UsageError, match="limit"):
        mint(org.draft(), bot(org), "more", ADDRESS)


def test_an_agent_is_found_again_by_its_id(org: TestOrg) -> None:
    before = bot(org)
    org.commit(lambda draft: rename_agent(draft, before, "renamed"))
    org.commit(lambda draft: create_agent(draft, "bot", []))
    assert find_again(org.state.agents, before).name == "renamed"
    with pytest.raises(NotFound, match="deleted meanwhile"):
        find_again({}, before)


def test_the_nearest_name_is_named_without_regard_to_case(org: TestOrg) -> None:
    assert nearest(["Production", "staging"], "PRODUCTOIN") == "Production"
    assert nearest([], "x") is None
    for text, hint in (("bot/cj", "'bot/ci'"), ("CJ", "'ci'")):
        with pytest.raises(NotFound) as caught:
            find_token(org.state, text)
        assert hint in caught.value.hint
    assert find_token(org.state, "BOT/CI")[2].name == "ci"
