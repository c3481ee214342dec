"""Completion in real shells: quick, silent, and of commands and options; and the first words to a newcomer."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Tool = Callable[[str], str]
# What completion must not load: rich alone costs more than all the rest, and nothing is asked of a server.
HEAVY = ("asyncio", "httpx", "logging", "pydantic", "rich", "stronghold_server")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A home with nothing in it, and both programs on the path."""
    (tmp_path / "bin").mkdir()
    for name in ("stronghold", "api-stronghold-cli"):
        words = f"import sys; sys.argv[0] = '{name}'; from stronghold_cli.__main__ import main; main()"
        program = tmp_path / "bin" / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{words}" "$@"\n')
        program.chmod(0o755)
    return {
        "HOME": str(tmp_path),
        "PATH": f"{tmp_path / 'bin'}:{os.environ.get('PATH', os.defpath)}",
        "PYTHONPATH": os.pathsep.join(os.path.abspath(each) for each in sys.path if each),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
    }


def run(environment: dict[str, str], *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        env={**environment, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def complete_in_bash(environment: dict[str, str], *line: str) -> set[str]:
    """What a real bash offers for the last word, by the completion that the program itself shows."""
    words = " ".join(f"'{word}'" for word in line)
    ended = run(
        environment,
        "bash",
        "--norc",
        "-c",
        f'eval "$({line[0]} --show-completion bash)"\n'
        f"COMP_WORDS=({words}); COMP_CWORD={len(line) - 1}\n"
        f'function=$(complete -p {line[0]} | sed "s/.*-F \\([^ ]*\\).*/\\1/")\n'
        f'"$function" {line[0]}; printf "%s\\n" "${{COMPREPLY[@]}}"',
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return set(ended.stdout.split())


@pytest.mark.parametrize("program", ["stronghold", "api-stronghold-cli"])
def test_bash_completes_commands_and_options(environment: dict[str, str], program: str) -> None:
    assert complete_in_bash(environment, program, "env", "pu") == {"pull", "push"}
    assert complete_in_bash(environment, program, "aud") == {"audit"}
    assert complete_in_bash(environment, program, "env", "pull", "--pro") == {"--profile"}
    assert complete_in_bash(environment, program, "env", "nothing-begins-so") == set()


def test_the_shell_that_calls_is_found_and_others_can_be_named(environment: dict[str, str]) -> None:
    assert "complete -o default" in run(environment, "bash", "--norc", "-c", "stronghold --show-completion; true").stdout
    assert "#compdef stronghold" in run(environment, "stronghold", "--show-completion", "zsh").stdout
    assert (
        "complete --command api-stronghold-cli" in run(environment, "api-stronghold-cli", "--show-completion", "fish").stdout
    )


@pytest.mark.parametrize(
    ("shell", "files"),
    [
        ("bash", {".bashrc", ".bash_completions/stronghold.sh"}),
        ("zsh", {".zshrc", ".zfunc/_stronghold"}),
        ("fish", {".config/fish/completions/stronghold.fish"}),
    ],
)
def test_installation_writes_to_the_shell_s_own_files(
    environment: dict[str, str], tmp_path: Path, shell: str, files: set[str]
) -> None:
    installed = run(environment, "stronghold", "--install-completion", shell)
    assert (installed.returncode, installed.stderr) == (0, "")
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert written - {"bin/stronghold", "bin/api-stronghold-cli"} == files


def test_zsh_takes_the_completion_and_gets_commands_with_their_help(environment: dict[str, str], tool_or_skip: Tool) -> None:
    zsh = tool_or_skip("zsh")
    show = 'eval "$(stronghold --show-completion zsh)"; whence -w _stronghold_completion'
    script = f"autoload -U compinit && compinit -u -D; {show}"
    loaded = run(environment, zsh, "-f", "-c", script)
    assert (loaded.stdout, loaded.stderr) == ("_stronghold_completion: function\n", "")
    asked = {"_STRONGHOLD_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "stronghold env pu"}
    assert run(environment, "stronghold", **asked).stdout.startswith("_arguments '*: :((\"pull\":\"Write a profile''s")


def test_fish_gets_commands_with_their_help(environment: dict[str, str]) -> None:
    asked = {"_STRONGHOLD_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    answer = run(environment, "stronghold", **asked, _TYPER_COMPLETE_ARGS="stronghold env pu").stdout
    assert [line.partition("\t")[0] for line in answer.splitlines()] == ["pull", "push"]


@pytest.mark.parametrize(
    "asked",
    [
        {"COMP_WORDS": "stronghold 'env", "COMP_CWORD": "1"},
        {"COMP_WORDS": "stronghold env", "COMP_CWORD": "many"},
        {"COMP_WORDS": "stronghold secret get \x01", "COMP_CWORD": "-7"},
        {},
    ],
)
def test_a_line_that_makes_no_sense_is_met_with_silence(environment: dict[str, str], asked: dict[str, str]) -> None:
    ended = run(environment, "stronghold", "env", "pull", **asked, _STRONGHOLD_COMPLETE="complete_bash")
    assert ended.stderr == ""


def test_completion_loads_one_command_s_module_and_nothing_heavy(environment: dict[str, str]) -> None:
    script = (
        "import atexit, sys; from stronghold_cli.start import run\n"
        "atexit.register(lambda: print('LOADED', *(name for name, module in sys.modules.items() if module)))\n"
        "run([])"
    )
    asked = {"_STRONGHOLD_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "stronghold group gr"}
    answer, _, loaded = run(environment, sys.executable, "-c", script, **asked).stdout.partition("LOADED ")
    assert '"grant"' in answer
    modules = set(loaded.split())
    assert [name for name in HEAVY if name in modules] == []
    commands = {name for name in modules if name.startswith("stronghold_cli.commands.")}
    assert "stronghold_cli.commands.group" in commands
    assert "stronghold_cli.commands.env" not in commands


def test_without_arguments_a_newcomer_is_told_the_first_steps(environment: dict[str, str]) -> None:
    ended = run(environment, "stronghold")
    assert (ended.returncode, ended.stdout) == (0, "")
    lines = ended.stderr.splitlines()
    assert len(lines) == 6
    for word, line in zip(("server start", "init", "env push", "agent create", "env pull"), lines[1:], strict=True):
        assert f"stronghold {word}" in line
    assert "stronghold --help" in lines[-1]
