"""``env pull``: every reader gets the very same values back, and a file is replaced whole or not at all."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dotenv import dotenv_values

from tests.e2e.more_support import FIFTY, FIFTY_FILE, files_of, push, with_token
from tests.e2e.support import Machine, Org

# Prints the environment as JSON, without what this interpreter or a shell adds.
SHOW = "import json, os; print(json.dumps({k.decode(): v.decode() for k, v in os.environb.items()}))"


class Shop:
    """An org with the corpus of fifty in production, other values in staging, and an agent for production on a machine."""

    def __init__(self, org: Org, agent: Machine) -> None:
        self.org = org
        self.agent = agent
        org.run("env", "push", str(FIFTY_FILE), "--profile", "production", "--yes").ok()
        push(org, "staging", {"A": "staging-only"}).ok()
        self.token = org.make_agent("CI", {"production": {}})
        self.env = with_token(self.token)


@pytest.fixture(scope="module")
def shop(shared_org: Org, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(shared_org, Machine(tmp_path_factory.mktemp("agent-machine")))


@pytest.fixture
def folder(shop: Shop, tmp_path: Path) -> Iterator[Path]:
    """A folder of its own to pull into."""
    path = tmp_path / "work"
    path.mkdir()
    yield path
    assert not [each for each in os.listdir(path) if each.endswith(".new")], "a temporary file was left"


def test_python_dotenv_reads_the_fifty_back(shop: Shop, folder: Path) -> None:
    said = shop.agent.run("env", "pull", "--profile", "production", "-o", ".env", env=shop.env, cwd=folder).ok()
    assert said.out == ""
    assert "Wrote 50 secrets of 'production'" in said.err
    file = folder / ".env"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert dotenv_values(file) == FIFTY
    printed = shop.agent.run("env", "pull", "--profile", "production", env=shop.env).ok()
    assert printed.out_bytes == file.read_bytes()
    assert dotenv_values(stream=io.StringIO(printed.out)) == FIFTY


@pytest.mark.parametrize("shell", ["sh", "dash", "bash"])
def test_a_shell_that_sources_the_file_has_the_fifty(shop: Shop, folder: Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    shop.agent.run("env", "pull", "-p", "production", "--format", "shell", "-o", "env.sh", env=shop.env, cwd=folder).ok()
    script = f"set -a; . ./env.sh; exec '{sys.executable}' -c '{SHOW}'"
    ran = subprocess.run([shell, "-c", script], cwd=folder, env={}, capture_output=True, check=True, timeout=60)
    shown = json.loads(ran.stdout)
    assert ran.stderr == b""
    assert {name: shown[name] for name in FIFTY} == FIFTY
    assert shown.keys() - FIFTY.keys() <= {"PWD", "SHLVL", "_", "OLDPWD", "LC_CTYPE"}


def test_json_has_the_fifty(shop: Shop) -> None:
    assert shop.agent.run("env", "pull", "-p", "production", "-f", "json", env=shop.env).ok().json() == FIFTY


def test_an_operator_pulls_as_well(shop: Shop) -> None:
    assert shop.org.run("env", "pull", "-p", "production", "-f", "json").ok().json() == FIFTY


def test_only_and_exclude_choose_by_name_and_miss_nothing_in_silence(shop: Shop) -> None:
    def pull(*options: str) -> list[str]:
        return list(shop.agent.run("env", "pull", "-p", "production", "-f", "json", *options, env=shop.env).ok().json())

    assert pull("--only", "PORT, APP_NAME") == ["APP_NAME", "PORT"]
    assert set(pull("--exclude", "PORT,APP_NAME")) == FIFTY.keys() - {"PORT", "APP_NAME"}
    for option in ("--only", "--exclude"):
        missing = shop.agent.run("env", "pull", "-p", "production", option, "PORT,PROT", env=shop.env).failed(5)
        assert "'PROT'" in missing.err
        assert missing.out == ""
    shop.agent.run("env", "pull", "--only", "A", "--exclude", "B", env=shop.env).failed(2)


def test_the_folder_s_settings_hold_and_options_go_before_them(shop: Shop, folder: Path) -> None:
    settings = "profile = 'production'\nformat = 'json'\nonly = ['PORT', 'DEBUG']\nserver = 'https://evil.example'\n"
    (folder / ".stronghold.toml").write_text(settings)
    below = folder / "below"
    below.mkdir()
    pulled = shop.agent.run("env", "pull", env=shop.env, cwd=below).ok()
    assert pulled.json() == {"DEBUG": FIFTY["DEBUG"], "PORT": FIFTY["PORT"]}
    assert "server" in pulled.err
    chosen = shop.agent.run("env", "pull", "--format", "dotenv", "--only", "PORT", "-q", env=shop.env, cwd=below).ok()
    assert chosen.out == "PORT=3000\n"
    ran = shop.agent.run("run", "-q", "--", sys.executable, "-c", SHOW, env=shop.env, cwd=below).ok().json()
    assert ran.keys() & FIFTY.keys() == {"DEBUG", "PORT"}


def test_a_value_that_the_format_cannot_carry_is_refused_with_key_and_remedy(org: Org, folder: Path) -> None:
    push(org, "production", {"FINE": "1", "EXPANDED": "hunter2${HOME}"}).ok()
    (folder / ".env").write_text("old\n")
    refused = org.run("env", "pull", "-o", ".env", cwd=folder).failed(10)
    assert "EXPANDED" in refused.err
    assert "--format" in refused.err
    assert "hunter2" not in refused.err
    assert files_of(folder) == {".env": b"old\n"}
    assert org.run("env", "pull", "-f", "json", cwd=folder).ok().json()["EXPANDED"] == "hunter2${HOME}"
    org.run("env", "pull", "-f", "xml", cwd=folder).failed(2)


def test_what_others_wrote_is_replaced_after_a_yes_and_without_a_terminal_told(
    shop: Shop, folder: Path, terminal_or_skip: object
) -> None:
    (folder / ".env").write_text("OF=others\n")
    pull = ("env", "pull", "-p", "production", "-o", ".env")
    question = ".env was not written by stronghold. Replace it? [y/N]"
    no = shop.agent.type(*pull, answers=[(question, "n")], env=shop.env, cwd=folder)
    assert (no.code, "Nothing was written" in no.out) == (0, True)
    assert shop.agent.type(*pull, answers=[(question, "\x03")], env=shop.env, cwd=folder).code == 130
    # Nothing is said to have been replaced where the pull then fails.
    failed = shop.agent.run("env", "pull", "-p", "staging", "-o", ".env", env=shop.env, cwd=folder).failed(4)
    assert "replaced" not in failed.err
    assert files_of(folder) == {".env": b"OF=others\n"}
    assert "it was replaced" in shop.agent.run(*pull, env=shop.env, cwd=folder).ok().err
    assert dotenv_values(folder / ".env") == FIFTY
    assert "replaced" not in shop.agent.run(*pull, env=shop.env, cwd=folder).ok().err  # ours by now
    (folder / ".env").write_text("OF=others\n")
    forced = shop.agent.type(*pull, "--force", env=shop.env, cwd=folder)
    assert (forced.code, "Replace it" in forced.out) == (0, False)


def test_a_file_that_git_would_take_in_is_warned_of(shop: Shop, folder: Path) -> None:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True, env=shop.agent.environment())
    pull = ("env", "pull", "-p", "production", "--only", "PORT", "-o", ".env")
    assert ".gitignore" in shop.agent.run(*pull, env=shop.env, cwd=folder).ok().err
    (folder / ".gitignore").write_text(".env\n")
    assert ".gitignore" not in shop.agent.run(*pull, env=shop.env, cwd=folder).ok().err


def test_the_profile_is_told_where_none_was_named(shop: Shop) -> None:
    fresh = shop.org.run("token", "mint", "CI", "-q").ok().out.strip()
    pulled = shop.agent.run("env", "pull", "--only", "PORT", env=with_token(fresh)).ok()
    assert "this is 'production'" in pulled.err
    chosen = {"STRONGHOLD_PROFILE": "production"}
    assert shop.agent.run("env", "pull", "--only", "PORT", env=with_token(fresh, **chosen)).ok().err == ""
    shop.agent.run("env", "pull", env=with_token(fresh, STRONGHOLD_PROFILE=" ")).failed(2)
    assert "production, staging" in shop.org.run("env", "pull").failed(2).err


def test_the_token_is_found_in_the_documented_order(shop: Shop) -> None:
    staging = shop.org.make_agent("staging agent", {"staging": {}})
    shop.agent.file("token", f"  {staging}\r\n")
    right, wrong = "A=staging-only\n", "shat_wrong"
    ways: tuple[tuple[tuple[str, ...], dict[str, str | None], str], ...] = (
        (("--token", staging), {"STRONGHOLD_TOKEN": wrong}, ""),
        (("--token", "-"), {"STRONGHOLD_TOKEN": wrong}, f"{staging}\n"),
        (("--token-file", "token"), {"STRONGHOLD_TOKEN": wrong}, ""),
        ((), {"STRONGHOLD_TOKEN": staging, "STRONGHOLD_TOKEN_FILE": "nowhere", "API_STRONGHOLD_TOKEN": wrong}, ""),
        ((), {"STRONGHOLD_TOKEN_FILE": "token", "API_STRONGHOLD_TOKEN": wrong}, ""),
        ((), {"API_STRONGHOLD_TOKEN": f"{staging}\n"}, ""),
    )
    for options, variables, stdin in ways:
        pulled = shop.agent.run("env", "pull", "-p", "staging", *options, env=variables, stdin=stdin).ok()
        assert pulled.out == right
        assert ("on the command line" in pulled.err) == (options[:1] == ("--token",) and options[1] != "-")
    quiet = shop.agent.run("env", "pull", "-p", "staging", "--token", staging, "--quiet").ok()
    assert quiet.err == ""


def test_names_that_change_what_runs_are_refused_in_what_processes_take(org: Org, folder: Path) -> None:
    evil = {"LD_PRELOAD": "/evil.so", "BASH_ENV": "/evil.sh"}
    push(org, "production", {**evil, "FINE": "1"}).ok()
    runner = folder / "github-env"
    runner.write_text("KEPT=1\n")
    for way in (("-f", "shell"), ("-f", "shell", "-o", "env.sh"), ("-f", "github"), ("-o", str(runner))):
        refused = org.run("env", "pull", *way, "--allow-name", "LD_PRELOAD", cwd=folder, env={"GITHUB_ENV": str(runner)})
        assert refused.failed(2).out == ""
        assert "--allow-name BASH_ENV" in refused.err
        assert not [value for value in evil.values() if value in refused.err]
    assert files_of(folder) == {"github-env": b"KEPT=1\n"}
    both = ("--allow-name", "LD_PRELOAD", "--allow-name", "BASH_ENV")
    sourced = org.run("env", "pull", "-f", "shell", *both).ok().out
    assert sourced == "export BASH_ENV=/evil.sh\nexport FINE=1\nexport LD_PRELOAD=/evil.so\n"
    assert org.run("env", "pull", "-f", "shell", "--exclude", "LD_PRELOAD,BASH_ENV").ok().out == "export FINE=1\n"
    assert org.run("env", "pull", "-f", "json").ok().json() == {**evil, "FINE": "1"}
