"""``group create``, ``list``, ``show``, ``rename``, ``add`` and ``grant``: who may read what, and that it takes effect.

What takes away again (``remove``, ``ungrant``, ``delete``) is in ``test_removal``.
"""

from __future__ import annotations

from tests.e2e.more_support import ids_in, push, with_token
from tests.e2e.support import Org


def test_a_group_is_made_empty(shared_org: Org) -> None:
    made = shared_org.run("group", "create", "CI/CD Leute").ok()
    assert "stronghold group grant" in made.err
    shown = shared_org.run("group", "show", "ci/cd leute").ok()
    assert "agents: none" in shown.out
    assert "profiles: none" in shown.out
    assert shared_org.run("group", "create", "second", "--json").ok().json()["id"].startswith("gr_")


def test_an_agent_in_two_groups_reads_what_both_may_and_another_agent_does_not(org: Org) -> None:
    push(org, "production", {"WHERE": "production"}).ok()
    push(org, "staging", {"WHERE": "staging"}).ok()
    push(org, "testing", {"WHERE": "testing"}).ok()
    both, one = org.make_agent("both"), org.make_agent("one")
    org.run("group", "add", "production", "--agent", "both").ok()
    org.run("group", "add", "staging", "--agent", "both", "--agent", "one").ok()
    for token, readable in ((both, {"production", "staging"}), (one, {"staging"})):
        for profile in ("production", "staging", "testing"):
            pulled = org.run("env", "pull", "--profile", profile, "--format", "json", env=with_token(token))
            if profile in readable:
                assert pulled.ok().json() == {"WHERE": profile}
            else:
                assert f"may read: {', '.join(sorted(readable))}" in pulled.failed(4).err
    shown = org.run("--json", "group", "show", "staging").ok().json()
    assert shown["agents"] == ["both", "one"]
    assert org.run("--json", "agent", "show", "both").ok().json()["profiles"] == ["production", "staging"]


def test_a_grant_lets_every_agent_of_the_group_read_the_profile(org: Org) -> None:
    first, second = org.make_agent("first", {"production": {"A": "1"}}), org.make_agent("second", {"production": {}})
    push(org, "shared", {"B": "2"}).ok()
    org.run("env", "pull", "--profile", "shared", env=with_token(first)).failed(4)
    granted = org.run("group", "grant", "production", "shared").ok()
    assert "'shared'" in granted.err
    for token in (first, second):
        assert org.run("env", "pull", "-p", "shared", "-f", "json", env=with_token(token)).ok().json() == {"B": "2"}
        assert org.run("env", "pull", "-p", "production", "-f", "json", env=with_token(token)).ok().json() == {"A": "1"}


def test_an_empty_profile_that_nobody_was_granted_gets_a_group_and_works(org: Org) -> None:
    org.run("profile", "create", "lonely", "--no-group").ok()
    org.run("group", "create", "late").ok()
    token = org.make_agent("agent")
    org.run("group", "grant", "late", "lonely").ok()
    org.run("group", "add", "late", "--agent", "agent").ok()
    org.run("secret", "set", "KEY", "--profile", "lonely", stdin="value").ok()
    assert org.run("env", "pull", env=with_token(token)).ok().out == "KEY=value\n"


def test_nouns_take_ids_as_well_as_names(org: Org) -> None:
    token = org.make_agent("ci")
    push(org, "production", {"A": "1"}).ok()
    org.run("group", "create", "readers").ok()
    ids = ids_in(org)
    org.run("group", "grant", ids["group readers"], ids["profile production"]).ok()
    org.run("group", "add", ids["group readers"], "--agent", ids["agent ci"]).ok()
    pulled = org.run("env", "pull", "--profile", ids["profile production"], env=with_token(token)).ok()
    assert pulled.out == "A=1\n"


def test_the_list_has_agents_operators_and_profiles(org: Org) -> None:
    org.make_agent("ci", {"production": {}})
    org.make_agent("bot", {"staging": {}})
    org.run("group", "create", "empty").ok()
    lines = [line.split("\t") for line in org.run("group", "list").ok().out.splitlines()]
    assert lines == [
        ["group", "agents", "operators", "profiles"],
        ["empty", "-", "-", "-"],
        ["production", "ci", "-", "production"],
        ["staging", "bot", "-", "staging"],
    ]
    listed = {item["name"]: item for item in org.run("group", "list", "--json").ok().json()}
    assert listed["production"]["agents"] == ["ci"]
    assert listed["empty"]["profiles"] == []


def test_what_is_there_already_is_a_conflict_and_nothing_changes(org: Org) -> None:
    org.make_agent("ci", {"production": {}})
    org.run("group", "create", "PRODUCTION").failed(6)
    org.run("group", "grant", "production", "production").failed(6)
    org.run("group", "add", "production", "--agent", "ci").failed(6)
    assert "Ada" in org.run("group", "add", "production", "--operator", "Ada").failed(6).err  # admins are in every group
    assert len(org.run("--json", "group", "list").ok().json()) == 1


def test_several_are_added_all_or_none(org: Org) -> None:
    org.make_agent("ci")
    org.run("group", "create", "readers").ok()
    org.run("group", "add", "readers", "--agent", "ci", "--agent", "missing").failed(5)
    assert org.run("--json", "group", "show", "readers").ok().json()["agents"] == []


def test_what_does_not_exist_is_not_found(shared_org: Org) -> None:
    shared_org.run("group", "create", "there").ok()
    shared_org.run("group", "show", "nowhere").failed(5)
    shared_org.run("group", "grant", "nowhere", "nothing").failed(5)
    shared_org.run("group", "grant", "there", "nothing").failed(5)
    shared_org.run("group", "add", "nowhere", "--agent", "nobody").failed(5)
    shared_org.run("group", "add", "there", "--agent", "nobody").failed(5)
    shared_org.run("group", "add", "there", "--operator", "nobody").failed(5)


def test_wrong_usage_is_told(shared_org: Org) -> None:
    shared_org.run("group", "create", "named").ok()
    assert "--agent" in shared_org.run("group", "add", "named").failed(2).err
    shared_org.run("group", "create", "gr_x").failed(2)
    shared_org.run("group", "create", "   ").failed(2)
    shared_org.run("group", "grant", "named").failed(2)
    shared_org.run("group", "show").failed(2)


def test_a_renamed_group_is_the_same_group(org: Org) -> None:
    token = org.make_agent("ci", {"production": {"A": "1"}})
    before = ids_in(org)["group production"]
    org.run("group", "create", "taken").ok()
    assert "'production' is called 'Deployers' now" in org.run("group", "rename", "Production", "Deployers").ok().err
    org.run("group", "rename", "Deployers", "DEPLOYERS").ok()
    assert ids_in(org)["group DEPLOYERS"] == before
    assert org.run("env", "pull", env=with_token(token)).ok().out == "A=1\n"
    assert "'Taken'" in org.run("group", "rename", "deployers", "Taken").failed(6).err
    org.run("group", "rename", "deployers", "gr_x").failed(2)
    org.run("group", "rename", "deployers").failed(2)
    assert "'DEPLOYERS'" in org.run("group", "rename", "DEPLOIERS", "x").failed(5).err
    assert org.run("--json", "group", "show", "deployers").ok().json()["key_epoch"] == 1
