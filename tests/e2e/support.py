"""The harness of the end-to-end tests: real server processes, and machines on which people and agents type commands.

A ``Machine`` is one computer of one user: a fresh home with its run-time folder, and nothing inherited but the path. What is
run on it is the real program, as a process of its own; ``type`` gives it a terminal and answers what it asks. A
``ServerProcess`` is ``python -m stronghold_server`` on a free port of the loopback address. An ``Org`` is a machine whose
user has carried out ``init``.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stronghold_cli.commands import founding
from stronghold_cli.crypto.passphrase import FLOOR
from stronghold_cli.protocol.messages import decode_setup
from stronghold_cli.protocol.token import split_url
from stronghold_cli.transport import Server
from stronghold_cli.vault import creation
from stronghold_server.folder import DATABASE_FILE
from stronghold_server.setup import new_setup_code
from stronghold_server.store.sqlite import SqliteStore

PASSPHRASE = "correct horse battery staple"
CLI = (sys.executable, "-m", "stronghold_cli")
SERVER = (sys.executable, "-m", "stronghold_server")
SECONDS = 60
_LISTENING = re.compile(r"listening on (https?)://\S+?:(\d+)")

# The program on a machine without /dev/shm: together with no XDG_RUNTIME_DIR, there is no folder in memory.
CLI_WITHOUT_SHARED_MEMORY = (
    sys.executable,
    "-c",
    (
        "from stronghold_cli.keystore import paths; paths.runtime_dir.__kwdefaults__['shared_memory'] = '/nowhere'\n"
        "from stronghold_cli.__main__ import main; main()"
    ),
)
# The program on a machine where the server's extra is not installed.
CLI_WITHOUT_SERVER = (
    sys.executable,
    "-c",
    "import sys; sys.modules['apsw'] = None\nfrom stronghold_cli.__main__ import main; main()",
)

# Takes the terminal on stdin as its own, as a login does, and becomes the program.
_TAKE_TERMINAL = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"

# Makes a profile with values (or writes to the one that is there), an agent that may read it, and its first token, as one
# commit, with the client's library.
_MAKE_AGENT = """
import json, sys
from stronghold_cli.commands.acting import open_vault
from stronghold_cli.protocol.token import split_url
from stronghold_cli.vault.agents import Address, create_agent, mint
from stronghold_cli.vault.profiles import create_profile, read_secrets, write_secrets

wanted = json.load(sys.stdin)
vault = open_vault()

def act(draft):
    groups = []
    for name, values in wanted["profiles"].items():
        profile = next((each for each in draft.profiles().values() if each.name == name), None)
        known = {} if profile is None else read_secrets(vault, profile)
        profile = profile or create_profile(draft, name)
        write_secrets(draft, profile, known, {key: value.encode() for key, value in values.items()})
        groups += [draft.groups()[each] for each in profile.grants]
    agent = create_agent(draft, wanted["name"], groups, not_after=wanted["agent_not_after"])
    plain_http, address = split_url(wanted["url"])
    return mint(draft, agent, "first", Address(address=address, plain_http=plain_http), not_after=wanted["not_after"])

print(vault.commit(act).token.text)
"""


@dataclass(frozen=True)
class Result:
    """How a command ended: exit code, and what it wrote, as bytes and as text."""

    args: tuple[str, ...]
    code: int
    out_bytes: bytes
    err_bytes: bytes

    @property
    def out(self) -> str:
        return self.out_bytes.decode()

    @property
    def err(self) -> str:
        return self.err_bytes.decode()

    def json(self) -> Any:
        """Stdout as JSON."""
        return json.loads(self.out_bytes)

    def ok(self) -> Result:
        """This result, where the command succeeded."""
        assert self.code == 0, f"{' '.join(self.args)} ended with {self.code}\n{self.out}{self.err}"
        return self

    def failed(self, code: int) -> Result:
        """This result, where the command ended with this code and one error of at most two lines, without a traceback."""
        assert self.code == code, f"{' '.join(self.args)} ended with {self.code}, not {code}\n{self.out}{self.err}"
        assert "Traceback" not in self.err
        assert "error" in self.err
        return self


class Machine:
    """One computer of one user."""

    def __init__(self, folder: Path, *, user: str = "person") -> None:
        self.home = folder / "home"
        self.runtime = folder / "run"
        self.user = user
        for path in (self.home, self.runtime):
            path.mkdir(parents=True, mode=0o700)
        self.data = self.home / ".local/share/stronghold"
        self.state = self.home / ".local/state/stronghold"
        self.config = self.home / ".config/stronghold"
        self.always: dict[str, str] = {}  # variables that every command of this machine finds

    def environment(self, changes: Mapping[str, str | None] | None = None) -> dict[str, str]:
        """What a command finds in its environment; ``None`` takes a variable away."""
        found: dict[str, str | None] = {
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "LOGNAME": self.user,
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": os.pathsep.join(filter(None, (os.path.abspath(each) if each else "" for each in sys.path))),
            "TERM": "dumb",
            "XDG_RUNTIME_DIR": str(self.runtime),
            **self.always,
            **(changes or {}),
        }
        return {name: value for name, value in found.items() if value is not None}

    @contextmanager
    def here(self) -> Iterator[pytest.MonkeyPatch]:
        """This process is on the machine: for the client's library, where a test needs it for itself."""
        with pytest.MonkeyPatch.context() as patch:
            for variable in [name for name in os.environ if name.startswith(("XDG_", "STRONGHOLD_"))]:
                patch.delenv(variable)
            for variable in ("HOME", "LOGNAME", "XDG_RUNTIME_DIR", *self.always):
                patch.setenv(variable, self.environment()[variable])
            yield patch

    def run(
        self,
        *args: str,
        stdin: bytes | str = b"",
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
        program: Iterable[str] = CLI,
        seconds: float = SECONDS,
    ) -> Result:
        """Run one command without a terminal and wait for its end."""
        ended = subprocess.run(
            [*program, *args],
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            env=self.environment(env),
            cwd=cwd or self.home,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
        return Result(args, ended.returncode, ended.stdout, ended.stderr)

    def start(
        self,
        *args: str,
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
        program: Iterable[str] = CLI,
    ) -> subprocess.Popen[bytes]:
        """Start one command without a terminal; the caller ends it (``end``)."""
        return subprocess.Popen(
            [*program, *args],
            env=self.environment(env),
            cwd=cwd or self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def type(
        self,
        *args: str,
        answers: Iterable[tuple[str, str]] = (),
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
        seconds: float = SECONDS,
    ) -> Result:
        """Run one command on a terminal. Each answer is typed when its question has come; ``\\x03`` is Ctrl-C.

        ``out`` of the result is all that stood on the screen. Needs a system that gives pseudo-terminals: ask for the
        fixture ``terminal_or_skip``.
        """
        ours, theirs = os.openpty()
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", _TAKE_TERMINAL, *CLI, *args],
                env=self.environment(env),
                cwd=cwd or self.home,
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                start_new_session=True,
            )
            os.close(theirs)
            try:
                screen = _converse(ours, answers, time.monotonic() + seconds)
                code = process.wait(seconds)
            finally:
                end(process)
        finally:
            os.close(ours)
        return Result(args, code, screen.replace(b"\r\n", b"\n"), b"")

    def file(self, name: str, content: str, mode: int = 0o600) -> Path:
        """A file in the home folder."""
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        path.chmod(mode)
        return path


def _converse(terminal: int, answers: Iterable[tuple[str, str]], deadline: float) -> bytes:
    """Read the screen until the program ends; type each answer once its question stands after the last one."""
    screen, seen = b"", 0
    waiting = list(answers)
    while True:
        left = deadline - time.monotonic()
        assert left > 0, f"the program does not end; waiting for {waiting}\n{screen.decode(errors='replace')}"
        if not select.select([terminal], [], [], left)[0]:
            continue
        try:
            piece = os.read(terminal, 1 << 16)
        except OSError:  # Linux: the last program has closed the terminal
            piece = b""
        if not piece:
            assert not waiting, f"never asked: {waiting[0][0]!r}\n{screen.decode(errors='replace')}"
            return screen
        screen += piece
        while waiting and (place := screen.find(waiting[0][0].encode(), seen)) >= 0:
            seen = place + len(waiting[0][0].encode())
            answer = waiting.pop(0)[1]
            # getpass throws away what was typed before it asked; its question comes after that.
            os.write(terminal, answer.encode() if answer == "\x03" else answer.encode() + b"\n")


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that was started here, by its id, and close its pipes."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


class ServerProcess:
    """A server on a free port; ``start`` after ``stop`` uses the same port and folder."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.data_dir = folder / "server"
        self.log_file = folder / "server.log"
        self.settings = dict(settings or {})
        self.scheme, self.port = "http", 0
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """All that the server has written."""
        return self.log_file.read_text(encoding="utf-8") if self.log_file.exists() else ""

    def environment(self) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        path = os.pathsep.join(filter(None, (os.path.abspath(each) if each else "" for each in sys.path)))
        return {**inherited, "LANG": "C.UTF-8", "PYTHONPATH": path, **self.settings}

    def start(self) -> ServerProcess:
        """Start the server and wait until it listens."""
        already = len(self.log)
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*SERVER, "--data-dir", str(self.data_dir), "--port", str(self.port)],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 30
        while not (match := _LISTENING.search(self.log, already)):
            assert self.process.poll() is None, f"the server ended with {self.process.returncode}\n{self.log}"
            assert time.monotonic() < deadline, f"the server does not listen\n{self.log}"
            time.sleep(0.02)
        self.scheme, self.port = match[1], int(match[2])
        return self

    def stop(self, how: int = signal.SIGTERM) -> None:
        """End the server and wait for it; ``SIGKILL`` for a crash."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(how)
        end(self.process)
        self.process = None

    def restart(self, how: int = signal.SIGTERM) -> ServerProcess:
        self.stop(how)
        return self.start()

    def setup_code(self) -> str:
        """A fresh setup code, good for one org: made as ``python -m stronghold_server setup-code`` makes it."""
        store = SqliteStore(str(self.data_dir / DATABASE_FILE), now=int(time.time()))
        try:
            return new_setup_code(store, os.urandom, int(time.time()))
        finally:
            store.close()


@dataclass(frozen=True)
class Org:
    """A machine whose user has made an org on ``server``; both kits as ``init`` wrote them."""

    machine: Machine
    server: ServerProcess
    name: str
    operator_kit: str
    root_kit: str
    passphrase_file: Path
    passphrase: str = PASSPHRASE

    def run(self, *args: str, **options: Any) -> Result:
        """Run a command as the operator, on the operator's machine."""
        return self.machine.run(*args, **options)

    def make_agent(
        self,
        name: str,
        profiles: Mapping[str, Mapping[str, str]] | None = None,
        *,
        not_after: int | None = None,
        agent_not_after: int | None = None,
    ) -> str:
        """Make an agent (and profiles with values) with the client's library; returns its token."""
        wanted = {
            "name": name,
            "profiles": {key: dict(values) for key, values in (profiles or {}).items()},
            "not_after": not_after,
            "agent_not_after": agent_not_after,
            "url": self.server.url,
        }
        return self.machine.run(stdin=json.dumps(wanted), program=(sys.executable, "-c", _MAKE_AGENT)).ok().out.strip()


def make_org(machine: Machine, server: ServerProcess, name: str = "Example & Søns") -> Org:
    """Make an org on a machine as ``init`` does, with the client's library in this process: in a tenth of the time.

    The verb itself is typed, and run unattended, in ``test_setup``. The passphrase costs the least that is allowed.
    """
    passphrase_file = machine.file("passphrase", PASSPHRASE + "\n")
    with machine.here() as patch, Server(server.url, warn=lambda _: None) as connection:
        patch.setattr(creation, "DEFAULT", FLOOR)
        plain_http, address = split_url(server.url)
        new = creation.create_org(
            connection,
            creation.Place(
                address=address, plain_http=plain_http, log_keys=decode_setup(connection.get_open("/v1/setup", 1 << 16))
            ),
            name=name,
            operator_name="Ada",
            passphrase=PASSPHRASE,
            setup_code=server.setup_code(),
            now=int(time.time()),
            random=os.urandom,
        )
        founding._settle(new, name, connection)
    machine.file("kits", founding._kit_text(new))
    return Org(
        machine=machine,
        server=server,
        name=name,
        operator_kit=new.operator_kit.text,
        root_kit=new.root_kit.text,
        passphrase_file=passphrase_file,
    )


def kit_in(text: str, prefix: str) -> str:
    """The one kit or token with this prefix in a text."""
    (kit,) = set(re.findall(rf"\b{prefix}[0-9A-Za-z]+", text))
    return kit
