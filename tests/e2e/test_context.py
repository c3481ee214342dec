"""``context``: which org commands act on."""

from __future__ import annotations

import pytest

from tests.e2e.support import PASSPHRASE, Machine, Org, ServerProcess, make_org


@pytest.fixture
def two(org: Org) -> Org:
    """A machine that knows two orgs; the second one was made last."""
    code = org.machine.file("second-code", org.server.setup_code())
    org.run(
        *("init", "--server", org.server.url, "--setup-code-file", str(code), "--org", "Second"),
        *("--passphrase-file", str(org.machine.file("second-passphrase", PASSPHRASE)), "--kit-file", "second-kits"),
    ).ok()
    return org


def current(org: Org) -> str:
    """The org that commands act on, as the server's signed documents name it."""
    name = org.run("org", "show", "--json").ok().json()["name"]
    assert isinstance(name, str)
    return name


def test_use_changes_what_commands_act_on(two: Org) -> None:
    assert current(two) == "Second"
    two.run("context", "use", two.name.upper()).ok()
    assert current(two) == two.name
    assert two.run("auth", "status", "--json").ok().json()["context"] == two.name
    listed = two.run("context", "list", "--json").ok().json()
    assert [(each["name"], each["current"]) for each in listed] == [(two.name, True), ("Second", False)]
    two.run("context", "use", listed[1]["org_id"][:8]).ok()
    assert current(two) == "Second"
    lines = two.run("context", "list").ok().out.splitlines()
    assert lines[0].split("\t") == ["current", "name", "server", "org"]
    assert [line.split("\t")[:2] for line in lines[1:]] == [["", two.name], ["*", "Second"]]


def test_folder_names_the_context(two: Org) -> None:
    two.machine.file("project/.stronghold.toml", f"context = '{two.name}'\nserver = 'https://elsewhere.example.com'\n")
    shown = two.run("org", "show", "--json", cwd=two.machine.home / "project").ok()
    assert shown.json()["name"] == two.name
    assert "not server" in shown.err
    assert current(two) == "Second"


def test_rename_is_for_this_machine_only(two: Org) -> None:
    two.run("context", "rename", "Second", "work").ok()
    assert current(two) == "Second"
    two.run("context", "use", "work").ok()
    two.run("context", "rename", "work", two.name).failed(6)
    two.run("context", "rename", "work", "ag_work").failed(2)
    two.run("context", "rename", "Second", "other").failed(5)


def test_context_that_is_not_there_is_5_and_names_those_that_are(shared_org: Org) -> None:
    assert shared_org.name in shared_org.run("context", "use", "elsewhere").failed(5).err
    assert current(shared_org) == shared_org.name


def test_nothing_is_known_on_a_fresh_machine(machine: Machine) -> None:
    assert machine.run("context", "list", "--json").ok().json() == []
    assert "stronghold init" in machine.run("context", "list").ok().err


def test_account_that_others_can_read_is_refused(machine: Machine, server: ServerProcess) -> None:
    org = make_org(machine, server)
    (account,) = (machine.data / "accounts").iterdir()
    account.chmod(0o644)
    ended = org.run("context", "list").failed(9)
    assert "chmod 600" in ended.err
    assert org.operator_kit not in ended.err
