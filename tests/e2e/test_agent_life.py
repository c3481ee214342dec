"""The life of an agent: labels and end, new names, pauses; each act is in force at the next request, and disturbs nobody."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.e2e.more_support import in_parallel, shifted_clock, with_token
from tests.e2e.support import Machine, Org, Result

PULL = ("env", "pull", "--profile", "production")


def pull(org: Org, token: str) -> Result:
    return org.run(*PULL, env=with_token(token))


def shown(org: Org, name: str) -> dict[str, Any]:
    value: dict[str, Any] = org.run("--json", "agent", "show", name).ok().json()
    return value


@pytest.fixture
def laptop(org: Org, machine: Machine, new_machine: Any) -> Machine:
    """Another machine of the same operator."""
    other: Machine = new_machine()
    log_in(org, other)
    return other


def log_in(org: Org, machine: Machine, **options: Any) -> None:
    machine.file("kits", org.operator_kit + "\n")
    passphrase = machine.file("passphrase", org.passphrase + "\n")
    machine.run("auth", "login", "--kit-file", "kits", "--passphrase-file", str(passphrase), **options).ok()


def at_another_time(org: Org, machine: Machine, seconds: int) -> Callable[..., Result]:
    """The operator logs in on a machine whose clock is off; returns what runs a command there."""
    environment = shifted_clock(machine, seconds)
    log_in(org, machine, env=environment)
    return partial(machine.run, env=environment)


def test_an_agent_is_made_with_description_labels_and_an_end(org: Org) -> None:
    org.run("profile", "create", "production").ok()
    made = org.run(
        *("agent", "create", "CI", "-p", "production", "--description", "Builds", "--label", "env=prod"),
        *("--label", "team=web", "--expires-in", "90d", "--token-name", "runner", "--token-expires-in", "30d", "--json"),
    ).ok()
    agent = shown(org, "CI")
    assert (agent["description"], agent["labels"], agent["state"]) == ("Builds", {"env": "prod", "team": "web"}, "active")
    (token,) = agent["tokens"]
    assert (token["name"], token["expires"]) == ("runner", made.json()["expires"])
    assert token["expires"] < agent["expires"]
    assert (token["created_by"], token["uses"], token["last_used"]) == ("Ada", 0, None)
    text = org.run("agent", "show", "CI").ok().out
    for words in ("Builds", "labels: env=prod, team=web", f"expires: {agent['expires']}", "runner", "by Ada"):
        assert words in text
    org.run("agent", "create", "plain", "--no-token").ok()
    for label, names in (("env=prod", ["CI"]), ("env=test", [])):
        assert [each["name"] for each in org.run("--json", "agent", "list", "--label", label).ok().json()] == names
    listed = org.run("agent", "list", "--group", "production").ok().out.splitlines()
    assert listed[0].split("\t") == ["agent", "state", "tokens", "expires", "labels", "groups", "id"]
    assert [line.split("\t")[0] for line in listed[1:]] == ["CI"]
    org.run("agent", "list", "--group", "productoin").failed(5)
    org.run("agent", "list", "--label", "env").failed(2)


def test_a_paused_agent_is_refused_at_the_next_request_and_nobody_else(org: Org) -> None:
    first = org.make_agent("ci", {"production": {"KEY": "value"}})
    bystander = org.make_agent("bot", {"production": {}})
    second = org.run("token", "mint", "ci", "--quiet").ok().out.strip()
    for pause, activate in (("pause", "activate"), ("deactivate", "activate")):
        for token in (first, second, bystander):
            assert pull(org, token).ok().out == "KEY=value\n"
        assert "Paused 'ci'" in org.run("agent", pause, "CI").ok().err
        for token in (first, second):
            assert "paused" in pull(org, token).failed(4).err
            assert '"AGENT_PAUSED"' in org.run("--json", "auth", "status", env=with_token(token)).failed(4).err
            assert org.run("run", "-p", "production", "--", "env", env=with_token(token)).failed(4).out == ""
        assert pull(org, bystander).ok().out == "KEY=value\n"
        assert shown(org, "ci")["state"] == "paused"
        assert "already" in org.run("agent", pause, "ci").ok().err
        minted = org.run("token", "mint", "ci").ok()
        assert "is paused" in minted.err
        pull(org, minted.out.strip()).failed(4)
        assert org.run("--json", "agent", activate, "ci").ok().json()["state"] == "active"
        assert pull(org, minted.out.strip()).ok()
        assert "already" in org.run("agent", activate, "ci").ok().err


def test_a_renamed_agent_goes_on_and_its_old_name_is_free(org: Org) -> None:
    token = org.make_agent("ci", {"production": {"KEY": "value"}})
    org.make_agent("bot", {"production": {}})
    org.run("agent", "rename", "ci", "BOT").failed(6)
    org.run("agent", "rename", "ci", "ag_x").failed(2)
    assert "'ci'" in org.run("agent", "rename", "cii", "x").failed(5).err
    assert "Renamed 'ci' to 'Deploy'" in org.run("agent", "rename", "ci", "Deploy").ok().err
    org.run("agent", "rename", "deploy", "deploy").ok()
    assert org.run("--json", "auth", "status", env=with_token(token)).ok().json()["agent"]["name"] == "deploy"
    assert pull(org, token).ok().out == "KEY=value\n"
    org.run("agent", "show", "ci").failed(5)
    org.run("agent", "create", "ci", "--no-token").ok()
    assert org.run("--json", "agent", "rename", "deploy", "deploy").ok().json()["name"] == "deploy"


def test_labels_are_set_changed_and_taken_away(org: Org) -> None:
    org.run("agent", "create", "ci", "--no-token", "--label", "env=test").ok()
    said = org.run("agent", "label", "ci", "env=prod", "team=web").ok()
    assert "env=prod, team=web" in said.err
    assert org.run("--json", "agent", "label", "ci", "--remove", "env", "a=b").ok().json()["labels"] == {
        "a": "b",
        "team": "web",
    }
    assert "'team'" in org.run("agent", "label", "ci", "--remove", "taem").failed(5).err
    assert "It has a, team" in org.run("agent", "label", "ci", "--remove", "zzz").failed(5).err
    before = shown(org, "ci")
    for wrong in (
        (), ("env",), ("=x",), ("x=",), ("a b=c",), ("a=b,c",), ("a=b=c",), ("x" * 64 + "=y",), ("e=1", "e=2"),
        ("team=x", "--remove", "team"), tuple(f"k{number}=v" for number in range(64)),
    ):  # fmt: skip
        org.run("agent", "label", "ci", *wrong).failed(2)
    org.run("agent", "label", "nobody", "a=b").failed(5)
    assert shown(org, "ci") == before
    head = org.run("--json", "org", "show").ok().json()["head"]
    assert "Unchanged" in org.run("agent", "label", "ci", "team=web").ok().err
    assert org.run("--json", "org", "show").ok().json()["head"] == head


def test_an_agent_s_end_ends_its_tokens_for_ever(org: Org) -> None:
    token = org.make_agent("ci", {"production": {"KEY": "value"}})
    org.run("agent", "edit", "ci", "--expires-in", "3s").ok()
    began = time.monotonic()
    time.sleep(max(0.0, 3.2 - (time.monotonic() - began)))
    assert "expired" in pull(org, token).failed(3).err
    assert shown(org, "ci")["state"] == "expired"
    assert "agent edit 'ci'" in org.run("token", "mint", "ci").failed(2).err
    org.run("agent", "activate", "ci").ok()
    for act in (("deprecate",), ("rotate",)):
        assert "for ever" in org.run("token", *act, "ci/first").failed(2).err
    later = org.run("agent", "edit", "ci", "--expires-in", "90d").ok()
    assert "'first'" in later.err
    assert shown(org, "ci")["tokens"] == []
    org.run(*PULL, env=with_token(token)).failed(3)
    fresh = org.run("token", "mint", "ci").ok()
    assert f"good until {shown(org, 'ci')['expires']}" in fresh.err
    assert pull(org, fresh.out.strip()).ok().out == "KEY=value\n"
    assert org.run("--json", "agent", "edit", "ci", "--no-expiry", "--description", "new").ok().json()["expires"] is None
    assert (shown(org, "ci")["description"], len(shown(org, "ci")["tokens"])) == ("new", 1)
    assert "Nothing changed" in org.run("agent", "edit", "ci", "--no-expiry").ok().err


def test_what_cannot_be_is_told_and_changes_nothing(shared_org: Org) -> None:
    shared_org.run("agent", "create", "taken", "--no-token").ok()
    before = shared_org.run("--json", "agent", "list").ok().json()
    for wrong in (
        ("create", "new", "--label", "env"),
        ("create", "new", "--label", "a=1", "--label", "a=2"),
        ("create", "new", "--no-token", "--token-expires-in", "1d"),
        ("create", "new", "--no-token", "--output", "token"),
        ("create", "new", "--token-expires-at", "2001-01-01"),
        ("create", "new", "--token-expires-in", "1d", "--token-expires-at", "2100-01-01"),
        ("edit", "taken"),
        ("edit", "taken", "--no-expiry", "--expires-in", "1d"),
        ("edit", "taken", "--expires-at", "2001-01-01"),
        ("edit", "taken", "--expires-in", "999999999y"),
        ("edit", "taken", "--description", "x" * 1001),
        ("edit",), ("label",), ("pause",), ("activate",), ("rename", "taken"), ("rename",),
    ):  # fmt: skip
        shared_org.run("agent", *wrong).failed(2)
    for verb in (("edit", "takn", "--no-expiry"), ("pause", "takn"), ("activate", "takn"), ("deactivate", "takn")):
        assert "'taken'" in shared_org.run("agent", *verb).failed(5).err
    assert shared_org.run("--json", "agent", "list").ok().json() == before


def test_two_devices_at_once_end_in_the_state_of_both(org: Org, laptop: Machine) -> None:
    org.make_agent("ci", {"production": {"KEY": "value"}})
    calls = [
        partial(org.run, "agent", "label", "ci", "one=1"),
        partial(laptop.run, "agent", "label", "ci", "two=2"),
        partial(org.run, "agent", "edit", "ci", "--description", "both"),
        partial(laptop.run, "token", "mint", "ci", "--name", "laptop", "--quiet"),
        partial(org.run, "token", "deprecate", "ci/first"),
        partial(laptop.run, "agent", "pause", "ci"),
    ]
    for result in in_parallel(calls):
        result.ok()
    agent = shown(org, "ci")
    assert (agent["labels"], agent["description"], agent["state"]) == ({"one": "1", "two": "2"}, "both", "paused")
    assert {each["name"]: each["state"] for each in agent["tokens"]} == {"first": "deprecated", "laptop": "active"}
    made = in_parallel([partial(each.run, "agent", "create", "same", "--no-token") for each in (org.machine, laptop)])
    assert sorted(result.code for result in made) == [0, 6]


def test_devices_whose_clocks_differ_work_on_one_org(org: Org, new_machine: Any) -> None:
    """By up to a minute each, as a request may be off: commits are ordered by their numbers, and not by their dates."""
    token = org.make_agent("ci", {"production": {"KEY": "value"}})
    ahead, behind = (at_another_time(org, new_machine(), seconds) for seconds in (40, -40))
    ahead("group", "create", "late").ok()
    behind("group", "grant", "late", "production").ok()
    ahead("group", "add", "late", "--agent", "ci").ok()
    minted = behind("token", "mint", "ci", "--name", "hour", "--expires-in", "1h", "--quiet").ok().out.strip()
    ahead("token", "deprecate", "ci/hour").ok()
    behind("secret", "set", "KEY", "-p", "production", stdin="newer").ok()
    for each in (token, minted):
        assert pull(org, each).ok().out == "KEY=newer\n"
    ahead("group", "remove", "production", "--agent", "ci", "--yes").ok()
    behind("group", "remove", "late", "--agent", "ci", "--yes").ok()
    for each in (token, minted):
        pull(org, each).failed(4)
    for device in (ahead, behind):
        assert device("secret", "get", "KEY", "-p", "production").ok().out.strip() == "newer"
