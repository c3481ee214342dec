"""docs/quickstart.md, typed as it stands: five commands on real terminals, the questions answered, the screens compared.

The server listens on its default port, which somebody on this machine may be using. As root the test takes a network of
its own (Linux: ``unshare``, for the thread that runs it and the programs that this thread starts); else it takes the port
where it is free.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import select
import shlex
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from dotenv import dotenv_values

from tests.e2e.support import CLI, PASSPHRASE, Machine, end

DOCUMENT = Path(__file__).parents[2] / "docs" / "quickstart.md"
PORT = 8321
COMMANDS = [
    "stronghold server start",
    "stronghold init",
    "stronghold env push .env --profile production",
    'stronghold agent create "CI/CD Pipeline" --profile production',
    "STRONGHOLD_TOKEN=shat_… stronghold env pull --profile production -o .env",
]
# What is typed after a question, as the page shows it; a passphrase is typed unseen.
TYPED = re.compile(r"^(Name of the org: |.+\? \[y/N\] )(.+)$|^(New passphrase, .+:) ?$", re.MULTILINE)
_CLONE_NEWNET = 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


class NoNetwork(Exception):
    """The default port cannot be had."""


def blocks(language: str) -> list[str]:
    """The texts of the page's code blocks in ``language``."""
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def transcripts() -> list[tuple[str, str]]:
    """Each command of the page with what the screen shows after it."""
    found = []
    for block in blocks("console"):
        prompt, _, rest = block.partition("\n")
        assert prompt.startswith("$ ")
        found.append((prompt.removeprefix("$ "), rest))
    return found


def shortened(screen: str) -> str:
    """A screen without what is another each time: ids, tokens, times; without the server's log lines and colours."""
    screen = re.sub(r"\x1b\[[0-9;]*m", "", screen.replace("\r\n", "\n"))
    screen = re.sub(r"^\{.*\}\n", "", screen, flags=re.MULTILINE)
    screen = re.sub(r"\b(shsc_|shrk_|shok_|shat_|ag_)[0-9A-Za-z]+", r"\1…", screen)
    screen = re.sub(r" +$", "", screen, flags=re.MULTILINE)  # after a question whose answer is not shown
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "(time)", screen)


def answers(screen: str) -> list[tuple[str, str]]:
    """The questions on a documented screen, each with what is typed."""
    return [(shown or hidden, typed if shown else PASSPHRASE) for shown, typed, hidden in TYPED.findall(screen)]


def words_of(command: str) -> tuple[dict[str, str], list[str]]:
    """Variables before a command, and the words after the program's name."""
    words = shlex.split(command)
    place = words.index("stronghold")
    return dict(word.split("=", 1) for word in words[:place]), words[place + 1 :]


def test_the_page_holds_the_five_commands_and_four_answers() -> None:
    assert [command for command, _ in transcripts()] == COMMANDS
    questions = [question for _, screen in transcripts() for question, _ in answers(screen)]
    assert len(questions) == 4
    assert [question for question in questions if "[y/N]" in question] == ["Make the profile 'production' and add 3? [y/N] "]


def test_the_first_five_minutes(terminal_or_skip: tuple[int, int], new_machine: Callable[..., Machine]) -> None:
    laptop, pipeline = new_machine(user="ada"), new_machine(user="runner")
    outcome: list[BaseException | None] = []

    def walk() -> None:
        try:
            take_network()
            _walk(terminal_or_skip, laptop, pipeline)
            outcome.append(None)
        except BaseException as error:  # noqa: BLE001  (told by the test's own thread)
            outcome.append(error)

    thread = threading.Thread(target=walk)
    thread.start()
    thread.join()
    (error,) = outcome
    if isinstance(error, NoNetwork):
        pytest.skip(str(error))
    if error is not None:
        raise error


def take_network() -> None:
    """A network for this thread alone, or else the default port of the machine's."""
    if sys.platform.startswith("linux") and ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET) == 0:
        with socket.socket() as control:  # its loopback device has to be switched on
            request = struct.pack("16sH22x", b"lo", 0)
            flags = struct.unpack("16sH22x", fcntl.ioctl(control, _SIOCGIFFLAGS, request))[1]
            fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | _IFF_UP))
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", PORT))
        except OSError as error:
            raise NoNetwork(
                f"port {PORT}, which the quickstart names, is in use here, and a network of its own takes root"
            ) from error


def _walk(server_terminal: tuple[int, int], laptop: Machine, pipeline: Machine) -> None:
    (start, started), *typed, (pull, pulled) = transcripts()
    before, after = blocks("dotenv")
    laptop.file(".env", before)
    server = subprocess.Popen(
        [*CLI, *words_of(start)[1]],
        env=laptop.environment(),
        cwd=laptop.home,
        stdin=subprocess.DEVNULL,
        stdout=server_terminal[1],
        stderr=server_terminal[1],
        start_new_session=True,
    )
    try:
        assert shortened(_read_until(server_terminal[0], f"listening on http://127.0.0.1:{PORT}\r\n")) == started
        for command, screen in typed:
            result = laptop.type(*words_of(command)[1], answers=answers(screen)).ok()
            assert shortened(result.out) == shortened(screen)
        (token,) = re.findall(r"^shat_\w+$", result.out, re.MULTILINE)
        variables, words = words_of(pull.replace("shat_…", token))
        result = pipeline.type(*words, env=variables).ok()
        assert shortened(result.out) == pulled
        _check_file(pipeline.home / ".env", laptop.home / ".env", after)
    finally:
        if server.poll() is None:
            server.send_signal(signal.SIGINT)
        end(server)


def _check_file(pulled: Path, pushed: Path, documented: str) -> None:
    assert pulled.read_text(encoding="utf-8") == documented
    assert stat.S_IMODE(pulled.stat().st_mode) == 0o600
    assert dotenv_values(pulled, interpolate=False) == dotenv_values(pushed, interpolate=False)


def _read_until(terminal: int, last: str) -> str:
    screen, deadline = "", time.monotonic() + 30
    while last not in screen:
        left = deadline - time.monotonic()
        assert left > 0, f"the server does not listen\n{screen}"
        if select.select([terminal], [], [], left)[0]:
            screen += os.read(terminal, 1 << 16).decode()
    return screen
