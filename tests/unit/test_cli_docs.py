"""docs/cli.md says what the program does: its generated parts are what the commands and tables give today."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from stronghold_cli.main import build_app
from stronghold_cli.output import ExitCode

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "cli.md"
COMMAND = re.compile(r"^### (.+)$", re.MULTILINE)


def run_generator(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / ".ci" / "make-cli-docs"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_reference_is_what_the_program_says() -> None:
    checked = run_generator("--check")
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        ("The new org's name.", "The old org's name."),
        ("| 8 | integrity", "| 9 | integrity"),
        ("| `CONFLICT` | 409", "| `CONFLICT` | 410"),
    ],
)
def test_drift_of_a_generated_part_is_found_and_mended(tmp_path: Path, written: str, instead: str) -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    assert written in text
    copy = tmp_path / "cli.md"
    copy.write_text(text.replace(written, instead), encoding="utf-8")
    assert run_generator("--check", str(copy)).returncode == 1
    assert instead in copy.read_text(encoding="utf-8"), "--check writes nothing"
    assert run_generator(str(copy)).returncode == 0
    assert copy.read_text(encoding="utf-8") == text


def test_a_part_that_was_taken_out_stops_the_generator(tmp_path: Path) -> None:
    copy = tmp_path / "cli.md"
    copy.write_text(
        REFERENCE.read_text(encoding="utf-8").replace("generated: exit-codes", "generated: others"), encoding="utf-8"
    )
    assert run_generator("--check", str(copy)).returncode != 0


def test_every_command_shows_one_example_that_begins_with_the_program() -> None:
    described = REFERENCE.read_text(encoding="utf-8").partition("<!-- generated: commands -->")[2]
    _, *sections = re.split(r"^### ", described, flags=re.MULTILINE)
    assert len(sections) > 30
    without = [
        each.partition("\n")[0] for each in sections if len(re.findall(r"^Example: `.*stronghold ", each, re.MULTILINE)) != 1
    ]
    assert without == []


def test_every_command_and_exit_code_stands_in_the_reference() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    groups = get_command(build_app(None)).commands  # type: ignore[attr-defined]
    assert {name for name in groups if not re.search(rf"^### {name}( |$)", text, re.MULTILINE)} == set()
    assert {int(code) for code in ExitCode if f"| {int(code)} |" not in text} == set()


def test_commands_that_the_documentation_shows_exist() -> None:
    tree = {
        name: set(getattr(command, "commands", ()))
        for name, command in get_command(build_app(None)).commands.items()  # type: ignore[attr-defined]
    }
    unknown = []
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        code = re.findall(r"```.*?```|`[^`\n]+`", page.read_text(encoding="utf-8"), re.DOTALL)
        shown = re.findall(r"(?:stronghold|api-stronghold-cli) ([a-z][a-z-]+)(?: ([a-z][a-z-]+))?", "\n".join(code))
        for name, inner in shown:
            if name not in tree or (inner and tree[name] and inner not in tree[name]):
                unknown.append(f"{page.name}: {name} {inner}")
    assert unknown == []
