"""Lockdowns: whom a line stops, what is refused, and who wakes when it is lifted."""

from __future__ import annotations

from typing import Any

import pytest

from stronghold_cli.protocol.documents.agent import is_locked_down
from stronghold_cli.protocol.errors import NotFound, UsageError
from stronghold_cli.protocol.messages import decode_commit
from stronghold_cli.vault.agents import create_agent
from stronghold_cli.vault.committing import Vault
from stronghold_cli.vault.lockdowns import Wanted, find_lockdown, lift, lock_down, require_wanted, shown_lockdown, woken_by
from tests.support.org import TestOrg, workshop

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def org() -> TestOrg:
    """Beside ``bot`` (production, env=ci): ``crawler`` (staging, env=staging) and ``loner`` (no group, no label)."""
    org = workshop()
    org.commit(lambda draft: create_agent(draft, "crawler", [org.group("staging")], labels={"env": "staging"}))
    org.commit(lambda draft: create_agent(draft, "loner", []))
    return org


def wanted(**members: Any) -> Wanted:
    return Wanted(**{"all": False, "groups": (), "agents": (), "labels": (), "reason": "leak", **members})


def names(org: TestOrg, ids: Any) -> set[str]:
    return {org.state.agents[id_].name for id_ in ids}


@pytest.mark.parametrize(
    ("whom", "stopped"),
    [
        ({"all": True}, {"bot", "crawler", "loner"}),
        ({"agents": ("LONER",)}, {"loner"}),
        ({"groups": ("staging",)}, {"crawler"}),
        ({"labels": ("env=ci",)}, {"bot"}),
        ({"labels": ("env=ci", "env=ci"), "agents": ("loner", "loner")}, {"bot", "loner"}),
        ({"groups": ("production", "staging")}, {"bot", "crawler"}),
    ],
)
def test_a_lockdown_stops_those_who_match_and_nobody_else(org: TestOrg, whom: dict[str, Any], stopped: set[str]) -> None:
    made = org.commit(lambda draft: lock_down(draft, wanted(**whom)))
    assert names(org, made.agents) == stopped
    (line,) = org.state.structure.document.lockdowns
    assert line == made.lockdown
    assert {agent.name for agent in org.state.agents.values() if is_locked_down(agent, line)} == stopped


def test_it_is_one_small_commit_that_changes_no_document(org: TestOrg) -> None:
    vault, bodies = Vault(org.operator()), list[bytes]()
    passed_on = org.server._answer

    def keep(path: str, query: Any, body: bytes, key_id: Any) -> bytes:
        bodies.append(body)
        return passed_on(path, query, body, key_id)

    org.server._answer = keep  # type: ignore[method-assign, assignment]
    before = org.state
    vault.commit(lambda draft: lock_down(draft, wanted(all=True)))
    commit = decode_commit(bodies[-1])
    assert (commit.blobs, commit.shares, commit.changes.payloads, commit.changes.maps) == ((), {}, (), {})
    assert len(bodies[-1]) < 4096
    assert org.state.structure.document.documents == before.structure.document.documents
    assert org.state.seq == before.seq + 1


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"all": True, "agents": ("bot",)},
        {"all": True, "reason": ""},
        {"all": True, "reason": "  "},
        {"all": True, "reason": "x" * 1001},
        {"all": True, "reason": "a\x1bb"},
        {"labels": ("env",)},
        {"labels": ("env=",)},
        {"labels": ("a=b=c",)},
        {"labels": ("a b=c",)},
        {"labels": tuple(f"n={number}" for number in range(101))},
    ],
)
def test_what_cannot_be_meant_is_wrong_usage(members: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        require_wanted(wanted(**members))


@pytest.mark.parametrize(
    ("members", "hint"),
    [
        ({"agents": ("crawlr",)}, "Did you mean 'crawler'?"),
        ({"groups": ("stagin",)}, "Did you mean 'staging'?"),
        ({"labels": ("env=stagin",)}, "Did you mean 'env=staging'?"),
        ({"labels": ("zone=x9",)}, "agent list"),
    ],
)
def test_what_nobody_is_called_is_told_with_the_nearest_name(org: TestOrg, members: dict[str, Any], hint: str) -> None:
    with pytest.raises(NotFound) as caught:
        lock_down(org.draft(), wanted(**members))
    assert hint in caught.value.hint


def test_there_are_bounds(org: TestOrg, monkeypatch: pytest.MonkeyPatch) -> None:
    org.commit(lambda draft: lock_down(draft, wanted(all=True)))
    monkeypatch.setattr("stronghold_cli.vault.lockdowns.MAX_LOCKDOWNS", 1)
    with pytest.raises(UsageError, match="as many as there can be"):
        lock_down(org.draft(), wanted(all=True))
    monkeypatch.undo()
    monkeypatch.setitem(__import__("stronghold_cli.vault.lockdowns", fromlist=["SIZE_LIMITS"]).SIZE_LIMITS, "structure", 700)
    with pytest.raises(UsageError, match="more room"):
        lock_down(org.draft(), wanted(all=True, reason="x" * 900))


def test_lifting_wakes_just_those_who_are_stopped_by_nothing_else(org: TestOrg) -> None:
    loner = next(agent for agent in org.state.agents.values() if agent.name == "loner")
    org.commit(lambda draft: draft.put(loner.replace(state="paused")))
    first = org.commit(lambda draft: lock_down(draft, wanted(all=True))).lockdown
    second = org.commit(lambda draft: lock_down(draft, wanted(groups=("staging",)))).lockdown
    assert org.commit(lambda draft: lift(draft, [shown_lockdown(first)])) == (first,)
    assert org.state.structure.document.lockdowns == (second,)
    assert [org.state.agents[id_].name for id_ in woken_by(org.state, [first])] == ["bot"]
    assert org.state.agents[loner.id].state == "paused"
    assert org.commit(lambda draft: lift(draft, [second.id.hex()[:6], f"ld_{second.id.hex()[:8]}…"])) == (second,)
    assert [org.state.agents[id_].name for id_ in woken_by(org.state, [second])] == ["crawler"]


def test_what_is_not_there_cannot_be_lifted_and_then_nothing_is(org: TestOrg) -> None:
    line = org.commit(lambda draft: lock_down(draft, wanted(all=True))).lockdown
    shown = shown_lockdown(line)
    draft = org.draft()
    with pytest.raises(NotFound, match="lifted already") as caught:
        lift(draft, [shown, shown[:-1] + ("0" if shown[-1] != "0" else "1")])
    assert shown in caught.value.hint
    assert draft.is_empty
    for text in ("ld_", "ld_" + line.id.hex()[:5], "", "leak"):
        with pytest.raises(NotFound):
            find_lockdown([line], text)
    with pytest.raises(UsageError, match="2 lockdowns have an id"):
        find_lockdown([line, line.replace(id=line.id[:8] + bytes(8))], line.id.hex()[:8])


def test_two_operators_at_once_both_stand(org: TestOrg) -> None:
    vault = Vault(org.operator())
    org.commit(lambda draft: lock_down(draft, wanted(agents=("bot",))))
    vault.commit(lambda draft: lock_down(draft, wanted(agents=("loner",))))
    assert len(org.state.structure.document.lockdowns) == 2
