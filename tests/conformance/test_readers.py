"""What is written is read to the same values by the programs themselves: one value to a file, and hundreds to a file.

Many to a file matters: a value that is misread can swallow the entries after it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from dotenv import dotenv_values

from stronghold_cli.formats.options import Options
from stronghold_cli.formats.table import render
from stronghold_cli.protocol.errors import Unwritable

SHELLS_DIFFER = "shells that source it"
SHELLS_RUN = "would run a part of the value"
NODE_DIFFERS = "node (dotenv, --env-file)"


def _written(format_name: str, values: Iterable[bytes]) -> list[tuple[bytes, bytes, str]]:
    """Value, file and notes of each value that the format does not refuse, each in a file of its own under the name V."""
    written = []
    for value in values:
        try:
            rendered = render(format_name, {"V": value}, random=os.urandom)
        except Unwritable:
            continue
        written.append((value, rendered.content, "\n".join(rendered.notes)))
    return written


def _numbered(values: Iterable[bytes]) -> dict[str, bytes]:
    return {f"V{number:05}": value for number, value in enumerate(values)}


def _write_files(folder: Path, contents: Iterable[bytes]) -> None:
    for number, content in enumerate(contents):
        (folder / f"{number:05}.env").write_bytes(content)


def _source_each(shell: str, folder: Path) -> list[bytes]:
    """V as the shell has it after sourcing each file of the folder in a subshell of its own."""
    script = 'for file in ./*.env; do ( set -a; . "$file"; printf "%s\\0" "$V" ); done'
    run = subprocess.run([shell, "-c", script], cwd=folder, env=_environment(), capture_output=True, check=True)
    assert run.stderr == b""
    return run.stdout.split(b"\0")[:-1]


def _source_one(shell: str, folder: Path, content: bytes) -> dict[str, bytes]:
    """The variables whose names begin with V that a program gets from a shell which sourced the file."""
    (folder / "all.env").write_bytes(content)
    script = "set -a; . ./all.env; exec env -0"
    run = subprocess.run([shell, "-c", script], cwd=folder, env=_environment(), capture_output=True, check=True)
    assert run.stderr == b""
    pairs = (entry.split(b"=", 1) for entry in run.stdout.split(b"\0")[:-1])
    return {name.decode(): value for name, value in pairs if re.fullmatch(rb"V\d+", name)}


def _environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}


@pytest.fixture(params=["sh", "dash", "bash", "zsh", "busybox"])
def shell(request: pytest.FixtureRequest, tool_or_skip: Callable[[str], str], tmp_path: Path) -> str:
    """The path of a shell; busybox through a link, since it goes by the name that it is called by."""
    path = tool_or_skip(request.param)
    if request.param != "busybox":
        return path
    link = tmp_path / "ash"
    link.symlink_to(path)
    return str(link)


# --- dotenv ----------------------------------------------------------------------------------------------------------


def test_python_dotenv_reads_every_single_value(nasty_values: list[bytes], tmp_path: Path) -> None:
    written = _written("dotenv", nasty_values)
    assert len(written) > 500
    for value, content, _ in written:
        (tmp_path / ".env").write_bytes(content)
        assert dotenv_values(tmp_path / ".env") == {"V": value.decode()}


def test_python_dotenv_reads_all_values_in_one_file(nasty_values: list[bytes], tmp_path: Path) -> None:
    values = _numbered(value for value, _, _ in _written("dotenv", nasty_values))
    (tmp_path / ".env").write_bytes(render("dotenv", values, random=os.urandom).content)
    assert dotenv_values(tmp_path / ".env") == {name: value.decode() for name, value in values.items()}


def test_dotenv_is_sourced_to_the_same_values_unless_a_note_names_shells(
    nasty_values: list[bytes], shell: str, tmp_path: Path
) -> None:
    same = [entry for entry in _written("dotenv", nasty_values) if SHELLS_DIFFER not in entry[2]]
    assert len(same) > 200
    folder = tmp_path / "each"
    folder.mkdir()
    _write_files(folder, (content for _, content, _ in same))
    assert _source_each(shell, folder) == [value for value, _, _ in same]
    values = _numbered(value for value, _, _ in same)
    assert _source_one(shell, folder, render("dotenv", values, random=os.urandom).content) == values


def test_sourcing_dotenv_runs_nothing_unless_a_note_says_so(nasty_values: list[bytes], shell: str, tmp_path: Path) -> None:
    harmless = [entry for entry in _written("dotenv", nasty_values) if SHELLS_RUN not in entry[2]]
    folder = tmp_path / "each"
    folder.mkdir()
    _write_files(folder, (content for _, content, _ in harmless))
    # A shell may refuse a file that a note warns it of; what it must not do is run a part of it.
    script = 'for file in ./*.env; do ( set -a; . "$file" ); done'
    subprocess.run([shell, "-c", script], cwd=folder, env=_environment(), capture_output=True, check=False)
    assert not (folder / "canary").exists()


def test_a_note_that_a_shell_runs_a_value_is_true(shell: str, tmp_path: Path) -> None:
    ((_, content, note),) = _written("dotenv", [b"it's `touch canary`"])
    assert SHELLS_RUN in note
    _write_files(tmp_path, [content])
    _source_each(shell, tmp_path)
    assert (tmp_path / "canary").exists()


# What bash or zsh computes in double quotes, with a name in it that stands for the value of V: a subscript with a command.
COMPUTED = ["$[V]", "${PATH:V}", "${V@P}", "${path[V]}", "${(e)V}", "${PATH:V", "$PATH[V]", "$#[V]", "$^V[V]", "$?[V]"]
SUBSCRIPT = b"path[`touch canary`]"


@pytest.mark.parametrize("held", COMPUTED)
def test_sourcing_dotenv_computes_no_value_that_names_another_one(held: str, shell: str, tmp_path: Path) -> None:
    for number, value in enumerate((held, f"it's {held}", f"\r{held}", f'"{held}"', f"\\\\{held}")):
        try:
            content = render("dotenv", {"V": SUBSCRIPT, "W": value.encode()}, random=os.urandom).content
        except Unwritable:
            continue
        (tmp_path / f"{number}.env").write_bytes(content)
        subprocess.run(
            [shell, "-c", f". ./{number}.env"], cwd=tmp_path, env=_environment(), capture_output=True, check=False
        )
        assert not (tmp_path / "canary").exists(), value


@pytest.mark.parametrize(
    ("program", "held"), [("bash", "$[V]"), ("bash", "${PATH:V}"), ("zsh", "$PATH[V]"), ("zsh", "$[V]")]
)
def test_what_is_refused_since_shells_compute_it_would_have_run(
    program: str, held: str, tool_or_skip: Callable[[str], str], tmp_path: Path
) -> None:
    options = Options(allowed=frozenset({"W"}))
    content = render("dotenv", {"V": SUBSCRIPT, "W": f"it's {held}".encode()}, random=os.urandom, options=options).content
    (tmp_path / "all.env").write_bytes(content)
    command = [tool_or_skip(program), "-c", ". ./all.env"]
    subprocess.run(command, cwd=tmp_path, env=_environment(), capture_output=True, check=False)
    assert (tmp_path / "canary").exists()


def test_node_reads_dotenv_unless_a_note_names_it(
    nasty_values: list[bytes], tool_or_skip: Callable[[str], str], tmp_path: Path
) -> None:
    node = tool_or_skip("node")
    same = [entry for entry in _written("dotenv", nasty_values) if NODE_DIFFERS not in entry[2]]
    assert len(same) > 200
    script = "const {parseEnv} = require('util'); const each = JSON.parse(require('fs').readFileSync(0, 'utf8'));"
    script += "process.stdout.write(JSON.stringify(each.map((text) => parseEnv(text).V)))"
    files = json.dumps([content.decode() for _, content, _ in same]).encode()
    run = subprocess.run([node, "-e", script], input=files, capture_output=True, check=True)
    assert json.loads(run.stdout) == [value.decode() for value, _, _ in same]


def test_node_env_file_reads_all_values_that_no_note_keeps_from_it(
    nasty_values: list[bytes], tool_or_skip: Callable[[str], str], tmp_path: Path
) -> None:
    node = tool_or_skip("node")
    values = _numbered(value for value, _, note in _written("dotenv", nasty_values) if NODE_DIFFERS not in note)
    (tmp_path / ".env").write_bytes(render("dotenv", values, random=os.urandom).content)
    script = "process.stdout.write(JSON.stringify(process.env))"
    command = [node, f"--env-file={tmp_path / '.env'}", "-e", script]
    read = json.loads(subprocess.run(command, env=_environment(), capture_output=True, check=True).stdout)
    assert {name: read.get(name, "").encode() for name in values} == values
    assert "INJECTED" not in read


# --- shell -----------------------------------------------------------------------------------------------------------

RAW_BYTES = [bytes(range(1, 256)), b"\xff", b"\xe9'\xe9", b"\xc3", b"\x80\n\x80", b"\xed\xa0\x80"]


def test_shell_is_sourced_to_every_value(nasty_values: list[bytes], shell: str, tmp_path: Path) -> None:
    written = _written("shell", [*nasty_values, *RAW_BYTES])
    assert len(written) == len([value for value in [*nasty_values, *RAW_BYTES] if b"\0" not in value])
    folder = tmp_path / "each"
    folder.mkdir()
    _write_files(folder, (content for _, content, _ in written))
    assert _source_each(shell, folder) == [value for value, _, _ in written]
    values = _numbered(value for value, _, _ in written)
    assert _source_one(shell, folder, render("shell", values, random=os.urandom).content) == values


def test_names_that_shell_refuses_are_those_that_a_shell_does_not_set(
    tool_or_skip: Callable[[str], str], tmp_path: Path
) -> None:
    """One value for each variable that bash makes by itself: what comes through is what the format writes."""
    bash = tool_or_skip("bash")
    listed = subprocess.run([bash, "-c", "compgen -v"], env=_environment(), capture_output=True, check=True, text=True)
    names = {*listed.stdout.split(), "RANDOM", "SRANDOM", "SECONDS", "LINENO", "EPOCHSECONDS", "EPOCHREALTIME", "GROUPS"}
    for name in sorted(names):
        try:
            content = render("shell", {name: b"C.UTF-8"}, random=os.urandom).content
        except Unwritable:
            continue
        (tmp_path / "one.env").write_bytes(content)
        script = f'. ./one.env; printf %s "${name}"'
        run = subprocess.run([bash, "-c", script], cwd=tmp_path, env=_environment(), capture_output=True, check=False)
        assert (run.stdout, run.stderr) == (b"C.UTF-8", b""), name


# --- json ------------------------------------------------------------------------------------------------------------


def test_json_reads_every_value(nasty_values: list[bytes]) -> None:
    values = _numbered(nasty_values)
    content = render("json", values, random=os.urandom).content
    assert json.loads(content) == {name: value.decode() for name, value in values.items()}


def test_node_reads_the_json_of_every_value(nasty_values: list[bytes], tool_or_skip: Callable[[str], str]) -> None:
    node = tool_or_skip("node")
    values = _numbered(nasty_values)
    content = render("json", values, random=os.urandom).content
    script = "const read = JSON.parse(require('fs').readFileSync(0, 'utf8'));"
    script += (
        "for (const [name, value] of Object.entries(read)) console.log(name + '=' + Buffer.from(value).toString('hex'))"
    )
    run = subprocess.run([node, "-e", script], input=content, capture_output=True, check=True)
    read = dict(line.split("=") for line in run.stdout.decode().splitlines())
    assert {name: bytes.fromhex(value) for name, value in read.items()} == values


# --- the corpus of fifty ---------------------------------------------------------------------------------------------

FIFTY = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def fifty() -> dict[str, bytes]:
    """The values of ``fifty.env`` as they were written down by hand, beside it."""
    return {name: value.encode() for name, value in json.loads((FIFTY / "fifty.json").read_text("utf-8")).items()}


def test_python_dotenv_reads_the_fifty_as_they_are_pushed(fifty: dict[str, bytes], tmp_path: Path) -> None:
    from stronghold_cli.formats.imports import parse_env

    pushed = parse_env((FIFTY / "fifty.env").read_bytes(), "fifty.env")
    assert pushed == fifty
    (tmp_path / ".env").write_bytes(render("dotenv", pushed, random=os.urandom).content)
    assert dotenv_values(tmp_path / ".env") == {name: value.decode() for name, value in fifty.items()}


def test_a_shell_sources_the_fifty(fifty: dict[str, bytes], shell: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(render("shell", fifty, random=os.urandom).content)
    script = "set -a; . ./file; exec env -0"
    run = subprocess.run([shell, "-c", script], cwd=tmp_path, env=_environment(), capture_output=True, check=True)
    read = dict(entry.split(b"=", 1) for entry in run.stdout.split(b"\0")[:-1])
    assert {name: read[name.encode()] for name in fifty} == fifty
