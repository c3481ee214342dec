"""``secret set``, ``get``, ``list`` and ``delete``: every way in, exact values out, no value where it was not asked for."""

from __future__ import annotations

from functools import partial

import pytest

from tests.e2e.more_support import in_parallel, masks_in, push, with_token
from tests.e2e.support import Org

TRICKY = "  'both' \"quotes\" $HOME `date` \\ é e\u0301 🚀\nsecond line "


@pytest.fixture(scope="module")
def shop(shared_org: Org) -> Org:
    """An org with two profiles."""
    push(shared_org, "production", {"FIRST": "1", "DATABASE_URL": "postgres://u:hunter2@db/shop"}).ok()
    push(shared_org, "staging", {"FIRST": "other"}).ok()
    return shared_org


def value(org: Org, name: str) -> bytes:
    return org.run("secret", "get", name, "--profile", "production").ok().out_bytes


def test_a_value_from_stdin_loses_one_line_end_and_says_so(shop: Org) -> None:
    said = shop.run("secret", "set", "PIPED", "-p", "production", stdin=TRICKY + "\n").ok()
    assert value(shop, "PIPED") == TRICKY.encode()
    assert "--exact" in said.err
    assert "second line" not in said.err + said.out
    silent = shop.run("secret", "set", "PIPED", "-p", "production", stdin="no line end").ok()
    assert "--exact" not in silent.err
    assert value(shop, "PIPED") == b"no line end"


def test_exact_keeps_the_line_end_of_stdin(shop: Org) -> None:
    shop.run("secret", "set", "EXACT", "--exact", "-p", "production", stdin="with end\r\n").ok()
    assert value(shop, "EXACT") == b"with end\r\n"


def test_a_value_from_a_file_is_taken_exactly(shop: Org) -> None:
    file = shop.machine.file("value", TRICKY + "\n\n")
    shop.run("secret", "set", "FROM_FILE", "--file", str(file), "-p", "production").ok()
    assert value(shop, "FROM_FILE") == (TRICKY + "\n\n").encode()


def test_a_value_on_the_command_line_is_taken_with_a_warning_that_does_not_repeat_it(shop: Org) -> None:
    said = shop.run("secret", "set", "TYPED", "hunter3", "-p", "production").ok()
    assert value(shop, "TYPED") == b"hunter3"
    assert said.err.startswith("warning: a value on the command line")
    assert "hunter3" not in said.err + said.out
    quiet = shop.run("secret", "set", "TYPED", "hunter4", "-p", "production", "--quiet").ok()
    assert quiet.err == ""


def test_on_a_terminal_the_value_is_asked_for_and_not_shown(shop: Org, terminal_or_skip: object) -> None:
    asked = shop.machine.type("secret", "set", "ASKED", "-p", "production", answers=[("Value of ASKED: ", "hunter5")])
    assert asked.code == 0, asked.out
    assert "hunter5" not in asked.out
    assert value(shop, "ASKED") == b"hunter5"
    shown = shop.machine.type("secret", "get", "ASKED", "-p", "production")
    assert shown.out == "hunter5\n"
    assert shop.machine.type("secret", "set", "ASKED", "-p", "production", answers=[("Value of", "\x03")]).code == 130
    assert value(shop, "ASKED") == b"hunter5"


def test_setting_the_same_value_again_changes_nothing_and_says_so(shop: Org) -> None:
    shop.run("secret", "set", "SAME", "-p", "production", stdin="x").ok()
    before = shop.run("--json", "profile", "show", "production").ok().json()["version"]
    assert "nothing was changed" in shop.run("secret", "set", "SAME", "-p", "production", stdin="x").ok().err
    assert shop.run("--json", "profile", "show", "production").ok().json()["version"] == before
    shop.run("secret", "set", "SAME", "-p", "production", "--note", "why", stdin="x").ok()
    listed = {item["name"]: item for item in shop.run("--json", "secret", "list", "-p", "production").ok().json()}
    assert (listed["SAME"]["version"], listed["SAME"]["note"]) == (2, "why")


def test_the_list_has_names_versions_and_authors_and_no_value(shop: Org) -> None:
    shop.run("secret", "set", "NOTED", "-p", "production", "--note", "for the shop", stdin="hunter6").ok()
    listed = shop.run("secret", "list", "--profile", "production").ok()
    lines = [line.split("\t") for line in listed.out.splitlines()]
    assert lines[0] == ["name", "version", "changed", "by", "note"]
    row = next(line for line in lines if line[0] == "NOTED")
    assert (row[1], row[3], row[4]) == ("1", "Ada", "for the shop")
    as_json = shop.run("secret", "list", "--profile", "production", "--json").ok()
    assert next(item for item in as_json.json() if item["name"] == "NOTED")["author"] == "Ada"
    for text in (listed.out, listed.err, as_json.out):
        assert "hunter" not in text


def test_get_prints_the_value_alone_or_as_json_also_to_an_agent(shop: Org) -> None:
    token = shop.make_agent("reader of one", {"production": {}})
    got = shop.run("secret", "get", "DATABASE_URL", "--profile", "production", env=with_token(token)).ok()
    assert (got.out, got.err) == ("postgres://u:hunter2@db/shop", "")
    as_json = shop.run("secret", "get", "DATABASE_URL", "--json", env=with_token(token)).ok().json()
    assert (as_json["name"], as_json["value"]) == ("DATABASE_URL", "postgres://u:hunter2@db/shop")
    missing = shop.run("secret", "get", "DATABASE", env=with_token(token)).failed(5)
    assert "DATABASE_URL" in missing.err
    assert "hunter2" not in missing.err
    shop.run("secret", "get", "FIRST", "--profile", "staging", env=with_token(token)).failed(4)


def test_in_github_actions_the_value_is_masked_before_it_is_printed(shop: Org) -> None:
    got = shop.run("secret", "get", "DATABASE_URL", "-p", "production", "-q", env={"GITHUB_ACTIONS": "true"}).ok()
    assert got.out == "postgres://u:hunter2@db/shop"
    assert got.out_bytes in masks_in(got.err_bytes)


def test_a_value_that_is_no_text_is_given_exactly_but_not_as_json(shop: Org) -> None:
    shop.run("secret", "set", "BINARY", "-p", "production", "--exact", stdin=b"\xff\x00\xfe\n").ok()
    assert value(shop, "BINARY") == b"\xff\x00\xfe\n"
    refused = shop.run("secret", "get", "BINARY", "-p", "production", "--json").failed(10)
    assert refused.out == ""
    shop.run("secret", "delete", "BINARY", "-p", "production", "--yes").ok()


def test_delete_takes_several_all_or_none_and_wants_a_yes(shop: Org, terminal_or_skip: object) -> None:
    push(shop, "staging", {"OLD_A": "1", "OLD_B": "2"}).ok()
    assert "--yes" in shop.run("secret", "delete", "OLD_A", "-p", "staging").failed(2).err
    shop.run("secret", "delete", "OLD_A", "NEVER_THERE", "-p", "staging", "--yes").failed(5)
    no = shop.machine.type("secret", "delete", "OLD_A", "-p", "staging", answers=[("[y/N]", "n")])
    assert (no.code, "Nothing was deleted" in no.out) == (0, True)
    names = [item["name"] for item in shop.run("--json", "secret", "list", "-p", "staging").ok().json()]
    assert names == ["FIRST", "OLD_A", "OLD_B"]
    assert "OLD_A, OLD_B" in shop.run("secret", "delete", "OLD_A", "OLD_B", "-p", "staging", "--yes").ok().err
    assert shop.run("env", "pull", "-p", "staging").ok().out == "FIRST=other\n"
    shop.run("secret", "get", "OLD_A", "-p", "staging").failed(5)
    shop.run("secret", "delete", "OLD_A", "-p", "staging", "--yes").failed(5)


def test_secrets_set_at_the_same_time_are_all_kept(shop: Org) -> None:
    calls = [partial(shop.run, "secret", "set", f"AT_ONCE_{n}", "-p", "staging", stdin=f"v{n}") for n in range(4)]
    for result in in_parallel(calls):
        result.ok()
    pulled = shop.run("env", "pull", "-p", "staging", "--format", "json").ok().json()
    assert {name: pulled[name] for name in pulled if name.startswith("AT_ONCE")} == {
        f"AT_ONCE_{n}": f"v{n}" for n in range(4)
    }


@pytest.mark.parametrize("name", ["", "1ST", "with-dash", "with blank", "a=b", "ä", "x" * 256])
def test_a_name_that_is_not_legal_is_wrong_usage(shop: Org, name: str) -> None:
    refused = shop.run("secret", "set", name, "-p", "production", stdin="hunter7").failed(2)
    assert "hunter7" not in refused.err


def test_limits_of_value_and_note_are_told_and_kept(shop: Org) -> None:
    largest = shop.machine.file("largest", "x" * (1 << 20))
    shop.run("secret", "set", "LARGEST", "--file", str(largest), "-p", "staging").ok()
    too_large = shop.machine.file("too-large", "x" * ((1 << 20) + 1))
    shop.run("secret", "set", "LARGER", "--file", str(too_large), "-p", "staging").failed(2)
    shop.run("secret", "set", "LARGER", "-p", "staging", stdin="y" * (3 << 20)).failed(2)
    shop.run("secret", "set", "NOTED", "--note", "n" * 4097, "-p", "staging", stdin="z").failed(2)
    shop.run("secret", "get", "LARGER", "-p", "staging").failed(5)
    assert shop.run("secret", "get", "LARGEST", "-p", "staging").ok().out_bytes == b"x" * (1 << 20)
    shop.run("secret", "delete", "LARGEST", "-p", "staging", "--yes").ok()


def test_wrong_usage_and_missing_files_are_told(shop: Org) -> None:
    file = shop.machine.file("both", "x")
    shop.run("secret", "set", "A", "value", "--file", str(file), "-p", "production").failed(2)
    shop.run("secret", "set", "A", "--file", "nowhere", "-p", "production").failed(9)
    shop.run("secret", "set", "A", "--file", str(shop.machine.home), "-p", "production").failed(9)
    shop.run("secret", "set", "A", "-p", "nowhere", stdin="x").failed(5)
    shop.run("secret", "list", "-p", "nowhere").failed(5)
    shop.run("secret", "get", "FIRST", "-p", "nowhere").failed(5)
    assert "production, staging" in shop.run("secret", "list").failed(2).err
    shop.run("secret", "get").failed(2)
    shop.run("secret", "delete", "-p", "production").failed(2)
