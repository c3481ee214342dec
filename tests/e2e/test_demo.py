"""``demo``: the whole main job, without a question, and nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.support import CLI_WITHOUT_SERVER, Machine, end


@pytest.fixture
def temporary(machine: Machine) -> Path:
    """The folder in which the demo makes its own."""
    folder = machine.home / "tmp"
    folder.mkdir()
    return folder


def is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def server_process(temporary: Path) -> int | None:
    """The id of the process that holds the demo's data folder, by what /proc says of open files."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                held = [os.readlink(each) for each in (entry / "fd").iterdir()]
            except OSError:
                continue
            if any(path.startswith(str(temporary)) and path.endswith("server.lock") for path in held):
                return int(entry.name)
    return None


def test_demo_shows_the_main_job_and_leaves_nothing(machine: Machine, temporary: Path) -> None:
    started = time.monotonic()
    shown = machine.run("demo", env={"TMPDIR": str(temporary)}).ok()
    assert time.monotonic() - started < 60
    commands = [line.split(" stronghold ")[-1].removeprefix("$ ") for line in shown.out.splitlines() if line.startswith("$")]
    words = " ".join(commands)
    for verb in ("server start", "init", "env push", "agent create", "env pull", "cat .env", "audit list"):
        assert verb in words
    pulled = shown.out[shown.out.index("env pull --profile production -o .env") :]
    assert "DATABASE_URL='postgres://app:s3cr&t#pw@db.example.com/app?sslmode=require'" in pulled
    assert re.search(r"CI/CD Pipeline / first +pull +production version 1 +ok", shown.out)
    assert "Traceback" not in shown.out + shown.err
    assert list(temporary.iterdir()) == []
    assert not (machine.home / ".local").exists()


def test_demo_takes_nothing_from_outside(machine: Machine, temporary: Path) -> None:
    env = {"TMPDIR": str(temporary), "STRONGHOLD_TOKEN": "shat_x", "STRONGHOLD_URL": "http://127.0.0.1:1"}
    machine.run("demo", env={**env, "STRONGHOLD_NONSENSE": "1", "STRONGHOLD_PROFILE": "other"}).ok()


def test_kept_folder_holds_what_was_shown(machine: Machine, temporary: Path) -> None:
    shown = machine.run("demo", env={"TMPDIR": str(temporary), "KEEP": "1"}).ok()
    (folder,) = temporary.iterdir()
    assert str(folder) in shown.out
    assert "API_KEY" in (folder / "pipeline" / ".env").read_text(encoding="utf-8")
    assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_demo_ends_its_server_and_removes_its_folder(
    machine: Machine, temporary: Path, number: signal.Signals, code: int
) -> None:
    if not Path("/proc").is_dir():
        pytest.skip("this system has no /proc")
    process: subprocess.Popen[bytes] = machine.start("demo", env={"TMPDIR": str(temporary)})
    try:
        deadline = time.monotonic() + 30
        while (server := server_process(temporary)) is None:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(number)
        assert process.wait(30) == code
    finally:
        end(process)
    assert not is_running(server)
    assert list(temporary.iterdir()) == []


def test_step_that_fails_ends_the_demo_with_an_error(machine: Machine, temporary: Path) -> None:
    """Here because the .env that it pushes is none."""
    program = (
        sys.executable,
        "-c",
        (
            "from stronghold_cli.commands import demo; demo._MADE_UP = 'this is no dotenv file'\n"
            "from stronghold_cli.__main__ import main; main()"
        ),
    )
    ended = machine.run("demo", program=program, env={"TMPDIR": str(temporary)}).failed(1)
    assert "step 3 failed" in ended.err
    assert list(temporary.iterdir()) == []


def test_without_the_extra_one_sentence_gives_the_install_line(machine: Machine, temporary: Path) -> None:
    ended = machine.run("demo", program=CLI_WITHOUT_SERVER, env={"TMPDIR": str(temporary)}).failed(1)
    assert "pip install 'stronghold-cli[server]'" in ended.err
    assert list(temporary.iterdir()) == []
