"""The pipelines that call ``api-stronghold-cli``, word for word: a laptop, the steps of a Dockerfile, GitHub Actions."""

from __future__ import annotations

import stat
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import pytest
from dotenv import dotenv_values

from stronghold_cli.formats.github import read as read_runner_file
from tests.e2e.more_support import FIFTY, FIFTY_FILE, masks_in, push
from tests.e2e.support import Machine, Org

# --- the words as users have them in their projects --------------------------------------------------------------------

LAPTOP = """\
api-stronghold-cli auth api-user --token {token}
api-stronghold-cli env pull --profile production
api-stronghold-cli env pull --profile production -o .env
"""
DOCKERFILE = """\
ARG AGENT_TOKEN
ENV API_STRONGHOLD_TOKEN=$AGENT_TOKEN
RUN api-stronghold-cli auth api-user --token $API_STRONGHOLD_TOKEN
RUN api-stronghold-cli env pull --profile production -o .env
"""
ACTIONS_STEPS = (
    "api-stronghold-cli auth api-user --token $AGENT_TOKEN",
    "api-stronghold-cli env pull --profile production -o .env",
)


class Job:
    """A clean machine with the program on its path, and nothing else; every line is a shell of its own."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        program = machine.home / "bin" / "api-stronghold-cli"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m stronghold_cli "$@"\n')
        program.chmod(0o755)
        self.variables: dict[str, str] = {"PATH": f"{program.parent}:/usr/bin:/bin"}
        self.folder = machine.home / "work"
        self.folder.mkdir()

    def shell(self, line: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["sh", "-e", "-c", line],
            env={**self.machine.environment(), **self.variables},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )

    def step(self, line: str) -> subprocess.CompletedProcess[bytes]:
        ended = self.shell(line)
        assert ended.returncode == 0, ended.stderr.decode()
        return ended


@pytest.fixture(scope="module")
def shop(shared_org: Org) -> Org:
    shared_org.run("env", "push", str(FIFTY_FILE), "--profile", "production", "--yes").ok()
    push(shared_org, "staging", {"ONE": "first line\nsecond line\n", "EMPTY": "", "PERCENT": "100%\r\n: ::x::"}).ok()
    return shared_org


@pytest.fixture(scope="module")
def token(shop: Org) -> str:
    return shop.make_agent("CI/CD Pipeline", {"production": {}, "staging": {}})


@pytest.fixture
def job(machine: Machine) -> Job:
    return Job(machine)


def test_the_laptop(job: Job, token: str) -> None:
    log_in, show, write = LAPTOP.format(token=token).splitlines()
    stored = job.step(log_in)
    assert stored.stdout == b""
    assert stored.stderr.startswith(b"warning: a token on the command line")
    for word in ("CI/CD Pipeline", "does not expire", "production, staging"):
        assert word in stored.stderr.decode()
    assert token.encode() not in stored.stderr
    shown = job.step(show)
    written = job.step(write)
    assert written.stdout == b""
    assert (job.folder / ".env").read_bytes() == shown.stdout
    assert stat.S_IMODE((job.folder / ".env").stat().st_mode) == 0o600
    assert dotenv_values(job.folder / ".env") == FIFTY
    (kept,) = job.machine.data.glob("tokens/*.json")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_the_dockerfile(job: Job, token: str) -> None:
    """Its instructions, in a clean home: ARG and ENV set a variable, RUN is ``/bin/sh -c`` with all of them."""
    arguments = {"AGENT_TOKEN": token}
    for line in DOCKERFILE.splitlines():
        instruction, _, rest = line.partition(" ")
        if instruction == "ENV":
            name, _, value = rest.partition("=")
            job.variables[name] = arguments[value.removeprefix("$")]
        elif instruction == "RUN":
            assert job.step(rest).stdout == b""
    assert dotenv_values(job.folder / ".env") == FIFTY


def test_the_github_workflow(job: Job, token: str) -> None:
    job.variables |= {"GITHUB_ACTIONS": "true", "CI": "true", "AGENT_TOKEN": token}
    for name in ("GITHUB_ENV", "GITHUB_OUTPUT"):
        (job.machine.home / name).touch()
        job.variables[name] = str(job.machine.home / name)
    streams = [job.step(line) for line in ACTIONS_STEPS]
    assert [stream.stdout for stream in streams] == [b"", b""]
    assert dotenv_values(job.folder / ".env") == FIFTY
    require_masked(streams[-1].stderr)
    for name in ("GITHUB_ENV", "GITHUB_OUTPUT"):
        assert (job.machine.home / name).read_bytes() == b""


def require_masked(stderr: bytes) -> None:
    """Every value of the fifty, each of its lines, and their base64, are masked; nothing empty is."""
    masks = masks_in(stderr)
    assert not [mask for mask in masks if not mask.strip()]
    for name, value in FIFTY.items():
        for text in (value, *value.split("\n")):
            if text.strip():
                assert text.encode() in masks, name
                assert b64encode(text.encode()).rstrip(b"=") in masks, name
    # Nothing of a value stands outside of the commands that mask it.
    others = b"\n".join(line for line in stderr.splitlines() if not line.startswith(b"::add-mask::"))
    for name, value in FIFTY.items():
        assert len(value) < 12 or value.encode() not in others, name


def test_the_masks_come_before_the_values_and_stdout_stays_clean(job: Job, token: str) -> None:
    job.variables |= {"GITHUB_ACTIONS": "true", "STRONGHOLD_TOKEN": token}
    both = job.step("api-stronghold-cli env pull --profile production 2>&1").stdout
    first_value = both.index(b"\nAMQP_URL=")
    assert b"::add-mask::" not in both[first_value:]
    require_masked(both[: first_value + 1])
    printed = job.step("api-stronghold-cli env pull --profile production > .env")
    assert dotenv_values(job.folder / ".env") == FIFTY
    require_masked(printed.stderr)
    # Masked although the write then fails, so it was masked before the write.
    failed = job.shell("ulimit -f 8; api-stronghold-cli env pull --profile production -o other.env")
    assert failed.returncode == 9
    require_masked(failed.stderr)
    assert not (job.folder / "other.env").exists()
    quiet = job.step("api-stronghold-cli env pull --profile production --quiet")
    require_masked(quiet.stderr)
    del job.variables["GITHUB_ACTIONS"]
    assert b"::add-mask::" not in job.step("api-stronghold-cli env pull --profile production").stderr


@pytest.mark.parametrize("name", ["GITHUB_ENV", "GITHUB_OUTPUT"])
def test_the_runner_s_files_are_added_to(job: Job, token: str, name: str, tmp_path: Path) -> None:
    file = tmp_path / "runner file"
    file.write_text("BEFORE=kept")  # without a line end, as printf leaves it
    job.variables |= {"GITHUB_ACTIONS": "true", "STRONGHOLD_TOKEN": token, name: str(file)}
    pulled = job.step(f'api-stronghold-cli env pull --profile production -o "${name}" --format github')
    assert pulled.stdout == b""
    require_masked(pulled.stderr)
    values = read_runner_file(file.read_bytes())
    assert values.pop("BEFORE") == b"kept"
    assert {name: value.decode() for name, value in values.items()} == FIFTY
    # Once more without --format, which then is github as well; a second profile, which keeps the first.
    job.step(f'api-stronghold-cli env pull --profile staging -o "${name}"')
    values = read_runner_file(file.read_bytes())
    assert values["ONE"] == b"first line\nsecond line\n"
    assert values["PORT"] == b"3000"
    before = file.read_bytes()
    refused = job.shell(f'api-stronghold-cli env pull --profile production -o "${name}" --format dotenv')
    assert refused.returncode == 2
    assert b"--format github" in refused.stderr
    full = job.shell(
        f'ulimit -f $(($(wc -c < "${name}") / 512 + 8)); api-stronghold-cli env pull -p production -o "${name}"'
    )
    assert full.returncode == 9
    assert file.read_bytes() == before


def test_a_token_that_is_missing_in_the_workflow_is_told(job: Job) -> None:
    job.variables |= {"GITHUB_ACTIONS": "true", "AGENT_TOKEN": "", "API_STRONGHOLD_TOKEN": ""}
    assert job.shell('api-stronghold-cli auth api-user --token "$AGENT_TOKEN"').returncode == 3
    pulled = job.shell("api-stronghold-cli env pull --profile production -o .env")
    assert pulled.returncode == 3
    assert b"API_STRONGHOLD_TOKEN is empty" in pulled.stderr
    assert not (job.folder / ".env").exists()
