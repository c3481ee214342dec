"""``init`` and ``org``: what they leave behind, what they ask, and how each failure leaves nothing half-done."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.support import CLI_WITHOUT_SHARED_MEMORY, PASSPHRASE, Machine, Org, ServerProcess, kit_in

NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def code_file(machine: Machine, server: ServerProcess) -> Path:
    """A file with a fresh setup code."""
    return machine.file("code", server.setup_code() + "\n")


@pytest.fixture
def unattended(machine: Machine, server: ServerProcess, code_file: Path) -> list[str]:
    """The options with which init asks nothing; kits go to stdout."""
    passphrase = machine.file("passphrase", PASSPHRASE + "\n")
    return [
        *("--server", server.url, "--setup-code-file", str(code_file), "--org", "Example", "--name", "Ada"),
        *("--passphrase-file", str(passphrase)),
    ]


def nothing_is_kept(machine: Machine) -> bool:
    """Whether no file lies in the program's folders."""
    return not any(path.is_file() for folder in (machine.data, machine.state, machine.runtime) for path in folder.rglob("*"))


def test_init_leaves_an_unlocked_admin_and_private_files(machine: Machine, unattended: list[str]) -> None:
    made = machine.run("init", *unattended).ok()
    lines = made.out.splitlines()
    assert [line[:5] for line in lines] == ["shrk_", "shok_"]
    assert not any(kit in made.err for kit in lines)
    assert "Ada" in machine.run("auth", "status").ok().out
    machine.run("org", "show").ok()
    kept = [
        path for folder in (machine.data, machine.state, machine.runtime) for path in folder.rglob("*") if path.is_file()
    ]
    assert len(kept) >= 5
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}
    assert not any(PASSPHRASE.encode() in path.read_bytes() or lines[0].encode() in path.read_bytes() for path in kept)


def test_kit_file_is_private_and_takes_the_place_of_stdout(machine: Machine, unattended: list[str]) -> None:
    made = machine.run("init", *unattended, "--kit-file", "kits").ok()
    kits = (machine.home / "kits").read_text(encoding="utf-8")
    assert made.out == ""
    assert kit_in(kits, "shrk_") not in made.err
    assert kit_in(kits, "shok_") not in made.err
    assert stat.S_IMODE((machine.home / "kits").stat().st_mode) == 0o600


def test_init_as_json_holds_everything(machine: Machine, unattended: list[str]) -> None:
    made = machine.run("init", *unattended, "--json").ok().json()
    assert made["root_kit"].startswith("shrk_")
    assert made["operator_kit"].startswith("shok_")
    assert made["org"]["name"] == made["context"] == "Example"
    assert made["session"] is None
    assert made["unlocked_until"].endswith("Z")


def test_init_finds_the_code_of_this_users_server(machine: Machine, new_server: Callable[..., ServerProcess]) -> None:
    own = new_server(data_dir=machine.home / ".local/share/stronghold-server")
    passphrase = machine.file("passphrase", PASSPHRASE)
    words = ["init", "--server", own.url, "--org", "Mine", "--passphrase-file", str(passphrase), "--kit-file", "kits"]
    machine.run(*words).ok()
    assert "person" in machine.run("auth", "status").ok().out  # the login name
    again = machine.run(*words[:-1], "more-kits", "--context", "other").failed(2)
    assert "server setup-code" in again.err


@pytest.mark.usefixtures("terminal_or_skip")
def test_init_typed_by_hand(machine: Machine, server: ServerProcess) -> None:
    code = server.setup_code()
    answers = [
        ("Setup code: ", code),
        ("Name of the org: ", "Example & Søns"),
        ("at least 12 characters: ", PASSPHRASE),
        ("again: ", "something else entirely"),
        ("not the same", ""),
        ("at least 12 characters: ", PASSPHRASE),
        ("again: ", PASSPHRASE),
    ]
    # The empty line that answers "not the same" is thrown away by the question for the passphrase.
    typed = machine.type("init", "--server", server.url, answers=[each for each in answers if each[1]]).ok()
    assert PASSPHRASE not in typed.out
    assert "not the same" in typed.out
    assert kit_in(typed.out, "shrk_")
    assert kit_in(typed.out, "shok_")
    machine.run("org", "show").ok()


@pytest.mark.usefixtures("terminal_or_skip")
def test_ctrl_c_at_a_question_ends_with_130_and_keeps_nothing(machine: Machine, unattended: list[str]) -> None:
    words = unattended[: unattended.index("--passphrase-file")]
    typed = machine.type("init", *words, answers=[("at least 12 characters: ", "\x03")])
    assert typed.code == 130
    assert "Traceback" not in typed.out
    assert nothing_is_kept(machine)
    machine.run("init", *unattended).ok()  # the setup code was not used up


def test_session_without_a_folder_in_memory(machine: Machine, unattended: list[str]) -> None:
    bare = {"program": CLI_WITHOUT_SHARED_MEMORY}
    away: dict[str, str | None] = {"XDG_RUNTIME_DIR": None}
    made = machine.run("init", *unattended, "--kit-file", "kits", env=away, **bare).ok()
    (line,) = made.out.splitlines()
    name, _, key = line.removeprefix("export ").partition("=")
    assert name == "STRONGHOLD_SESSION"
    machine.run("org", "show", env=away, **bare).failed(3)
    machine.run("org", "show", env={**away, name: key}, **bare).ok()
    machine.run("org", "show", env={**away, name: "nonsense"}, **bare).failed(3)
    unlocked = machine.run("auth", "unlock", "--passphrase-file", "passphrase", env=away, **bare).ok()
    fresh = unlocked.out.strip().removeprefix("export STRONGHOLD_SESSION=")
    machine.run("org", "show", env={**away, name: key}, **bare).failed(3)
    machine.run("org", "show", env={**away, name: fresh}, **bare).ok()


def test_project_file_names_the_context_alone(machine: Machine, unattended: list[str]) -> None:
    machine.run("init", *unattended, "--context", 'my "work"', "--project").ok()
    assert (machine.home / ".stronghold.toml").read_text(encoding="utf-8") == 'context = "my \\"work\\""\n'
    machine.run("auth", "lock").ok()


@pytest.mark.parametrize(
    ("option", "name", "content"), [("--kit-file", "kits", "mine"), ("--project", ".stronghold.toml", "profile = 'x'\n")]
)
def test_file_in_the_way_is_told_before_anything_is_made(
    machine: Machine, unattended: list[str], option: str, name: str, content: str
) -> None:
    path = machine.file(name, content)
    words = [option, name] if option == "--kit-file" else [option]
    assert name in machine.run("init", *unattended, *words).failed(9).err
    assert path.read_text(encoding="utf-8") == content
    assert nothing_is_kept(machine)
    path.unlink()
    machine.run("init", *unattended, *words).ok()  # the setup code was not used up


def test_kit_file_in_a_missing_folder(machine: Machine, unattended: list[str]) -> None:
    machine.run("init", *unattended, "--kit-file", "missing/kits").failed(9)
    assert nothing_is_kept(machine)


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("to_file", [False, True])
def test_disk_that_is_full_once_the_org_is_made_loses_no_kit(
    machine: Machine, unattended: list[str], as_json: bool, to_file: bool
) -> None:
    """No file may grow over 200 bytes here: neither kits nor account can be kept, and the kits come out all the same."""
    program = (
        sys.executable,
        "-c",
        (
            "import resource, sys; sys.dont_write_bytecode = True  # or it would leave cut modules behind\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))\n"
            "from stronghold_cli.__main__ import main; main()"
        ),
    )
    words = [*unattended, *(["--kit-file", "kits"] if to_file else []), *(["--json"] if as_json else [])]
    ended = machine.run("init", *words, program=program).failed(9)
    assert "auth login" in ended.err
    assert not (machine.home / "kits").exists()
    assert kit_in(ended.out, "shrk_")
    machine.file("kit", kit_in(ended.out, "shok_"))
    machine.run("auth", "login", "--kit-file", "kit", "--passphrase-file", "passphrase").ok()


def test_server_away_is_7_with_the_way_to_start_one(machine: Machine, unattended: list[str]) -> None:
    ended = machine.run("init", *unattended, "--server", NOWHERE, "--kit-file", "kits").failed(7)
    assert "stronghold server start" in ended.err
    assert nothing_is_kept(machine)
    assert not (machine.home / "kits").exists()


@pytest.mark.parametrize("used", [True, False])
def test_setup_code_is_good_once(
    machine: Machine, new_machine: Callable[..., Machine], unattended: list[str], code_file: Path, used: bool
) -> None:
    if used:
        new_machine().run("init", *unattended).ok()
    else:
        code_file.write_text("shsc_0000000000000000000000\n")
    ended = machine.run("init", *unattended, "--kit-file", "kits").failed(1)
    assert "setup code" in ended.err
    assert code_file.read_text().strip() not in ended.err
    assert nothing_is_kept(machine)
    assert not (machine.home / "kits").exists()


def test_setup_code_on_the_command_line_gets_a_warning(
    machine: Machine, server: ServerProcess, unattended: list[str]
) -> None:
    place = unattended.index("--setup-code-file")
    words = [*unattended[:place], *unattended[place + 2 :]]
    code = server.setup_code()
    both = machine.run("init", *unattended, "--setup-code", code).failed(2)
    assert "--setup-code-file" in both.err
    made = machine.run("init", *words, "--setup-code", code).ok()
    assert "warning: a setup code on the command line" in made.err


@pytest.mark.parametrize(
    ("content", "words"),
    [("too short\n", "fewer than 12"), ("one line here\nand another\n", "one line"), ("", "one line")],
)
def test_passphrase_file_that_cannot_be_meant(machine: Machine, unattended: list[str], content: str, words: str) -> None:
    machine.file("passphrase", content)
    ended = machine.run("init", *unattended).failed(2)
    assert words in ended.err
    assert not content.strip() or content.strip() not in ended.err
    assert nothing_is_kept(machine)


def test_passphrase_counts_in_composed_form(machine: Machine, unattended: list[str]) -> None:
    """Eleven letters with a decomposed accent each are 22 code points, and still too few."""
    machine.file("passphrase", "e\u0301" * 11)
    machine.run("init", *unattended).failed(2)
    machine.file("passphrase", "e\u0301" * 12)
    machine.run("init", *unattended, "--kit-file", "kits").ok()
    machine.file("passphrase", "\u00e9" * 12)
    machine.run("auth", "unlock", "--passphrase-file", "passphrase").ok()


@pytest.mark.parametrize("words", [("--org", "ag_like an id"), ("--name", "a\tb"), ("--context", "")])
def test_name_that_is_not_legal(machine: Machine, unattended: list[str], words: tuple[str, str]) -> None:
    machine.run("init", *unattended, *words).failed(2)
    assert nothing_is_kept(machine)


def test_question_without_a_terminal_names_the_option(machine: Machine, unattended: list[str]) -> None:
    assert "--org" in machine.run("init", *unattended[:4]).failed(2).err
    place = unattended.index("--setup-code-file")
    assert "--setup-code-file" in machine.run("init", *unattended[:place], *unattended[place + 2 :]).failed(2).err


def test_further_org_has_a_context_of_its_own(org: Org) -> None:
    machine = org.machine
    code = machine.file("second-code", org.server.setup_code())
    words = ["--server", org.server.url, "--setup-code-file", str(code), "--passphrase-file", str(org.passphrase_file)]
    taken = machine.run("org", "create", org.name, *words).failed(6)
    assert "--context" in taken.err
    machine.run("org", "create", "Second", *words).ok()
    contexts = machine.run("context", "list", "--json").ok().json()
    assert [(each["name"], each["current"]) for each in contexts] == [(org.name, False), ("Second", True)]
    assert machine.run("org", "show", "--json").ok().json()["name"] == "Second"


def test_org_show_tells_the_verified_state(org: Org) -> None:
    org.make_agent("CI", {"production": {"A": "1", "B": "2"}})
    shown = org.run("org", "show", "--json").ok().json()
    assert shown["name"] == org.name
    assert shown["head"]["seq"] == 2
    assert len(shown["head"]["words"].split()) == 10
    assert [(each["name"], each["role"]) for each in shown["operators"]] == [("Ada", "admin")]
    assert shown["counts"] == {
        "profiles": 1, "secrets": 2, "groups": 1, "agents": 1, "tokens": 1, "open invites": 0, "lockdowns": 0,
    }  # fmt: skip
    text = org.run("org", "show").ok().out
    assert shown["head"]["words"] in text
    assert "2 secrets" in text


def test_org_show_needs_an_unlocked_operator_and_a_server(org: Org, new_machine: Callable[..., Machine]) -> None:
    org.run("org", "show", env={"STRONGHOLD_URL": NOWHERE}).failed(7)
    org.run("auth", "lock").ok()
    assert "auth unlock" in org.run("org", "show").failed(3).err
    new_machine().run("org", "show").failed(3)


def test_errors_as_json_are_one_object(machine: Machine, unattended: list[str]) -> None:
    ended = machine.run("init", *unattended, "--server", NOWHERE, "--json").failed(7)
    assert json.loads(ended.err)["error"]["exit_code"] == 7
