"""``audit list``: what operators and agents asked for, by whom, and with what outcome."""

from __future__ import annotations

from typing import Any

import pytest

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


def listed(org: Org, *options: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = org.run("--json", "audit", "list", "--limit", "1000", *options).ok().json()
    return entries


def acts(entries: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(act["action"], act["name"]) for entry in entries for act in entry["acts"]]


@pytest.fixture(scope="module")
def busy(shared_org: Org) -> Org:
    """An org in which something of each kind was done; ``web``, whose first token is revoked, and ``bot`` have read."""
    org = shared_org
    push(org, "production", {"KEY": "hunter2"}).ok()
    web, bot = org.make_agent("web", {"production": {}}), org.make_agent("bot", {"staging": {"B": "hunter3"}})
    for _ in range(2):
        org.run("env", "pull", env=with_token(web)).ok()
    org.run("env", "pull", "-p", "production", env=with_token(bot)).failed(4)
    org.run("env", "pull", env=with_token(bot)).ok()
    org.run("secret", "set", "KEY", "-p", "production", stdin="hunter4").ok()
    org.run("env", "pull", env=with_token(web)).ok()
    org.run("token", "mint", "web", "--name", "second", "-q").ok()
    org.run("token", "revoke", "web/first", "--yes").ok()
    org.run("env", "pull", env=with_token(web)).failed(3)
    lockdown = org.run("--json", "lockdown", "--agent", "bot", "--reason", "leak").ok().json()["id"]
    org.run("env", "pull", env=with_token(bot)).failed(4)
    org.run("lockdown", "lift", lockdown).ok()
    org.run("secret", "delete", "KEY", "-p", "production", "--yes").ok()
    return org


def test_every_commit_says_what_it_changed(busy: Org) -> None:
    commits = [entry for entry in listed(busy) if entry["kind"] in {"commit", "genesis"}]
    assert all(entry["acts"] and entry["who"] in {"Ada", "op_" + entry["key"][2:]} for entry in commits)
    assert acts(commits)[0][0] == "org-create"
    assert [each for each in acts(commits) if each[0].startswith(("token", "secret", "lockdown"))] == [
        ("secret-set", "production"),
        ("token-mint", "web/first"),
        ("token-mint", "bot/first"),
        ("secret-set", "staging"),
        ("secret-set", "production"),
        ("token-mint", "web/second"),
        ("token-revoke", "web/first"),
        ("lockdown", acts(commits)[-3][1]),
        ("lockdown-lift", acts(commits)[-3][1]),
        ("secret-delete", "production"),
    ]
    text = busy.run("audit", "list", "--limit", "1000").ok().out
    assert "lockdown ld_" in text
    assert "hunter" not in text
    assert "KEY" not in text, "names of secrets stand in no entry"


def test_reads_show_agent_token_profile_and_version(busy: Org) -> None:
    reads = [entry for entry in listed(busy, "--action", "pull") if entry["outcome"] == "ok"]
    assert [(entry["agent"], entry["profile"], entry["version"]) for entry in reads] == [
        ("web", "production", 1),
        ("web", "production", 1),
        ("bot", "staging", 1),
        ("web", "production", 2),
    ]
    assert all(entry["token"].startswith("tk_") for entry in reads)


def test_an_agents_entries_are_found_with_those_of_its_ended_tokens(busy: Org) -> None:
    found = listed(busy, "--agent", "WEB")
    assert [(entry["outcome"], entry["code"], entry["ended"]) for entry in found if entry["kind"] == "pull"] == [
        ("ok", "", False),
        ("ok", "", False),
        ("ok", "", False),
        ("refused", "TOKEN_REVOKED", True),
    ]
    assert {name for _, name in acts(found)} >= {"web", "web/first", "web/second"}
    assert "bot" not in {entry["agent"] for entry in found}
    agent_id = next(item["id"] for item in busy.run("--json", "agent", "list").ok().json() if item["name"] == "web")
    assert listed(busy, "--agent", agent_id) == found


def test_filters_by_token_profile_action_outcome_and_time(busy: Org) -> None:
    by_token = listed(busy, "--token", "web/first", "--action", "pull")
    assert [entry["outcome"] for entry in by_token] == ["ok", "ok", "ok", "refused"]
    assert listed(busy, "--token", by_token[0]["token"], "--action", "pull") == by_token
    assert len(listed(busy, "--token", "first", "--action", "pull")) == 7
    of_production = listed(busy, "--profile", "production", "--action", "pull")
    assert [(entry["agent"], entry["outcome"]) for entry in of_production] == [
        ("web", "ok"), ("web", "ok"), ("bot", "refused"), ("web", "ok"), ("web", "refused"),
    ]  # fmt: skip
    assert acts(listed(busy, "--action", "secret-delete")) == [("secret-delete", "production")]
    assert acts(listed(busy, "--action", "lockdown", "--agent", "bot"))[0][0] == "lockdown"
    assert listed(busy, "--action", "lockdown", "--agent", "web") == []
    refused = listed(busy, "--outcome", "refused")
    assert {entry["code"] for entry in refused} >= {"PROFILE_FORBIDDEN", "TOKEN_REVOKED", "LOCKED_DOWN"}
    assert listed(busy, "--outcome", "LOCKED_DOWN") == [entry for entry in refused if entry["code"] == "LOCKED_DOWN"]
    assert {entry["kind"] for entry in listed(busy, "--action", "steps")} == {"steps"}
    whole = listed(busy, "--until", "2100-01-01")
    assert listed(busy, "--since", "1h")[: len(whole)] == whole
    assert listed(busy, "--until", "1h") == []
    assert listed(busy, "--since", "2100-01-01") == []
    assert len(listed(busy, "--agent", "web", "--action", "pull", "--limit", "2")) == 2


def test_one_entry_is_shown_whole(busy: Org) -> None:
    entry = listed(busy, "--action", "lockdown")[0]
    shown = busy.run("audit", "show", str(entry["entry"])).ok().out
    assert "asked by: Ada (o:" in shown
    assert "agent 'bot'" in shown
    assert "reason: leak" in shown
    assert busy.run("--json", "audit", "show", str(entry["entry"])).ok().json() == entry
    busy.run("audit", "show", "999999").failed(5)
    busy.run("audit", "show", "-1").failed(2)
    ended = next(entry for entry in listed(busy, "--agent", "web") if entry["ended"])
    assert "ended key" in busy.run("audit", "show", str(ended["entry"])).ok().err


def test_what_cannot_be_meant_is_told(busy: Org) -> None:
    assert "'pull'" in busy.run("audit", "list", "--action", "pul").failed(2).err
    busy.run("audit", "list", "--outcome", "good").failed(2)
    busy.run("audit", "list", "--since", "yesterday").failed(2)
    busy.run("audit", "list", "--since", "1h", "--until", "2h").failed(2)
    assert "'production'" in busy.run("audit", "list", "--profile", "prodution").failed(5).err
    assert "'web'" in busy.run("audit", "list", "--agent", "wbe").failed(5).err
    busy.run("audit", "list", "--token", "nothing/like it").failed(5)
