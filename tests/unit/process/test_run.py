"""``run``: exact words, the right environment, and what is refused before anything starts."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stronghold_cli.output import exit_code_for
from stronghold_cli.process.run import child_environment, execute
from stronghold_cli.protocol.errors import LocalFileError, StrongholdError, Unwritable, UsageError
from tests.unit.children import child_environment as python_environment

PAGE_LIMIT = 32 * os.sysconf("SC_PAGESIZE")


def run(body: str, *argv: str, **changes: str) -> subprocess.CompletedProcess[bytes]:
    """Run a script that ends in ``execute`` and return what came of it."""
    script = (
        "import os, sys\nfrom stronghold_cli.output import guard\nfrom stronghold_cli.process.run import execute\n"
        f"def main():\n    {body}\nsys.exit(guard(main))"
    )
    return subprocess.run(
        [sys.executable, "-c", script, *argv], capture_output=True, check=False, env=python_environment(**changes)
    )


PASS_ON = "execute(sys.argv[1:], os.environb)"


@pytest.mark.parametrize("words", [["a b", "", "$HOME", "`id`", "'\"", "*", "\n", "--x=;y", "ü"]])
def test_the_command_gets_exactly_its_words(words: list[str]) -> None:
    program = "import sys\nsys.stdout.buffer.write(repr(sys.argv[1:]).encode())"
    ended = run(PASS_ON, sys.executable, "-X", "utf8", "-c", program, *words)
    assert (ended.returncode, ended.stdout.decode()) == (0, repr(words))


def test_code_and_signal_of_the_command_are_its_own() -> None:
    assert run(PASS_ON, "sh", "-c", "exit 37").returncode == 37
    assert run(PASS_ON, "sh", "-c", "kill -9 $$").returncode == -9


def test_what_was_printed_before_comes_first() -> None:
    assert run(f"sys.stdout.write('before '); {PASS_ON}", "sh", "-c", "echo after").stdout == b"before after\n"


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["no-such-command-here"], 127, b"was not found"),
        (["./no/such/file"], 127, b"was not found"),
        (["{folder}/no-interpreter"], 127, b"interpreter of"),
        (["{folder}/plain"], 126, b"Permission denied"),
        (["{folder}"], 126, b"Permission denied"),
        (["{folder}/no-line"], 126, b"#!/bin/sh"),
        ([""], 2, b"no command"),
        ([], 2, b"no command"),
    ],
)
def test_a_command_that_cannot_be_started_is_told_as_shells_do(
    tmp_path: Path, argv: list[str], code: int, words: bytes
) -> None:
    for name, text, mode in (
        ("no-interpreter", "#!/no/such/sh\n", 0o755),
        ("plain", "#!/bin/sh\n", 0o644),
        ("no-line", "echo x\n", 0o755),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)
    ended = run(PASS_ON, *(word.format(folder=tmp_path) for word in argv))
    assert ended.returncode == code
    assert words in ended.stderr
    assert b"Traceback" not in ended.stderr


def test_an_environment_that_is_too_large_as_a_whole_is_told() -> None:
    ended = run("execute(['true'], {b'V%d' % i: b'x' * 130000 for i in range(80)})")
    assert ended.returncode == 10
    assert b"--only" in ended.stderr


def test_secrets_stand_over_what_is_inherited_and_our_tokens_are_gone() -> None:
    inherited = {
        b"KEEP": b"1", b"DATABASE_URL": b"old", b"STRONGHOLD_TOKEN": b"t", b"STRONGHOLD_TOKEN_FILE": b"f",
        b"API_STRONGHOLD_TOKEN": b"a", b"STRONGHOLD_SESSION": b"s", b"STRONGHOLD_URL": b"u", b"BYTES": b"\xff",
    }  # fmt: skip
    assert child_environment({"DATABASE_URL": b"new\n\xff", "EMPTY": b""}, inherited) == {
        b"KEEP": b"1", b"DATABASE_URL": b"new\n\xff", b"STRONGHOLD_URL": b"u", b"BYTES": b"\xff", b"EMPTY": b"",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["LD_PRELOAD", "PATH", "NODE_OPTIONS", "BASH_ENV", "STRONGHOLD_TOKEN"])
def test_a_dangerous_name_is_refused_unless_this_very_name_is_allowed(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        child_environment({name: b"hunter2"}, {}, allowed=["OTHER"])
    assert name in caught.value.message
    assert f"--allow-name {name}" in caught.value.hint
    assert "hunter2" not in caught.value.message + caught.value.hint
    assert child_environment({name: b"x"}, {}, allowed=[name]) == {name.encode(): b"x"}


def test_on_windows_a_name_is_dangerous_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    assert child_environment({"Path": b"x"}, {})
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(UsageError, match="Path"):
        child_environment({"Path": b"x"}, {})
    assert child_environment({"Path": b"x"}, {}, allowed=["Path"])


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A=B", "A\0", "BASH_FUNC_x%%", "Ä"])
def test_a_name_that_no_profile_may_hold_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        child_environment({name: b"x"}, {}, allowed=[name])


def test_a_zero_byte_in_a_value_is_refused_by_name() -> None:
    with pytest.raises(Unwritable) as caught:
        child_environment({"KEY": b"hunter2\0"}, {})
    assert "KEY" in caught.value.message
    assert "hunter2" not in caught.value.message


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="platform: only Linux limits a single variable")
def test_the_longest_value_is_the_longest_that_the_system_takes() -> None:
    longest = PAGE_LIMIT - len("NAME") - 2
    assert child_environment({"NAME": b"x" * longest}, {})
    with pytest.raises(Unwritable) as caught:
        child_environment({"NAME": b"x" * (longest + 1)}, {})
    assert f"{PAGE_LIMIT >> 10} KiB" in caught.value.message
    assert run(f"execute(['true'], {{b'NAME': b'x' * {longest}}})").returncode == 0
    assert run(f"execute(['true'], {{b'NAME': b'x' * {longest + 1}}})").returncode == 10


def test_the_command_meets_signals_and_limits_as_if_we_had_not_been_there() -> None:
    if not os.path.exists("/proc/self/status"):
        pytest.skip("platform: no /proc here")
    # Python itself ignores SIGPIPE at its start; grep tells what it was given.
    ended = run(PASS_ON, "sh", "-c", "grep SigIgn /proc/self/status")
    ignored = int(ended.stdout.split()[1], 16)
    assert [ignored >> each - 1 & 1 for each in (signal.SIGPIPE, signal.SIGXFSZ)] == [0, 0]


@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_CORE)[1] == 0, reason="platform: core dumps are forbidden here anyway"
)
def test_core_dumps_are_off_for_us_and_as_before_for_the_command() -> None:
    program = "import resource; print(resource.getrlimit(resource.RLIMIT_CORE)[0])"
    body = (
        "import resource; from stronghold_cli.process.hardening import allow_core_dumps, forbid_core_dumps; "
        "resource.setrlimit(resource.RLIMIT_CORE, (512, resource.getrlimit(resource.RLIMIT_CORE)[1])); "
        f"forbid_core_dumps(); {program}; "
        f"execute([sys.executable, '-c', {program!r}], os.environb, before=allow_core_dumps)"
    )
    assert run(body).stdout.split() == [b"1" if sys.platform.startswith("linux") else b"0", b"512"]


def test_errors_of_starting_are_our_own() -> None:
    for error in (LocalFileError("x", code="COMMAND_NOT_FOUND"), LocalFileError("x", code="COMMAND_NOT_EXECUTABLE")):
        assert isinstance(error, StrongholdError)
        assert exit_code_for(error) in {126, 127}


def test_a_failed_start_leaves_signals_as_they_were() -> None:
    before = signal.getsignal(signal.SIGPIPE)
    with pytest.raises(LocalFileError):
        execute(["no-such-command-here"], os.environb)
    assert signal.getsignal(signal.SIGPIPE) == before
