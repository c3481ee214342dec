"""``token mint``, ``list`` and ``revoke``: several at once, expiry, and the end of each."""

from __future__ import annotations

import time

from tests.e2e.more_support import ids_in, push, with_token
from tests.e2e.support import Org


def minted(org: Org, agent: str, *options: str) -> str:
    return org.run("token", "mint", agent, "--quiet", *options).ok().out.strip()


def test_the_second_token_goes_on_when_the_first_is_revoked(org: Org) -> None:
    first = org.make_agent("ci", {"production": {"KEY": "value"}})
    bystander = org.make_agent("bot", {"production": {}})
    second = minted(org, "ci", "--name", "second")
    assert first != second
    for token in (first, second, bystander):
        assert org.run("env", "pull", env=with_token(token)).ok().out == "KEY=value\n"
    revoked = org.run("token", "revoke", "ci/first", "--yes").ok()
    assert "'first'" in revoked.err
    refused = org.run("env", "pull", env=with_token(first)).failed(3)
    assert "revoked" in refused.err
    assert org.run("env", "pull", "--json", env=with_token(first)).failed(3).err.count("TOKEN_REVOKED") == 1
    for token in (second, bystander):
        assert org.run("env", "pull", env=with_token(token)).ok().out == "KEY=value\n"
    assert [item["name"] for item in org.run("--json", "token", "list", "--agent", "ci").ok().json()] == ["second"]
    org.run("token", "revoke", "ci/first", "--yes").failed(5)


def test_the_last_live_token_is_revoked_with_force_only(org: Org) -> None:
    token = org.make_agent("ci", {"production": {"KEY": "value"}})
    assert "--force" in org.run("token", "revoke", "first", "--yes").failed(2).err
    assert org.run("env", "pull", env=with_token(token)).ok()
    minted(org, "ci", "--name", "short", "--expires-in", "1s")
    time.sleep(1.1)
    # One that has expired keeps nobody going, so the other one is still the last.
    assert "last live token" in org.run("token", "revoke", "first", "--yes").failed(2).err
    org.run("token", "revoke", "short", "--yes").ok()
    org.run("token", "revoke", "first", "--yes", "--force").ok()
    org.run("env", "pull", env=with_token(token)).failed(3)
    assert org.run("--json", "token", "list").ok().json() == []
    fresh = minted(org, "ci")
    assert org.run("env", "pull", env=with_token(fresh)).ok().out == "KEY=value\n"


def test_a_token_is_named_by_id_end_or_name(org: Org) -> None:
    org.make_agent("ci", {"production": {}})
    org.make_agent("bot", {"production": {}})
    for name in ("a", "b", "c"):
        minted(org, "ci", "--name", name)
    ids = ids_in(org)
    ends = {item["name"]: item["ends_in"] for item in org.run("--json", "token", "list", "--agent", "ci").ok().json()}
    assert "tk_" in org.run("token", "revoke", "first", "--yes").failed(2).err  # both agents have one of that name
    for named in (ids["token ci/a"], ends["b"].replace("…", "..."), "c"):
        org.run("token", "revoke", named, "--yes").ok()
    left = [(item["agent"], item["name"]) for item in org.run("--json", "token", "list").ok().json()]
    assert left == [("bot", "first"), ("ci", "first")]


def test_revoking_wants_a_yes(org: Org, terminal_or_skip: object) -> None:
    token = org.make_agent("ci", {"production": {"KEY": "value"}})
    minted(org, "ci")
    assert "--yes" in org.run("token", "revoke", "first").failed(2).err
    no = org.machine.type("token", "revoke", "first", answers=[("for ever? [y/N]", "n")])
    assert (no.code, "Nothing was revoked" in no.out) == (0, True)
    assert org.run("env", "pull", env=with_token(token)).ok()
    yes = org.machine.type("token", "revoke", "first", answers=[("for ever? [y/N]", "y")])
    assert yes.code == 0
    org.run("env", "pull", env=with_token(token)).failed(3)


def test_a_token_with_an_end_works_until_then_and_warns_before(org: Org) -> None:
    org.make_agent("ci", {"production": {"KEY": "value"}})
    brief, long = minted(org, "ci", "--expires-in", "2s"), minted(org, "ci", "--expires-in", "90d")
    began = time.monotonic()
    for token in (long, minted(org, "ci", "--expires-at", "2100-01-01")):
        assert org.run("env", "pull", "-p", "production", env=with_token(token)).ok().err == ""
    time.sleep(max(0.0, 2.1 - (time.monotonic() - began)))
    refused = org.run("env", "pull", "-o", ".env", env=with_token(brief)).failed(3)
    assert "expired" in refused.err
    assert not (org.machine.home / ".env").exists()
    assert (
        "TOKEN_EXPIRED"
        in org.run("run", "--", "env", env=with_token(brief)).failed(3).err
        + org.run("env", "pull", "--json", env=with_token(brief)).err
    )
    states = {item["name"]: item["state"] for item in org.run("--json", "token", "list").ok().json()}
    assert sorted(states.values()) == ["active", "active", "active", "expired"]


def test_the_list_shows_last_use(org: Org) -> None:
    used = org.make_agent("used", {"production": {"KEY": "value"}})
    org.make_agent("idle", {"production": {}})
    org.run("env", "pull", env=with_token(used)).ok()
    listed = {item["agent"]: item for item in org.run("--json", "token", "list").ok().json()}
    assert listed["used"]["last_used"].endswith("Z")
    assert (listed["used"]["uses"], listed["idle"]["last_used"]) == (1, None)
    lines = [line.split("\t") for line in org.run("token", "list").ok().out.splitlines()]
    assert lines[0][:7] == ["agent", "token", "ends in", "state", "expires", "last used", "uses"]
    assert lines[1][:2] == ["idle", "first"]
    assert lines[1][5] == "-"
    assert lines[2][2] == f"shat_…{used[-4:]}"
    assert lines[2][5].endswith("ago") or lines[2][5] == "now"


def test_a_token_for_another_address_holds_it(org: Org) -> None:
    org.make_agent("ci", {"production": {"KEY": "value"}})
    loopback = org.run("token", "mint", "ci").ok()
    assert "works on this machine only" in loopback.err
    remote = org.run("token", "mint", "ci", "--server", "https://secrets.example.com/base").ok()
    assert "works on this machine only" not in remote.err
    shown = org.run("auth", "api-user", "--offline", env=with_token(remote.out.strip())).ok()
    assert shown.code == 0
    pulled = org.run("env", "pull", env=with_token(remote.out.strip(), STRONGHOLD_URL=org.server.url)).ok()
    assert pulled.out == "KEY=value\n"


def test_what_cannot_be_is_told(shared_org: Org) -> None:
    shared_org.make_agent("ci", {"production": {}})
    shared_org.run("token", "mint", "nobody").failed(5)
    shared_org.run("token", "list", "--agent", "nobody").failed(5)
    shared_org.run("token", "revoke", "tk_" + "0" * 32, "--yes").failed(5)
    shared_org.run("token", "mint", "ci", "--name", "first").failed(6)
    shared_org.run("token", "mint", "ci", "--expires-in", "0d").failed(2)
    shared_org.run("token", "mint", "ci", "--expires-in", "2s", "--expires-at", "2100-01-01").failed(2)
    shared_org.run("token", "mint").failed(2)
    shared_org.run("token", "revoke").failed(2)
    shared_org.run("token", "mint", "ci", "--output", "nowhere/token").failed(9)
    shared_org.machine.file("there", "already")
    shared_org.run("token", "mint", "ci", "--output", "there").failed(9)
    assert len(shared_org.run("--json", "token", "list").ok().json()) == 1
    assert (shared_org.machine.home / "there").read_text() == "already"


def test_a_token_of_an_agent_with_an_end_of_its_own_ends_with_it(org: Org) -> None:
    token = org.make_agent("ci", {"production": {"KEY": "value"}}, agent_not_after=int(time.time()) + 2)
    push(org, "production", {"KEY": "newer"}).ok()
    time.sleep(2.1)
    org.run("env", "pull", env=with_token(token)).failed(3)
