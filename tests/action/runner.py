"""A small runner: executes the steps of a composite action as GitHub's runner does on Linux, as far as this action needs it.

Each step is a file for ``bash --noprofile --norc -eo pipefail``, in the workspace; what it wrote to ``$GITHUB_OUTPUT`` and
``$GITHUB_ENV`` counts from the next step on. Both streams are one log, in which masks work from the line after their own.
Expressions other than ``inputs.NAME`` and ``steps.ID.outputs.NAME`` are an error, so the action cannot come to use one
that is not understood here. Source: github.com/actions/runner, ``CompositeActionHandler`` and ``ScriptHandler``.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from stronghold_cli.formats.github import read

FILE_COMMANDS = ("GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_PATH", "GITHUB_STATE", "GITHUB_STEP_SUMMARY")
# What the machine's administrator has set for pip and TLS reaches jobs, too.
_OF_THE_MACHINE = re.compile(r"PIP_.*|SSL_CERT_.*|(?i:https?_proxy|no_proxy)|PATH")
_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
_MASK = b"::add-mask::"


class StepFailed(Exception):
    """A step ended with another code than 0."""


def read_action(folder: Path) -> dict[str, Any]:
    """The action's own description."""
    return yaml.safe_load((folder / "action.yml").read_text(encoding="utf-8"))


class Job:
    """One job on a fresh machine: its workspace, its environment, and its log so far."""

    def __init__(self, folder: Path, variables: Mapping[str, str] | None = None) -> None:
        self.workspace, self.temporary, self.files = (folder / name for name in ("workspace", "temp", "file commands"))
        for path in (self.workspace, self.temporary, self.files, folder / "home"):
            path.mkdir(parents=True, exist_ok=True)
        self.environment = {name: value for name, value in os.environ.items() if _OF_THE_MACHINE.fullmatch(name)}
        self.environment |= {
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_WORKSPACE": str(self.workspace),
            "HOME": str(folder / "home"),
            "LANG": "C.UTF-8",
            "RUNNER_OS": "Linux",
            "RUNNER_TEMP": str(self.temporary),
            **(variables or {}),
        }
        self.log = b""
        self.outputs: dict[str, dict[str, str]] = {}
        self.added: dict[str, str] = {}

    def use(self, folder: Path, inputs: Mapping[str, str], *, only: str | None = None) -> None:
        """Carry out the action that lies in ``folder``, or the one step of that name."""
        action = read_action(folder)
        given = {name: str(each.get("default", "")) for name, each in action["inputs"].items()} | dict(inputs)
        assert given.keys() == action["inputs"].keys(), "there is no such input"
        for step in action["runs"]["steps"]:
            if only in (None, step["name"]):
                self._carry_out(step, folder, given)

    def _carry_out(self, step: dict[str, Any], folder: Path, inputs: Mapping[str, str]) -> None:
        assert step.keys() <= {"name", "id", "shell", "env", "run"}
        assert step["shell"] == "bash"
        assert not _EXPRESSION.search(step["run"]), "an input in a script is an injection"
        script = self.files / "script.sh"
        script.write_text(step["run"], encoding="utf-8")
        commands = {name: str(self.files / name.lower()) for name in FILE_COMMANDS}
        for path in commands.values():
            Path(path).write_bytes(b"")
        own = {name: self._evaluate(str(value), inputs) for name, value in step.get("env", {}).items()}
        ended = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            env={**commands, **self.environment, **self.added, "GITHUB_ACTION_PATH": str(folder), **own},
            cwd=self.workspace,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=360,
            check=False,
        )
        self.log += ended.stdout
        if ended.returncode:
            raise StepFailed(f"{step['name']} ended with {ended.returncode}\n{self.shown.decode()}")
        self.outputs[step.get("id", "")] = _texts(Path(commands["GITHUB_OUTPUT"]))
        self.added |= _texts(Path(commands["GITHUB_ENV"]))

    def _evaluate(self, text: str, inputs: Mapping[str, str]) -> str:
        def value(match: re.Match[str]) -> str:
            words = match[1].split(".")
            if words[0] == "inputs" and len(words) == 2:
                return inputs[words[1]]
            assert words[0::2] == ["steps", "outputs"], f"an expression that this runner does not know: {match[1]}"
            return self.outputs[words[1]].get(words[3], "")

        return _EXPRESSION.sub(value, text)

    @property
    def masks(self) -> list[bytes]:
        """What was masked, in order."""
        return [_unescape(line) for line in self.log.splitlines() if line.startswith(_MASK)]

    @property
    def shown(self) -> bytes:
        """The log as people see it."""
        masks, lines = list[bytes](), []
        for line in self.log.split(b"\n"):
            if line.startswith(_MASK):
                masks.append(_unescape(line))
                continue
            for mask in sorted(masks, key=len, reverse=True):
                line = line.replace(mask, b"***")
            lines.append(line)
        return b"\n".join(lines)


def _unescape(line: bytes) -> bytes:
    return line.removeprefix(_MASK).replace(b"%0D", b"\r").replace(b"%0A", b"\n").replace(b"%25", b"%")


def _texts(file: Path) -> dict[str, str]:
    return {name: value.decode() for name, value in read(file.read_bytes()).items()}
