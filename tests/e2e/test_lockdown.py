"""``lockdown``, ``lockdown list`` and ``lockdown lift``: who is stopped at the next request, and who wakes again."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from tests.e2e.more_support import in_parallel, push, with_token
from tests.e2e.support import Org, Result

_LABEL = """
import sys
from stronghold_cli.commands.acting import open_vault
from stronghold_cli.vault.lookup import find_agent
name, key, value, state = sys.argv[1:]
vault = open_vault()
def act(draft):
    agent = find_agent(draft.agents(), name)
    draft.put(agent.replace(labels={key: value}, state=state))
vault.commit(act)
"""


def mark(org: Org, name: str, label: str, state: str = "active") -> None:
    """Give an agent a label and a state, with the client's library."""
    import sys

    key, _, value = label.partition("=")
    org.machine.run(name, key, value, state, program=(sys.executable, "-c", _LABEL)).ok()


@pytest.fixture
def agents(org: Org) -> dict[str, str]:
    """Tokens of ``web`` (env=production), ``crawler`` and ``idle`` (env=staging, the latter paused), by name."""
    tokens = {name: org.make_agent(name, {profile: {"WHERE": profile}}) for name, profile in
              (("web", "production"), ("crawler", "staging"), ("idle", "staging"))}  # fmt: skip
    mark(org, "web", "env=production")
    mark(org, "crawler", "env=staging")
    mark(org, "idle", "env=staging", "paused")
    return tokens


def pull(org: Org, token: str) -> Result:
    return org.run("env", "pull", env=with_token(token))


def works(org: Org, tokens: dict[str, str]) -> set[str]:
    """The names of those whose pull gets its values."""
    results = in_parallel([partial(pull, org, token) for token in tokens.values()])
    assert all((result.code == 0) == bool(result.out) for result in results)
    return {name for name, result in zip(tokens, results, strict=True) if result.code == 0}


def stop(org: Org, *whom: str) -> str:
    """Lock down and return the id."""
    made = org.run("--json", "lockdown", *whom, "--reason", "a token stood in a log").ok().json()
    return str(made["id"])


@pytest.mark.parametrize(
    ("whom", "left"),
    [
        (("--all",), set()),
        (("--label", "env=staging"), {"web"}),
        (("--group", "staging"), {"web"}),
        (("--agent", "WEB"), {"crawler"}),
        (("--agent", "web", "--label", "env=staging"), set()),
    ],
)
def test_those_who_match_are_refused_at_the_next_request(
    org: Org, agents: dict[str, str], whom: tuple[str, ...], left: set[str]
) -> None:
    assert works(org, agents) == {"web", "crawler"}
    lockdown = stop(org, *whom)
    assert works(org, agents) == left
    for name in {"web", "crawler"} - left:
        refused = pull(org, agents[name]).failed(4)
        assert "lockdown is in force" in refused.err
        org.run("auth", "status", env=with_token(agents[name])).failed(4)
    said = org.run("lockdown", "lift", lockdown).ok()
    assert "woke" in said.err
    assert works(org, agents) == {"web", "crawler"}
    assert "paused" in pull(org, agents["idle"]).failed(4).err


def test_lifting_wakes_just_those_and_says_who_is_still_stopped(org: Org, agents: dict[str, str]) -> None:
    everybody, staging = stop(org, "--all"), stop(org, "--label", "env=staging")
    lifted = org.run("lockdown", "lift", everybody, "--json").ok().json()
    assert lifted == {"lifted": [everybody], "woken": 1, "still_stopped": ["crawler", "idle"]}
    assert works(org, agents) == {"web"}
    said = org.run("lockdown", "lift", staging[:12]).ok().err
    assert "woke 1 agent (crawler)" in said
    assert "still stopped: 1 agent (idle)" in said
    assert works(org, agents) == {"web", "crawler"}


def test_who_comes_under_the_label_later_is_stopped_too(org: Org, agents: dict[str, str]) -> None:
    stop(org, "--label", "env=staging")
    mark(org, "web", "env=staging")
    assert works(org, agents) == set()


def test_taking_a_label_away_wakes_nobody_by_accident(org: Org, agents: dict[str, str], terminal_or_skip: object) -> None:
    """Crawler is stopped by its label alone: whether the label is changed or removed, that is asked for first."""
    stop(org, "--label", "env=staging")
    for change in (("env=production",), ("--remove", "env")):
        asked = org.run("agent", "label", "crawler", *change).failed(2)
        assert "--yes" in asked.err
        words = "A lockdown (a token stood in a log) stops 'crawler' by its labels. Let it out of that?"
        no = org.machine.type("agent", "label", "crawler", *change, answers=[("[y/N]", "n")])
        assert (no.code, words in no.out, "Nothing was changed." in no.out) == (0, True, True)
    org.run("agent", "label", "crawler", "more=1").ok()
    assert works(org, agents) == {"web"}
    assert org.run("--json", "agent", "show", "crawler").ok().json()["labels"] == {"env": "staging", "more": "1"}
    org.run("agent", "label", "crawler", "--remove", "env", "--yes").ok()
    assert works(org, agents) == {"web", "crawler"}


def test_no_way_leads_out_of_the_lockdown_of_a_group(org: Org, agents: dict[str, str]) -> None:
    """Out of its only group an agent reads nothing, and in the next one it would be awake."""
    push(org, "staging", {"WHERE": "staging"})
    org.run("group", "create", "other").ok()
    org.run("group", "grant", "other", "staging").ok()
    lockdown = stop(org, "--group", "staging")
    for words in (("remove", "staging", "--agent", "crawler"), ("delete", "staging")):
        refused = org.run("group", *words, "--yes").failed(6)
        assert "is stopped by a lockdown of the group 'staging'" in refused.err
    org.run("group", "add", "other", "--agent", "crawler").ok()
    assert works(org, agents) == {"web"}
    org.run("group", "remove", "staging", "--agent", "crawler", "--yes").failed(6)
    stop(org, "--agent", "crawler")
    org.run("group", "remove", "staging", "--agent", "crawler", "--yes").ok()
    org.run("lockdown", "lift", lockdown).ok()
    assert works(org, agents) == {"web"}


def test_operators_go_on_working(org: Org, agents: dict[str, str]) -> None:
    stop(org, "--all")
    assert org.run("env", "pull", "--profile", "production").ok().out == "WHERE=production\n"
    org.run("secret", "set", "MORE", "--profile", "production", stdin="x").ok()


def test_it_is_one_entry_of_the_log_and_one_commit(org: Org, agents: dict[str, str]) -> None:
    before = org.run("--json", "audit", "list", "--limit", "1000").ok().json()
    stop(org, "--all")
    after = org.run("--json", "audit", "list", "--limit", "1000").ok().json()
    new = [entry for entry in after if entry["entry"] > before[-1]["entry"]]
    assert [entry["kind"] for entry in new if entry["kind"] == "commit"] == ["commit"]
    assert new[-1]["head"] == before[-1]["head"] + 1


def test_the_list_says_whom_since_when_and_why(org: Org, agents: dict[str, str]) -> None:
    assert org.run("lockdown", "list").ok().out == "lockdown\twhom\tagents\tsince\treason\n"
    assert org.run("lockdown", "list", "--json").ok().json() == []
    one, two = stop(org, "--group", "staging", "--agent", "web"), stop(org, "--all")
    rows = [line.split("\t") for line in org.run("lockdown", "list").ok().out.splitlines()[1:]]
    assert [(row[0], row[1], row[2], row[4]) for row in rows] == [
        (one, "agent web; group staging", "3", "a token stood in a log"),
        (two, "all agents", "3", "a token stood in a log"),
    ]
    listed: list[dict[str, Any]] = org.run("lockdown", "list", "--json").ok().json()
    assert (listed[0]["groups"], listed[0]["agents"], listed[0]["labels"], listed[0]["all"]) == (
        ["staging"],
        ["web"],
        [],
        False,
    )
    assert listed[1]["created"].endswith("Z")


def test_what_it_says_names_who_is_stopped_and_how_to_wake_them(org: Org, agents: dict[str, str]) -> None:
    said = org.run("lockdown", "--agent", "web", "--reason", "leak").ok()
    assert said.out == ""
    assert said.err.startswith("Stopped 1 agent (web). To wake them: stronghold lockdown lift ld_")
    org.run("group", "create", "nobody").ok()
    assert "stops no agent" in org.run("lockdown", "--group", "nobody", "--reason", "leak").ok().err


def test_wrong_usage_and_unknown_names_stop_nobody(org: Org, agents: dict[str, str]) -> None:
    wrong = [
        ("--all",),
        ("--reason", "leak"),
        ("--all", "--agent", "web", "--reason", "leak"),
        ("--all", "--reason", " "),
        ("--label", "env", "--reason", "leak"),
        ("--all", "--reason", "leak", "list"),
        ("--agent", "web", "lift", "ld_123456"),
        ("--nobody",),
        ("lift",),
    ]
    for result in in_parallel([partial(org.run, "lockdown", *words) for words in wrong], 4):
        result.failed(2)
    missing = {
        ("--agent", "wbe", "--reason", "leak"): "'web'",
        ("--group", "stagin", "--reason", "leak"): "'staging'",
        ("--label", "env=stagin", "--reason", "leak"): "'env=staging'",
        ("lift", "ld_123456"): "lockdown list",
    }
    for words, hint in missing.items():
        assert hint in org.run("lockdown", *words).failed(5).err
    assert org.run("lockdown", "list", "--json").ok().json() == []
    assert works(org, agents) == {"web", "crawler"}


def test_lockdowns_made_at_the_same_time_all_stand(org: Org, agents: dict[str, str]) -> None:
    calls = [partial(org.run, "lockdown", "--agent", name, "--reason", f"leak of {name}") for name in agents]
    for result in in_parallel(calls):
        result.ok()
    listed = org.run("lockdown", "list", "--json").ok().json()
    assert {item["reason"] for item in listed} == {f"leak of {name}" for name in agents}
    assert org.run("lockdown", "lift", *(item["id"] for item in listed), "--json").ok().json()["woken"] == 2
    org.run("lockdown", "lift", listed[0]["id"]).failed(5)


def test_without_arguments_its_help_is_shown(org: Org) -> None:
    shown = org.run("lockdown")
    assert shown.code == 2
    assert "--reason" in shown.err
