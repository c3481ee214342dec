"""``env pull`` in every format, with the ways out where one cannot carry a value, and ``env formats``."""

from __future__ import annotations

import csv
import io
import json
import tomllib
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from stronghold_cli.formats.table import FORMATS, READERS, load
from tests.e2e.more_support import files_of, masks_in, push, with_token
from tests.e2e.support import Machine, Org

PLAIN = {"A": "plain", "B": "two words # and 'quotes' \"here\" too", "C": "pa$$word", "no": "e\u00e9 \U0001f680"}


@pytest.fixture(scope="module")
def shop(shared_org: Org) -> Org:
    push(shared_org, "plain", PLAIN).ok()
    push(shared_org, "hard", {"LINES": "a\nb", "CALL": "hunter2$(id)", "EXPANDED": "hunter2${HOME}", "FINE": "1"}).ok()
    return shared_org


def as_secret(text: str) -> dict[str, str]:
    return {name: b64decode(value).decode() for name, value in yaml.safe_load(text)["data"].items()}


PROGRAMS: dict[str, Callable[[str], dict[str, str]]] = {
    "json": json.loads,
    "yaml": yaml.safe_load,
    "toml": tomllib.loads,
    "k8s": as_secret,
    "tfvars": json.loads,
    "csv": lambda text: {row["name"]: row["value"] for row in csv.DictReader(io.StringIO(text))},
}


@pytest.mark.parametrize("format_name", FORMATS)
def test_every_format_is_pulled_to_the_values_that_were_pushed(shop: Org, format_name: str, tmp_path: Path) -> None:
    printed = shop.run("env", "pull", "-p", "plain", "--format", format_name).ok()
    read = PROGRAMS.get(format_name)
    values = read(printed.out) if read else {k: v.decode() for k, v in load(format_name).read(printed.out_bytes).items()}
    assert values == PLAIN
    shop.run("env", "pull", "-p", "plain", "--format", format_name, "-o", "file", cwd=tmp_path).ok()
    written = (tmp_path / "file").read_bytes()
    assert written == printed.out_bytes or format_name == "github"  # whose delimiters are drawn anew
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("reader", READERS)
def test_a_reader_is_written_for_exactly_and_nothing_is_warned_of(shop: Org, reader: str) -> None:
    pulled = shop.run("env", "pull", "-p", "plain", "--reader", reader).ok()
    assert {name: value.decode() for name, value in load("dotenv", reader).read(pulled.out_bytes).items()} == PLAIN
    assert pulled.err == ""


def test_an_agent_pulls_for_a_reader(shop: Org, new_machine: Callable[..., Machine]) -> None:
    environment = with_token(shop.make_agent("reader", {"plain": {}}))
    pulled = new_machine().run("env", "pull", "-p", "plain", "--reader", "node", "--only", "B", env=environment).ok()
    assert pulled.out == "B=`two words # and 'quotes' \"here\" too`\n"


def test_the_target_of_tfvars_says_which_form_terraform_reads(shop: Org, tmp_path: Path) -> None:
    for name in ("x.tfvars", "x.tfvars.json"):
        shop.run("env", "pull", "-p", "hard", "--format", "tfvars", "-o", name, cwd=tmp_path).ok()
    assert (tmp_path / "x.tfvars").read_text() == (
        'CALL = "hunter2$(id)"\nEXPANDED = "hunter2$${HOME}"\nFINE = "1"\nLINES = "a\\nb"\n'
    )
    assert json.loads((tmp_path / "x.tfvars.json").read_text())["EXPANDED"] == "hunter2${HOME}"


def test_a_secret_of_kubernetes_is_called_after_the_profile(shop: Org) -> None:
    manifest = yaml.safe_load(shop.run("env", "pull", "-p", "plain", "--format", "k8s").ok().out)
    assert (manifest["apiVersion"], manifest["kind"], manifest["metadata"]) == ("v1", "Secret", {"name": "plain"})


def test_what_a_dotenv_should_not_carry_is_refused_until_it_is_allowed_by_name(shop: Org, tmp_path: Path) -> None:
    pull = ("env", "pull", "-p", "hard", "-o", ".env")
    refused = shop.run(*pull, cwd=tmp_path).failed(10)
    assert "CALL cannot be written as dotenv" in refused.err
    assert "Neither can EXPANDED." in refused.err
    assert "--format " in refused.err
    assert "--base64 CALL --base64 EXPANDED" in refused.err
    assert "hunter2" not in refused.err
    assert files_of(tmp_path) == {}
    shop.run(*pull, "--allow", "CALL", cwd=tmp_path).failed(10)
    allowed = shop.run(*pull, "--allow", "CALL", "--allow", "EXPANDED", cwd=tmp_path).ok()
    assert "python-dotenv expands ${" in allowed.err
    assert "runs $( as a command" in allowed.err
    assert (tmp_path / ".env").read_text() == "CALL='hunter2$(id)'\nEXPANDED='hunter2${HOME}'\nFINE=1\nLINES='a\nb'\n"


def test_base64_is_a_way_out_for_the_keys_that_are_named(shop: Org) -> None:
    refused = shop.run("env", "pull", "-p", "hard", "--format", "docker").failed(10)
    assert "LINES cannot be written as docker: its value holds a line break" in refused.err
    assert "--base64 LINES" in refused.err
    pulled = shop.run("env", "pull", "-p", "hard", "--format", "docker", "--base64", "LINES").ok()
    assert pulled.out == "CALL=hunter2$(id)\nEXPANDED=hunter2${HOME}\nFINE=1\nLINES=YQpi\n"
    assert "'NONE'" in shop.run("env", "pull", "-p", "hard", "--format", "docker", "--base64", "NONE").failed(5).err


def test_a_runner_hides_a_value_in_base64_and_no_value_that_is_not_written(shop: Org) -> None:
    words = ("env", "pull", "-p", "hard", "--format", "docker", "--only", "LINES", "--base64", "LINES")
    hidden = masks_in(shop.run(*words, env={"GITHUB_ACTIONS": "true"}).ok().err_bytes)
    assert {b"a\nb", b"YQpi"} <= hidden
    assert not [value for value in hidden if b"hunter2" in value]


def test_strict_refuses_what_readers_take_differently(shop: Org) -> None:
    told = shop.run("env", "pull", "-p", "plain", "--only", "A,C").ok()
    assert "warning: C: written as python-dotenv reads it; others may read it differently" in told.err
    strict = shop.run("env", "pull", "-p", "plain", "--only", "A,C", "--strict").failed(10)
    assert "C cannot be written as dotenv" in strict.err
    assert strict.out == ""
    assert shop.run("env", "pull", "-p", "plain", "--only", "A,C", "--strict", "--allow", "C").ok().out == told.out
    assert shop.run("env", "pull", "-p", "plain", "--only", "A", "--strict").ok().err == ""


@pytest.mark.parametrize(
    "words",
    [
        ("--format", "xml"),
        ("--reader", "perl"),
        ("--format", "json", "--reader", "node"),
        ("--format", "json", "--strict"),
        ("--format", "json", "--allow", "A"),
        ("--reader", "node", "--strict"),
        ("--reader", "node", "--allow", "A"),
    ],
)
def test_options_that_do_not_fit_are_told_before_the_server_is_asked(machine: Machine, words: tuple[str, ...]) -> None:
    nowhere = {"STRONGHOLD_TOKEN": "no token at all"}
    machine.run("env", "pull", *words, env=nowhere).failed(2)


def test_the_folder_s_format_holds_until_another_one_is_asked_for(shop: Org, tmp_path: Path) -> None:
    (tmp_path / ".stronghold.toml").write_text("profile = 'plain'\nformat = 'yaml'\nonly = ['A', 'B']\n")
    assert yaml.safe_load(shop.run("env", "pull", cwd=tmp_path).ok().out) == {name: PLAIN[name] for name in "AB"}
    for words in (("--reader", "node"), ("--format", "dotenv", "--reader", "node")):
        assert shop.run("env", "pull", *words, "--only", "A", cwd=tmp_path).ok().out == "A=plain\n"
    (tmp_path / ".stronghold.toml").write_text("profile = 'plain'\nformat = 'xml'\n")
    assert "There is no format 'xml'" in shop.run("env", "pull", cwd=tmp_path).failed(2).err


def test_the_table_of_formats_says_what_each_refuses(machine: Machine) -> None:
    shown = machine.run("env", "formats").ok()
    lines = [line.split("\t") for line in shown.out.splitlines()]
    assert lines[0] == ["format", "for", "carries", "refuses"]
    assert [line[0] for line in lines[1:] if line[0]] == list(FORMATS)
    assert [line[1].split(":")[0] for line in lines if not line[0]] == [f"--reader {name}" for name in READERS]
    rows = {(row["format"], row["reader"]): row for row in machine.run("--json", "env", "formats").ok().json()}
    assert rows["docker", None]["refuses"][0] == "line breaks"
    assert rows["dotenv", None]["refuses"][:2] == ["${NAME}", "$("]
    assert rows["k8s", None]["carries"] == "all bytes"
    assert rows["shell", None]["carries"] == "all bytes but NUL"
    assert rows["json", None]["refuses"] == ["bytes that are not UTF-8"]
    machine.run("env", "formats", "extra").failed(2)
