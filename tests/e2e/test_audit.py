"""``audit list``: what operators and agents asked for, by whom, and with what outcome."""

from __future__ import annotations

from tests.e2e.more_support import push, with_token
from tests.e2e.support import Org


def test_the_log_names_who_read_which_profile_and_who_was_refused(org: Org) -> None:
    push(org, "production", {"KEY": "hunter2"}).ok()
    first = org.make_agent("CI/CD Pipeline", {"production": {}})
    second = org.make_agent("other bot", {"staging": {"B": "hunter3"}})
    org.run("env", "pull", "-p", "production", env=with_token(first)).ok()
    org.run("env", "pull", "-p", "production", env=with_token(second)).failed(4)
    org.run("token", "mint", "other bot", "--name", "two", "-q").ok()
    org.run("token", "revoke", "other bot/first", "--yes").ok()
    org.run("env", "pull", "-p", "staging", env=with_token(second)).failed(3)
    listed = org.run("audit", "list", "--json").ok()
    entries = listed.json()
    assert [entry["entry"] for entry in entries] == list(range(len(entries)))
    assert all(entry["time"].endswith("Z") for entry in entries)
    pulls = [(entry["who"], entry["outcome"], entry["code"]) for entry in entries if entry["kind"] == "pull"]
    assert ("CI/CD Pipeline / first", "ok", "") in [(who, outcome, code or "") for who, outcome, code in pulls]
    assert [code for _, outcome, code in pulls if outcome == "refused"][:1] == ["PROFILE_FORBIDDEN"]
    assert any(code == "TOKEN_REVOKED" for *_, code in pulls)
    read = next(entry for entry in entries if entry["kind"] == "pull" and entry["outcome"] == "ok")
    assert read["what"] == "production version 1"
    shown = org.run("audit", "list").ok()
    lines = [line.split("\t") for line in shown.out.splitlines()]
    assert lines[0] == ["entry", "time", "", "who", "asked for", "what", "outcome"]
    assert {line[3] for line in lines[1:]} >= {"Ada", "CI/CD Pipeline / first"}
    for text in (listed.out, shown.out, shown.err):
        assert "hunter" not in text
        assert first not in text


def test_the_limit_gives_the_newest(shared_org: Org) -> None:
    for _ in range(2):
        shared_org.run("profile", "list").ok()
    whole = shared_org.run("audit", "list", "--json").ok().json()
    newest = shared_org.run("audit", "list", "--limit", "2", "--json").ok().json()
    assert len(newest) == 2
    assert newest[0]["entry"] > whole[-2]["entry"]
    assert newest[1]["entry"] == newest[0]["entry"] + 1
    shared_org.run("audit", "list", "--limit", "0").failed(2)
    shared_org.run("audit", "list", "--limit", "many").failed(2)
    bare = shared_org.run("audit")
    assert (bare.code, bare.out, bare.err.splitlines()[0]) == (2, "", "Usage: stronghold audit [OPTIONS] COMMAND [ARGS]...")
