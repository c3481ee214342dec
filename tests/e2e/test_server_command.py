"""``server``: the command becomes the server process."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.support import CLI_WITHOUT_SERVER, Machine, end


def read_until(process: subprocess.Popen[bytes], pattern: str) -> str:
    """What the process writes to stdout, until a line matches."""
    assert process.stdout is not None
    text, deadline = "", time.monotonic() + 30
    while not re.search(pattern, text):
        assert time.monotonic() < deadline, text
        if select.select([process.stdout], [], [], 1)[0]:
            piece = os.read(process.stdout.fileno(), 1 << 16)
            assert piece, text
            text += piece.decode()
    return text


def test_start_serves_and_leaves_a_private_setup_code(machine: Machine) -> None:
    process = machine.start("server", "start", "--port", "0")
    try:
        said = read_until(process, r"listening on http://\S+\n")
        url = re.search(r"http://\S+", said)[0]  # type: ignore[index]
        code_file = machine.home / ".local/share/stronghold-server/setup-code"
        assert code_file.stat().st_mode & 0o777 == 0o600
        assert code_file.read_text().strip() in said
        passphrase = machine.file("passphrase", "a long enough passphrase")
        init = ("init", "--server", url, "--org", "One", "--passphrase-file", str(passphrase), "--kit-file")
        machine.run(*init, "kits").ok()
        # While it runs, one for a further org, in the words of the same program.
        code = machine.run("server", "setup-code").ok().out.strip()
        path = machine.file("code", code)
        machine.run(*init, "more-kits", "--context", "two", "--setup-code-file", str(path)).ok()
        other = machine.run("server", "start", "--port", "0")
        assert other.code == 9
        process.send_signal(signal.SIGINT)
        assert process.wait(20) in {0, 130}
    finally:
        end(process)


def test_start_replaces_the_process(machine: Machine) -> None:
    process = machine.start("server", "start", "--port", "0", "--data-dir", "elsewhere")
    try:
        read_until(process, "listening on")
        if sys.platform == "linux":
            words = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
            assert b"stronghold_server" in words
            assert b"stronghold_cli" not in words
        assert (machine.home / "elsewhere").is_dir()
    finally:
        end(process)


def test_modules_of_the_current_folder_are_not_run(machine: Machine) -> None:
    machine.file("stronghold_server/__init__.py", "")
    machine.file("stronghold_server/__main__.py", "open('trap', 'w').close()")
    process = machine.start("server", "start", "--port", "0")
    try:
        read_until(process, "listening on")
        assert not (machine.home / "trap").exists()
    finally:
        end(process)


@pytest.mark.parametrize("words", [("start",), ("setup-code",)])
def test_without_the_extra_one_sentence_gives_the_install_line(machine: Machine, words: tuple[str, ...]) -> None:
    ended = machine.run("server", *words, program=CLI_WITHOUT_SERVER).failed(1)
    assert "pip install 'stronghold-cli[server]'" in ended.err
    assert len(ended.err.splitlines()) == 2
    assert not (machine.home / ".local").exists()


def test_port_that_is_taken_is_9(machine: Machine) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = machine.run("server", "start", "--port", str(port))
    assert ended.code == 9
    assert str(port) in ended.err


def test_setting_that_cannot_be_meant_is_2(machine: Machine) -> None:
    ended = machine.run("server", "start", env={"STRONGHOLD_LISTEN_PORTT": "1"})
    assert ended.code == 2
    assert "STRONGHOLD_LISTEN_PORTT" in ended.err
    machine.run("server", "start", "--color").failed(2)
