"""``run`` and ``env run``: the command's words, signals and exit code are its own; our token is not among its variables."""

from __future__ import annotations

import json
import os
import signal
import sys

import pytest

from tests.e2e.more_support import FIFTY, FIFTY_FILE, push, with_token
from tests.e2e.support import Machine, Org, end

SHOW_ARGUMENTS = "import json, sys; print(json.dumps(sys.argv[1:]))"


@pytest.fixture(scope="module")
def shop(shared_org: Org) -> Org:
    shared_org.run("env", "push", str(FIFTY_FILE), "--profile", "production", "--yes").ok()
    push(shared_org, "staging", {"FIRST": "1"}).ok()
    return shared_org


@pytest.fixture(scope="module")
def token(shop: Org) -> str:
    return shop.make_agent("CI", {"production": {}, "staging": {}})


def test_the_command_has_the_fifty_and_not_our_token(shop: Org, token: str, machine: Machine) -> None:
    extra = {"KEPT": "mine", "PORT": "overridden", "API_STRONGHOLD_TOKEN": "x", "STRONGHOLD_SESSION": "y"}
    ran = machine.run("run", "-p", "production", "--", "env", "-0", env=with_token(token, **extra)).ok()
    shown = dict(entry.split("=", 1) for entry in ran.out.split("\0") if entry)
    assert {name: shown[name] for name in FIFTY} == FIFTY
    assert shown["KEPT"] == "mine"
    assert not [name for name in shown if "STRONGHOLD" in name]
    assert token not in ran.out
    as_operator = shop.run("env", "run", "-p", "production", "--", "env", "-0").ok()
    assert {name for name in FIFTY if f"{name}=" in as_operator.out} == FIFTY.keys()


def test_the_words_of_the_command_stay_exactly_as_they_are(shop: Org, token: str) -> None:
    words = [
        "a b",
        "",
        "$HOME",
        "*",
        "--profile",
        "other",
        "-q",
        "--json",
        "--",
        "'",
        '"',
        "\n",
        "é",
        "; echo no",
        "--debug",
    ]
    ran = shop.run("run", "-p", "staging", "--", sys.executable, "-c", SHOW_ARGUMENTS, *words, env=with_token(token)).ok()
    assert json.loads(ran.out) == words
    ran = shop.run("run", "-p", "staging", sys.executable, "-c", SHOW_ARGUMENTS, *words, env=with_token(token)).ok()
    assert json.loads(ran.out) == words


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_the_exit_code_of_the_command_is_ours(shop: Org, token: str, code: int) -> None:
    assert shop.run("run", "-p", "staging", "--", "sh", "-c", f"exit {code}", env=with_token(token)).code == code


def test_a_command_that_does_not_start_ends_as_in_a_shell(shop: Org, token: str) -> None:
    env = with_token(token)
    assert "nowhere-at-all" in shop.run("run", "-p", "staging", "--", "nowhere-at-all", env=env).failed(127).err
    shop.machine.file("no-program", "text", 0o600)
    shop.run("run", "-p", "staging", "--", "./no-program", env=env).failed(126)
    shop.run("run", "-p", "staging", "--", "/", env=env).failed(126)


def test_the_process_is_replaced_so_signals_reach_the_command(shop: Org, token: str) -> None:
    script = "trap 'echo told; exit 42' TERM; echo $$; while :; do sleep 0.05; done"
    process = shop.machine.start("run", "-p", "staging", "--", "sh", "-c", script, env=with_token(token))
    try:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == process.pid
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == b"told\n"
        assert process.wait(10) == 42
    finally:
        end(process)


def test_stdin_and_the_folder_are_the_command_s(shop: Org, token: str) -> None:
    ran = shop.run("run", "-p", "staging", "--", "sh", "-c", "cat; pwd", env=with_token(token), stdin="given\n").ok()
    assert ran.out == f"given\n{os.path.realpath(shop.machine.home)}\n"


def test_a_name_that_changes_what_runs_is_refused_unless_allowed(org: Org) -> None:
    push(org, "production", {"LD_PRELOAD": "/evil.so", "FINE": "1"}).ok()
    refused = org.run("run", "--", "env").failed(2)
    assert "LD_PRELOAD" in refused.err
    assert "/evil.so" not in refused.err
    assert refused.out == ""
    push(org, "staging", {"PS4": "x"}).ok()
    allowed = org.run("run", "-p", "staging", "--allow-name", "PS4", "--", "env").ok()
    assert "PS4=x" in allowed.out.splitlines()


def test_a_value_that_no_environment_carries_is_refused_and_nothing_runs(org: Org) -> None:
    push(org, "production", {"LARGE": "x" * 131_072}).ok()
    refused = org.run("run", "--", "touch", "ran").failed(10)
    assert "128 KiB" in refused.err
    org.run("secret", "set", "ZERO", "-p", "staging", stdin="x").failed(5)
    push(org, "staging", {"FINE": "1"}).ok()
    org.run("secret", "set", "ZERO", "-p", "staging", stdin=b"a\x00b").ok()
    assert "ZERO" in org.run("run", "-p", "staging", "--", "touch", "ran").failed(10).err
    assert not (org.machine.home / "ran").exists()


def test_in_github_actions_the_values_are_masked_before_the_command_runs(shop: Org, token: str) -> None:
    ran = shop.run(
        "run", "-p", "staging", "--", "sh", "-c", "exec 1>&2; echo ran", env=with_token(token, GITHUB_ACTIONS="true")
    )
    assert ran.ok().err.splitlines()[0] == "::add-mask::1"
    assert ran.err.endswith("ran\n")


def test_refusals_start_nothing(shop: Org, token: str) -> None:
    shop.run("run").failed(2)
    shop.run("run", "-p", "staging", "--").failed(2)
    shop.run("run", "-p", "nowhere", "--", "touch", "ran", env=with_token(token)).failed(4)
    shop.run("run", "-p", "nowhere", "--", "touch", "ran").failed(5)
    assert "production, staging" in shop.run("run", "--", "touch", "ran", env=with_token(token)).failed(2).err
    assert not (shop.machine.home / "ran").exists()
