"""``profile create``, ``list`` and ``show``."""

from __future__ import annotations

import pytest

from tests.e2e.more_support import ids_in, push
from tests.e2e.support import Org


def test_a_profile_is_made_with_a_group_that_may_read_it(shared_org: Org) -> None:
    made = shared_org.run("profile", "create", "made", "--description", "For the shop").ok()
    assert made.out == ""
    assert "the group 'made'" in made.err
    shown = shared_org.run("--json", "profile", "show", "made").ok().json()
    assert shown["name"] == "made"
    assert shown["description"] == "For the shop"
    assert shown["secrets"] == 0
    assert shown["groups"] == {"made": []}
    assert shared_org.run("--json", "group", "show", "made").ok().json()["profiles"] == ["made"]


def test_a_profile_can_be_made_without_a_group(shared_org: Org) -> None:
    made = shared_org.run("profile", "create", "lonely", "--no-group").ok()
    assert "stronghold group grant" in made.err
    assert shared_org.run("--json", "profile", "show", "lonely").ok().json()["groups"] == {}
    assert "no group may read it" in shared_org.run("profile", "show", "lonely").ok().out
    shared_org.run("group", "show", "lonely").failed(5)


def test_json_gives_the_new_profile_s_id(shared_org: Org) -> None:
    made = shared_org.run("profile", "create", "with-id", "--json").ok().json()
    assert made["name"] == "with-id"
    assert shared_org.run("--json", "profile", "show", made["id"]).ok().json()["name"] == "with-id"


def test_the_list_has_every_profile_with_its_secrets_and_groups(org: Org) -> None:
    push(org, "production", {"A": "1", "B": "2"}).ok()
    push(org, "staging", {"C": "3"}).ok()
    org.run("group", "create", "auditors of the shop").ok()
    org.run("group", "grant", "auditors of the shop", "staging").ok()
    lines = [line.split("\t") for line in org.run("profile", "list").ok().out.splitlines()]
    assert lines[0] == ["profile", "secrets", "version", "changed", "groups"]
    assert [(line[0], line[1], line[4]) for line in lines[1:]] == [
        ("production", "2", "production"),
        ("staging", "1", "auditors of the shop, staging"),
    ]
    listed = {item["name"]: item for item in org.run("profile", "list", "--json").ok().json()}
    assert listed["production"]["secrets"] == 2
    assert listed["staging"]["groups"] == ["auditors of the shop", "staging"]
    assert listed["staging"]["changed"].endswith("Z")


def test_an_org_without_profiles_has_an_empty_list(org: Org) -> None:
    assert org.run("profile", "list", "--json").ok().json() == []
    assert org.run("profile", "list").ok().out.count("\n") == 1


def test_a_profile_is_shown_with_the_agents_that_read_it_and_without_values(org: Org) -> None:
    org.make_agent("ci", {"production": {"KEY": "hunter2-value"}})
    org.make_agent("deploy bot", {"production": {}})
    org.make_agent("other", {"staging": {}})
    shown = org.run("profile", "show", "Production").ok()
    assert "group production: ci, deploy bot" in shown.out
    assert "other" not in shown.out
    assert "hunter2" not in shown.out + shown.err
    assert org.run("profile", "show", ids_in(org)["profile staging"]).ok().out.startswith("staging ")


def test_a_name_that_is_taken_is_a_conflict_in_any_case_of_letters(shared_org: Org) -> None:
    shared_org.run("profile", "create", "taken").ok()
    assert "'TAKEN'" in shared_org.run("profile", "create", "TAKEN").failed(6).err
    shared_org.run("group", "create", "group-only").ok()
    refused = shared_org.run("profile", "create", "group-only").failed(6)
    assert "--no-group" in refused.err
    shared_org.run("profile", "show", "group-only").failed(5)
    shared_org.run("profile", "create", "group-only", "--no-group").ok()


@pytest.mark.parametrize("name", ["", "a b", "a/b", "pr_x", "ag_1", "x" * 101, "new\nline", "right\u202eleft"])
def test_a_name_that_is_not_legal_is_wrong_usage(shared_org: Org, name: str) -> None:
    before = shared_org.run("profile", "list", "--json").ok().json()
    refused = shared_org.run("profile", "create", name).failed(2)
    assert "\u202e" not in refused.err
    assert shared_org.run("profile", "list", "--json").ok().json() == before


def test_a_profile_that_does_not_exist_is_not_found_and_the_nearest_is_named(shared_org: Org) -> None:
    shared_org.run("profile", "create", "nearest").ok()
    assert "'nearest'" in shared_org.run("profile", "show", "neerest").failed(5).err
    shared_org.run("profile", "show", "pr_" + "0" * 32).failed(5)


def test_without_a_name_it_is_wrong_usage(shared_org: Org) -> None:
    assert "--help" in shared_org.run("profile", "create").failed(2).err
    shared_org.run("profile", "show").failed(2)
    shared_org.run("profile", "list", "--nonsense").failed(2)
