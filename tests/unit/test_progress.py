"""The progress bar: on a terminal, after a second, gone at the end; never elsewhere, and never with --quiet."""

from __future__ import annotations

import os
import select
import subprocess
import sys

import pytest

PROGRAM = """
import sys, time
from stronghold_cli.commands.progress import ProgressBar
from stronghold_cli.output import configure
configure(quiet="quiet" in sys.argv)
with ProgressBar(0.0 if "slow" in sys.argv else 60.0) as bar:
    for done in range(11):
        bar("Sending", done, 10)
        time.sleep(0.05 if "slow" in sys.argv else 0)
print("rich" in sys.modules)
"""
ENVIRONMENT = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def on_terminal(*words: str) -> tuple[str, str]:
    """Stdout, and what stood on the terminal that stderr is."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words], stdout=subprocess.PIPE, stderr=theirs, env=ENVIRONMENT
    )
    os.close(theirs)
    screen = b""
    while select.select([ours], [], [], 30)[0]:
        try:
            screen += os.read(ours, 1 << 16)
        except OSError:
            break
    os.close(ours)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0, screen
    return out.decode().strip(), screen.decode()


@pytest.mark.usefixtures("terminal_or_skip")
def test_bar_shows_how_far_it_is_and_goes() -> None:
    out, screen = on_terminal("slow")
    assert out == "True"
    assert "Sending" in screen
    assert "100%" in screen
    assert screen.endswith("\x1b[2K")  # the last thing is that the line is wiped


@pytest.mark.usefixtures("terminal_or_skip")
@pytest.mark.parametrize("words", [("quick",), ("slow", "quiet")])
def test_nothing_is_drawn_and_rich_not_loaded(words: tuple[str, ...]) -> None:
    assert on_terminal(*words) == ("False", "")


def test_without_a_terminal_nothing_is_drawn() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "slow"], capture_output=True, check=True, env=ENVIRONMENT, text=True
    )
    assert (done.stdout.strip(), done.stderr) == ("False", "")
