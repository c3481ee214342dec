"""``env push``: the difference first, one commit after a yes, and nothing that the file's author did not mean."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.more_support import FIFTY, FIFTY_FILE, push, reveals
from tests.e2e.support import Org


def pulled(org: Org, profile: str) -> dict[str, str]:
    found: dict[str, str] = org.run("env", "pull", "-p", profile, "--format", "json").ok().json()
    return found


def version(org: Org, profile: str) -> int:
    found: int = org.run("--json", "profile", "show", profile).ok().json()["version"]
    return found


def test_a_file_is_pushed_into_a_new_profile_as_one_commit(org: Org) -> None:
    said = org.run("env", "push", str(FIFTY_FILE), "--profile", "production", "--yes").ok()
    assert said.out == ""
    assert "production (new profile):" in said.err
    assert "Wrote 50 secrets to 'production'." in said.err
    assert said.err.count("\n  + ") == 50
    assert not reveals(said, *(value for value in FIFTY.values() if len(value) > 7 and value != "production"))
    assert pulled(org, "production") == FIFTY
    entries = org.run("--json", "audit", "list").ok().json()
    assert [entry["outcome"] for entry in entries if entry["kind"] == "commit"] == ["ok"]


def test_an_unchanged_file_changes_nothing_and_needs_no_yes(org: Org) -> None:
    push(org, "production", {"A": "1", "B": "2"}).ok()
    again = org.run("env", "push", "push-production.json", "--profile", "production").ok()
    assert "2 unchanged" in again.err
    assert "Nothing was changed." in again.err
    assert version(org, "production") == 1


def test_the_difference_names_what_is_added_changed_and_left(org: Org) -> None:
    push(org, "production", {"KEPT": "same", "CHANGED": "old", "ELSEWHERE": "stays"}).ok()
    push(org, "staging", {"KEPT": "other"}).ok()
    said = push(org, "production", {"KEPT": "same", "CHANGED": "hunter2", "NEW": "hunter3"}).ok()
    assert "  + NEW\n  ~ CHANGED\n  1 unchanged\n" in said.err
    assert "hunter" not in said.err
    assert pulled(org, "production") == {"KEPT": "same", "CHANGED": "hunter2", "ELSEWHERE": "stays", "NEW": "hunter3"}
    assert pulled(org, "staging") == {"KEPT": "other"}
    said = push(org, "production", {"KEPT": "same"}, "--prune").ok()
    assert "  - CHANGED\n  - ELSEWHERE\n  - NEW\n" in said.err
    assert pulled(org, "production") == {"KEPT": "same"}


def test_a_dry_run_shows_and_changes_nothing(org: Org) -> None:
    push(org, "production", {"A": "1"}).ok()
    shown = push(org, "production", {"A": "2", "B": "3"}, "--dry-run", "--prune").ok()
    assert "  + B\n  ~ A\n" in shown.err
    as_json = push(org, "production", {"B": "3"}, "--dry-run", "--prune", "--json").ok().json()
    assert as_json == {
        "profile": "production",
        "new": False,
        "added": ["B"],
        "changed": [],
        "removed": ["A"],
        "unchanged": 0,
    }
    push(org, "never-made", {"A": "1"}, "--dry-run").ok()
    assert pulled(org, "production") == {"A": "1"}
    org.run("profile", "show", "never-made").failed(5)


def test_a_yes_is_asked_for_on_a_terminal_and_demanded_elsewhere(org: Org, terminal_or_skip: object) -> None:
    org.machine.file(".env", "KEY=hunter2\n")
    assert "--yes" in org.run("env", "push", ".env", "--profile", "production").failed(2).err
    question = "Make the profile 'production' and add 1? [y/N]"
    for answer, code in (("n", 0), ("\x03", 130)):
        typed = org.machine.type("env", "push", ".env", "--profile", "production", answers=[(question, answer)])
        assert typed.code == code
    org.run("profile", "show", "production").failed(5)
    yes = org.machine.type("env", "push", ".env", "--profile", "production", answers=[(question, "y")])
    assert yes.code == 0
    assert "hunter2" not in yes.out
    assert pulled(org, "production") == {"KEY": "hunter2"}


def test_stdin_and_json_are_taken(shared_org: Org) -> None:
    text = "A='one'\nB=\"two\\nlines\"\n"
    shared_org.run("env", "push", "-", "--profile", "from-stdin", "--yes", stdin=text).ok()
    assert pulled(shared_org, "from-stdin") == {"A": "one", "B": "two\nlines"}
    push(shared_org, "from-json", {"A": "e\u0301 ${x} $(y)\r\n"}).ok()
    assert pulled(shared_org, "from-json") == {"A": "e\u0301 ${x} $(y)\r\n"}


def test_the_profile_may_come_from_the_environment_or_the_folder(shared_org: Org) -> None:
    shared_org.machine.file("values.env", "A=1\n")
    chosen = {"STRONGHOLD_PROFILE": "from-variable"}
    shared_org.run("env", "push", "values.env", "--yes", env=chosen).ok()
    folder = shared_org.machine.home / "project"
    shared_org.machine.file("project/.stronghold.toml", "profile = 'from-folder'\n")
    shared_org.run("env", "push", "../values.env", "--yes", cwd=folder).ok()
    for profile in ("from-variable", "from-folder"):
        assert pulled(shared_org, profile) == {"A": "1"}


@pytest.mark.parametrize(
    ("name", "content", "code", "said"),
    [
        ("twice.env", "A=1\nB=2\nA=hunter2\n", 2, "line 3"),
        ("open.env", "A=1\nB='hunter2\n", 2, "line 2"),
        ("name.env", "with-dash=hunter2\n", 2, "line 1"),
        ("nothing.env", "A\n", 2, "line 1"),
        ("list.json", '["hunter2"]', 2, "not one map of names"),
        ("number.json", '{"A": 5}', 2, "'A'"),
        ("twice.json", '{"A":"1",\n"A":"hunter2"}', 2, "line 2"),
        ("twice.yaml", "A: 1\nA: hunter2\n", 2, "line 2"),
        ("open.yaml", "A: 1\nB: 'hunter2\n", 2, "line"),
        ("tag.yaml", "A: !secret hunter2\n", 2, "line 1"),
        ("bom.env", "\ufeffA=hunter2\n", 2, "line 1"),
    ],
)
def test_a_doubtful_file_is_refused_with_its_line(shared_org: Org, name: str, content: str, code: int, said: str) -> None:
    shared_org.machine.file(name, content)
    refused = shared_org.run("env", "push", name, "--profile", "doubtful", "--yes", "--debug").failed(code)
    assert name in refused.err
    assert said in refused.err
    assert "hunter2" not in refused.err
    shared_org.run("profile", "show", "doubtful").failed(5)


EXPORTS = Path(__file__).parents[1] / "data" / "exports"


@pytest.mark.parametrize("sample", sorted(EXPORTS.iterdir()), ids=lambda sample: sample.name)
def test_an_export_of_another_tool_is_pushed(shared_org: Org, sample: Path) -> None:
    tool = sample.stem.split("-")[0]
    profile = f"from-{sample.name.replace('.', '-')}"
    said = shared_org.run("env", "push", str(sample), "--from", tool, "--profile", profile, "--yes").ok()
    assert "  + MULTI_LINE" in said.err
    assert "0.982492bc" not in said.err
    assert pulled(shared_org, profile) == {"SES_KEY": "0.982492bc-7f37-4475-9e60", "MULTI_LINE": 'it\'s "two"\nlines $x'}


def test_an_export_comes_through_a_pipe_too(shared_org: Org) -> None:
    text = (EXPORTS / "vault.json").read_text()
    shared_org.run("env", "push", "-", "--from", "vault", "--profile", "piped", "--yes", stdin=text).ok()
    assert pulled(shared_org, "piped").keys() == {"SES_KEY", "MULTI_LINE"}


def test_what_is_no_export_of_that_tool_pushes_nothing(shared_org: Org) -> None:
    for tool, sample, code in (("bws", "vault.json", 2), ("nobody", "bws.json", 2), ("vault", "doppler.env", 2)):
        shared_org.run("env", "push", str(EXPORTS / sample), "--from", tool, "--profile", "nothing", "--yes").failed(code)
    encrypted = shared_org.machine.file("encrypted.yaml", "A: ENC[hunter2]\nsops:\n  mac: x\n")
    refused = shared_org.run("env", "push", str(encrypted), "--from", "sops", "--profile", "nothing", "--yes").failed(2)
    assert "line 2: the file is still encrypted by sops" in refused.err
    assert "hunter2" not in refused.err
    shared_org.run("profile", "show", "nothing").failed(5)


def test_yaml_is_taken(shared_org: Org) -> None:
    file = shared_org.machine.file("values.yaml", "A: one\nPORT: 8080\nLINES: |\n  x\n  y\n")
    shared_org.run("env", "push", str(file), "--profile", "from-yaml", "--yes").ok()
    assert pulled(shared_org, "from-yaml") == {"A": "one", "PORT": "8080", "LINES": "x\ny\n"}


def test_what_cannot_be_is_told(shared_org: Org) -> None:
    shared_org.machine.file("fine.env", "A=1\n")
    shared_org.run("env", "push", "nowhere.env", "--profile", "p", "--yes").failed(9)
    shared_org.run("env", "push", ".", "--profile", "p", "--yes").failed(9)
    assert "--profile" in shared_org.run("env", "push", "fine.env", "--yes").failed(2).err
    shared_org.run("env", "push", "fine.env", "--profile", "not a name", "--yes").failed(2)
    shared_org.run("env", "push", "fine.env", "--profile", "pr_" + "0" * 32, "--yes").failed(5)
    shared_org.run("group", "create", "of-others").ok()
    assert "--no-group" in shared_org.run("env", "push", "fine.env", "-p", "of-others", "--yes").failed(6).err
    shared_org.run("env", "push").failed(2)
    large = shared_org.machine.file("large.json", json.dumps({"A": "x" * ((1 << 20) + 1)}))
    shared_org.run("env", "push", str(large), "--profile", "p", "--yes").failed(2)
