"""``profile create``, ``list``, ``show``, ``rename``, ``edit``, ``copy`` and ``delete``."""

from __future__ import annotations

import pytest

from tests.e2e.more_support import ids_in, push, with_token
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


def test_a_renamed_profile_is_the_same_profile_under_the_new_name_alone(org: Org) -> None:
    token = org.make_agent("ci", {"prod": {"A": "1"}})
    before = ids_in(org)["profile prod"]
    assert "has to use the new one" in org.run("profile", "rename", "PROD", "production").ok().err
    assert ids_in(org)["profile production"] == before
    assert org.run("env", "pull", "-p", "production", env=with_token(token)).ok().out == "A=1\n"
    org.run("env", "pull", "-p", "prod", env=with_token(token)).failed(4)
    org.run("profile", "rename", "production", "Production").ok()
    push(org, "other", {}).ok()
    assert "'OTHER'" in org.run("profile", "rename", "production", "OTHER").failed(6).err
    org.run("profile", "rename", "production", "a b").failed(2)
    org.run("profile", "rename", "production").failed(2)
    assert "'Production'" in org.run("profile", "rename", "prodction", "x").failed(5).err


def test_a_profile_s_description_is_edited(org: Org) -> None:
    org.run("profile", "create", "production", "--description", "old").ok()
    org.run("profile", "edit", "production", "--description", "The shop, live").ok()
    assert org.run("--json", "profile", "show", "production").ok().json()["description"] == "The shop, live"
    org.run("profile", "edit", "production", "--description", "").ok()
    assert org.run("--json", "profile", "show", "production").ok().json()["description"] == ""
    assert "--description" in org.run("profile", "edit", "production").failed(2).err
    org.run("profile", "edit", "production", "--description", "x" * 1001).failed(2)
    org.run("profile", "edit", "nowhere", "--description", "x").failed(5)


def test_a_copy_has_the_current_values_and_neither_history_nor_readers(org: Org) -> None:
    token = org.make_agent("ci", {"production": {"A": "1", "B": "2"}})
    org.run("profile", "edit", "production", "--description", "The shop").ok()
    org.run("secret", "set", "A", "-p", "production", "--note", "for the shop", stdin="3").ok()
    made = org.run("profile", "copy", "production", "staging").ok()
    assert "Copied 2 secrets of 'production' into the new profile 'staging'." in made.err
    assert org.run("env", "pull", "-p", "staging", "-f", "json").ok().json() == {"A": "3", "B": "2"}
    shown = org.run("--json", "profile", "show", "staging").ok().json()
    assert (shown["description"], shown["groups"], shown["version"]) == ("The shop", {"staging": []}, 1)
    listed = {item["name"]: item for item in org.run("--json", "secret", "list", "-p", "staging").ok().json()}
    assert (listed["A"]["version"], listed["A"]["note"]) == (1, "for the shop")
    org.run("env", "pull", "-p", "staging", env=with_token(token)).failed(4)
    push(org, "staging", {"A": "changed"}).ok()
    assert org.run("secret", "get", "A", "-p", "production").ok().out.strip() == "3"


def test_a_copy_for_a_group_that_is_there_is_read_by_it_and_by_nobody_else(org: Org) -> None:
    token = org.make_agent("ci", {"production": {"A": "1", "B": "2"}})
    made = org.run("--json", "profile", "copy", "production", "second", "--group", "Production").ok().json()
    assert (made["name"], made["secrets"]) == ("second", 2)
    assert org.run("--json", "profile", "show", "second").ok().json()["groups"] == {"production": ["ci"]}
    assert "second" not in [group["name"] for group in org.run("--json", "group", "list").ok().json()]
    pulled = org.run("env", "pull", "-p", "second", "-f", "json", env=with_token(token)).ok().json()
    assert pulled == {"A": "1", "B": "2"}


def test_what_cannot_be_copied_is_told_and_nothing_is_made(shared_org: Org) -> None:
    push(shared_org, "source", {"A": "1"}).ok()
    shared_org.run("group", "create", "group-there").ok()
    shared_org.run("profile", "copy", "source", "Source").failed(6)
    assert "--group" in shared_org.run("profile", "copy", "source", "group-there").failed(6).err
    assert "'group-there'" in shared_org.run("profile", "copy", "source", "target", "--group", "group-ther").failed(5).err
    shared_org.run("profile", "copy", "source", "a/b").failed(2)
    shared_org.run("profile", "copy", "source").failed(2)
    assert "'source'" in shared_org.run("profile", "copy", "sorce", "target").failed(5).err
    shared_org.run("profile", "show", "group-there").failed(5)
    shared_org.run("profile", "show", "target").failed(5)


def test_a_deleted_profile_is_gone_and_says_what_is_lost(org: Org) -> None:
    token = org.make_agent("ci", {"production": {"A": "1", "B": "2"}, "staging": {"C": "3"}})
    org.run("group", "remove", "staging", "--agent", "ci", "--yes").ok()
    deleted = org.run("profile", "delete", "production", "--yes").ok()
    assert "2 secrets and all older versions are lost: only a backup of the server brings them back" in deleted.err
    assert "reading nothing now: the group 'production'" in deleted.err
    org.run("profile", "show", "production").failed(5)
    org.run("profile", "delete", "production", "--yes").failed(5)
    org.run("env", "pull", "-p", "production", env=with_token(token)).failed(4)
    assert org.run("env", "pull", "-p", "staging").ok().out == "C=3\n"
    org.run("group", "delete", "production", "--yes").ok()
    push(org, "production", {"A": "new"}).ok()
    assert org.run("env", "pull", "-p", "production").ok().out == "A=new\n"
    assert org.run("doctor").ok()
