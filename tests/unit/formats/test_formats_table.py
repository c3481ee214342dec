"""The table of formats: order and form of every file, refusals with key, reason and remedy, and reading back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from types import ModuleType

import pytest

from stronghold_cli.formats import dotenv, table
from stronghold_cli.formats.carried import carried
from stronghold_cli.formats.options import Options
from stronghold_cli.formats.table import FORMATS, Rendered, render
from stronghold_cli.protocol.errors import Unwritable, UsageError


def counting_random() -> Callable[[int], bytes]:
    drawn = iter(range(1, 1 << 16))
    return lambda size: next(drawn).to_bytes(size, "big")


def written(format_name: str, values: Mapping[str, bytes]) -> bytes:
    return render(format_name, values, random=counting_random()).content


@pytest.mark.parametrize("format_name", FORMATS)
def test_keys_are_sorted_and_the_file_ends_with_one_line_end(format_name: str) -> None:
    content = written(
        format_name, {"Yb": b"2", "_": b"0", "YB": b"1"} if format_name != "shell" else {"Yb": b"2", "YB": b"1"}
    )
    assert content.index(b"YB") < content.index(b"Yb")
    assert content.endswith(b"\n")
    assert not content.endswith(b"\n\n")
    assert b"\r" not in content


@pytest.mark.parametrize("format_name", FORMATS)
def test_the_order_in_which_values_come_makes_no_difference(format_name: str) -> None:
    assert written(format_name, {"A": b"1", "B": b"2"}) == written(format_name, {"B": b"2", "A": b"1"})


def test_only_shell_exports() -> None:
    assert [name for name in FORMATS if b"export" in written(name, {"A": b"1"})] == ["shell"]


EMPTY = {
    "json": b"{}\n",
    "yaml": b"{}\n",
    "tfvars": b"{}\n",
    "csv": b"name,value\n",
    "k8s": b'apiVersion: v1\nkind: Secret\nmetadata:\n  name: "stronghold"\ntype: Opaque\ndata: {}\n',
}


@pytest.mark.parametrize("format_name", FORMATS)
def test_no_values_make_a_file_without_entries(format_name: str) -> None:
    assert written(format_name, {}) == EMPTY.get(format_name, b"")


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "A=B", "\u00c4", "A\n", "A" * 256])
def test_a_name_that_is_not_legal_is_refused(format_name: str, name: str) -> None:
    with pytest.raises(Unwritable, match="its name is not made of letters"):
        render(format_name, {name: b"secret-value"}, random=counting_random())


def test_an_unknown_format_is_told_with_those_that_exist() -> None:
    with pytest.raises(UsageError) as caught:
        render("yml", {}, random=counting_random())
    assert caught.value.hint == (
        "Use one of dotenv, docker, compose, shell, systemd, github, json, yaml, toml, k8s, powershell, tfvars, csv."
    )


@pytest.mark.parametrize(
    ("format_name", "value", "reason", "remedy"),
    [
        (
            "dotenv",
            b"a${x}",
            "${",
            "Write all of the values with --format docker or compose or shell, or write it in base64 with ",
        ),
        ("dotenv", b"a$(x)", "$(", "--format docker or compose or shell, "),
        ("dotenv", b"a\0secret", "NUL", "--format json or yaml or toml, "),
        ("dotenv", b"secret\xff", "UTF-8", "--format shell or k8s, "),
        ("docker", b"a\nsecret", "line break", "--format dotenv or compose or shell, "),
        ("docker", b"secret\r", "carriage return", "--format dotenv or compose or shell, "),
        ("docker", b"secret" * 10_922, "longer", "--format dotenv or compose or shell, "),
        ("compose", b"a\0secret", "NUL", "--format json or yaml or toml, "),
        ("systemd", "secret\uffff".encode(), "no character", "--format dotenv or docker or compose, "),
        ("json", b"secret\xff", "UTF-8", "--format shell or k8s, "),
        ("yaml", b"secret\xff", "UTF-8", "--format shell or k8s, "),
        ("toml", b"secret\xff", "UTF-8", "--format shell or k8s, "),
        ("csv", b"secret\xff", "UTF-8", "--format shell or k8s, "),
        ("powershell", b"a\0secret", "NUL", "--format json or yaml or toml, "),
        ("tfvars", "secrete\u0301".encode(), "normalisation form C", "--format dotenv or docker or compose, "),
        ("shell", b"a\0secret", "NUL", "--format json or yaml or toml, "),
        ("github", b"a\0secret", "NUL", "--format json or yaml or toml, "),
        ("github", b"secret\xff", "UTF-8", "--format shell or k8s, "),
        ("github", b"secret\r", "carriage return", "--format dotenv or compose or shell, "),
        ("shell", b"secret\xff\0", "NUL", "--format k8s, or write it in base64 with --base64 KEY."),
    ],
)
def test_a_refusal_names_key_reason_and_the_ways_out(format_name: str, value: bytes, reason: str, remedy: str) -> None:
    with pytest.raises(Unwritable) as caught:
        render(format_name, {"KEY": value, "OTHER": b"fine"}, random=counting_random())
    assert caught.value.message.startswith(f"KEY cannot be written as {format_name}: ")
    assert reason in caught.value.message
    assert remedy in caught.value.hint
    assert ("--base64 KEY" in caught.value.hint) == (len(value) < 60_000)
    assert "secret" not in caught.value.message + caught.value.hint


def test_base64_is_proposed_for_every_refused_key_or_for_none() -> None:
    with pytest.raises(Unwritable) as caught:
        render("github", {"A": b"\r", "B": b"\0"}, random=counting_random())
    assert "--base64 A --base64 B" in caught.value.hint
    with pytest.raises(Unwritable) as caught:
        render("github", {"A": b"\0", "RUNNER_X": b"1"}, random=counting_random())
    assert caught.value.hint.endswith("or leave RUNNER_X out with --exclude.")


def test_all_refused_keys_are_named_up_to_a_handful() -> None:
    with pytest.raises(Unwritable, match=r"^K0 cannot .* Neither can K1, K2\.$"):
        render("dotenv", {f"K{n}": b"${x}" for n in range(3)}, random=counting_random())
    with pytest.raises(Unwritable, match=r"Neither can K1, K2, K3, K4, K5, …\.$"):
        render("dotenv", {f"K{n}": b"${x}" for n in range(9)}, random=counting_random())


def test_a_file_that_does_not_read_back_is_not_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(ModuleType):
        refusal = staticmethod(dotenv.refusal)
        read = staticmethod(dotenv.read)

        @staticmethod
        def write(
            values: Mapping[str, bytes], random: Callable[[int], bytes], options: Options
        ) -> tuple[bytes, tuple[str, ...]]:
            return b"".join(f"{name}=".encode() + value + b"\n" for name, value in values.items()), ()

    monkeypatch.setitem(sys.modules, "broken_format", Broken("broken_format"))
    monkeypatch.setattr(table, "FORMATS", {**FORMATS, "broken": "broken_format"})
    assert render("broken", {"A": b"1"}, random=counting_random()).content == b"A=1\n"
    with pytest.raises(Unwritable, match="did not read back"):
        render("broken", {"A": b"1 # 2"}, random=counting_random())
    with pytest.raises(Unwritable, match="did not read back"):
        render("broken", {"A": b"'1"}, random=counting_random())


def test_a_rendered_file_shows_no_value() -> None:
    assert repr(Rendered(content=b"A=secret\n", notes=())) == "Rendered(9 bytes, 0 notes)"


# Modules that formats share; each format loads its own, those named here, and no other.
SHARED = {
    "dotenv": {"dialects", "dotenv_python"},
    "compose": {"dialects"},
    "yaml": {"yaml_text"},
    "k8s": {"yaml_text"},
    "tfvars": {"json_object"},
}


@pytest.mark.parametrize("format_name", FORMATS)
def test_writing_one_format_loads_no_other_and_nothing_heavy(format_name: str) -> None:
    script = (
        "import os, sys; from stronghold_cli.formats.table import render\n"
        f"render({format_name!r}, {{'A': b'1'}}, random=os.urandom)\n"
        "print(*sorted(m for m in sys.modules if m.startswith('stronghold_cli.formats.')))\n"
        "heavy = ('dataclasses', 'inspect', 'pathlib', 'tempfile', 'subprocess', 'yaml', 'csv', 'typing_extensions')\n"
        "print([m for m in heavy if m in sys.modules], 'dotenv.main' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-S", "-c", script], capture_output=True, text=True, check=True, env={"PYTHONPATH": _root()}
    )
    loaded, heavy = run.stdout.splitlines()
    own = FORMATS[format_name].rpartition(".")[2]
    shared = SHARED.get(format_name, set())
    assert {name.rpartition(".")[2] for name in loaded.split()} - {"text"} == {own, "table", "options", *shared}
    assert heavy == "[] False"


def _root() -> str:
    assert table.__file__
    return table.__file__.removesuffix("/stronghold_cli/formats/table.py")


def test_no_format_is_for_readers_that_run_what_a_value_holds() -> None:
    """Ansible takes the values of a vars file for Jinja2 templates, a spreadsheet takes some for formulas."""
    purposes = " ".join(row.purpose for row in carried())
    assert not [reader for reader in ("Ansible", "spreadsheet") if reader in purposes]
