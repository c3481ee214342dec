"""``auth``: operators log in, unlock, lock; agents' tokens are stored; status, logout and the mark."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.support import PASSPHRASE, Machine, Org, ServerProcess, make_org

NOWHERE = {"STRONGHOLD_URL": "http://127.0.0.1:1"}
VALUES = {"production": {"KEY": "value"}}


@pytest.fixture
def laptop(new_machine: Callable[..., Machine], shared_org: Org) -> Machine:
    """A second machine of the operator, with kit and passphrase in files, and nothing else."""
    fresh = new_machine()
    fresh.file("kit", f"# a comment\n{shared_org.root_kit}\n\n{shared_org.operator_kit}\n")
    fresh.file("passphrase", PASSPHRASE + "\n")
    return fresh


@pytest.fixture(scope="module")
def token(shared_org: Org) -> str:
    """The token of an agent that may read one profile."""
    return shared_org.make_agent("CI/CD Pipeline", VALUES)


LOGIN = ("auth", "login", "--kit-file", "kit", "--passphrase-file", "passphrase")


class TestLogin:
    def test_first_login_shows_the_words_of_the_newest_head(self, shared_org: Org, laptop: Machine) -> None:
        words = shared_org.run("org", "show", "--json").ok().json()["head"]["words"]
        first = laptop.run(*LOGIN).ok()
        assert first.out.strip() == words
        assert "compare" in first.err
        assert laptop.run("org", "show", "--json").ok().json()["head"]["words"] == words
        assert laptop.run(*LOGIN).ok().out == ""  # from now on the mark compares

    def test_login_as_json(self, laptop: Machine, shared_org: Org) -> None:
        shown = laptop.run(*LOGIN, "--context", "mine", "--json").ok().json()
        assert shown["context"] == "mine"
        assert shown["operator"] == "Ada"
        assert len(shown["head_words"].split()) == 10

    @pytest.mark.usefixtures("terminal_or_skip")
    def test_kit_and_passphrase_are_typed_without_being_shown(self, laptop: Machine, shared_org: Org) -> None:
        typed = laptop.type(
            "auth", "login", answers=[("Operator kit", shared_org.operator_kit), ("Passphrase", PASSPHRASE)]
        ).ok()
        assert shared_org.operator_kit not in typed.out
        assert PASSPHRASE not in typed.out
        laptop.run("org", "show").ok()

    def test_wrong_passphrase_is_3_and_keeps_nothing(self, laptop: Machine) -> None:
        laptop.file("passphrase", "another passphrase\n")
        assert "passphrase" in laptop.run(*LOGIN).failed(3).err
        assert not laptop.data.exists()

    @pytest.mark.parametrize("damage", ["character", "cut", "root kit", "two", "nothing", "binary"])
    def test_kit_that_is_none_is_3_offline(self, laptop: Machine, shared_org: Org, damage: str) -> None:
        kit = shared_org.operator_kit
        content = {
            "character": kit[:20] + ("A" if kit[20] != "A" else "B") + kit[21:],
            "cut": kit[:-1],
            "root kit": shared_org.root_kit,
            "two": f"{kit}\n{kit}\n",
            "nothing": "# only a comment\n",
            "binary": "",
        }[damage]
        laptop.file("kit", content)
        if damage == "binary":
            (laptop.home / "kit").write_bytes(b"\xff\xfe")
        ended = laptop.run(*LOGIN, env=NOWHERE).failed(3)
        assert kit not in ended.err
        assert shared_org.root_kit not in ended.err

    def test_server_away_is_7(self, laptop: Machine) -> None:
        laptop.run(*LOGIN, env=NOWHERE).failed(7)
        assert not laptop.data.exists()

    def test_server_without_this_org_is_3(self, laptop: Machine, new_server: Callable[..., ServerProcess]) -> None:
        ended = laptop.run(*LOGIN, env={"STRONGHOLD_URL": new_server().url}).failed(3)
        assert "does not know this operator" in ended.err

    def test_context_that_is_taken_is_6(self, laptop: Machine, org: Org) -> None:
        laptop.run(*LOGIN, "--context", "taken").ok()
        laptop.file("kit", org.operator_kit)
        laptop.run(*LOGIN, "--context", "Taken").failed(6)

    def test_files_that_are_missing_are_9(self, laptop: Machine) -> None:
        laptop.run("auth", "login", "--kit-file", "missing").failed(9)
        laptop.run("auth", "login", "--kit-file", "kit", "--passphrase-file", "missing").failed(9)

    def test_question_without_a_terminal_is_2(self, laptop: Machine) -> None:
        assert "--kit-file" in laptop.run("auth", "login").failed(2).err
        assert "--passphrase-file" in laptop.run("auth", "login", "--kit-file", "kit").failed(2).err


class TestLocking:
    def test_lock_and_unlock(self, org: Org) -> None:
        org.run("auth", "lock").ok()
        assert "locked already" in org.run("auth", "lock").ok().err
        assert "auth unlock" in org.run("org", "show").failed(3).err
        unlocked = org.run("auth", "unlock", "--passphrase-file", "passphrase").ok()
        assert unlocked.out == ""  # the key lies in the run-time folder
        org.run("org", "show").ok()
        org.run("auth", "lock", "--all").ok()
        org.run("org", "show").failed(3)

    def test_unlock_for_a_while(self, org: Org) -> None:
        org.run("auth", "unlock", "--passphrase-file", "passphrase", "--for", "2s").ok()
        time.sleep(2.1)
        org.run("org", "show").failed(3)
        unlocked = org.run("auth", "unlock", "--passphrase-file", "passphrase", "--for", "2h", "--json").ok().json()
        assert unlocked["unlocked_until"] == org.run("auth", "status", "--json").ok().json()["unlocked_until"]

    @pytest.mark.parametrize("length", ["soon", "0h", "31d", "-1h"])
    def test_unlock_for_no_sensible_while_is_2(self, shared_org: Org, length: str) -> None:
        shared_org.run("auth", "unlock", f"--for={length}", "--passphrase-file", "passphrase").failed(2)

    def test_unlock_with_the_wrong_passphrase_is_3_and_stays_locked(self, org: Org) -> None:
        org.run("auth", "lock").ok()
        wrong = org.machine.file("wrong", "this is another one\n")
        ended = org.run("auth", "unlock", "--passphrase-file", str(wrong)).failed(3)
        assert "this is another one" not in ended.err
        org.run("org", "show").failed(3)

    def test_unlock_errors(self, shared_org: Org, machine: Machine) -> None:
        words = ("auth", "unlock", "--passphrase-file")
        shared_org.run(*words, "passphrase", env=NOWHERE).failed(7)
        shared_org.run(*words, "missing").failed(9)
        shared_org.run("auth", "unlock").failed(2)
        machine.run(*words, "missing").failed(3)
        machine.run("auth", "lock").failed(3)

    @pytest.mark.usefixtures("terminal_or_skip")
    def test_command_of_a_locked_operator_asks_on_a_terminal(self, org: Org) -> None:
        org.run("auth", "lock").ok()
        typed = org.machine.type("org", "show", answers=[("Passphrase of", PASSPHRASE)]).ok()
        assert org.name in typed.out
        org.run("org", "show").failed(3)  # one command does not unlock the machine


class TestApiUser:
    def test_token_is_stored_after_it_worked(self, machine: Machine, token: str) -> None:
        stored = machine.run("auth", "api-user", "--token", token).ok()
        assert "CI/CD Pipeline" in stored.err
        assert "production" in stored.err
        assert "does not expire" in stored.err
        assert "warning: a token on the command line" in stored.err
        assert machine.run("env", "pull", "--profile", "production").ok().out == "KEY=value\n"

    def test_warning_goes_with_quiet(self, machine: Machine, token: str) -> None:
        assert machine.run("auth", "api-user", "--token", token, "--quiet").ok().err == ""

    @pytest.mark.parametrize("way", ["stdin", "file", "variable", "file variable", "alias"])
    def test_other_ways_to_give_it_have_no_warning(self, machine: Machine, token: str, way: str) -> None:
        path = str(machine.file("token", f" {token}\n"))
        words, stdin, env = {
            "stdin": (["api-user", "--token", "-"], f"{token}\n", {}),
            "file": (["api-user", "--token-file", path], "", {}),
            "variable": (["api-user"], "", {"STRONGHOLD_TOKEN": f"{token}\n"}),
            "file variable": (["api-user"], "", {"STRONGHOLD_TOKEN_FILE": path}),
            "alias": (["agent", "--token-file", path], "", {}),
        }[way]
        stored = machine.run("auth", *words, stdin=stdin, env=env).ok()
        assert "warning" not in stored.err
        assert token not in stored.err + stored.out
        assert machine.run("auth", "status", "--json").ok().json()["agent"]["name"] == "CI/CD Pipeline"

    def test_as_json(self, machine: Machine, token: str) -> None:
        shown = machine.run("auth", "api-user", "--token", "-", "--json", stdin=token).ok()
        assert token not in shown.out
        assert [item["name"] for item in shown.json()["profiles"]] == ["production"]
        assert shown.json()["expires"] is None

    @pytest.mark.usefixtures("terminal_or_skip")
    def test_token_is_typed_without_being_shown(self, machine: Machine, token: str) -> None:
        typed = machine.type("auth", "api-user", answers=[("Agent token", token)]).ok()
        assert token not in typed.out

    def test_offline_stores_it_unchecked(self, machine: Machine, token: str) -> None:
        machine.run("auth", "api-user", "--token", "-", "--offline", stdin=token, env=NOWHERE).ok()
        assert machine.run("auth", "status", "--json").ok().json()["identity"] == "agent"

    def test_server_away_is_7_and_stores_nothing(self, machine: Machine, token: str) -> None:
        machine.run("auth", "api-user", "--token", "-", stdin=token, env=NOWHERE).failed(7)
        machine.run("auth", "status").failed(3)

    def test_unknown_token_is_3_and_stores_nothing(
        self, machine: Machine, token: str, new_server: Callable[..., ServerProcess]
    ) -> None:
        ended = machine.run("auth", "api-user", "--token", "-", stdin=token, env={"STRONGHOLD_URL": new_server().url})
        assert token not in ended.failed(3).err
        machine.run("auth", "status").failed(3)

    @pytest.mark.parametrize("damage", ["cut", "quoted", "operator kit", "empty", "doubled"])
    def test_damaged_token_is_3_offline_and_is_not_repeated(
        self, machine: Machine, token: str, shared_org: Org, damage: str
    ) -> None:
        text = {
            "cut": token[:-2],
            "quoted": f'"{token}"',
            "operator kit": shared_org.operator_kit,
            "empty": " \n",
            "doubled": token + token,
        }[damage]
        ended = machine.run("auth", "api-user", "--token", "-", "--offline", stdin=text).failed(3)
        assert token[:40] not in ended.err
        assert shared_org.operator_kit not in ended.err
        assert not (machine.data / "tokens").exists()

    def test_no_token_is_3_with_the_ways_to_give_one(self, machine: Machine) -> None:
        ended = machine.run("auth", "api-user").failed(3)
        assert "--token-file" in ended.err
        machine.run("auth", "api-user", "--token-file", "missing").failed(9)

    def test_expiry_is_told_and_warned_of(self, machine: Machine, shared_org: Org) -> None:
        soon = shared_org.make_agent("short-lived", VALUES, not_after=int(time.time()) + 90)
        stored = machine.run("auth", "api-user", "--token", "-", stdin=soon).ok()
        assert re.search(r"expires 20\d\d-\S+Z \(in \d+ (s|min)\)", stored.err)


class TestStatus:
    def test_nobody_is_3(self, machine: Machine) -> None:
        assert "auth login" in machine.run("auth", "status").failed(3).err

    def test_operator_is_told_without_server_and_passphrase(self, org: Org) -> None:
        shown = org.run("auth", "status", "--json", env=NOWHERE).ok().json()
        assert shown["identity"] == "operator"
        assert shown["operator"]["name"] == "Ada"
        assert shown["operator"]["role"] == "admin"
        assert shown["org"]["name"] == shown["context"] == org.name
        assert shown["unlocked_until"].endswith("Z")
        org.run("auth", "lock").ok()
        assert org.run("whoami", "--json", env=NOWHERE).ok().json() == {**shown, "unlocked_until": None}
        assert "locked" in org.run("auth", "status").ok().out

    def test_token_that_is_given_comes_first(self, shared_org: Org, token: str) -> None:
        shown = shared_org.run("auth", "status", env={"STRONGHOLD_TOKEN": token}).ok()
        assert "CI/CD Pipeline" in shown.out
        assert "from STRONGHOLD_TOKEN" in shown.out
        assert token not in shown.out + shown.err
        as_json = shared_org.run("auth", "status", "--json", "--token", "-", stdin=token).ok().json()
        assert as_json["source"] == "stdin"
        assert shared_org.run("auth", "status", "--json").ok().json()["identity"] == "operator"

    def test_an_agent_s_whole_record_is_shown(self, shared_org: Org) -> None:
        shared_org.run("profile", "create", "shown").ok()
        for name in ("A", "B"):
            shared_org.run("secret", "set", name, "-p", "shown", stdin="value").ok()
        shared_org.run("secret", "delete", "A", "-p", "shown", "--yes").ok()
        token = (
            shared_org.run(
                *("agent", "create", "described", "-p", "shown", "--description", "Builds", "--label", "env=prod"),
                *("--expires-in", "90d", "-q"),
            )
            .ok()
            .out.strip()
        )
        record = shared_org.run("auth", "status", "--json", env={"STRONGHOLD_TOKEN": token}).ok().json()
        org = shared_org.run("org", "show", "--json").ok().json()
        assert record["org"] == {
            "id": org["id"], "name": org["name"], "fingerprint": org["fingerprint"], "head_seq": org["head"]["seq"],
        }  # fmt: skip
        assert len(org["fingerprint"].split()) == 10
        assert record["server"] == shared_org.server.url
        agent = shared_org.run("agent", "show", "described", "--json").ok().json()
        assert {name: record["agent"][name] for name in ("id", "name", "description", "labels", "state", "expires")} == {
            name: agent[name] for name in ("id", "name", "description", "labels", "state", "expires")
        }
        (listed,) = agent["tokens"]
        assert (record["token"]["id"], record["token"]["name"]) == (listed["id"], "first")
        assert record["expires"] == agent["expires"] == listed["expires"]
        assert record["groups"] == ["shown"]
        (profile,) = record["profiles"]
        assert (profile["name"], profile["secrets"], profile["secrets_exact"], profile["version"]) == ("shown", 1, True, 4)
        text = shared_org.run("auth", "status", env={"STRONGHOLD_TOKEN": token}).ok().out
        for words in (
            "Agent 'described'", "Builds", "labels: env=prod", "groups: shown", "shown: 1 secret, version 4",
            shared_org.server.url, org["fingerprint"], f"expires {agent['expires']}",
        ):  # fmt: skip
            assert words in text

    def test_agent_is_never_told_without_the_server(self, machine: Machine, token: str) -> None:
        shown = machine.run("auth", "status", env={**NOWHERE, "STRONGHOLD_TOKEN": token}).failed(7)
        assert shown.out == ""


class TestLogout:
    def test_agent_is_forgotten(self, machine: Machine, token: str) -> None:
        machine.run("auth", "api-user", "--token", "-", stdin=token).ok()
        machine.run("auth", "logout").failed(2)
        machine.run("auth", "status").ok()
        machine.run("auth", "logout", "--yes").ok()
        machine.run("auth", "status").failed(3)
        assert not list((machine.data / "tokens").iterdir())
        assert "Nobody" in machine.run("auth", "logout", "--yes").ok().err

    def test_operator_is_forgotten_but_not_the_mark(self, org: Org) -> None:
        org.run("auth", "logout", "--yes").ok()
        org.run("org", "show").failed(3)
        left = [path.name for path in org.machine.data.rglob("*") if path.is_file() and not path.name.endswith(".lock")]
        assert "current.json" in left
        assert [name[:2] for name in left if name != "current.json"] == ["o-"]
        assert not [path for path in org.machine.runtime.rglob("*") if path.is_file()]

    @pytest.mark.usefixtures("terminal_or_skip")
    def test_a_no_on_the_terminal_keeps_everything(self, shared_org: Org) -> None:
        for words in (("logout",), ("logout", "--all"), ("reset-mark",)):
            shared_org.machine.type("auth", *words, answers=[("[y/N] ", "n")]).ok()
            shared_org.run("org", "show").ok()

    def test_all_removes_and_lists_every_file(self, org: Org, token: str) -> None:
        machine = org.machine
        machine.run("auth", "api-user", "--token", "-", stdin=token).ok()
        mine = machine.config / "config.toml"
        mine.parent.mkdir(parents=True)
        mine.write_text("profile = 'production'\n", encoding="utf-8")
        machine.run("auth", "logout", "--all").failed(2)
        removed = machine.run("auth", "logout", "--all", "--yes").ok().out.splitlines()
        assert len(removed) >= 6
        assert not any(Path(path).exists() for path in removed)
        left = [path for folder in (machine.data, machine.state, machine.runtime) for path in folder.rglob("*")]
        assert [path for path in left if path.is_file()] == []
        assert mine.exists()
        machine.run("auth", "status").failed(3)
        assert "nothing" in machine.run("auth", "logout", "--all", "--yes").ok().err


class TestResetMark:
    def test_what_is_lost_is_said_before(self, org: Org) -> None:
        (mark,) = (org.machine.data / "marks").glob("o-*.json")
        ended = org.run("auth", "reset-mark").failed(2)
        assert "older" in ended.err or "old state" in ended.err
        assert mark.exists()
        org.run("auth", "reset-mark", "--yes").ok()
        assert not mark.exists()
        assert "no mark" in org.run("auth", "reset-mark", "--yes").ok().err
        org.run("org", "show").ok()
        assert mark.exists()

    def test_unreadable_mark_is_8_until_it_is_reset(self, machine: Machine, token: str) -> None:
        env = {"STRONGHOLD_TOKEN": token}
        machine.run("env", "pull", env=env).ok()
        (mark,) = (machine.data / "marks").glob("t-*.json")
        mark.write_text("{}")
        ended = machine.run("env", "pull", env=env).failed(8)
        assert ended.out == ""
        assert "auth reset-mark" in ended.err
        machine.run("auth", "reset-mark", "--yes", env=env).ok()
        machine.run("env", "pull", env=env).ok()

    def test_nobody_is_3(self, machine: Machine) -> None:
        machine.run("auth", "reset-mark", "--yes").failed(3)


def test_server_that_lost_changes_is_told_as_such_until_the_mark_is_reset(
    machine: Machine, new_server: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    """A server restored from an old backup has nothing to show to whoever has seen a newer state."""
    import shutil

    server = new_server()
    org = make_org(machine, server)
    server.stop()
    shutil.copytree(server.data_dir, tmp_path / "older")
    server.start()
    org.make_agent("CI", VALUES)
    server.stop()
    shutil.rmtree(server.data_dir)
    shutil.copytree(tmp_path / "older", server.data_dir)
    server.start()
    machine.file("kit", org.operator_kit)
    assert "auth reset-mark" in org.run("org", "show").failed(1).err
    org.run(*LOGIN).failed(8)
    org.run("auth", "reset-mark", "--yes").ok()
    org.run(*LOGIN).ok()
