"""``demo``: the main job on a server of its own, in a temporary folder, as a person would type and see it.

Every step is the real program as a process of its own. Nothing is asked and nothing stays, unless ``KEEP=1`` says so. The
operator and the pipeline have a home of their own each, as if they were two machines.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import time
from typing import TYPE_CHECKING, Self

from stronghold_cli.commands.server import server_command
from stronghold_cli.output import emit
from stronghold_cli.protocol.errors import StrongholdError

if TYPE_CHECKING:
    import subprocess
    from types import FrameType

_CLI = (sys.executable, "-P", "-m", "stronghold_cli")
_START_SECONDS = 20
_STEP_SECONDS = 60
_LISTENING = re.compile(r"listening on (http://\S+)")
_TOKEN = re.compile(r"shat_[0-9A-Za-z]{100,}")
_MADE_UP = """\
# Made up for this demo.
DATABASE_URL="postgres://app:s3cr&t#pw@db.example.com/app?sslmode=require"
API_KEY=not-a-real-key-4f9c
GREETING="Grüße 👋 # with 'quotes'"
PRIVATE_KEY="-----BEGIN EXAMPLE-----
c29tZSBsaW5lcyBvZg==
-----END EXAMPLE-----"
"""


def demo() -> None:
    """Show the main job on a server of its own: push a .env, make an agent, pull with its token, look at the log.

    Example: stronghold demo
    """
    import tempfile

    server_command("serve")
    _end_on_signals()
    started = time.monotonic()
    keep = os.environ.get("KEEP") == "1"
    folder = tempfile.mkdtemp(prefix="stronghold-demo-")
    try:
        with _Stage(folder) as stage:
            _play(stage)
        emit(f"\nThat took {time.monotonic() - started:.0f} s.")
    finally:
        if keep:
            emit(f"Kept, as KEEP=1 says: {folder}")
        else:
            _remove(folder)


def _play(stage: _Stage) -> None:
    stage.tell("Start a server: one folder, nothing to set up.")
    stage.start_server()
    stage.tell("Make an org. (Typed by hand, it asks for the org's name and a passphrase, and shows both kits once.)")
    stage.write("operator", "passphrase", "four made up demo words\n")
    stage.run("operator", "init", "--server", stage.url, "--org", "Example Inc", "--name", "ada", "--passphrase-file",
              "passphrase", "--kit-file", "kits")  # fmt: skip
    stage.tell("This is the .env that a project has today. Put it into a profile.")
    stage.write("operator", ".env", _MADE_UP)
    stage.show_file("operator", ".env")
    stage.run("operator", "env", "push", ".env", "--profile", "production", "--yes")
    stage.tell("Make an agent that may read it. Its token is shown once.")
    shown = stage.run("operator", "agent", "create", "CI/CD Pipeline", "--profile", "production")
    token = _TOKEN.search(shown)
    if token is None:
        raise StrongholdError("The demo found no token in what agent create showed.")
    stage.tell("Elsewhere, in the pipeline: one token, one command.")
    stage.run("pipeline", "env", "pull", "--profile", "production", "-o", ".env", token=token[0])
    stage.show_file("pipeline", ".env")
    stage.tell("Back at the operator's: who asked for what. Every entry holds the signature of whoever asked.")
    stage.run("operator", "audit", "list")


class _Stage:
    """The server process and the two homes of the demo; a context manager that ends what it started."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._log = os.path.join(folder, "server.log")
        self._server: subprocess.Popen[bytes] | None = None
        self._step = 0
        self.url = ""
        for name in ("operator", "pipeline"):
            for part in ("", "run-time"):
                os.mkdir(os.path.join(folder, name, part), 0o700)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        from subprocess import TimeoutExpired

        if self._server is None:
            return
        self._server.terminate()
        try:
            self._server.wait(_START_SECONDS)
        except TimeoutExpired:
            self._server.kill()
            self._server.wait()

    def tell(self, sentence: str) -> None:
        """Say what comes next."""
        self._step += 1
        emit(f"\n{self._step}. {sentence}")

    def write(self, home: str, name: str, content: str) -> None:
        """Make a private file in a home folder."""
        path = os.path.join(self._folder, home, name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
            stream.write(content)

    def show_file(self, home: str, name: str) -> None:
        """Show a file as ``cat`` does."""
        emit(f"$ cat {name}")
        with open(os.path.join(self._folder, home, name), encoding="utf-8") as stream:
            _emit_indented(stream.read())

    def start_server(self) -> None:
        """Start ``stronghold server start`` and wait until it listens."""
        from subprocess import DEVNULL, Popen

        emit("$ stronghold server start --port 0")
        with open(self._log, "wb") as log:
            # A session of its own: Ctrl-C is for the demo, which then ends the server.
            self._server = Popen(
                [*_CLI, "server", "start", "--port", "0"],
                env=self._environment("operator"),
                cwd=self._folder,
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not (match := _LISTENING.search(self._server_said())):
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise StrongholdError(f"The demo's server did not start: {self._server_said().strip()[-500:]}")
            time.sleep(0.02)
        self.url = match[1]
        _emit_indented(self._server_said())

    def run(self, home: str, *words: str, token: str = "") -> str:
        """Run one command in a home folder, show it with what it writes, and return that; an error where it fails."""
        from subprocess import DEVNULL, PIPE, STDOUT, TimeoutExpired
        from subprocess import run as run_process

        shown = f"STRONGHOLD_TOKEN=shat_…{token[-4:]} " if token else ""
        emit(f"$ {shown}stronghold {shlex.join(words)}")
        environment = self._environment(home)
        if token:
            environment["STRONGHOLD_TOKEN"] = token
        try:
            ended = run_process(
                [*_CLI, *words],
                env=environment,
                cwd=os.path.join(self._folder, home),
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=STDOUT,
                timeout=_STEP_SECONDS,
                check=False,
            )
        except TimeoutExpired as error:
            raise StrongholdError(f"The demo's step {self._step} does not end.") from error
        text = ended.stdout.decode("utf-8", "replace")
        _emit_indented(_aligned(text))
        if ended.returncode:
            raise StrongholdError(f"The demo's step {self._step} failed with exit code {ended.returncode}.")
        return text

    def _environment(self, home: str) -> dict[str, str]:
        """Nothing of ours from outside: what is shown would be the same on a fresh machine."""
        folder = os.path.join(self._folder, home)
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
        modules = os.pathsep.join(
            os.path.abspath(each) for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each
        )
        found = {"PYTHONPATH": modules} if modules else {}
        return {**kept, **found, "HOME": folder, "XDG_RUNTIME_DIR": os.path.join(folder, "run-time"), "NO_COLOR": "1"}

    def _server_said(self) -> str:
        with open(self._log, encoding="utf-8", errors="replace") as log:
            return "".join(line for line in log if not line.startswith("{"))


def _emit_indented(text: str) -> None:
    emit("\n".join(f"    {line}" for line in text.rstrip("\n").split("\n")))


def _aligned(text: str) -> str:
    """Listings come with tabs where nobody's terminal is: put their columns below each other."""
    lines = text.split("\n")
    rows = [line.split("\t") for line in lines if "\t" in line]
    if not rows:
        return text
    widths = [max(len(row[column]) for row in rows if column < len(row)) for column in range(max(map(len, rows)))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line.split("\t"), widths, strict=False)).rstrip()
        if "\t" in line
        else line
        for line in lines
    )


def _end_on_signals() -> None:
    """A demo that is told to end still ends its server and removes its folder: the ``finally`` blocks have to run."""
    import signal

    def leave(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), leave)


def _remove(folder: str) -> None:
    from shutil import rmtree

    rmtree(folder, ignore_errors=True)
