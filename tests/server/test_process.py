"""The real process: start, setup code, free port, a request over a socket, end by signal, refusal to listen in the open."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stronghold_cli.protocol.keys import VerifyKey
from stronghold_cli.protocol.messages import decode_setup

ROOT = Path(__file__).parents[2]
LISTENING = re.compile(r"listening on (http|https)://127\.0\.0\.1:([0-9]+)\n")
CODE = re.compile(r"setup code for the first org: (shsc_[0-9A-Za-z]+)\n")


class Process:
    """``python -m stronghold_server`` with these arguments."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.run = subprocess.Popen(
            [sys.executable, "-m", "stronghold_server", *arguments],
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'server'}", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []

    def port(self) -> int:
        """Wait until it listens."""
        assert self.run.stdout is not None
        for line in self.run.stdout:
            self.lines.append(line)
            if match := LISTENING.fullmatch(line):
                return int(match[2])
        raise AssertionError(self.run.communicate())

    def get(self, port: int, path: str) -> tuple[int, bytes]:
        """An unsigned GET."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, body

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Exit code and standard error."""
        if self.run.poll() is None:
            self.run.send_signal(number)
        _, errors = self.run.communicate(timeout=20)
        return self.run.returncode, errors


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    started: list[Process] = []
    yield started
    for process in started:
        process.end(signal.SIGKILL)


def test_server_runs_on_the_fast_event_loop(processes: list[Process], tmp_path: Path) -> None:
    process = Process("--data-dir", str(tmp_path / "data"), "--port", "0")
    processes.append(process)
    process.port()
    maps = Path(f"/proc/{process.run.pid}/maps")
    if not maps.exists():
        pytest.skip("this system does not tell what a process has loaded")
    assert "uvloop" in maps.read_text("utf-8")


def test_first_start_prints_a_setup_code_and_leaves_it_for_the_same_user(tmp_path: Path, processes: list[Process]) -> None:
    process = Process("--data-dir", str(tmp_path / "data"), "--port", "0")
    processes.append(process)
    port = process.port()
    (code,) = [match[1] for line in process.lines if (match := CODE.fullmatch(line))]
    file = tmp_path / "data" / "setup-code"
    assert (file.read_text(), file.stat().st_mode & 0o777) == (f"{code}\n", 0o600)
    assert f"address for tokens: 127.0.0.1:{port}\n" in process.lines
    assert process.get(port, "/readyz")[0] == 200
    (key,) = decode_setup(process.get(port, "/v1/setup")[1])
    VerifyKey(key.public_key)
    exit_code, errors = process.end()
    assert exit_code == 0
    assert code not in errors

    again = Process("serve", "--data-dir", str(tmp_path / "data"), "--port", "0")
    processes.append(again)
    port = again.port()
    assert not [line for line in again.lines if CODE.fullmatch(line)]
    assert decode_setup(again.get(port, "/v1/setup")[1]) == (key,)
    assert again.end(signal.SIGINT)[0] == 0


def test_further_setup_codes_are_made_while_the_server_runs(tmp_path: Path, processes: list[Process]) -> None:
    process = Process("--data-dir", str(tmp_path), "--port", "0")
    processes.append(process)
    process.port()
    making = Process("setup-code", "--data-dir", str(tmp_path))
    processes.append(making)
    printed, errors = making.run.communicate(timeout=20)
    assert (making.run.returncode, errors) == (0, "")
    assert re.fullmatch(r"shsc_[0-9A-Za-z]+\n", printed)
    assert process.end()[0] == 0


def test_setup_code_that_is_given_by_setting_is_the_first_one(tmp_path: Path, processes: list[Process]) -> None:
    process = Process("--data-dir", str(tmp_path), "--port", "0", STRONGHOLD_SETUP_CODE="given-by-the-setting-01")
    processes.append(process)
    process.port()
    assert (tmp_path / "setup-code").read_text() == "given-by-the-setting-01\n"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        (("--host", "0.0.0.0"), 2, "there is no certificate"),
        (("--port", "x"), 2, "STRONGHOLD_LISTEN_PORT"),
        (("--data-dir", "/dev/null/x"), 9, "cannot be used"),
        (("--config", "/nowhere.toml"), 2, "cannot be read"),
    ],
)
def test_start_that_cannot_be_meant_ends_with_one_sentence(
    tmp_path: Path, processes: list[Process], arguments: tuple[str, ...], exit_code: int, says: str
) -> None:
    process = Process("--data-dir", str(tmp_path), *arguments)
    processes.append(process)
    _, errors = process.run.communicate(timeout=20)
    assert process.run.returncode == exit_code
    assert says in errors
    assert "Traceback" not in errors


def test_folder_that_another_server_uses_and_port_that_is_taken_are_told(tmp_path: Path, processes: list[Process]) -> None:
    first = Process("--data-dir", str(tmp_path / "one"), "--port", "0")
    processes.append(first)
    port = first.port()
    for arguments, says in (
        (("--data-dir", str(tmp_path / "one"), "--port", "0"), "another server uses the data folder"),
        (("--data-dir", str(tmp_path / "two"), "--port", str(port)), "cannot be listened on"),
    ):
        second = Process(*arguments)
        processes.append(second)
        _, errors = second.run.communicate(timeout=20)
        assert second.run.returncode == 9
        assert says in errors.lower()


def test_process_that_was_killed_comes_back_with_its_state(tmp_path: Path, processes: list[Process]) -> None:
    first = Process("--data-dir", str(tmp_path), "--port", "0")
    processes.append(first)
    key = first.get(first.port(), "/v1/setup")
    first.end(signal.SIGKILL)
    second = Process("--data-dir", str(tmp_path), "--port", "0")
    processes.append(second)
    started = time.monotonic()
    assert second.get(second.port(), "/v1/setup") == key
    assert time.monotonic() - started < 10
