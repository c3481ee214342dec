"""The top-level help that is printed without Typer is what Typer prints, wherever and however it is asked for."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from stronghold_cli import __main__
from tests.unit.children import child_environment
from tests.unit.test_imports import NOT_FOR_VERSION, of_families

# With a flag before it the line is not one that is answered from the file.
BY_TYPER = ("--quiet", "--help")
CALL = "import sys; sys.argv[0] = {name!r}; from stronghold_cli.__main__ import main; main()"


def call(*words: str, name: str = "stronghold", columns: str | None = None) -> subprocess.CompletedProcess[bytes]:
    environment = child_environment()
    environment.pop("COLUMNS", None)
    if columns is not None:
        environment["COLUMNS"] = columns
    command = [sys.executable, "-c", CALL.format(name=name), *words]
    return subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True)


def on_terminal(columns: int, *words: str) -> bytes:
    """What a terminal of that width shows."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = child_environment()
    environment.pop("COLUMNS", None)
    command = [sys.executable, "-c", CALL.format(name="stronghold"), *words]
    child = subprocess.Popen(command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65_536):
            shown += piece
    except OSError:  # the child has gone, and with it the other end
        pass
    finally:
        os.close(ours)
    assert child.wait(60) == 0
    return shown


@pytest.mark.parametrize("columns", [None, "", "0", "-3", "wide", "50", "79", "80", "81", "200"])
def test_it_is_the_same_at_every_width(columns: str | None) -> None:
    assert call("--help", columns=columns).stdout == call(*BY_TYPER, columns=columns).stdout


@pytest.mark.parametrize("columns", [60, 80, 132])
def test_it_is_the_same_on_a_terminal(columns: int) -> None:
    assert on_terminal(columns, "--help") == on_terminal(columns, *BY_TYPER)


@pytest.mark.parametrize("name", ["stronghold", "api-stronghold-cli", "/usr/bin/api-stronghold-cli", "something-else"])
def test_it_names_the_program_that_was_called(name: str) -> None:
    shown = call("-h", name=name).stdout
    assert shown == call(*BY_TYPER, name=name).stdout
    assert shown.startswith(f"Usage: {'api-' if 'api-' in name else ''}stronghold".encode())


def test_narrow_help_is_folded() -> None:
    assert call("--help", columns="50").stdout != call("--help", columns="80").stdout


def test_it_loads_next_to_nothing() -> None:
    script = (
        "import sys; before = set(sys.modules); sys.argv = ['stronghold', '--help']\n"
        "from stronghold_cli.__main__ import main; main(); print(*sorted(set(sys.modules) - before), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], env=child_environment(), capture_output=True, check=True)
    assert done.stdout.startswith(b"Usage: stronghold")
    loaded = set(done.stderr.decode().split())
    assert "stronghold_cli.__main__" in loaded
    assert of_families(loaded, NOT_FOR_VERSION | {"stronghold_cli.start"}) == set()


@pytest.mark.parametrize("words", [("--help",), BY_TYPER], ids=["--help", "by Typer"])
def test_a_full_disk_is_told_as_of_any_command(words: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "stronghold_cli", *words]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, env=child_environment(), stdout=full, stderr=subprocess.PIPE, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: No space left")
    assert done.stderr.count(b"\n") <= 2  # the sentence and a hint


def test_without_its_file_typer_prints_it(tmp_path: Path) -> None:
    script = f"import stronghold_cli.__main__ as m; m.HELP = {str(tmp_path / 'none')!r}; {CALL.format(name='stronghold')}"
    done = subprocess.run([sys.executable, "-c", script, "--help"], env=child_environment(), capture_output=True, check=True)
    assert done.stdout == call(*BY_TYPER).stdout


def test_its_file_is_the_page() -> None:
    page = Path(__main__.__file__).with_name(__main__.HELP).read_bytes()
    assert page == call(*BY_TYPER, columns="80").stdout
