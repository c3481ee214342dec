"""What goes wrong, and how it is told: one sentence, the documented exit code, the old file untouched, nothing left over."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from stronghold_cli.protocol.errors import TokenMalformed
from stronghold_cli.protocol.token import parse_agent_token
from tests.e2e.more_support import (
    OPERATOR_COMMANDS,
    altered,
    files_of,
    in_parallel,
    misbehaving_server,
    push,
    shifted_clock,
    unused_port,
    with_token,
)
from tests.e2e.support import CLI, Machine, Org, Result, ServerProcess, end, make_org

OLD = b"OLD=content\n"
SECRET = "hunter2-is-secret"
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PULL = ("env", "pull", "--profile", "production", "-o", ".env")


class Bench:
    """An org, its agent's token, and the agent's own machine, where an old .env lies."""

    def __init__(self, org: Org, agent: Machine) -> None:
        self.org = org
        self.agent = agent
        self.token = org.make_agent("ci", {"production": {"KEY": SECRET}})
        self.other = org.make_agent("other", {"staging": {"KEY": SECRET}})
        agent.home.joinpath("work").mkdir()
        self.folder = agent.home / "work"

    def pull(self, token: str | None, *args: str, **options: object) -> Result:
        """Pull over the old file, with everything said about it as JSON; nothing may have been touched."""
        (self.folder / ".env").write_bytes(OLD)
        env = {**({} if token is None else with_token(token)), **(options.pop("env", None) or {})}  # type: ignore[dict-item]
        result = self.agent.run(*(args or PULL), "--json", "--debug", env=env, cwd=self.folder, **options)  # type: ignore[arg-type]
        assert files_of(self.folder) == {".env": OLD}
        assert SECRET not in result.out + result.err
        if token is not None:
            assert token not in result.out + result.err
        return result


@pytest.fixture(scope="module")
def bench(shared_org: Org, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(shared_org, Machine(tmp_path_factory.mktemp("agent-machine")))


def told(result: Result, exit_code: int, code: str) -> str:
    """The one error that was told as JSON, with its sentence and hint; warnings may stand before it."""
    assert result.code == exit_code, result.out + result.err
    assert "Traceback" not in result.err
    (line,) = [line for line in result.err.splitlines() if line.startswith("{")]
    error = json.loads(line)["error"]
    assert (error["code"], error["exit_code"]) == (code, exit_code)
    assert error["message"].endswith(".")
    assert result.out == ""
    return f"{error['message']} {error['hint']}"


# --- tokens ----------------------------------------------------------------------------------------------------------


def mangled(token: str) -> list[str]:
    """Every single character changed, left out and doubled; cut at every place; and what people do to tokens."""
    changed = [f"{token[:n]}{BASE62[(BASE62.find(c) + 1) % 62]}{token[n + 1 :]}" for n, c in enumerate(token)]
    left_out = [token[:n] + token[n + 1 :] for n in range(len(token))]
    doubled = [token[: n + 1] + token[n:] for n in range(len(token))]
    cut = [token[:n] for n in range(1, len(token))]
    whole = [f'"{token}"', f"'{token}'", token * 2, token.swapcase(), f"Bearer {token}", token.replace("shat_", "shok_")]
    return list(dict.fromkeys([*changed, *left_out, *doubled, *cut, *whole]))


def test_every_single_damage_to_a_token_is_told_offline(bench: Bench) -> None:
    for text in mangled(bench.token):
        if text == bench.token:
            continue  # a doubled or left-out character beside the same one
        with pytest.raises(TokenMalformed) as caught:
            parse_agent_token(text)
        assert bench.token[10:40] not in str(caught.value)


def test_a_damaged_token_ends_with_3_while_the_server_is_away(bench: Bench) -> None:
    away = {"STRONGHOLD_URL": f"http://127.0.0.1:{unused_port()}"}
    texts = mangled(bench.token)
    sample = [*texts[:: len(texts) // 28], *texts[-6:]]
    assert len(sample) >= 30

    def attempt(text: str) -> Result:
        return bench.agent.run(*PULL, "--json", env=with_token(text, **away), cwd=bench.folder)

    (bench.folder / ".env").write_bytes(OLD)
    for text, result in zip(sample, in_parallel([partial(attempt, text) for text in sample], 4), strict=True):
        assert "STRONGHOLD_TOKEN" in told(result, 3, "TOKEN_MALFORMED")
        assert len(text) < 20 or text not in result.err
    assert files_of(bench.folder) == {".env": OLD}
    stored = bench.agent.run("auth", "api-user", "--json", "--offline", env=with_token(bench.token[:-1]))
    told(stored, 3, "TOKEN_MALFORMED")
    told(bench.agent.run("--json", "run", "--", "true", env=with_token("x")), 3, "TOKEN_MALFORMED")


def test_a_kit_in_the_place_of_a_token_is_named(bench: Bench) -> None:
    assert "operator kit" in told(bench.pull(bench.org.operator_kit), 3, "TOKEN_MALFORMED")
    assert "root kit" in told(bench.pull(bench.org.root_kit), 3, "TOKEN_MALFORMED")


def test_without_a_token_the_ways_to_give_one_are_told(bench: Bench) -> None:
    sentence = told(bench.pull(None), 3, "TOKEN_MISSING")
    for way in (
        "STRONGHOLD_TOKEN",
        "STRONGHOLD_TOKEN_FILE",
        "API_STRONGHOLD_TOKEN",
        "--token-file",
        "--token -",
        "auth login",
    ):
        assert way in sentence
    empty = told(bench.pull(None, env={"API_STRONGHOLD_TOKEN": " \n"}), 3, "TOKEN_MISSING")
    assert "API_STRONGHOLD_TOKEN is empty" in empty
    told(bench.pull(None, "auth", "api-user"), 3, "TOKEN_MISSING")
    told(bench.pull(None, "secret", "get", "KEY"), 3, "TOKEN_MISSING")


def test_a_token_that_the_server_does_not_know_is_invalid(bench: Bench) -> None:
    stranger = altered(bench.token, secret=os.urandom(32))
    told(bench.pull(stranger), 3, "TOKEN_INVALID")
    told(bench.pull(stranger, "auth", "api-user"), 3, "TOKEN_INVALID")
    assert not list(bench.agent.data.glob("tokens/*"))


def test_a_token_with_another_pin_gets_no_further(bench: Bench) -> None:
    told(bench.pull(altered(bench.token, pin=os.urandom(32))), 1, "ANCHOR_UNKNOWN")


# --- the way to the server -------------------------------------------------------------------------------------------


def test_a_server_that_is_away_ends_with_7(bench: Bench) -> None:
    port = unused_port()
    sentence = told(bench.pull(altered(bench.token, address=f"127.0.0.1:{port}")), 7, "SERVER_UNAVAILABLE")
    assert f"127.0.0.1:{port}" in sentence
    told(bench.pull(altered(bench.token, address="no-such-host.invalid", plain_http=False)), 7, "SERVER_UNAVAILABLE")


@pytest.mark.parametrize(
    ("answer", "exit_code", "code"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 1, "NOT_STRONGHOLD"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://evil.example/\r\nContent-Length: 0\r\n\r\n", 1, "REDIRECTED"),
        (b"HTTP/1.1 200 OK\r\nStronghold-Protocol: 2\r\nContent-Length: 0\r\n\r\n", 1, "CLIENT_TOO_OLD"),
        (b"HTTP/1.1 500 No\r\nStronghold-Protocol: 1\r\nContent-Length: 0\r\n\r\n", 7, "SERVER_UNAVAILABLE"),
        (b"HTTP/1.1 200 OK\r\nStronghold-Protocol: 1\r\nContent-Length: 500\r\n\r\n{", 7, "SERVER_UNAVAILABLE"),
        (b"HTTP/1.1 200 OK\r\nStronghold-Protocol: 1\r\nContent-Length: 2\r\n\r\n{}", 8, "MALFORMED"),
    ],
)
def test_what_is_no_stronghold_server_is_told_as_such(bench: Bench, answer: bytes, exit_code: int, code: str) -> None:
    with misbehaving_server(answer) as (address, _):
        told(bench.pull(altered(bench.token, address=address)), exit_code, code)


@pytest.mark.parametrize("shift", [3600, -3600])
def test_a_wrong_clock_is_told_with_the_time_that_was_seen(bench: Bench, shift: int) -> None:
    sentence = told(bench.pull(bench.token, env=shifted_clock(bench.agent, shift)), 3, "CLOCK_SKEW")
    assert re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", sentence)


def test_a_profile_that_is_not_the_agent_s_or_does_not_exist_is_forbidden_alike(bench: Bench) -> None:
    foreign = told(bench.pull(bench.token, "env", "pull", "-p", "staging", "-o", ".env"), 4, "PROFILE_FORBIDDEN")
    unknown = told(bench.pull(bench.token, "env", "pull", "-p", "nowhere", "-o", ".env"), 4, "PROFILE_FORBIDDEN")
    assert foreign == unknown
    assert "This agent may read: production" in foreign
    told(bench.pull(bench.token, "secret", "get", "KEY", "-p", "staging"), 4, "PROFILE_FORBIDDEN")
    told(bench.pull(bench.token, "env", "pull", "-p", "pr_" + "0" * 32, "-o", ".env"), 4, "PROFILE_FORBIDDEN")


def test_an_interrupted_pull_ends_with_130_and_leaves_nothing(bench: Bench) -> None:
    (bench.folder / ".env").write_bytes(OLD)
    with misbehaving_server(None) as (address, asked):
        token = altered(bench.token, address=address)
        process = bench.agent.start(*PULL, env=with_token(token), cwd=bench.folder)
        try:
            assert asked.wait(30)
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 130
            assert process.stderr is not None
            assert process.stderr.read() == b"error: The command was interrupted.\n"
        finally:
            end(process)
    assert files_of(bench.folder) == {".env": OLD}


# --- the file --------------------------------------------------------------------------------------------------------


def fresh_pull(bench: Bench, folder: Path, target: str, **options: object) -> Result:
    return bench.agent.run(
        *("env", "pull", "-p", "production", "-o", target),
        "--json",
        env=with_token(bench.token),
        cwd=folder,
        **options,  # type: ignore[arg-type]
    )


def test_a_target_that_cannot_be_written_is_told_before_anything_is_asked(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(OLD)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    away = with_token(bench.token, STRONGHOLD_URL=f"http://127.0.0.1:{unused_port()}")
    for target, word in (
        ("missing/.env", "does not exist"),
        ("file/.env", "is not a folder"),
        ("folder", "a folder"),
        ("link", "a symbolic link"),
        ("pipe", "a pipe"),
        ("/dev/full", "a device"),
        ("", "names no file"),
    ):
        result = bench.agent.run("env", "pull", "-o", target, "--json", env=away, cwd=tmp_path)
        assert word in told(result, 9, "LOCAL_FILE")
    assert files_of(tmp_path) == {"file": OLD}
    assert not (tmp_path / "missing").exists()


def test_a_folder_that_may_not_be_written_is_told(bench: Bench, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        tmp_path.chmod(0o500)
        target = tmp_path / ".env"
    elif os.path.isdir("/proc/self/fd"):
        target = Path("/proc/.env")  # no file can be made there, not even by root
    else:
        pytest.skip("as root every folder can be written to")
    told(fresh_pull(bench, tmp_path, str(target)), 9, "LOCAL_FILE")
    assert not target.exists()


def test_a_full_disk_leaves_the_old_file_and_no_other(bench: Bench, tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk: the write ends part of the way, with another number."""
    push(bench.org, "large", {"LARGE": "x" * 300_000}).ok()
    (tmp_path / ".env").write_bytes(OLD)
    command = [*CLI, "--json", "env", "pull", "-p", "large", "-o", ".env"]
    limited = f"import os, resource as r; r.setrlimit(r.RLIMIT_FSIZE, (100_000,) * 2); os.execv({CLI[0]!r}, {command!r})"
    told(bench.org.run(program=(sys.executable, "-c", limited), cwd=tmp_path), 9, "LOCAL_FILE")
    assert files_of(tmp_path) == {".env": OLD}


def test_a_disk_without_space_leaves_the_old_file_and_no_other(bench: Bench, tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root mounts a small disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("this system mounts no tmpfs")
    try:
        push(bench.org, "larger", {"LARGE": "x" * 300_000}).ok()
        (tmp_path / ".env").write_bytes(OLD)
        result = bench.org.run("env", "pull", "-p", "larger", "-o", ".env", "--json", cwd=tmp_path)
        assert "No space left" in told(result, 9, "LOCAL_FILE")
        assert files_of(tmp_path) == {".env": OLD}
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_stdout_is_told(bench: Bench) -> None:
    script = 'exec "$@" >/dev/full'
    result = bench.agent.run(
        *("-m", "stronghold_cli", "--json", "env", "pull", "-p", "production"),
        program=("sh", "-c", script, "sh", sys.executable),
        env=with_token(bench.token),
    )
    assert "No space left" in told(result, 9, "LOCAL_FILE")


# --- operators -------------------------------------------------------------------------------------------------------


# These work with an agent's token, too.
READING = {("env", "pull"), ("env", "run"), ("env", "diff"), ("env", "validate"), ("secret", "get")}


def test_every_operator_command_needs_somebody_who_is_logged_in_and_unlocked(bench: Bench, machine: Machine) -> None:
    for name in ("value", "values.env"):
        machine.file(name, "A=1")
        bench.org.machine.file(name, "A=1")

    def attempt(on: Machine, command: tuple[str, ...], locked: bool) -> Result:
        return on.run("--json", *command, env={"XDG_RUNTIME_DIR": str(machine.home)} if locked else None)

    nobody = in_parallel([partial(attempt, machine, command, False) for command in OPERATOR_COMMANDS], 4)
    for command, result in zip(OPERATOR_COMMANDS, nobody, strict=True):
        reads = command[:2] in READING or command[0] == "run"
        sentence = told(result, 3, "TOKEN_MISSING" if reads else "NOT_AUTHENTICATED")
        assert "auth login" in sentence
    bench.org.run("auth", "lock").ok()
    try:
        for command, result in zip(
            OPERATOR_COMMANDS,
            in_parallel([partial(attempt, bench.org.machine, command, False) for command in OPERATOR_COMMANDS], 4),
            strict=True,
        ):
            assert "auth unlock" in told(result, 3, "NOT_AUTHENTICATED"), command
    finally:
        bench.org.run("auth", "unlock", "--passphrase-file", str(bench.org.passphrase_file)).ok()


def test_every_operator_command_tells_a_server_that_is_away(bench: Bench) -> None:
    for name in ("value", "values.env"):
        bench.org.machine.file(name, "A=1")
    away = {"STRONGHOLD_URL": f"http://127.0.0.1:{unused_port()}"}
    calls = [partial(bench.org.run, "--json", *command, env=away) for command in OPERATOR_COMMANDS]
    for result in in_parallel(calls):
        told(result, 7, "SERVER_UNAVAILABLE")


def test_a_server_that_was_set_back_is_not_believed_by_anybody(
    new_server: Callable[[], ServerProcess], new_machine: Callable[[], Machine], tmp_path: Path
) -> None:
    server = new_server()
    org, agent = make_org(new_machine(), server), new_machine()
    for name in ("value", "values.env"):
        org.machine.file(name, "A=1")
    token = org.make_agent("ci", {"production": {"NAME": "old"}})
    server.stop()
    shutil.copytree(server.data_dir, tmp_path / "copy")
    server.start()
    push(org, "production", {"NAME": "new"}).ok()
    assert agent.run("env", "pull", "-p", "production", env=with_token(token)).ok().out == "NAME=new\n"
    server.stop()
    shutil.rmtree(server.data_dir)
    shutil.copytree(tmp_path / "copy", server.data_dir)
    server.start()
    for command in (("env", "pull", "-p", "production"), ("run", "-p", "production", "--", "env")):
        result = agent.run("--json", *command, env=with_token(token))
        assert result.code == 8, result.err
        assert "old" not in result.out
    # All of them begin with the same sync; of one key the server logs so many refusals in a minute, and no more.
    some = OPERATOR_COMMANDS[:: len(OPERATOR_COMMANDS) // 20 + 1]
    calls = [partial(org.run, "--json", *command) for command in some]
    for result in in_parallel(calls, 4):
        told(result, 1, "ANCHOR_UNKNOWN")
