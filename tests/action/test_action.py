"""The steps of ``action.yml``, executed against a real server: what they write, what they mask, what they refuse."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from dotenv import dotenv_values

from tests.action.runner import Job, StepFailed, read_action
from tests.e2e.more_support import FIFTY, FIFTY_FILE
from tests.e2e.support import Org

# The installation alone takes a quarter of a minute, more on a busy machine.
pytestmark = pytest.mark.timeout(400)
INSTALL, PULL = "Install stronghold", "Pull the secrets"
Pull = Callable[..., Job]


@pytest.fixture(scope="module")
def token(shared_org: Org) -> str:
    shared_org.run("env", "push", str(FIFTY_FILE), "--profile", "production", "--yes").ok()
    return shared_org.make_agent(
        "CI/CD Pipeline", {"production": {}, "staging": {"ONE": "first line\nsecond line", "TWO": "2"}}
    )


@pytest.fixture(scope="module")
def installed(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A job in which the first step has run; the command line that it installed serves the other tests, too."""
    before = {path: path.stat().st_mtime_ns for path in checkout.rglob("*")}
    job = Job(tmp_path_factory.mktemp("job"))
    job.use(checkout, {"token": "none"}, only=INSTALL)
    assert {path: path.stat().st_mtime_ns for path in checkout.rglob("*")} == before, "the checkout stays as it was"
    return job


@pytest.fixture
def pull(installed: Job, checkout: Path, token: str, tmp_path: Path) -> Pull:
    """A function that carries out the second step in a job of its own; without ``fails`` it must succeed."""

    def carry_out(inputs: Mapping[str, str], *, fails: bool = False, variables: Mapping[str, str] | None = None) -> Job:
        job = Job(tmp_path, variables)
        job.outputs = dict(installed.outputs)
        if fails:
            with pytest.raises(StepFailed):
                job.use(checkout, {"token": token, **inputs}, only=PULL)
        else:
            job.use(checkout, {"token": token, **inputs}, only=PULL)
        return job

    return carry_out


def require_no_value_in(log: bytes, token: str) -> None:
    """Nothing of the token and of the fifty values is to be read; words of few letters occur in any log."""
    assert token.encode() not in log
    for name, value in FIFTY.items():
        for line in value.split("\n"):
            assert len(line.strip()) < 8 or line.encode() not in log, name


def require_masked_before_anything(job: Job) -> None:
    """Every value and each of its lines is masked, in the lines with which the log begins."""
    begin = re.match(rb"(?:::add-mask::[^\n]*\n)*", job.log)
    assert begin is not None
    assert b"::add-mask::" not in job.log[begin.end() :]
    for name, value in FIFTY.items():
        for text in (value, *value.split("\n")):
            assert not text.strip() or text.encode() in job.masks, name


def test_what_was_installed_is_the_checkout_s_own_command_line(installed: Job, checkout: Path, token: str) -> None:
    program = Path(installed.outputs["install"]["program"])
    # pip may warn of the settings of the machine, and says nothing else.
    assert all(line.startswith(b"WARNING: ") for line in installed.log.splitlines())
    assert installed.added == {}
    assert program.is_relative_to(installed.temporary)
    packages = next(program.parents[1].glob("lib/python*/site-packages"))
    for source in (checkout / "stronghold_cli").rglob("*.py"):
        assert (packages / source.relative_to(checkout)).read_bytes() == source.read_bytes()
    locked = re.findall(r"^(\w[\w.-]*)==(\S+)", (checkout / "requirements/runtime.txt").read_text(), re.MULTILINE)
    found = {tuple(path.name.removesuffix(".dist-info").split("-")) for path in packages.glob("*.dist-info")}
    assert {("cryptography", dict(locked)["cryptography"]), ("typer", dict(locked)["typer"])} <= found


def test_a_profile_is_written_to_a_file(pull: Pull, token: str) -> None:
    job = pull({"profile": "production", "file": "a folder of.env"})
    written = job.workspace / "a folder of.env"
    assert dotenv_values(written) == FIFTY
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert job.added == {}
    require_masked_before_anything(job)
    require_no_value_in(job.shown, token)


def test_a_profile_is_added_to_the_environment_of_the_steps_that_follow(pull: Pull, token: str) -> None:
    job = pull({"profile": "production", "environment": "true"})
    assert job.added == FIFTY
    assert os.listdir(job.workspace) == []
    require_masked_before_anything(job)
    require_no_value_in(job.shown, token)


def test_both_at_once_in_another_format_with_values_of_several_lines(pull: Pull) -> None:
    job = pull({"profile": "staging", "file": "out.json", "format": "json", "environment": "true"})
    assert job.added == {"ONE": "first line\nsecond line", "TWO": "2"}
    assert '"TWO"' in (job.workspace / "out.json").read_text()
    assert {b"first line\nsecond line", b"first line", b"second line", b"2"} <= set(job.masks)
    assert b"second line" not in job.shown


def test_masks_are_there_although_nothing_could_be_written_then(pull: Pull, token: str) -> None:
    job = pull({"profile": "production", "environment": "true"}, fails=True, variables={"GITHUB_ENV": "/dev/full"})
    require_masked_before_anything(job)
    require_no_value_in(job.shown, token)
    assert b"/dev/full cannot be written" in job.shown


def test_the_token_stands_in_no_command_line(pull: Pull, installed: Job, checkout: Path, token: str, tmp_path: Path) -> None:
    recorder = tmp_path / "recorder"
    recorder.write_text(f'#!/bin/sh\nprintf "%s\\n" "$0" "$@" >>"{tmp_path}/words"\nenv >>"{tmp_path}/variables"\n')
    recorder.chmod(0o755)
    job = Job(tmp_path)
    job.outputs = {"install": {"program": str(recorder)}}
    given = {"token": f" {token}\n", "profile": "$(id) it's", "file": "--force", "environment": "true"}
    job.use(checkout, given, only=PULL)
    words = (tmp_path / "words").read_text()
    assert token not in words
    assert words.splitlines()[:6] == [
        str(recorder),
        "env",
        "pull",
        "--profile=$(id) it's",
        "--output=--force",
        "--format=dotenv",
    ]
    assert token in (tmp_path / "variables").read_text()
    assert job.masks == [token.encode()]


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({}, "Give the input file, or environment: true, or both."),
        ({"file": "-"}, "The input file is -, which would print the secrets."),
        ({"file": ".env", "environment": "yes"}, "The input environment is neither true nor false."),
        ({"file": ".env", "token": "\n"}, "The input token is empty"),
    ],
)
def test_inputs_that_make_no_sense_are_refused_in_one_sentence(pull: Pull, inputs: dict[str, str], sentence: str) -> None:
    job = pull(inputs, fails=True)
    assert f"::error title=Stronghold::{sentence}" in job.shown.decode()
    assert os.listdir(job.workspace) == []


def test_a_pull_that_fails_fails_the_step_and_writes_nothing(pull: Pull, token: str) -> None:
    wrong = pull(
        {"file": ".env", "profile": "production", "token": token[:-1] + ("a" if token[-1] != "a" else "b")}, fails=True
    )
    assert b"error:" in wrong.shown
    missing = pull({"file": ".env", "profile": "elsewhere", "environment": "true"}, fails=True)
    assert b"production, staging" in missing.shown
    assert os.listdir(missing.workspace) == []
    assert missing.added == {}


def test_every_interpreter_of_the_installation_ignores_the_workspace(checkout: Path) -> None:
    """``-I``: neither a ``pip.py`` that lies in the workspace nor a ``PYTHONPATH`` of the job is imported."""
    script = read_action(checkout)["runs"]["steps"][0]["run"]
    assert re.findall(r'"(?:\$candidate|\$python|\$folder/python/bin/python)" (?!\])(\S+)', script) == ["-I", "-I", "-I"]


@pytest.mark.parametrize(
    ("variables", "word"), [({"RUNNER_OS": "Windows"}, "Linux or macOS"), ({"PATH": ""}, "Python 3.11")]
)
def test_a_runner_that_cannot_carry_it_is_told_what_lacks(
    checkout: Path, tmp_path: Path, variables: dict[str, str], word: str
) -> None:
    if "PATH" in variables:
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "python3").write_text("#!/bin/false\n")
        (tmp_path / "bin" / "bash").symlink_to("/bin/bash")
        variables = {"PATH": str(tmp_path / "bin")}
    job = Job(tmp_path, variables)
    with pytest.raises(StepFailed, match=word):
        job.use(checkout, {"token": "none"}, only=INSTALL)
