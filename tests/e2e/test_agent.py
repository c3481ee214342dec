"""``agent create``, ``list`` and ``show``; its token works at once, and reads its own profiles only."""

from __future__ import annotations

import re
import stat

from tests.e2e.more_support import push, with_token
from tests.e2e.support import Org

TOKEN = re.compile(r"shat_[0-9A-Za-z]+")


def test_a_new_agent_s_token_is_shown_once_with_the_ways_to_use_it(org: Org) -> None:
    push(org, "production", {"KEY": "value"}).ok()
    made = org.run("agent", "create", "CI/CD Pipeline", "--profile", "production", "--description", "The pipeline").ok()
    assert TOKEN.fullmatch(made.out.strip())
    token = made.out.strip()
    assert token not in made.err
    for way in ("GitHub Actions", "Docker build", "Shell", "works on this machine only", "--profile production"):
        assert way in made.err
    assert org.run("env", "pull", env=with_token(token)).ok().out == "KEY=value\n"
    for command in (("agent", "show", "ci/cd pipeline", "--json"), ("token", "list"), ("audit", "list", "--json")):
        shown = org.run(*command).ok()
        assert not TOKEN.search(shown.out + shown.err)
    shown = org.run("agent", "show", "CI/CD Pipeline").ok()
    assert "The pipeline" in shown.out
    assert "may read: production" in shown.out
    assert f"shat_…{token[-4:]}" in shown.out


def test_quiet_and_json_give_the_token_alone(org: Org) -> None:
    push(org, "production", {"KEY": "value"}).ok()
    quiet = org.run("agent", "create", "quiet", "-p", "production", "--quiet").ok()
    assert quiet.err == ""
    org.run("env", "pull", env=with_token(quiet.out.strip())).ok()
    made = org.run("agent", "create", "json", "-p", "production", "--json", "--expires-in", "90d").ok().json()
    assert made["agent"] == "json"
    assert made["expires"].endswith("Z")
    org.run("env", "pull", env=with_token(made["token"])).ok()


def test_a_token_written_to_a_file_is_private_and_shown_nowhere(org: Org) -> None:
    push(org, "production", {"KEY": "value"}).ok()
    made = org.run("agent", "create", "ci", "-p", "production", "--output", "token").ok()
    file = org.machine.home / "token"
    token = file.read_text().strip()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert made.out == ""
    assert token not in made.err
    pulled = org.run("env", "pull", "-p", "production", "--token-file", "token").ok()
    assert (pulled.out, pulled.err) == ("KEY=value\n", "")
    org.run("agent", "create", "second", "-p", "production", "-o", "token").failed(9)
    org.run("agent", "create", "second", "-p", "production", "-o", "nowhere/token").failed(9)
    assert file.read_text().strip() == token
    org.run("agent", "show", "second").failed(5)
    described = org.run("agent", "create", "third", "-p", "production", "-o", "token3", "--json").ok()
    assert described.json()["token"] is None
    assert (org.machine.home / "token3").read_text().strip() not in described.out + described.err


def test_two_agents_read_their_own_profiles_only(org: Org) -> None:
    for profile in ("production", "staging"):
        push(org, profile, {"WHERE": profile}).ok()
    tokens = {
        profile: org.run("agent", "create", f"agent of {profile}", "-p", profile, "-q").ok().out.strip()
        for profile in ("production", "staging")
    }
    for own, token in tokens.items():
        (other,) = set(tokens) - {own}
        assert org.run("env", "pull", env=with_token(token)).ok().out == f"WHERE={own}\n"
        refused = org.run("env", "pull", "-p", other, env=with_token(token)).failed(4)
        assert f"may read: {own}" in refused.err
        assert org.run("run", "-p", other, "--", "env", env=with_token(token)).failed(4).out == ""


def test_an_agent_in_several_groups_or_in_none(org: Org) -> None:
    push(org, "production", {"A": "1"}).ok()
    push(org, "staging", {"B": "2"}).ok()
    org.run("group", "create", "both").ok()
    for profile in ("production", "staging"):
        org.run("group", "grant", "both", profile).ok()
    token = org.run("agent", "create", "broad", "--group", "both", "-q").ok().out.strip()
    assert "production, staging" in org.run("env", "pull", env=with_token(token)).failed(2).err
    assert org.run("env", "pull", "-p", "staging", env=with_token(token)).ok().out == "B=2\n"
    ambiguous = org.run("agent", "create", "direct", "-p", "production", "--group", "both", "-q").ok().out.strip()
    assert org.run("env", "pull", "-p", "production", env=with_token(ambiguous)).ok().out == "A=1\n"
    none = org.run("agent", "create", "none").ok()
    assert "read nothing yet" in none.err
    refused = org.run("env", "pull", "-p", "production", env=with_token(none.out.strip())).failed(4)
    assert "may read no profile" in refused.err
    without = org.run("agent", "create", "tokenless", "-p", "production", "--no-token").ok()
    assert not TOKEN.search(without.out + without.err)
    assert org.run("--json", "agent", "create", "tokenless2", "--no-token").ok().json()["agent"].startswith("ag_")
    listed = {item["name"]: item for item in org.run("agent", "list", "--json").ok().json()}
    assert listed["direct"]["groups"] == ["both", "production"]
    assert listed["none"]["groups"] == []
    assert (listed["tokenless"]["tokens"], listed["broad"]["tokens"]) == (0, 1)
    assert listed["broad"]["state"] == "active"


def test_a_profile_without_a_clear_group_is_wrong_usage(org: Org) -> None:
    org.run("profile", "create", "lonely", "--no-group").ok()
    assert "group grant" in org.run("agent", "create", "ci", "-p", "lonely").failed(2).err
    for group in ("one", "two"):
        org.run("group", "create", group).ok()
        org.run("group", "grant", group, "lonely").ok()
    assert "one, two" in org.run("agent", "create", "ci", "-p", "lonely").failed(2).err
    org.run("agent", "show", "ci").failed(5)


def test_what_cannot_be_is_told_and_makes_no_agent(shared_org: Org) -> None:
    shared_org.run("agent", "create", "taken", "--no-token").ok()
    before = shared_org.run("--json", "agent", "list").ok().json()
    shared_org.run("agent", "create", "TAKEN", "--no-token").failed(6)
    shared_org.run("agent", "create", "new", "-p", "nowhere").failed(5)
    shared_org.run("agent", "create", "new", "--group", "nowhere").failed(5)
    shared_org.run("agent", "show", "nobody").failed(5)
    for wrong in (
        ("new", "--expires-in", "soon"),
        ("new", "--expires-at", "2001-01-01"),
        ("new", "--expires-at", "tomorrow"),
        ("new", "--expires-in", "1d", "--expires-at", "2100-01-01"),
        ("new", "--server", "ftp://example.com"),
        ("new", "--token-name", "x" * 101),
        ("ag_new",),
        ("x" * 101,),
        (),
    ):
        shared_org.run("agent", "create", *wrong).failed(2)
    assert shared_org.run("--json", "agent", "list").ok().json() == before
