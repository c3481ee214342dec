"""``agent exposure``: exactly what an agent could decrypt and did fetch, and the work-list after a compromise."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.more_support import push, with_token
from tests.e2e.support import Org


def ledger(org: Org, name: str, *options: str) -> dict[str, tuple[list[int], list[int], bool]]:
    """By profile and secret: versions that could be read, those fetched, and whether the current one is among them."""
    listed: list[dict[str, Any]] = org.run("--json", "agent", "exposure", name, *options).ok().json()
    return {
        f"{item['profile']}/{item['secret']}": (item["versions"], item["fetched"], item["is_current"]) for item in listed
    }


def write(org: Org, name: str, value: str, profile: str = "production") -> None:
    org.run("secret", "set", name, "--profile", profile, stdin=value).ok()


@pytest.fixture
def leaky(org: Org) -> tuple[Org, str]:
    """``web`` may read production: A in versions 1 (before it was made), 2 (fetched) and 3, B in version 1; staging not."""
    push(org, "production", {"A": "a1", "B": "b1"}).ok()
    push(org, "staging", {"C": "c1"}).ok()
    write(org, "A", "a2")
    token = org.make_agent("web", {"production": {}})
    org.run("env", "pull", env=with_token(token)).ok()
    write(org, "A", "a3")
    return org, token


def test_it_counts_the_history_under_the_same_keys_and_what_was_fetched(leaky: tuple[Org, str]) -> None:
    org, _ = leaky
    assert ledger(org, "web") == {"production/A": ([1, 2, 3], [2], True), "production/B": ([1], [1], True)}
    rows = [line.split("\t") for line in org.run("agent", "exposure", "WEB").ok().out.splitlines()]
    assert rows[0] == ["profile", "secret", "could read", "fetched", ""]
    assert rows[1] == ["production", "A", "1-3", "2", "current"]
    shown = org.run("agent", "exposure", "web", "--todo").ok()
    assert "no token of 'web' has ended" in shown.err


def test_after_a_compromise_the_work_list_empties_as_secrets_are_written_or_deleted(leaky: tuple[Org, str]) -> None:
    org, _ = leaky
    org.run("agent", "compromised", "web", "--yes").ok()
    assert ledger(org, "web", "--todo").keys() == {"production/A", "production/B"}
    write(org, "A", "a4")
    assert ledger(org, "web")["production/A"] == ([1, 2, 3], [2], False)
    assert ledger(org, "web", "--todo").keys() == {"production/B"}
    assert "replaced by version 4" in org.run("agent", "exposure", "web").ok().out
    org.run("secret", "delete", "B", "--profile", "production", "--yes").ok()
    done = org.run("agent", "exposure", "web", "--todo").ok()
    assert done.out == ""
    assert "Nothing is left to rotate" in done.err
    assert org.run("--json", "agent", "exposure", "web", "--todo").ok().json() == []
    org.run("token", "mint", "web", "--name", "clean", "-q").ok()
    assert ledger(org, "web", "--todo") == {}, "what the new token reads is no work"
    assert ledger(org, "web")["production/A"] == ([1, 2, 3, 4], [2], True)


def test_a_revoke_alone_leaves_the_keys_in_use_and_says_so(leaky: tuple[Org, str]) -> None:
    org, _ = leaky
    org.run("token", "revoke", "web/first", "--force", "--yes")
    if org.run("--json", "agent", "show", "web").ok().json()["tokens"]:
        org.run("token", "revoke", "web/first", "--yes").ok()
    write(org, "A", "a4")
    assert ledger(org, "web", "--todo")["production/A"] == ([1, 2, 3, 4], [2], True)
    assert "still in use" in org.run("agent", "exposure", "web", "--todo").ok().err
    org.run("agent", "compromised", "web", "--yes").ok()
    write(org, "A", "a5")
    assert ledger(org, "web")["production/A"] == ([1, 2, 3, 4], [2], False)
    assert "still in use" not in org.run("agent", "exposure", "web").ok().err


def test_what_was_purged_before_it_came_and_deletions_do_not_count(org: Org) -> None:
    push(org, "production", {"A": "a1", "B": "b1"}).ok()
    write(org, "A", "a2")
    org.run("secret", "purge", "A", "--profile", "production", "--yes").ok()
    org.run("secret", "delete", "B", "--profile", "production", "--yes").ok()
    org.run("secret", "restore", "B", "--profile", "production", "--yes").ok()
    org.make_agent("late", {"production": {}})
    assert ledger(org, "late") == {"production/A": ([2], [], True), "production/B": ([1, 3], [], True)}


def test_other_agents_profiles_and_times_do_not_count(leaky: tuple[Org, str]) -> None:
    org, _ = leaky
    org.run("group", "add", "staging", "--agent", "web").ok()
    write(org, "C", "c2", "staging")
    org.run("group", "remove", "staging", "--agent", "web", "--yes").ok()
    write(org, "C", "c3", "staging")
    other = org.make_agent("other", {"staging": {}})
    org.run("env", "pull", env=with_token(other)).ok()
    assert ledger(org, "web")["staging/C"] == ([1, 2], [], False)
    assert ledger(org, "other") == {"staging/C": ([1, 2, 3], [3], True)}


def test_a_deleted_agent_has_its_ledger_too(leaky: tuple[Org, str]) -> None:
    org, _ = leaky
    agent_id = next(item["id"] for item in org.run("--json", "agent", "list").ok().json() if item["name"] == "web")
    org.run("agent", "delete", "web", "--yes").ok()
    write(org, "A", "a4")
    expected = {"production/A": ([1, 2, 3], [2], False), "production/B": ([1], [1], True)}
    assert ledger(org, "web") == ledger(org, agent_id) == expected
    assert ledger(org, "web", "--todo").keys() == {"production/B"}


def test_who_could_read_nothing_and_who_never_was(leaky: tuple[Org, str]) -> None:
    org, _ = leaky
    org.run("agent", "create", "idle").ok()
    nothing = org.run("agent", "exposure", "idle").ok()
    assert (nothing.out, "could decrypt nothing" in nothing.err) == ("", True)
    assert "'web'" in org.run("agent", "exposure", "wbe").failed(5).err
    org.run("agent", "exposure").failed(2)
