"""Data on stdout, everything else on stderr; tables on terminals only; no value, token or name where it does not belong."""

from __future__ import annotations

import json

import pytest

from tests.e2e.more_support import push, reveals, with_token
from tests.e2e.support import Machine, Org

VALUE = "hunter2-is-secret"
LISTINGS: dict[tuple[str, ...], str] = {
    ("profile", "list"): "production",
    ("secret", "list", "--profile", "production"): "DATABASE_URL",
    ("group", "list"): "CI/CD Pipeline",
    ("agent", "list"): "CI/CD Pipeline",
    ("token", "list"): "CI/CD Pipeline",
    ("audit", "list"): "genesis",
}
SHOWN: dict[tuple[str, ...], str] = {
    ("profile", "show", "production"): "production",
    ("group", "show", "production"): "CI/CD Pipeline",
    ("agent", "show", "CI/CD Pipeline"): "CI/CD Pipeline",
}


@pytest.fixture(scope="module")
def shop(shared_org: Org) -> Org:
    push(shared_org, "production", {"DATABASE_URL": VALUE, "OTHER": VALUE}).ok()
    push(shared_org, "staging", {"DATABASE_URL": VALUE}).ok()
    for name in ("CI/CD Pipeline", "deploy bot"):
        shared_org.make_agent(name, {"production": {}})
    return shared_org


@pytest.mark.parametrize("command", LISTINGS)
def test_a_listing_is_plain_json_or_a_table(shop: Org, command: tuple[str, ...], terminal_or_skip: object) -> None:
    word = LISTINGS[command]
    plain = shop.run(*command).ok()
    rows = [line.split("\t") for line in plain.out.splitlines()]
    assert len({len(row) for row in rows}) == 1
    assert any(word in cell for row in rows[1:] for cell in row)
    assert "\x1b" not in plain.out
    assert plain.err == ""
    as_json = shop.run(*command, "--json").ok()
    items = json.loads(as_json.out)
    assert len(items) >= len(rows) - 1
    assert len({tuple(item) for item in items}) == 1
    assert as_json.err == ""
    screen = shop.machine.type(*command, env={"COLUMNS": "250", "TERM": "xterm", "NO_COLOR": "1"})
    assert screen.code == 0
    assert word in screen.out
    assert "\t" not in screen.out
    header = next(cell for cell in rows[0] if cell)
    assert header in screen.out.splitlines()[0]
    assert "\x1b[3" not in screen.out
    assert not reveals(plain, VALUE) + reveals(as_json, VALUE) + reveals(screen, VALUE)


@pytest.mark.parametrize("command", SHOWN)
def test_what_is_shown_is_text_or_one_json_object(shop: Org, command: tuple[str, ...]) -> None:
    plain, as_json = shop.run(*command).ok(), shop.run(*command, "--json").ok()
    assert SHOWN[command] in plain.out
    assert as_json.json()["id"] in plain.out
    assert plain.err == as_json.err == ""


def test_names_from_elsewhere_cannot_drive_the_terminal(shop: Org, machine: Machine) -> None:
    for text in ("\x1b[31mred", "a\nb", "\u202eflipped"):
        said = shop.run("profile", "show", text).failed(5)
        assert "\x1b" not in said.err
        assert "\u202e" not in said.err
        assert said.err.count("\n") <= 2


def test_quiet_leaves_data_and_errors(shop: Org) -> None:
    assert shop.run("env", "pull", "-p", "staging", "-o", "quiet.env", "--quiet").ok().err == ""
    assert shop.run("profile", "create", "quiet", "-q").ok().err == ""
    assert shop.run("secret", "set", "A", "typed", "-p", "quiet", "-q").ok().err == ""
    assert shop.run("profile", "show", "nowhere", "-q").failed(5).err.startswith("error: ")


def test_an_error_is_one_sentence_and_debug_adds_causes_without_secrets(shop: Org) -> None:
    token = shop.make_agent("debugged", {"staging": {}})
    command = ("env", "pull", "--profile", "production")
    plain = shop.run(*command, env=with_token(token)).failed(4)
    assert plain.err.count("\n") == 2
    debug = shop.run(*command, "--debug", env=with_token(token)).failed(4)
    assert debug.err.startswith(plain.err)
    assert "Refused" in debug.err
    missing = shop.run("secret", "get", "DATABASE", "-p", "production", "--debug").failed(5)
    refused = shop.run("secret", "set", "no-name", VALUE, "-p", "production", "--debug").failed(2)
    for result in (plain, debug, missing, refused):
        assert not reveals(result, VALUE, token)
    as_json = shop.run(*command, "--json", env=with_token(token))
    error = json.loads(as_json.err)["error"]
    assert (as_json.code, error["code"], error["exit_code"]) == (4, "PROFILE_FORBIDDEN", 4)


def test_help_of_each_command_shows_one_example(shop: Org) -> None:
    for command in ("secret set", "env pull", "token revoke", "run"):
        shown = shop.run(*command.split(), "--help").ok()
        assert f"Example: stronghold {command}" in shown.out
