"""Long listings: page after page gives the whole, a terminal gets a hundred rows, pipes get all, and slips are told."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest

from tests.e2e.more_support import push
from tests.e2e.support import Org

_NEXT = re.compile(r"^(\d+) to (\d+) of (\d+) \w+ are shown\. For the next, add: --after (.+)$", re.MULTILINE)
_OLDER = re.compile(r"--before (\d+)")

# Each listing with the number of its rows, and something that is no place in it.
LISTINGS: dict[str, tuple[tuple[str, ...], int, str]] = {
    "agents": (("agent", "list"), 5, "ag_" + "0" * 32),
    "agents of a group": (("agent", "list", "--group", "production"), 3, "ag_" + "0" * 32),
    "tokens": (("token", "list"), 6, "tk_" + "0" * 32),
    "groups": (("group", "list"), 4, "gr_" + "0" * 32),
    "profiles": (("profile", "list"), 4, "pr_" + "0" * 32),
    "secrets": (("secret", "list", "--profile", "production"), 5, ""),
    "access": (("access", "list"), 3 + 2 + 4, "ag_00/production"),
    "lockdowns": (("lockdown", "list"), 3, "ld_" + "0" * 32),
}


@pytest.fixture(scope="module")
def full(shared_org: Org) -> Org:
    """Five agents, one with two tokens; four profiles with groups; five secrets; three lockdowns."""
    org = shared_org
    push(org, "production", {f"NAME_{number}": "x" for number in range(5)}).ok()
    for name in ("staging", "third", "fourth"):
        org.run("profile", "create", name).ok()
    for name in ("CI/CD Pipeline", "Bot", "another one"):
        org.make_agent(name, {"production": {}})
    for name in ("zero", "\u00dcbung"):
        org.make_agent(name, {"staging": {}})
    org.run("token", "mint", "Bot", "--name", "two", "-q").ok()
    for name in ("Bot", "zero", "CI/CD Pipeline"):
        org.run("lockdown", "--agent", name, "--reason", "a test").ok()
    return org


def follow(org: Org, words: tuple[str, ...], limit: int) -> list[dict[str, Any]]:
    """All rows, page by page, by what each page says of the next."""
    found: list[dict[str, Any]] = []
    after: tuple[str, ...] = ()
    while True:
        page = org.run("--json", *words, "--limit", str(limit), *after).ok()
        rows = page.json()
        found += rows
        told = _NEXT.search(page.err)
        if told is None:
            assert page.err == ""
            return found
        assert (len(rows), int(told[2]), int(told[1])) == (limit, len(found), len(found) - limit + 1)
        after = ("--after", *shlex.split(told[4]))


@pytest.mark.parametrize("name", LISTINGS)
def test_pages_follow_each_other_and_give_the_whole(full: Org, name: str) -> None:
    words, count, _ = LISTINGS[name]
    whole = full.run("--json", *words).ok()
    assert (len(whole.json()), whole.err) == (count, "")
    assert follow(full, words, 2) == whole.json()
    plain = full.run(*words, "--limit", "1").ok()
    assert len(plain.out.splitlines()) == 2
    assert _NEXT.search(plain.err)
    assert full.run(*words, "--limit", "1", "--quiet").ok().err == ""


@pytest.mark.parametrize("name", LISTINGS)
def test_a_limit_or_place_that_cannot_be_meant_is_told(full: Org, name: str) -> None:
    words, _, nowhere = LISTINGS[name]
    for limit in ("0", "many"):
        assert "--limit" in full.run(*words, "--limit", limit).failed(2).err
    if nowhere:
        assert "nothing comes after it" in full.run(*words, "--after", nowhere).failed(5).err
    else:
        beyond = full.run("--json", *words, "--after", "zzz").ok()
        assert (beyond.json(), beyond.err) == ([], "No secrets come after that; there are 5.\n")


def test_the_log_goes_back_page_by_page(full: Org) -> None:
    first = full.run("--json", "audit", "list", "--limit", "4").ok()
    newest = first.json()
    told = _OLDER.search(first.err)
    assert told is not None
    assert int(told[1]) == newest[0]["entry"]
    older = full.run("--json", "audit", "list", "--limit", "3", "--before", told[1]).ok().json()
    assert [entry["entry"] for entry in older] == [newest[0]["entry"] - back for back in (3, 2, 1)]
    begin = full.run("--json", "audit", "list", "--before", "2").ok()
    assert ([entry["entry"] for entry in begin.json()], begin.err) == ([0, 1], "")
    pulls = full.run("audit", "list", "--action", "commit", "--limit", "1", "--before", told[1]).ok()
    assert len(pulls.out.splitlines()) == 2
    for before in ("0", "x"):
        assert "--before" in full.run("audit", "list", "--before", before).failed(2).err


def test_a_history_goes_back_page_by_page(full: Org) -> None:
    for value in "bcd":
        full.run("secret", "set", "NAME_0", "-p", "production", stdin=value).ok()
    words = ("secret", "history", "NAME_0", "-p", "production")
    page = full.run("--json", *words, "--limit", "3").ok()
    assert [item["version"] for item in page.json()] == [4, 3, 2]
    assert "3 of the 4 versions of NAME_0" in page.err
    more = shlex.split(page.err.strip().partition("stronghold ")[2])
    last = full.run("--json", *more, "--show-values").ok()
    assert [(item["version"], item["value"], item["state"]) for item in last.json()] == [(1, "x", "old")]
    assert last.err == ""
    for option in ("--limit", "--before"):
        assert option in full.run(*words, option, "0").failed(2).err


def test_a_terminal_gets_a_hundred_rows_and_everybody_else_all(org: Org, terminal_or_skip: object) -> None:
    push(org, "production", {f"NAME_{number:03}": "x" for number in range(120)}).ok()
    words = ("secret", "list", "-p", "production")
    shown = org.machine.type(*words).out
    assert ("NAME_099" in shown, "NAME_100" in shown) == (True, False)
    assert "1 to 100 of 120 secrets are shown. For the next, add: --after NAME_099" in shown
    rest = org.machine.type(*words, "--after", "NAME_099").out
    assert ("NAME_099" in rest, "NAME_119" in rest, "are shown" in rest) == (False, True, False)
    piped = org.run(*words).ok()
    assert (len(piped.out.splitlines()), piped.err) == (121, "")
