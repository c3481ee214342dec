"""``access list`` and ``explain``: who reaches what, by which group, why not, and what to type to change it."""

from __future__ import annotations

import json
import shlex
import time

import pytest

from tests.e2e.more_support import push, with_token
from tests.e2e.support import Org


def make(org: Org) -> dict[str, str]:
    """``ci`` reads production, ``both`` production and staging, ``nobody`` nothing; ``second`` reads production too."""
    tokens = {"ci": org.make_agent("ci", {"production": {"A": "1"}})}
    tokens["both of them"] = org.make_agent("both of them", {"production": {}, "staging": {"B": "2"}})
    tokens["nobody"] = org.make_agent("nobody")
    org.run("group", "create", "second").ok()
    org.run("group", "grant", "second", "production").ok()
    org.run("group", "add", "second", "--agent", "ci").ok()
    return tokens


@pytest.fixture(scope="module")
def made(shared_org: Org) -> Org:
    make(shared_org)
    return shared_org


def test_the_list_has_everybody_who_may_read_and_what(made: Org) -> None:
    lines = [line.split("\t") for line in made.run("access", "list").ok().out.splitlines()]
    assert lines == [
        ["who", "kind", "profile", "through", "at present"],
        ["both of them", "agent", "production", "production", "reads"],
        ["both of them", "agent", "staging", "staging", "reads"],
        ["ci", "agent", "production", "production, second", "reads"],
        ["Ada", "admin", "production", "production, second", "reads"],
        ["Ada", "admin", "staging", "staging", "reads"],
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--agent", "CI"), {("ci", "production")}),
        (("--operator", "ada"), {("Ada", "production"), ("Ada", "staging")}),
        (("--profile", "staging"), {("both of them", "staging"), ("Ada", "staging")}),
        (("--group", "second"), {("ci", "production"), ("Ada", "production")}),
        (("--agent", "ci", "--profile", "staging"), set()),
        (("--agent", "ci", "--operator", "Ada", "--profile", "production"), {("ci", "production"), ("Ada", "production")}),
    ],
)
def test_the_list_is_narrowed(made: Org, options: tuple[str, ...], expected: set[tuple[str, str]]) -> None:
    listed = made.run("--json", "access", "list", *options).ok().json()
    assert {(item["name"], item["profile"]) for item in listed} == expected


def test_json_has_ids_kinds_and_groups(made: Org) -> None:
    (item,) = made.run("--json", "access", "list", "--agent", "ci").ok().json()
    assert item.pop("id").startswith("ag_")
    assert item == {
        "name": "ci", "kind": "agent", "profile": "production", "groups": ["production", "second"], "stopped_by": [],
    }  # fmt: skip
    (first, _) = made.run("--json", "access", "list", "--operator", "Ada").ok().json()
    assert (first["id"][:3], first["kind"]) == ("op_", "admin")


def test_unknown_names_are_not_found_and_the_nearest_is_named(made: Org) -> None:
    for option, name in (("--agent", "cj"), ("--profile", "prodution"), ("--group", "secnd")):
        assert "Did you mean" in made.run("access", "list", option, name).failed(5).err
    made.run("access", "list", "--operator", "somebody").failed(5)
    made.run("access", "list", "--nonsense").failed(2)
    assert "Did you mean 'ci'" in made.run("access", "explain", "cj", "production").failed(5).err
    assert "Did you mean 'staging'" in made.run("access", "explain", "ci", "stagin").failed(5).err
    made.run("access", "explain", "ci").failed(2)


def test_an_empty_org_has_an_empty_list(org: Org) -> None:
    assert org.run("--json", "access", "list").ok().json() == []
    assert org.run("access", "list").ok().out.count("\n") == 1


def test_it_is_explained_why_an_agent_may_read_and_what_ends_it(org: Org) -> None:
    tokens = make(org)
    explained = org.run("access", "explain", "ci", "production").ok().out
    assert "'ci' may read 'production': it is in the group 'production', 'second'" in explained
    change = org.run("--json", "access", "explain", "both of them", "staging").ok().json()
    assert change["may_read"] is True
    assert change["change"] == [
        "stronghold group remove staging --agent 'both of them'",
        "stronghold group ungrant staging staging",
    ]
    org.run(*shlex.split(change["change"][0])[1:], "--yes").ok()
    org.run("env", "pull", "-p", "staging", env=with_token(tokens["both of them"])).failed(4)


@pytest.mark.parametrize("way", [0, 1])
def test_it_is_explained_why_an_agent_may_not_read_and_each_remedy_works(org: Org, way: int) -> None:
    tokens = make(org)
    explained = org.run("access", "explain", "ci", "staging").ok().out
    assert "may not read 'staging': 'staging' is granted to 'staging', and 'ci' is in 'production', 'second'" in explained
    change = org.run("--json", "access", "explain", "ci", "staging").ok().json()
    assert (change["may_read"], change["through"]) == (False, [])
    assert len(change["change"]) == 3
    org.run(*shlex.split(change["change"][way])[1:]).ok()
    assert org.run("env", "pull", "-p", "staging", env=with_token(tokens["ci"])).ok().out == "B=2\n"


def test_where_there_is_no_group_at_all_the_whole_way_is_told(org: Org) -> None:
    token = org.make_agent("ci")
    org.run("profile", "create", "lonely", "--no-group").ok()
    explained = org.run("access", "explain", "ci", "lonely").ok().out
    assert "'lonely' is granted to no group, and 'ci' is in no group" in explained
    for line in org.run("--json", "access", "explain", "ci", "lonely").ok().json()["change"]:
        org.run(*shlex.split(line)[1:]).ok()
    push(org, "lonely", {"A": "1"}).ok()
    assert org.run("env", "pull", "-p", "lonely", env=with_token(token)).ok().out == "A=1\n"


def test_what_stops_an_agent_that_may_read_is_told_with_the_remedy(org: Org) -> None:
    org.make_agent("late", {"production": {"A": "1"}}, agent_not_after=int(time.time()) + 2)
    org.make_agent("bare", {"production": {}})
    org.run("token", "revoke", "bare/first", "--force", "--yes").ok()
    time.sleep(2.5)
    listed = {item["name"]: item["stopped_by"] for item in org.run("--json", "access", "list").ok().json()}
    assert listed == {"Ada": [], "bare": ["no live token"], "late": ["expired"]}
    explained = org.run("access", "explain", "bare", "production").ok().out
    assert "At present it gets nothing: no live token. To change that: stronghold token mint bare" in explained
    assert json.loads(org.run("--json", "access", "explain", "late", "production").ok().out)["stopped_by"] == ["expired"]
